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
Measures = npt.NDArray[np.float64]

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
"""Shares of the answers at which accuracy is reported."""


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
    uf1, uar, accuracy = (float(measure) for measure in measures(confusion))
    return RecognitionScores(uf1, uar, accuracy, confusion)


def measures(confusion: Confusion) -> Measures:
    """UF1, UAR and accuracy of confusion matrices.

    Args:
        confusion: (..., C, C) counts, none of the matrices empty.

    Returns:
        (3, ...) float64.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    relevant = confusion.sum(axis=-1)
    seen = relevant + confusion.sum(axis=-2)
    shares = [
        np.divide(part, of, out=np.full(hits.shape, np.nan), where=of > 0)
        for part, of in ((2 * hits, seen), (hits, relevant))
    ]
    accuracy = hits.sum(axis=-1) / relevant.sum(axis=-1)
    return np.stack([*(np.nanmean(share, axis=-1) for share in shares), accuracy])


def bootstrap_measures(
    truth: Labels,
    predicted: Labels,
    subjects: npt.NDArray[np.generic],
    classes: int,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Measures:
    """UF1, UAR and accuracy of bootstrap draws of whole subjects.

    The same subjects are drawn for every set of predictions, so that the difference of two
    results is a paired one.

    Args:
        truth: (N,) class indices.
        predicted: (N,) class indices.
        subjects: (N,) subject of each sample.
        classes: Number of classes.
        draws: Number of draws D.
        seed: Seed of the draws.

    Returns:
        (3, D) float64.
    """
    each = np.stack(
        [
            confusion_matrix(truth[subjects == subject], predicted[subjects == subject], classes)
            for subject in np.unique(subjects)
        ]
    )
    drawn = np.random.default_rng(seed).integers(len(each), size=(draws, len(each)))
    return measures(each[drawn].sum(axis=1))


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


def coverage_curve(
    confidence: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_]
) -> list[dict[str, float]]:
    """Accuracy of the most confident share of the answers, for each of `COVERAGES`.

    Args:
        confidence: (N,) probability of the most probable class, N at least 1.
        correct: (N,) whether it is the true one.

    Returns:
        Coverage, the lowest probability that is answered there, and accuracy.
    """
    order = np.argsort(-confidence, kind="stable")
    rows = []
    for coverage in COVERAGES:
        given = order[: max(1, round(coverage * len(order)))]
        rows.append(
            {
                "coverage": coverage,
                "probability": float(confidence[given[-1]]),
                "accuracy": float(correct[given].mean()),
            }
        )
    return rows
