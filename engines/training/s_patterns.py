"""S-patterns: how a micro-expression begins in one patch, which of them to trust, and more of them.

A pattern that starts at an onset rises like an S. The muscle under it is a Hammerstein system: a
static non-linearity, then a second-order response (`engines.synthesis.hammerstein`). Fitted to a
pattern, its α (natural frequency of the response) and β (exponent of the non-linearity) say whether
the pattern could be a muscle's; drawn around those of real patterns, they make new ones.

The authors' code calls the fit and the generator without containing them; both are made from the
paper's description here. What it does not say is chosen as follows: activation is a straight rise
and an equally fast fall, whose time is fitted beside α and β; the response is critically damped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from engines.spotting.ltp_ml.patches import NOSE_PATCHES
from engines.spotting.ltp_ml.patterns import PATTERN_S, STEPS, UNIT_PX
from engines.synthesis.hammerstein import Hammerstein, trapezoid

Array = npt.NDArray[np.float64]

LEAD_S = 0.1
"""A pattern that starts this long before an onset, or less, is positive (a third of its length)."""

BEST_PATCHES = 3
"""Most patches of one micro-expression that are learned from: those that move most."""

ALPHA_RANGE = (8.0, 120.0)
"""Natural frequencies of a face's tissue, rad/s; beyond them a fit explains something else."""

BETA_RANGE = (0.4, 5.0)
"""Exponents that recruitment may have."""

MAX_ERROR = 0.12
"""Root mean square of a fit's residual, as a share of the pattern's largest distance."""

GENERATED_SPREAD = 0.5
"""New parameters are drawn this share of the kept ones' spread around a kept pattern."""

_FINE = 4
"""Steps of the simulated muscle for each step of a pattern."""

_RISE_RANGE = (0.04, PATTERN_S)


@dataclass(frozen=True, slots=True)
class MuscleFit:
    """The Hammerstein system that explains a pattern best.

    Attributes:
        alpha: Natural frequency of the linear part, rad/s.
        beta: Exponent of the static part.
        rise_s: Time in which activation rises, and in which it falls again.
        error: Root mean square of the residual, as a share of the largest distance.
    """

    alpha: float
    beta: float
    rise_s: float
    error: float

    @property
    def plausible(self) -> bool:
        """Whether a muscle may have moved so."""
        return (
            ALPHA_RANGE[0] < self.alpha < ALPHA_RANGE[1]
            and BETA_RANGE[0] < self.beta < BETA_RANGE[1]
            and self.error <= MAX_ERROR
        )


def muscle_pattern(alpha: float, beta: float, rise_s: float, lead_s: float = 0.0) -> Array:
    """The pattern of a muscle.

    Args:
        alpha: Natural frequency, rad/s.
        beta: Exponent.
        rise_s: Time in which activation rises, and falls again.
        lead_s: How long before activation the pattern starts.

    Returns:
        (STEPS,) distances as shares of the largest.
    """
    step = PATTERN_S / STEPS / _FINE
    times = np.arange(1, STEPS * _FINE + 1) * step - lead_s
    activation = trapezoid(times, rise_s, 0.0, rise_s)
    course = Hammerstein(exponent=beta, frequency=alpha).response(activation, step)
    pattern: Array = course[_FINE - 1 :: _FINE]
    return pattern / max(float(pattern.max()), 1e-9)


def fit_muscles(patterns: npt.NDArray[Any]) -> tuple[MuscleFit, ...]:
    """Fit a Hammerstein system to each of some patterns that start at an onset.

    Args:
        patterns: (N, STEPS) distances of any unit.
    """
    known = [
        (alpha, beta, rise_s)
        for alpha in (15.0, 30.0, 70.0)
        for beta in (0.7, 1.5, 3.0)
        for rise_s in (0.07, 0.12, 0.2, 0.28)
    ]
    curves = np.array([muscle_pattern(*each) for each in known])
    fits = []
    for pattern in patterns:
        wanted = np.asarray(pattern, np.float64) / max(float(pattern.max()), 1e-9)
        nearest = int(np.square(curves - wanted).sum(axis=1).argmin())
        fits.append(_refined(wanted, np.log(known[nearest])))
    return tuple(fits)


def _refined(wanted: Array, start: Array) -> MuscleFit:
    """Least squares in the logarithms of α, β and rise time."""

    def residual(parameters: Array) -> Array:
        return muscle_pattern(*np.exp(parameters).tolist()) - wanted

    found = least_squares(
        residual, start, bounds=tuple(zip(*_bounds(), strict=True)), diff_step=1e-3, max_nfev=30
    )
    alpha, beta, rise_s = np.exp(found.x).tolist()
    return MuscleFit(alpha, beta, rise_s, float(np.sqrt(2 * found.cost / STEPS)))


def select(distances: npt.NDArray[np.float32]) -> list[int]:
    """Which patches show an S where a micro-expression begins.

    Args:
        distances: (12, STEPS) patterns that start at the onset, pixels.

    Returns:
        At most `BEST_PATCHES` positions, largest movement first: patches that move more than the
        mean (in CN), near still at first and farthest in the second half. The nose says only that
        the head moves.
    """
    largest = np.maximum(distances.max(axis=1), 1e-6)
    cn = UNIT_PX / largest
    third = STEPS // 3
    rises = distances[:, 0] < 0.5 * largest
    rises &= distances[:, :third].mean(axis=1) < distances[:, third:].mean(axis=1)
    wanted = rises & (cn <= cn.mean())
    wanted[list(NOSE_PATCHES)] = False
    order = np.argsort(-largest)
    return [int(i) for i in order if wanted[i]][:BEST_PATCHES]


def generate(
    fits: Sequence[MuscleFit],
    patterns: npt.NDArray[np.float32],
    count: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Make new patterns around those of real muscles.

    Parameters are drawn around those of a kept pattern (normal in their logarithms), sizes are
    those of kept patterns, and what their fits left over is laid on top. They start up to
    `LEAD_S` before activation, as the positive patterns do.

    Args:
        fits: Of the patterns that are kept; all plausible.
        patterns: (N, STEPS) these patterns in pixels.
        count: How many to make.
        rng: Source of chance.

    Returns:
        (count, STEPS) distances in pixels.
    """
    logs = np.log([[fit.alpha, fit.beta, fit.rise_s] for fit in fits])
    largest = patterns.max(axis=1, keepdims=True)
    leftover = patterns / largest - [muscle_pattern(f.alpha, f.beta, f.rise_s) for f in fits]
    low, high = (np.array(ends) for ends in zip(*_bounds(), strict=True))
    around = rng.integers(len(fits), size=count)
    drawn = logs[around] + rng.normal(size=(count, 3)) * GENERATED_SPREAD * logs.std(axis=0)
    leads = rng.uniform(0, LEAD_S, count)
    parameters = np.column_stack([np.exp(np.clip(drawn, low, high)), leads])
    shapes = np.array([muscle_pattern(*each) for each in parameters.tolist()])
    shapes += leftover[rng.integers(len(fits), size=count)]
    made: npt.NDArray[np.float32] = (np.abs(shapes) * largest[around]).astype(np.float32)
    return made


def _bounds() -> list[tuple[float, float]]:
    """Limits of the logarithms of α, β and rise time; wider than what is plausible."""
    ends = ((ALPHA_RANGE[0] / 2, ALPHA_RANGE[1] * 2), (BETA_RANGE[0] / 2, BETA_RANGE[1] * 2))
    return [(float(np.log(a)), float(np.log(b))) for a, b in (*ends, _RISE_RANGE)]
