"""Step 6, the smallest visible movement: what can this rig see on this face?

Movements of chosen sizes are drawn into the recorded neutral take (`injection`), and the spotter,
with the threshold of step 5, finds them or does not. Whether a movement is found depends on the
logarithm of its size by a logistic curve, with a share that is missed at any size (a blink mutes
the brows). The curve is averaged over a grid of its parameters, and every pass is spent on sizes
about which it is least sure (after Watson and Pelli, "QUEST: a Bayesian adaptive psychometric
method", Perception & Psychophysics 33, 1983).

The size with a recall of 90 % is then tried on passes of their own. Where those say otherwise, the
curve learns from them and another size is tried; where nothing that was tried bears out what the
curve says, no size is stated. How much a spotter sees differs from minute to minute with what it
holds for the rest of this face, so every pass is shown another stretch of rest before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from scipy.stats import beta

from calibration.baseline import BaselineResult
from calibration.injection import DURATION_S, UNITS, Injector, Trial, region_response
from calibration.result import Finding, Result
from calibration.tracks import MotionTrack
from engines.spotting.base import Spotter

STEP = "visibility"
EYE_DISTANCE_MM = 90.0
"""Distance of the outer eye corners that millimetres rest on unless it is given: 3-D scans of young
adults gave 93.0 ± 5.6 mm (51 men) and 88.4 ± 3.7 mm (52 women), BioMed Research International 2013,
821428."""

RECALL = 0.9
LEVEL = 0.9
"""Probability that an interval holds the truth."""

SHOWN = 0.6
"""A size is stated when more than this share of its movements is found, at 97.5 %."""

MIN_SECONDS = 4.0
_ROUNDS = 3  # in which a size may be tried
_FIRST_S = 1.3  # a face is found, and known as neutral, by then
_SPACING_S = 1.25
_SPREAD = 2.8
_LARGEST = 0.08
_STRONGEST = 3
_LARGE_PX = 1.0
_REST_S = 30.0  # what the spotter's threshold rests on
_REST_SHARE = 0.6


class VisibilityResult(Result):
    """The smallest movement that is found.

    Amplitudes are displacements of the skin that moves most, at the apex of a movement of 0.3 s.

    Attributes:
        recall: Share of movements that are found at `amplitude_px`.
        expected_px: Amplitude that the noise of the regions leads to expect.
        amplitude_px: Amplitude in picture pixels; None when it cannot be told: no size was borne
            out by the movements that were tried.
        low_px: Lower end of its 90 % interval; None when it is beyond all that was tried.
        high_px: Upper end; None when it is open.
        amplitude_mm: Amplitude in millimetres.
        eye_distance_mm: Distance of the outer eye corners that `amplitude_mm` rests on.
        eye_distance_assumed: Whether it is the mean of adults instead of the subject's.
        trials: (amplitude in picture pixels, found) of every movement that the curve rests on.
        checked: Number of movements of the curve's size that were tried afterwards.
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

    def learn(self, trials: Iterable[tuple[float, bool]]) -> None:
        """Learn from (size, found) of trials."""
        for size, found in trials:
            self.add(size, found)

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
    filmed: Sequence[Injector],
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
        filmed: Draw movements into stretches of a still face; passes take turns.
        rest: Motion of the same face at rest.
        baseline: Its noise.
        spotter: Makes a fresh spotter with the threshold that is to be used.
        inter_ocular_px: Distance of the outer eye corners in picture pixels.
        eye_distance_mm: The same in millimetres; None assumes the mean of adults.
        least_noise: Least noise that the spotter believes of a region.
        passes: Passes over the footage to learn from.
        checks: Passes to check with.
        progress: Told how many passes are done, of `passes + checks` if the first check will do.

    Returns:
        The result; None when the footage is too short.
    """
    filmed = [each for each in filmed if each.seconds >= MIN_SECONDS]
    if not filmed:
        return None
    usual = float(np.median([output.threshold for output in map(spotter().push, rest)]))
    expected = expected_amplitude(filmed[0], filmed[0].mesh, baseline, usual, least_noise)
    curve = Psychometric(expected)
    rng = np.random.default_rng(0)
    done = 0

    def tried(low: float, high: float, passes: int) -> list[tuple[float, bool]]:
        """What is found of movements of sizes between two."""
        nonlocal done
        answers: list[tuple[float, bool]] = []
        for _ in range(passes):
            injector = filmed[done % len(filmed)]
            trials = _trials(injector, low, high, rng)
            found = injector.found(trials, spotter(), _before(rest, rng))
            answers += [(t.amplitude, hit) for t, hit in zip(trials, found, strict=True)]
            done += 1
            progress(min(done, total))
        return answers

    total = passes + checks
    learned: list[tuple[float, bool]] = []
    for number in range(passes):
        low, high = _informative(curve, expected, first=number == 0)
        fresh = tried(low, high, 1)
        curve.learn(fresh)
        learned += fresh
    checked: list[tuple[float, bool]] = []
    for _ in range(_ROUNDS):
        amplitude = curve.size_of(RECALL)
        if amplitude > _LARGEST:
            checked = []
            break
        checked = tried(amplitude, amplitude, checks)
        shown = not checked or _bounds(checked)[0] > SHOWN
        curve.learn(checked)
        learned += checked
        if shown:
            break
    return _result(curve, amplitude, expected, learned, checked, inter_ocular_px, eye_distance_mm)


def _before(rest: MotionTrack, rng: np.random.Generator) -> MotionTrack:
    """Another stretch of the rest each time, long enough for the spotter's threshold."""
    seconds = rest.time_s[-1] - rest.time_s[0]
    length = min(_REST_S, _REST_SHARE * seconds)
    start = rest.time_s[0] + rng.uniform(0, seconds - length)
    first, last = np.searchsorted(rest.time_s, (start, start + length))
    return rest.between(int(first), int(last))


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


def _trials(injector: Injector, low: float, high: float, rng: np.random.Generator) -> list[Trial]:
    """Movements of sizes from `low` to `high`; every pass tries other moments."""
    first = injector.start_s + _FIRST_S + rng.uniform(0, 0.3)
    last = injector.start_s + injector.seconds - DURATION_S - 0.4
    starts = np.arange(first, last, _SPACING_S)
    starts += rng.uniform(0, 0.2, len(starts))
    units = rng.permutation(np.resize(rng.permutation(UNITS), len(starts)))
    sizes = rng.permutation(np.geomspace(low, high, len(starts)).clip(1e-4, _LARGEST))
    return [
        Trial(float(start), int(unit), float(size))
        for start, unit, size in zip(starts, units, sizes, strict=True)
    ]


def _bounds(checked: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Exact 95 % bounds of the share that is found (Clopper and Pearson, Biometrika 26, 1934)."""
    hits, n = sum(hit for _, hit in checked), len(checked)
    low = float(beta.ppf(0.025, hits, n - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0
    return low, high


def _result(
    curve: Psychometric,
    amplitude: float,
    expected: float,
    learned: Sequence[tuple[float, bool]],
    checked: Sequence[tuple[float, bool]],
    inter_ocular_px: float,
    eye_distance_mm: float | None,
) -> VisibilityResult:
    tail = (1 - LEVEL) / 2
    low, high = (curve.size_of(RECALL, share) for share in (tail, 1 - tail))
    bounds = _bounds(checked) if checked else (None, None)
    known = amplitude <= _LARGEST and (bounds[0] is None or bounds[0] > SHOWN)
    millimetres = EYE_DISTANCE_MM if eye_distance_mm is None else eye_distance_mm
    return VisibilityResult(
        recall=RECALL,
        expected_px=expected * inter_ocular_px,
        amplitude_px=amplitude * inter_ocular_px if known else None,
        low_px=min(low, amplitude) * inter_ocular_px if low <= _LARGEST else None,
        high_px=max(high, amplitude) * inter_ocular_px if np.isfinite(high) else None,
        amplitude_mm=amplitude * millimetres if known else None,
        eye_distance_mm=millimetres,
        eye_distance_assumed=eye_distance_mm is None,
        trials=tuple((size * inter_ocular_px, hit) for size, hit in learned),
        checked=len(checked),
        found=sum(hit for _, hit in checked),
        found_low=bounds[0],
        found_high=bounds[1],
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
    if result.amplitude_px is None and not result.checked:
        return (
            Finding(
                step=STEP,
                severity="failure",
                what=f"Not even large movements are found with a recall of {RECALL:.0%}.",
                advice="Mend what the other steps found: light, focus, size of the face, a head "
                "that keeps still.",
            ),
        )
    if result.amplitude_px is None:
        return (
            Finding(
                step=STEP,
                severity="warning",
                what=f"The smallest visible movement cannot be told: of {result.checked} movements "
                f"that were tried at the likeliest size, {result.found} were found, which shows "
                f"no more than {result.found_low:.0%}.",
                advice="Record a longer still take (--still-seconds); if it cannot be told then "
                "either, the picture is too noisy: more light, less gain, a larger face.",
            ),
        )
    found = []
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
