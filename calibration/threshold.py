"""Step 5, the threshold: as low as the false alarms that the operator accepts allow.

The spotter itself is asked: how often would it have called something in this neutral stretch with
each of a row of threshold factors? A candidate that is called up to a factor c has its height
between c and the next one; the heights above the lowest factor are peaks over a threshold, whose
excesses follow a generalised Pareto distribution (Pickands, Annals of Statistics 3, 1975; Coles,
"An Introduction to Statistical Modeling of Extreme Values", 2001). Its scale and shape and the rate
of candidates are not estimated but averaged over, on a grid, so that a short stretch gives a wide
answer instead of a wrong one. The factor is then tried on a stretch that had no say in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import gamma, norm

from calibration.result import Finding, Result
from calibration.tracks import Floats, MotionTrack
from engines.evaluation.spotting import poisson_interval
from engines.events import EventState
from engines.spotting.base import Spotter

STEP = "threshold"
FACTORS = (3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 8.0, 10.0, 12.0, 16.0)
"""Factors that are tried; nothing below the lowest is ever advised."""

HIGHEST = 40.0
LEVEL = 0.9
"""Probability that an interval holds the truth."""

_SHAPES = np.linspace(-0.5, 0.7, 25)
_SHAPE_PRIOR = norm(0.1, 0.2)  # light tails to heavy ones; none that end right away
_SCALES = np.geomspace(0.1, 10.0, 41)
_RATES = 21
_LEFT_OUT = 0.1

SpotterFactory = Callable[[float], Spotter]
"""Makes a fresh spotter with a threshold factor."""


class ThresholdResult(Result):
    """The threshold factor for a budget of false alarms.

    Attributes:
        budget_per_min: False alarms that are accepted, a minute.
        factor: Threshold factor at which the budget is kept on average over what is possible.
        factor_low: Lower end of the 90 % interval of the factor that more footage would lead to.
        factor_high: Upper end; `HIGHEST` stands for "or more".
        reached: False when no factor in question keeps the budget.
        fitted_s: Neutral time that it was learned from, in seconds.
        factors: Factors that were tried.
        alarms: False alarms with each of them, in `fitted_s`.
        held_out_s: Neutral time that it was tried on.
        held_out_alarms: False alarms there; None when nothing was left to try it on.
        held_out_low_per_min: Lower end of the 95 % interval of the rate of false alarms there.
        held_out_high_per_min: Upper end.
        needed_s: Neutral time without any alarm that it takes to show, at 95 %, that the budget
            is kept.
    """

    budget_per_min: float
    factor: float
    factor_low: float
    factor_high: float
    reached: bool
    fitted_s: float
    factors: tuple[float, ...]
    alarms: tuple[int, ...]
    held_out_s: float
    held_out_alarms: int | None
    held_out_low_per_min: float | None
    held_out_high_per_min: float | None
    needed_s: float

    @property
    def proven(self) -> bool:
        """Whether the held-out stretch alone shows that the budget is kept."""
        high = self.held_out_high_per_min
        return high is not None and high <= self.budget_per_min

    @property
    def contradicted(self) -> bool:
        """Whether the held-out stretch shows that it is not kept."""
        low = self.held_out_low_per_min
        return low is not None and low > self.budget_per_min


def measure(
    fitted: MotionTrack, held_out: MotionTrack, spotter: SpotterFactory, budget_per_min: float
) -> ThresholdResult | None:
    """Choose a threshold factor for a budget and try it.

    Args:
        fitted: Neutral motion to learn from.
        held_out: Neutral motion to try on, after the other; nothing is learned from it.
        spotter: Makes a fresh spotter with a factor.
        budget_per_min: Accepted false alarms a minute, above 0.

    Returns:
        The result; None without any neutral motion.
    """
    seconds = fitted.measured_s
    if seconds < 1.0:
        return None
    alarms = [count_alarms([fitted], spotter(factor)) for factor in FACTORS]
    low, factor, high = (
        round(value, 2) for value in choose_factor(FACTORS, alarms, seconds, budget_per_min)
    )
    watched = held_out.measured_s
    tried = None
    bounds: tuple[float | None, float | None] = (None, None)
    if watched >= 1.0:
        # The spotter has seen the first stretch by then, as in a session.
        tried = count_alarms([fitted, held_out], spotter(factor))
        bounds = poisson_interval(tried, watched / 60.0)
    return ThresholdResult(
        budget_per_min=budget_per_min,
        factor=factor,
        factor_low=low,
        factor_high=high,
        reached=factor < HIGHEST,
        fitted_s=seconds,
        factors=FACTORS,
        alarms=tuple(alarms),
        held_out_s=watched,
        held_out_alarms=tried,
        held_out_low_per_min=bounds[0],
        held_out_high_per_min=bounds[1],
        needed_s=60.0 * poisson_interval(0, 1.0)[1] / budget_per_min,
    )


def count_alarms(stretches: Sequence[MotionTrack], spotter: Spotter) -> int:
    """Return how many events a spotter closes in the last of some stretches in a row."""
    last = stretches[-1]
    closed = 0
    for stretch in stretches:
        for sample in stretch:
            for event in spotter.push(sample).events:
                if event.state is EventState.CLOSED and event.apex_s >= last.time_s[0]:
                    closed += 1
    return closed + sum(event.state is EventState.CLOSED for event in spotter.finish())


def choose_factor(
    factors: Sequence[float], alarms: Sequence[int], seconds: float, budget_per_min: float
) -> tuple[float, float, float]:
    """Return the factor at which a rate of alarms is kept, and what the stretch leaves open of it.

    The factor is the one with as many alarms as the budget allows on average over every tail and
    rate that the stretch leaves possible: the less is known, the higher it is. The interval is that
    of the factor which would be chosen if everything were known.

    Args:
        factors: (F,) factors in ascending order.
        alarms: (F,) alarms with each of them.
        seconds: Length of the stretch.
        budget_per_min: Accepted alarms a minute.

    Returns:
        Lower end of the 90 % interval, the factor, and the upper end; between the lowest of
        `factors` and `HIGHEST`.
    """
    at = np.asarray(factors, np.float64)
    # Fewer alarms with a higher factor: the few exceptions (two that became one) are evened out.
    above = np.maximum.accumulate(np.asarray(alarms)[::-1])[::-1]
    shape, scale = (g.ravel() for g in np.meshgrid(_SHAPES, _SCALES, indexing="ij"))
    survival = _survival(at[None] - at[0], shape[:, None], scale[:, None])
    heights = np.append(survival[:, :-1] - survival[:, 1:], survival[:, -1:], axis=1)
    counts = np.append(above[:-1] - above[1:], above[-1])
    weight = (np.log(np.maximum(heights, 1e-300)) * counts).sum(axis=1)
    weight += _SHAPE_PRIOR.logpdf(shape)
    weight = np.exp(weight - weight.max())
    # Rate of candidates at the lowest factor: Jeffreys' posterior of a Poisson rate.
    shares = (np.arange(_RATES) + 0.5) / _RATES
    rates = gamma.ppf(shares, above[0] + 0.5) / (seconds / 60.0)
    needed = np.minimum(budget_per_min / rates, 1.0)
    possible = at[0] + _excess(needed[None], shape[:, None], scale[:, None])
    possible = np.minimum(possible, HIGHEST)
    tail = (1 - LEVEL) / 2
    low, high = _quantiles(possible.ravel(), np.repeat(weight, _RATES), np.array([tail, 1 - tail]))
    tried = np.linspace(at[0], HIGHEST, 150)
    passing = weight @ _survival(tried[None] - at[0], shape[:, None], scale[:, None])
    expected = (above[0] + 0.5) / (seconds / 60.0) * passing / weight.sum()
    factor = np.interp(-budget_per_min, -expected, tried)
    return float(low), float(factor), float(max(high, factor))


def _survival(
    excess: npt.NDArray[np.float64],
    shape: npt.NDArray[np.float64],
    scale: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Generalised Pareto: probability of more than an excess."""
    shape = np.where(np.abs(shape) < 1e-9, 1e-9, shape)
    base = np.maximum(1 + shape * excess / scale, 0.0)
    survival: npt.NDArray[np.float64] = np.power(
        base, -1 / shape, where=base > 0, out=np.zeros(np.broadcast(base, shape).shape)
    )
    return survival


def _excess(
    survival: npt.NDArray[np.float64],
    shape: npt.NDArray[np.float64],
    scale: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Generalised Pareto: excess that is exceeded with a probability."""
    shape = np.where(np.abs(shape) < 1e-9, 1e-9, shape)
    excess: npt.NDArray[np.float64] = scale * (np.power(survival, -shape) - 1) / shape
    return excess


def _quantiles(values: Floats, weights: Floats, shares: Floats) -> Floats:
    order = np.argsort(values)
    cumulated = np.cumsum(weights[order])
    position = np.searchsorted(cumulated, shares * cumulated[-1])
    quantiles: Floats = values[order][np.minimum(position, len(values) - 1)]
    return quantiles


def findings(result: ThresholdResult | None, left_out_s: float = 0.0) -> tuple[Finding, ...]:
    """What the operator must know of the threshold.

    Args:
        result: The result.
        left_out_s: Seconds of the footage that held clear movements and were left out.
    """
    if result is None:
        return (
            Finding(
                step=STEP,
                severity="failure",
                what="There is too little neutral footage to learn a threshold from.",
                advice="Record a minute of a resting face.",
            ),
        )
    budget = f"{result.budget_per_min:g} a minute"
    if not result.reached:
        return (
            Finding(
                step=STEP,
                severity="failure",
                what=f"No threshold keeps false alarms below {budget} on this rig.",
                advice="Mend what the other steps found, or accept more false alarms.",
            ),
        )
    if result.contradicted:
        return (
            Finding(
                step=STEP,
                severity="failure",
                what=f"{result.held_out_alarms} false alarms in {result.held_out_s:.0f} s of "
                f"held-out footage are more than {budget}.",
                advice="The subject or the light changed during the take: repeat it.",
            ),
        )
    found = []
    if left_out_s > _LEFT_OUT * (result.fitted_s + result.held_out_s + left_out_s):
        found.append(
            Finding(
                step=STEP,
                severity="warning",
                what=f"{left_out_s:.0f} s of the neutral take held clear movements and were left "
                "out: what looks like them is no false alarm by definition.",
                advice="Repeat with a subject who rests.",
            )
        )
    if not result.proven:
        found.append(
            Finding(
                step=STEP,
                severity="warning",
                what=f"The take is too short to show that false alarms keep below {budget}: "
                f"{result.held_out_s:.0f} s were held out. The factor is extrapolated.",
                advice=f"Showing it takes {result.needed_s:.0f} s without a false alarm "
                f"(--neutral-seconds {2 * result.needed_s:.0f}).",
            )
        )
    if result.factor_high > 1.5 * result.factor:
        found.append(
            Finding(
                step=STEP,
                severity="warning",
                what=f"The threshold factor {result.factor:.1f} is uncertain: "
                f"{result.factor_low:.1f} to {result.factor_high:.1f}.",
                advice="Record longer, or accept more false alarms.",
            )
        )
    return tuple(found)
