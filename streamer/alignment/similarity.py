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
        share = weights / weights.sum()
        source_mean, target_mean = share @ source, share @ target
        centred = source - source_mean
        weighted = share * centred.conj()
        a = complex(weighted @ (target - target_mean)) / (weighted @ centred).real
        return Similarity(complex(a), complex(target_mean - a * source_mean))


def to_points(xy: npt.NDArray[Any]) -> Points:
    """Turn (N, 2 or more) coordinates into N complex points."""
    flat = np.ascontiguousarray(xy[:, :2], dtype=np.float64)
    return flat.view(np.complex128).ravel()


def to_xy(points: Points) -> npt.NDArray[np.float32]:
    """Turn N complex points into (N, 2) float32 coordinates."""
    return points.view(np.float64).reshape(-1, 2).astype(np.float32)
