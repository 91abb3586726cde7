"""Step 6, the smallest visible movement: what can this rig see on this face?

Movements of chosen sizes are drawn into the recorded neutral take (`injection`), and the spotter,
with the threshold of step 5, finds them or does not. Whether a movement is found depends on the
logarithm of its size by a logistic curve, with a share that is missed at any size (a blink mutes
the brows). The curve is averaged over a grid of its parameters, and every pass is spent on sizes
about which it is least sure (after Watson and Pelli, "QUEST: a Bayesian adaptive psychometric
method", Perception & Psychophysics 33, 1983). The size with a recall of 90 % is then tried on
passes of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from scipy.stats import beta

from calibration.baseline import BaselineResult
from calibration.injection import DURATION_S, UNITS, Injector, Trial, region_response
from calibration.result import Finding, Result
from calibration.tracks import Footage, MotionTrack
from engines.spotting.base import Spotter

STEP = "visibility"
EYE_DISTANCE_MM = 90.0
"""Distance of the outer eye corners that millimetres rest on unless it is given: 3-D scans of young
adults gave 93.0 ± 5.6 mm (51 men) and 88.4 ± 3.7 mm (52 women), BioMed Research International 2013,
821428."""

RECALL = 0.9
LEVEL = 0.9
"""Probability that an interval holds the truth."""

MIN_SECONDS = 4.0
_FIRST_S = 1.3  # a face is found, and known as neutral, by then
_SPACING_S = 1.25
_SPREAD = 2.8
_LARGEST = 0.08
_STRONGEST = 3
_LARGE_PX = 1.0
_REST_S = 30.0


class VisibilityResult(Result):
    """The smallest movement that is found.

    Amplitudes are displacements of the skin that moves most, at the apex of a movement of 0.3 s.

    Attributes:
        recall: Share of movements that are found at `amplitude_px`.
        expected_px: Amplitude that the noise of the regions leads to expect.
        amplitude_px: Amplitude in picture pixels; None when no size reaches the recall.
        low_px: Lower end of its 90 % interval.
        high_px: Upper end.
        amplitude_mm: Amplitude in millimetres.
        eye_distance_mm: Distance of the outer eye corners that `amplitude_mm` rests on.
        eye_distance_assumed: Whether it is the mean of adults instead of the subject's.
        trials: (amplitude in picture pixels, found) of every movement that the curve rests on.
        checked: Number of movements of `amplitude_px` that were tried afterwards.
        found: How many of them were found.
        found_low: Lower end of the 95 % interval of the share that is found.
        found_high: Upper end.
    """

    recall: float
    expected_px: float
    amplitude_px: float | None
    low_px: float | None
    high_px: float | None
    amplitude_mm: float | None
    eye_distance_mm: float
    eye_distance_assumed: bool
    trials: tuple[tuple[float, bool], ...]
    checked: int
    found: int
    found_low: float | None
    found_high: float | None


class Psychometric:
    """The probability that a movement is found, by its size, as far as trials tell.

    Args:
        guess: Size at which about half are expected to be found.
    """

    def __init__(self, guess: float) -> None:
        middle = np.log(guess) + np.linspace(-1.6, 1.6, 65)
        slope = np.geomspace(1.5, 20.0, 13)
        lapse = np.linspace(0.0, 0.3, 13)
        grid = np.meshgrid(middle, slope, lapse, indexing="ij")
        self._middle, self._slope, self._lapse = (axis.ravel() for axis in grid)
        # Few are missed at any size; that more are must be shown.
        self._log_weight = -np.square(self._lapse / 0.06) / 2

    def add(self, size: float, found: bool) -> None:
        """Learn from one trial."""
        share = (1 - self._lapse) * expit(self._slope * (np.log(size) - self._middle))
        share = np.clip(share, 1e-3, 1 - 1e-3)
        self._log_weight += np.log(share if found else 1 - share)

    def size_of(self, recall: float, share: float = 0.5) -> float:
        """Return the size with a recall.

        Args:
            recall: Share of movements that are found.
            share: Quantile of the size: 0.5 is its median. Infinite where no size reaches the
                recall.
        """
        within = recall / (1 - self._lapse)
        reached = within < 1
        size = np.full(len(within), np.inf)
        size[reached] = np.exp(
            self._middle[reached] + logit(within[reached]) / self._slope[reached]
        )
        order = np.argsort(size)
        weight = np.exp(self._log_weight - self._log_weight.max())[order]
        cumulated = np.cumsum(weight)
        at = int(np.searchsorted(cumulated, share * cumulated[-1]))
        return float(size[order][min(at, len(size) - 1)])


def measure(
    injector: Injector,
    footage: Footage,
    rest: MotionTrack,
    baseline: BaselineResult,
    spotter: Callable[[], Spotter],
    *,
    inter_ocular_px: float,
    eye_distance_mm: float | None,
    least_noise: float,
    passes: int,
    checks: int,
    progress: Callable[[float], None] = lambda done: None,
) -> VisibilityResult | None:
    """Find the smallest movement with a recall of 90 %.

    Args:
        injector: Draws movements into the footage.
        footage: Pictures of a still face.
        rest: Motion of the same face at rest, before the footage.
        baseline: Its noise.
        spotter: Makes a fresh spotter with the threshold that is to be used.
        inter_ocular_px: Distance of the outer eye corners in picture pixels.
        eye_distance_mm: The same in millimetres; None assumes the mean of adults.
        least_noise: Least noise that the spotter believes of a region.
        passes: Passes over the footage to learn from.
        checks: Passes to check with.
        progress: Told how many passes are done.

    Returns:
        The result; None when the footage is too short.
    """
    if len(footage) < 2 or footage.time_s[-1] - footage.time_s[0] < MIN_SECONDS:
        return None
    before = rest.between(int(np.searchsorted(rest.time_s, rest.time_s[-1] - _REST_S)))
    usual = float(np.median([output.threshold for output in map(spotter().push, before)]))
    expected = expected_amplitude(injector, footage.mesh, baseline, usual, least_noise)
    curve = Psychometric(expected)
    rng = np.random.default_rng(0)
    tried: list[tuple[float, bool]] = []
    for number in range(passes):
        low, high = _informative(curve, expected, first=number == 0)
        trials = _trials(footage, low, high, rng)
        found = injector.found(trials, spotter(), before)
        for trial, hit in zip(trials, found, strict=True):
            curve.add(trial.amplitude, hit)
            tried.append((trial.amplitude, hit))
        progress(number + 1)
    amplitude = curve.size_of(RECALL)
    checked: list[bool] = []
    for number in range(checks if amplitude <= _LARGEST else 0):
        trials = _trials(footage, amplitude, amplitude, rng)
        checked += injector.found(trials, spotter(), before)
        progress(passes + number + 1)
    return _result(curve, expected, tried, checked, inter_ocular_px, eye_distance_mm)


def expected_amplitude(
    injector: Injector,
    mesh: npt.NDArray[np.float32],
    baseline: BaselineResult,
    threshold: float,
    least_noise: float,
) -> float:
    """Return the amplitude that the regions' noise leads to expect, in inter-ocular distances.

    A movement is found when the root mean square of the three regions that it moves most, in
    noise levels, exceeds the threshold: nine in ten kinds of movement do.

    Args:
        injector: Has the fields of movement.
        mesh: (468, 3) landmarks in the canonical face.
        baseline: Noise of the regions.
        threshold: Usual threshold of the score.
        least_noise: Least noise that the spotter believes of a region.
    """
    sigma = np.array([max(region.sigma, least_noise) for region in baseline.regions])
    needed = []
    for field in injector.fields.values():
        strength = np.sort(region_response(mesh, field) / sigma)[-_STRONGEST:]
        needed.append(threshold / float(np.sqrt(np.mean(np.square(strength)))))
    return float(np.quantile(needed, RECALL))


def _informative(curve: Psychometric, expected: float, *, first: bool) -> tuple[float, float]:
    """Range of sizes to try next."""
    if first:
        return expected / _SPREAD, expected * _SPREAD
    low = curve.size_of(0.6)
    high = min(curve.size_of(RECALL, 0.75), _SPREAD * low, _LARGEST)
    return min(low, 0.8 * high), high


def _trials(footage: Footage, low: float, high: float, rng: np.random.Generator) -> list[Trial]:
    """Movements of sizes from `low` to `high`; every pass tries other moments."""
    first = footage.time_s[0] + _FIRST_S + rng.uniform(0, 0.3)
    last = footage.time_s[-1] - DURATION_S - 0.4
    starts = np.arange(first, last, _SPACING_S)
    starts += rng.uniform(0, 0.2, len(starts))
    units = rng.permutation(np.resize(rng.permutation(UNITS), len(starts)))
    sizes = rng.permutation(np.geomspace(low, high, len(starts)).clip(1e-4, _LARGEST))
    return [
        Trial(float(start), int(unit), float(size))
        for start, unit, size in zip(starts, units, sizes, strict=True)
    ]


def _result(
    curve: Psychometric,
    expected: float,
    tried: Sequence[tuple[float, bool]],
    checked: Sequence[bool],
    inter_ocular_px: float,
    eye_distance_mm: float | None,
) -> VisibilityResult:
    tail = (1 - LEVEL) / 2
    amplitude, low, high = (curve.size_of(RECALL, share) for share in (0.5, tail, 1 - tail))
    known = amplitude <= _LARGEST
    hits, n = sum(checked), len(checked)
    millimetres = EYE_DISTANCE_MM if eye_distance_mm is None else eye_distance_mm
    return VisibilityResult(
        recall=RECALL,
        expected_px=expected * inter_ocular_px,
        amplitude_px=amplitude * inter_ocular_px if known else None,
        low_px=low * inter_ocular_px if known else None,
        high_px=high * inter_ocular_px if known and np.isfinite(high) else None,
        amplitude_mm=amplitude * millimetres if known else None,
        eye_distance_mm=millimetres,
        eye_distance_assumed=eye_distance_mm is None,
        trials=tuple((size * inter_ocular_px, hit) for size, hit in tried),
        checked=n,
        found=hits,
        # Exact bounds of a share (Clopper and Pearson, Biometrika 26, 1934).
        found_low=(float(beta.ppf(0.025, hits, n - hits + 1)) if hits else 0.0) if n else None,
        found_high=(float(beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0) if n else None,
    )


def findings(result: VisibilityResult | None) -> tuple[Finding, ...]:
    """What the operator must know of the smallest visible movement."""
    if result is None:
        return (
            Finding(
                step=STEP,
                severity="warning",
                what="The smallest visible movement was not measured: it takes "
                f"{MIN_SECONDS:g} s of a still face and more.",
                advice="Record a longer still take.",
            ),
        )
    if result.amplitude_px is None:
        return (
            Finding(
                step=STEP,
                severity="failure",
                what=f"Not even large movements are found with a recall of {RECALL:.0%}.",
                advice="Mend what the other steps found: light, focus, size of the face, a head "
                "that keeps still.",
            ),
        )
    found = []
    if result.found_high is not None and result.found_high < RECALL:
        found.append(
            Finding(
                step=STEP,
                severity="warning",
                what=f"Of {result.checked} movements of {result.amplitude_px:.2f} pixels only "
                f"{result.found} were found: the figure is too good.",
                advice="Record a longer still take.",
            )
        )
    if result.amplitude_px > _LARGE_PX and result.amplitude_mm is not None:
        found.append(
            Finding(
                step=STEP,
                severity="warning",
                what=f"Movements below {result.amplitude_px:.1f} pixels "
                f"({result.amplitude_mm:.2f} mm) are missed; many micro-expressions are smaller.",
                advice="A larger face in the picture, more light and less gain help, and so does "
                "a larger budget of false alarms.",
            )
        )
    return tuple(found)
