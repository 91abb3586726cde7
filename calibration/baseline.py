"""Step 4, the subject's neutral baseline: how much a still face moves, and whether it was still."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter
from scipy.signal import find_peaks

from calibration.result import Finding, Result
from calibration.tracks import FaceTrack, Floats, MotionTrack
from engines.events import Event, EventState
from engines.motion.canonical import REGION_NAMES
from engines.spotting.base import Spotter
from engines.spotting.running import LowPass

STEP = "baseline"
MIN_SECONDS = 5.0
"""Shorter takes say too little of a face."""

CLEAR = 3.0
"""A movement this many times above the threshold is an expression, not noise."""

_RAYLEIGH_MEDIAN = 1.1774  # median length of a 2-D normal vector of unit variance
_SMOOTH_S = 0.008
_NEUTRAL_S = 1.0
_LID_IOD = 0.006  # flow reads the lid's fall short
_BLINK_S = (0.04, 0.6)
_MANY_BLINKS = 40.0
_SWAY_WARNING_IOD = 0.15
_HEAD_SPEED_WARNING = 0.8


class RegionNoise(Result):
    """Motion of one region of a still face, in inter-ocular distances.

    Attributes:
        region: Name of the region.
        median: Median displacement from the running neutral face.
        mad: Median absolute deviation of the displacement.
        sigma: Standard deviation along each axis that the median stands for.
    """

    region: str
    median: float
    mad: float
    sigma: float


class BaselineResult(Result):
    """A still face.

    Attributes:
        seconds: Stream time that was measured.
        regions: Motion noise of every region.
        noise_iod: Median of the regions' `sigma`.
        blinks: Number of blinks.
        blinks_per_min: Blinks a minute.
        sway_iod: Standard deviation of the head's position, in inter-ocular distances.
        head_speed: 95th percentile of the head's speed, inter-ocular distances a second.
        expressions: Times of clear movements, seconds from the start of the take.
        restarts: How often alignment began anew during the take.
    """

    seconds: float
    regions: tuple[RegionNoise, ...]
    noise_iod: float
    blinks: int
    blinks_per_min: float
    sway_iod: float
    head_speed: float
    expressions: tuple[float, ...]
    restarts: int

    @property
    def still(self) -> bool:
        """Whether the take is long enough and nothing but blinks happened in it."""
        return self.seconds >= MIN_SECONDS and not self.expressions and not self.restarts


def measure(
    motion: MotionTrack, face: FaceTrack, events: tuple[Event, ...], start_s: float
) -> BaselineResult | None:
    """Measure a still face.

    Args:
        motion: Region motion of the take.
        face: The face in the picture.
        events: What the spotter made of the take.
        start_s: Stream time at which the take starts.

    Returns:
        The result; None when hardly any motion was measured.
    """
    stretches = _stretches(motion)
    if not stretches or motion.measured_s < 1.0:
        return None
    length = np.concatenate([_displacement(motion.between(*s)) for s in stretches])
    blinks = sum(_count_blinks(motion.between(*s)) for s in stretches)
    middle = np.median(length, axis=0)
    spread = np.median(np.abs(length - middle), axis=0)
    regions = tuple(
        RegionNoise(
            region=name,
            median=float(m),
            mad=float(d),
            sigma=float(m) / _RAYLEIGH_MEDIAN,
        )
        for name, m, d in zip(REGION_NAMES, middle, spread, strict=True)
    )
    span = np.median(face.inter_ocular_px)
    sway = np.hypot(*(face.centre_px / span).std(axis=0))
    seconds = motion.measured_s
    return BaselineResult(
        seconds=seconds,
        regions=regions,
        noise_iod=float(np.median([region.sigma for region in regions])),
        blinks=blinks,
        blinks_per_min=60.0 * blinks / seconds,
        sway_iod=float(sway),
        head_speed=float(np.percentile(face.head_speed, 95)),
        expressions=tuple(event.apex_s - start_s for event in events),
        restarts=max(int(motion.restart.sum()) - 1, 0),
    )


def clear_movements(motion: MotionTrack, spotter: Spotter) -> tuple[Event, ...]:
    """Return what moved so clearly that it was no noise, as closed events.

    What a still face and its blinks amount to is seldom three times as high as the threshold; a
    visible expression is.

    Args:
        motion: Region motion of the take.
        spotter: A fresh spotter.
    """
    bars: dict[int, float] = {}
    closed: list[Event] = []
    for sample in motion:
        output = spotter.push(sample)
        for event in output.events:
            bars.setdefault(event.id, output.threshold)
            if event.state is EventState.CLOSED:
                closed.append(event)
    closed += [event for event in spotter.finish() if event.state is EventState.CLOSED]
    return tuple(event for event in closed if event.score > CLEAR * bars[event.id])


def _stretches(motion: MotionTrack) -> list[tuple[int, int]]:
    """Positions (start, stop) of valid samples between which alignment did not begin anew."""
    cuts = np.flatnonzero(motion.restart | np.r_[True, motion.valid[1:] != motion.valid[:-1]])
    ends = [*cuts[1:], len(motion)]
    return [
        (int(a), int(b))
        for a, b in zip(cuts, ends, strict=True)
        if motion.valid[a] and motion.time_s[b - 1] - motion.time_s[a] > _NEUTRAL_S
    ]


def _displacement(motion: MotionTrack) -> npt.NDArray[np.float64]:
    """(N, R) length of each region's displacement from its median of a second, as spotters see."""
    smooth = np.empty_like(motion.motion)
    low_pass = LowPass(motion.motion.shape[1:], _SMOOTH_S)
    for position, (now, sample) in enumerate(zip(motion.time_s, motion.motion, strict=True)):
        smooth[position] = low_pass.push(float(now), sample)
    # The median changes slowly: every twentieth of a second is enough of it.
    step = max(1, round(0.05 / float(np.median(np.diff(motion.time_s)))))
    sparse = smooth[::step]
    window = max(3, round(_NEUTRAL_S / 0.05))
    neutral = median_filter(sparse, size=(window, 1, 1), mode="nearest")
    moved = smooth - np.repeat(neutral, step, axis=0)[: len(smooth)]
    length: npt.NDArray[np.float64] = np.hypot(moved[..., 0], moved[..., 1]).astype(np.float64)
    return length


def _count_blinks(motion: MotionTrack) -> int:
    """Both lids fall together and come back within half a second."""
    lids: Floats = motion.eyes[:, :, 1].mean(axis=1)
    period = float(np.median(np.diff(motion.time_s)))
    shortest, longest = (max(1, round(s / period)) for s in _BLINK_S)
    peaks, _ = find_peaks(
        lids,
        prominence=_LID_IOD,
        width=(shortest, longest),
        wlen=2 * longest + 1,
        distance=max(1, round(0.2 / period)),
    )
    return len(peaks)


def findings(result: BaselineResult | None) -> tuple[Finding, ...]:
    """What the operator must know of the baseline."""
    if result is None or result.seconds < MIN_SECONDS:
        seconds = 0.0 if result is None else result.seconds
        return (
            Finding(
                step=STEP,
                severity="failure",
                what=f"Only {seconds:.1f} s of a followed face were recorded.",
                advice=f"A baseline needs {MIN_SECONDS:g} s and more of a still face: record "
                "longer.",
            ),
        )
    found = []
    if result.expressions:
        times = ", ".join(f"{time:.1f}" for time in result.expressions)
        found.append(
            Finding(
                step=STEP,
                severity="failure",
                what=f"The face moved during every take (last at {times} s).",
                advice="Ask the subject to rest, to look at one point and not to speak; repeat.",
            )
        )
    if result.restarts:
        found.append(
            Finding(
                step=STEP,
                severity="failure",
                what=f"The face was lost or slipped {result.restarts} times.",
                advice="Nothing in front of the face, an even light, a head that keeps still.",
            )
        )
    if result.blinks_per_min > _MANY_BLINKS:
        found.append(
            Finding(
                step=STEP,
                severity="warning",
                what=f"{result.blinks_per_min:.0f} blinks a minute: brows are not looked at "
                "meanwhile.",
                advice="Move lamps out of the eyes; let the subject rest.",
            )
        )
    if result.sway_iod > _SWAY_WARNING_IOD or result.head_speed > _HEAD_SPEED_WARNING:
        found.append(
            Finding(
                step=STEP,
                severity="warning",
                what=f"The head sways by {result.sway_iod:.2f} inter-ocular distances, at up to "
                f"{result.head_speed:.2f} a second.",
                advice="Use a chair with a head or chin rest.",
            )
        )
    return tuple(found)
