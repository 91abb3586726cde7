"""Local temporal patterns: how far a patch is from where it was, over the third of a second since.

A pattern starts at some moment and holds the distances of the following `STEPS` moments, 1/30 s
apart, from it. At an onset it rises like an S. Times, not frames, are fixed: between two frames
coordinates are interpolated, so that 30 and 200 frames a second give the same pattern.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

PATTERN_S = 0.3
"""Length of a pattern in seconds (published: the mean micro-expression)."""

STEPS = 9
"""Distances in a pattern."""

FEATURES = STEPS + 1
"""A pattern's size and its distances, which are shares of the largest."""

UNIT_PX = 0.2
"""CN is `UNIT_PX` over the largest distance: 1 for a clear micro-expression, more for less."""

CN_LIMIT = 10.0
"""Largest CN (published)."""

_OFFSETS = np.arange(STEPS + 1) * (PATTERN_S / STEPS) - PATTERN_S
"""The moments of a pattern, seconds before its last."""


def pattern_at(
    times: npt.NDArray[np.float64], coordinates: Array, now: float | None = None
) -> Array | None:
    """The patterns of all patches that end now.

    Args:
        times: (N,) rising seconds.
        coordinates: (N, 12, 2) displacement in canonical pixels.
        now: When they end; the last time when None.

    Returns:
        (12, STEPS) distances in pixels; None where less than a pattern is known.
    """
    moments = (times[-1] if now is None else now) + _OFFSETS
    if len(times) < 2 or times[0] > moments[0] + 1e-6:
        return None
    right = np.clip(np.searchsorted(times, moments - 1e-9), 1, len(times) - 1)
    left = right - 1
    share = ((moments - times[left]) / (times[right] - times[left])).astype(np.float32)
    at = coordinates[left]
    at += np.clip(share, 0, 1)[:, np.newaxis, np.newaxis] * (coordinates[right] - at)
    moved = at[1:] - at[0]
    moved *= moved
    distances: Array = np.sqrt(moved[..., 0] + moved[..., 1]).T
    return distances


def features_of(distances: Array) -> Array:
    """What the machine sees of patterns.

    Args:
        distances: (..., STEPS) distances in pixels.

    Returns:
        (..., FEATURES): CN, then the distances as shares of the largest.
    """
    features = np.empty((*distances.shape[:-1], FEATURES), np.float32)
    largest = np.maximum(distances.max(axis=-1, keepdims=True), 1e-6)
    np.divide(distances, largest, out=features[..., 1:])
    np.minimum(UNIT_PX / largest, CN_LIMIT, out=features[..., :1])
    return features


def distances_of(features: Array) -> Array:
    """The pixels that features were made of, where CN is below its limit.

    Args:
        features: (..., FEATURES) as `features_of` gives them.

    Returns:
        (..., STEPS) distances in pixels; too small ones where CN was cut off.
    """
    distances: Array = features[..., 1:] * (UNIT_PX / features[..., :1])
    return distances
