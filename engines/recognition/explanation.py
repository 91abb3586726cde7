"""What carried a recogniser's answer, found by occlusion.

The movement of one region of the face at a time is taken out of what the network sees, and the fall
of the answer's log-odds is what the region had to do with it (Zeiler and Fergus, ECCV 2014). It
needs no gradient and so works on any exported graph. It says what the *network* went by, which is
not why the person moved, and it cannot show what regions carry only together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from engines.motion.canonical import REGION_NAMES
from engines.motion.regions import RegionWeights
from engines.recognition.base import EventClip

REACH_PX = 7.0
"""Sigma of the patch that is taken out around a region, in canonical pixels."""

LEAST_SHARE = 0.02
"""Regions and moments with less than this are not named."""

MEAN_CENTRES = (
    (48.8, 34.5), (27.4, 35.8), (79.0, 34.3), (100.8, 35.5),  # brows
    (42.1, 41.3), (85.7, 41.2),  # eyelids
    (34.7, 67.9), (93.0, 68.0),  # cheeks
    (48.5, 74.3), (78.8, 74.5),  # nose wings
    (63.6, 85.5), (63.7, 99.6), (42.1, 86.7), (85.8, 86.9),  # lips, mouth corners
    (63.6, 113.7),  # chin
)  # fmt: skip
"""Where the regions of `REGION_NAMES` lie on an average canonical face; used without landmarks."""


def region_centres(clip: EventClip) -> npt.NDArray[np.float32]:
    """(R, 2) x and y of the regions in canonical pixels, of this person where landmarks are known.

    Args:
        clip: The event's aligned faces.
    """
    if clip.mesh is None:
        return np.array(MEAN_CENTRES, np.float32)
    return RegionWeights(clip.mesh).centres


def region_masks(
    centres: npt.NDArray[np.float32],
    columns: npt.NDArray[np.floating[Any]],
    rows: npt.NDArray[np.floating[Any]],
) -> npt.NDArray[np.float32]:
    """How much of each cell belongs to each region.

    Args:
        centres: (R, 2) as `region_centres`.
        columns: (W,) x of a picture's columns in canonical pixels.
        rows: (H,) y of its rows.

    Returns:
        (R, H, W) float32 in 0…1.
    """
    across = np.exp(-((columns - centres[:, :1]) ** 2) / (2 * REACH_PX**2))
    down = np.exp(-((rows - centres[:, 1:]) ** 2) / (2 * REACH_PX**2))
    return np.asarray(down[:, :, None] * across[:, None, :], np.float32)


def log_odds(logits: npt.NDArray[np.floating[Any]], answer: int) -> npt.NDArray[np.float64]:
    """Log-odds of one class.

    Args:
        logits: (N, C) logits, or logarithms of probabilities.
        answer: The class.

    Returns:
        (N,) float64.
    """
    exact = logits.astype(np.float64)
    others = logsumexp(np.delete(exact, answer, axis=1), axis=1)
    return np.asarray(exact[:, answer] - others)


def blame(whole: float, without: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Share of each part in an answer.

    Args:
        whole: Log-odds of the answer.
        without: (K,) log-odds where one part at a time is taken out.

    Returns:
        (K,) shares of the falls, of sum 1; zeros where nothing falls.
    """
    falls = np.maximum(whole - without.astype(np.float64), 0.0)
    total = float(falls.sum())
    return np.asarray(falls / total if total > 0 else falls)


def named_regions(
    shares: npt.NDArray[np.floating[Any]], names: Sequence[str] = REGION_NAMES
) -> dict[str, float]:
    """Shares by name, the largest first; what is below `LEAST_SHARE` is left out."""
    order = np.argsort(-shares, kind="stable")
    return {names[at]: float(shares[at]) for at in order if shares[at] >= LEAST_SHARE}
