"""Similarity transforms of the plane as complex numbers: z -> a z + b.

`a` holds scale and rotation, `b` the shift; points are complex x + iy. Composition, inversion
and the least-squares fit are one line each.
"""

from __future__ import annotations

import cmath
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class Similarity:
    """z -> a z + b."""

    a: complex
    b: complex

    def __call__(self, points: Points) -> Points:
        """Transform points."""
        return self.a * points + self.b

    def at(self, point: complex) -> complex:
        """Transform one point."""
        return self.a * point + self.b

    def after(self, first: Similarity) -> Similarity:
        """Return the transform that applies `first`, then this one."""
        return Similarity(self.a * first.a, self.a * first.b + self.b)

    def inverse(self) -> Similarity:
        """Return the transform back."""
        return Similarity(1 / self.a, -self.b / self.a)

    def toward(self, fraction: float, pivot: complex) -> Similarity:
        """Return the given fraction of a transform near the identity, about `pivot`."""
        a = cmath.exp(fraction * cmath.log(self.a))
        return Similarity(a, pivot + fraction * (self.at(pivot) - pivot) - a * pivot)

    def reach(self, pivot: complex, radius: float) -> float:
        """Return how far a point within `radius` of `pivot` is shifted, at most."""
        return abs(self.at(pivot) - pivot) + radius * abs(self.a - 1)

    def matrix(self) -> npt.NDArray[np.float64]:
        """Return the 2×3 matrix that OpenCV's warps take."""
        return np.array(
            [[self.a.real, -self.a.imag, self.b.real], [self.a.imag, self.a.real, self.b.imag]]
        )

    @staticmethod
    def through(source: tuple[complex, complex], target: tuple[complex, complex]) -> Similarity:
        """Return the transform that takes two points to two points."""
        a = (target[1] - target[0]) / (source[1] - source[0])
        return Similarity(a, target[0] - a * source[0])

    @staticmethod
    def fit(source: Points, target: Points, weights: npt.NDArray[np.float64]) -> Similarity:
        """Return the weighted least-squares transform from `source` to `target`.

        Args:
            source: (N,) points, N at least 2.
            target: (N,) points.
            weights: (N,) weights, not negative, not all zero.
        """
        return Correspondence(source, target).fit(weights)


class Correspondence:
    """Points and where they have gone, to be fitted several times with other weights.

    Args:
        source: (N,) points, N at least 2.
        target: (N,) points.
    """

    def __init__(self, source: Points, target: Points) -> None:
        self._source = source
        self._target = target
        conjugate = source.conj()
        moments = np.empty((5, len(source)), np.complex128)
        moments[0] = 1.0
        moments[1] = source
        moments[2] = target
        np.multiply(conjugate, source, out=moments[3])
        np.multiply(conjugate, target, out=moments[4])
        self._moments = moments

    def fit(self, weights: npt.NDArray[np.float64]) -> Similarity:
        """Return the least-squares transform; weights (N,) are not negative, not all zero."""
        total, source, target, square, product = (self._moments @ weights).tolist()
        source_mean, target_mean = source / total, target / total
        a = (product - source.conjugate() * target_mean) / (
            square.real - (source.conjugate() * source_mean).real
        )
        return Similarity(a, target_mean - a * source_mean)

    def errors(self, step: Similarity) -> npt.NDArray[np.float64]:
        """(N,) distances between the targets and what `step` makes of the source."""
        left: npt.NDArray[np.float64] = np.abs(step.a * self._source + step.b - self._target)
        return left


def to_points(xy: npt.NDArray[Any]) -> Points:
    """Turn (N, 2 or more) coordinates into N complex points."""
    flat = np.ascontiguousarray(xy[:, :2], dtype=np.float64)
    return flat.view(np.complex128).ravel()


def to_xy(points: Points) -> npt.NDArray[np.float32]:
    """Turn N complex points into (N, 2) float32 coordinates."""
    return points.view(np.float64).reshape(-1, 2).astype(np.float32)
