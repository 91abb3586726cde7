"""Action-unit matrices re-encoded into clean activations, as ULME-GAN does (AUMR).

Software that measures action units gives a noisy matrix, one row a frame. ULME-GAN (Zhou et al.,
Applied Intelligence 2024, doi 10.1007/s10489-023-05213-z) drives its generator with a cleaned one:
units that are present in less than half of the frames are dropped, and the others rise in a
straight line from onset to apex, the frame with the largest sum, and fall in a straight line to
the offset.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

_PRESENT_SHARE = 0.5


def reencode(intensity: Matrix, presence: npt.NDArray[np.bool_]) -> tuple[Matrix, int]:
    """Re-encode the action-unit matrix of one expression.

    Args:
        intensity: (N, A) intensities from onset to offset, N at least 3.
        presence: (N, A) whether each unit is present.

    Returns:
        (N, A) intensities, linear from the first row to the apex and from there to the last row,
        zero in the columns of absent units; and the row of the apex, never the first or the last.

    Raises:
        ValueError: The matrices do not have the same shape, or fewer than three rows.
    """
    if intensity.shape != presence.shape or len(intensity) < 3:
        raise ValueError("intensity and presence must be of one shape with three rows or more")
    kept = np.where(presence.mean(axis=0) >= _PRESENT_SHARE, intensity, 0.0)
    last = len(kept) - 1
    apex = int(np.clip(kept.sum(axis=1).argmax(), 1, last - 1))
    rows = np.arange(len(kept), dtype=np.float64)
    columns = [np.interp(rows, (0, apex, last), column[[0, apex, last]]) for column in kept.T]
    return np.stack(columns, axis=1), apex


def measured_matrix(
    rng: np.random.Generator, strengths: Mapping[int, float], stray: tuple[int, ...], rows: int
) -> tuple[tuple[int, ...], Matrix, npt.NDArray[np.bool_]]:
    """Draw a matrix as software would measure it on an expression.

    Every unit rises and falls at a pace of its own; measurement adds noise, and stray units
    flicker for a few frames.

    Args:
        rng: Where everything is drawn from.
        strengths: Unit to its strength, the strongest being about 1.
        stray: Units that are not part of the expression.
        rows: Number of frames.

    Returns:
        The units, (rows, A) intensities and (rows, A) presence.
    """
    units = (*strengths, *stray)
    share = np.linspace(0.0, 1.0, rows)
    apex = rng.uniform(0.35, 0.6)
    columns = []
    for unit in units:
        if unit in strengths:
            peak = float(np.clip(apex + rng.normal(0.0, 0.05), 0.25, 0.75))
            slope = np.minimum(share / peak, (1 - share) / (1 - peak))
            columns.append(strengths[unit] * slope ** rng.uniform(0.6, 1.2))
        else:
            away = (share - rng.uniform(0.2, 0.8)) / rng.uniform(0.02, 0.06)
            columns.append(rng.uniform(0.1, 0.4) * np.exp(-0.5 * away**2))
    intensity = np.stack(columns, axis=1)
    intensity[1:-1] += rng.normal(0.0, 0.02, (rows - 2, len(units)))
    intensity = np.maximum(intensity, 0.0)
    return units, intensity, intensity > 0.08
