"""Step 1, clock and rate: does the camera deliver what was asked, and when it says it does?"""

from __future__ import annotations

import numpy as np
from scipy.stats import theilslopes

from calibration.result import Finding, Result, Spread
from calibration.tracks import Floats, FrameTimes

STEP = "clock"
MIN_RATE_SHARE = 0.95
"""Below this share of the rate that was asked for, short expressions are missed."""

_REGULAR = 0.1  # 99 % of the intervals this near to the period: a rhythm
_JITTER_WARNING = 0.5
_LOST_WARNING = 0.001
_LOST_BLAMED = 0.03
_BLOCKS = 60
_MIN_BLOCK = 5
_MAX_DRIFT_PPM = 500.0


class ClockFit(Result):
    """Host time of arrival = offset + (1 + slope) × device time + a delay.

    Attributes:
        slope_ppm: How much faster the host's clock runs than the device's, in parts per million.
        slope_low_ppm: Lower end of its 95 % interval.
        slope_high_ppm: Upper end.
        offset_s: Host time minus device time at the first frame, of the frames that came soonest.
        delay_ms: How much later than the soonest the frames came.
    """

    slope_ppm: float
    slope_low_ppm: float
    slope_high_ppm: float
    offset_s: float
    delay_ms: Spread


class ClockResult(Result):
    """Rate and regularity of a take.

    Attributes:
        frames: Frames that arrived.
        seconds: From the first to the last.
        fps_asked: Rate that was asked for; None when nothing was.
        fps_nominal: Rate that the source said it would deliver.
        fps_produced: Measured rate, frames that are known to be missing among them.
        fps_delivered: Measured rate of the frames that arrived.
        interval_ms: Time between neighbouring frames.
        jitter_ms: Deviation of intervals from whole multiples of the median period.
        lost: Missing frames by cause.
        device_clock: Whether times are the device's.
        host: Fit of the device's clock to the host's; None for files and without a device clock.
    """

    frames: int
    seconds: float
    fps_asked: float | None
    fps_nominal: float
    fps_produced: float
    fps_delivered: float
    interval_ms: Spread
    jitter_ms: Spread
    lost: dict[str, int]
    device_clock: bool
    host: ClockFit | None


def measure(
    times: FrameTimes, *, fps_asked: float | None, fps_nominal: float, live: bool
) -> ClockResult | None:
    """Measure rate, jitter, losses and clocks.

    Args:
        times: The frames of a take.
        fps_asked: Rate that was asked for; None when nothing was.
        fps_nominal: Rate that the source said it would deliver.
        live: Whether arrival times mean anything; those of a file do not.

    Returns:
        The result; None with fewer than three frames.
    """
    frames = len(times.index)
    if frames < 3:
        return None
    interval = np.diff(times.time_s)
    steps = np.maximum(np.diff(times.index), 1)
    seconds = float(times.time_s[-1] - times.time_s[0])
    period = float(np.median(interval / steps))
    device_clock = bool(np.isfinite(times.device_s).all())
    return ClockResult(
        frames=frames,
        seconds=seconds,
        fps_asked=fps_asked,
        fps_nominal=fps_nominal,
        fps_produced=float(steps.sum()) / seconds,
        fps_delivered=(frames - 1) / seconds,
        interval_ms=Spread.of(interval * 1e3),
        jitter_ms=Spread.of(np.abs(interval - steps * period) * 1e3),
        lost=dict(times.lost),
        device_clock=device_clock,
        host=fit_clocks(times.device_s, times.host_s) if live and device_clock else None,
    )


def fit_clocks(device_s: Floats, host_s: Floats) -> ClockFit | None:
    """Fit the host's clock to the device's where arrival can only be late, never early.

    The soonest frame of each of 60 blocks stands for the block, and the line through them is that
    of Theil and Sen, so that neither a busy host nor a few wrong stamps tilt it.

    Args:
        device_s: (N,) device timestamps.
        host_s: (N,) arrival by the host's clock.

    Returns:
        The fit; None with fewer than 50 frames.
    """
    device = np.asarray(device_s - device_s[0], np.float64)
    late = np.asarray(host_s - host_s[0], np.float64) - device
    blocks = min(_BLOCKS, len(device) // _MIN_BLOCK)
    if blocks < 10:
        return None
    soonest = np.array(
        [part[late[part].argmin()] for part in np.array_split(np.arange(len(late)), blocks)]
    )
    slope, _, low, high = theilslopes(late[soonest], device[soonest])
    level = late - slope * device
    floor = float(np.median(level[soonest]))
    return ClockFit(
        slope_ppm=float(slope) * 1e6,
        slope_low_ppm=float(low) * 1e6,
        slope_high_ppm=float(high) * 1e6,
        offset_s=float(host_s[0] - device_s[0]) + floor,
        delay_ms=Spread.of(np.maximum(level - floor, 0.0) * 1e3),
    )


def findings(result: ClockResult | None) -> tuple[Finding, ...]:
    """What the operator must know of the rate and the clocks."""
    if result is None:
        return (
            Finding(
                step=STEP,
                severity="failure",
                what="Hardly a frame arrived.",
                advice="Check the source with run_live.py first.",
            ),
        )
    found = []
    wanted = result.fps_asked or result.fps_nominal
    lost = sum(result.lost.values())
    share = lost / (result.frames + lost)
    if result.fps_delivered < MIN_RATE_SHARE * wanted:
        cause, advice = _cause(result, wanted, share)
        asked = "asked for" if result.fps_asked else "announced by the source"
        found.append(
            Finding(
                step=STEP,
                severity="failure",
                what=f"{result.fps_delivered:.1f} frames a second arrive of {wanted:g} {asked}: "
                f"{cause}.",
                advice=advice,
            )
        )
    elif share > _LOST_WARNING:
        causes = ", ".join(f"{n} by {cause}" for cause, n in result.lost.items())
        found.append(
            Finding(
                step=STEP,
                severity="warning",
                what=f"{lost} frames are missing ({causes}).",
                advice="Close other programs, give the camera a port of its own, and repeat.",
            )
        )
    period_ms = 1e3 * result.seconds / (result.frames + lost - 1)
    if result.jitter_ms.p99 > _JITTER_WARNING * period_ms:
        clock = "the camera's clock" if result.device_clock else "the host's clock at arrival"
        found.append(
            Finding(
                step=STEP,
                severity="warning",
                what=f"One interval in a hundred is off by {result.jitter_ms.p99:.1f} ms or more, "
                f"by {clock}, in a rhythm of {period_ms:.1f} ms.",
                advice="Use a camera and driver with device timestamps, or a hardware trigger.",
            )
        )
    host = result.host
    # The least drift that the interval allows, either way.
    if host is not None and max(host.slope_low_ppm, -host.slope_high_ppm) > _MAX_DRIFT_PPM:
        found.append(
            Finding(
                step=STEP,
                severity="warning",
                what=f"The camera's clock and the computer's drift apart by "
                f"{host.slope_ppm:+.0f} parts per million.",
                advice="Join recordings of other devices by the computer's clock, not by the "
                "camera's.",
            )
        )
    return tuple(found)


def _cause(result: ClockResult, wanted: float, lost_share: float) -> tuple[str, str]:
    """The likely cause of a low rate, and what to do about it."""
    if lost_share > _LOST_BLAMED:
        worst = max(result.lost, key=lambda cause: result.lost[cause])
        if worst.endswith(("_overrun", "_torn", "_late")):
            return (
                f"the computer is too slow ({worst})",
                "Close other programs, set the processor to performance, or ask for a lower rate.",
            )
        return (
            f"frames are lost on the way from the camera ({worst})",
            "Use a port and cable with the bandwidth, a compressed format (--fourcc MJPG) or a "
            "smaller picture, and deeper driver buffers.",
        )
    if result.fps_nominal < MIN_RATE_SHARE * wanted:
        return (
            f"the driver grants {result.fps_nominal:g} in this format",
            "Ask for another format or size (--fourcc MJPG, --size), or for this rate.",
        )
    period_ms = 1e3 / result.fps_produced
    if result.jitter_ms.p99 < _REGULAR * period_ms:
        return (
            f"frames come regularly every {period_ms:.1f} ms, as when the exposure is longer than "
            "a frame may last",
            "Switch auto-exposure off, set an exposure below the frame period, and add light.",
        )
    return (
        "frames come irregularly, as when the driver or the bus is busy",
        "Give the camera a port of its own, without a hub, and close other programs.",
    )
