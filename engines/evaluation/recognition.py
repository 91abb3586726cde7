"""Figures of merit for recognition: UF1, UAR, accuracy, with intervals over subjects.

UF1 and UAR are the unweighted means over the classes of F1 and recall, as See et al. define them
for MEGC 2019 ("MEGC 2019 – the second facial micro-expressions grand challenge", FG 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.integer[Any]]
Confusion = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RecognitionScores:
    """Scores of one set of predictions.

    Attributes:
        uf1: Unweighted mean F1 over the classes that occur in truth or prediction.
        uar: Unweighted mean recall over the classes that occur in the truth.
        accuracy: Share of correct predictions.
        confusion: (C, C) counts, truth in rows, prediction in columns.
    """

    uf1: float
    uar: float
    accuracy: float
    confusion: Confusion


def confusion_matrix(truth: Labels, predicted: Labels, classes: int) -> Confusion:
    """Count predictions: truth in rows, prediction in columns.

    Args:
        truth: (N,) class indices.
        predicted: (N,) class indices.
        classes: Number of classes C.

    Returns:
        (C, C) int64.
    """
    cells = np.asarray(truth, np.int64) * classes + np.asarray(predicted, np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def scores(truth: Labels, predicted: Labels, classes: int) -> RecognitionScores:
    """UF1, UAR, accuracy and confusion of pooled predictions.

    Args:
        truth: (N,) class indices, N at least 1.
        predicted: (N,) class indices.
        classes: Number of classes.

    Returns:
        The scores; folds are pooled before any ratio is taken, as MEGC 2019 does.
    """
    confusion = confusion_matrix(truth, predicted, classes)
    hits = np.diag(confusion)
    relevant = confusion.sum(axis=1)
    seen = relevant + confusion.sum(axis=0)
    return RecognitionScores(
        uf1=float(np.mean(2 * hits[seen > 0] / seen[seen > 0])),
        uar=float(np.mean(hits[relevant > 0] / relevant[relevant > 0])),
        accuracy=float(hits.sum() / confusion.sum()),
        confusion=confusion,
    )


def subject_interval(
    measure: Callable[[npt.NDArray[np.intp]], float],
    subjects: npt.NDArray[np.generic],
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval in which whole subjects are drawn.

    Samples of one person are not independent, so a bootstrap over samples would be too narrow.

    Args:
        measure: Figure of merit of the samples at the given indices (an index may repeat).
        subjects: (N,) subject of each sample.
        level: Coverage of the interval.
        draws: Number of bootstrap draws.
        seed: Seed of the draws.

    Returns:
        Lower and upper end.
    """
    members = [np.flatnonzero(subjects == subject) for subject in np.unique(subjects)]
    rng = np.random.default_rng(seed)
    values = [
        measure(np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))]))
        for _ in range(draws)
    ]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
