"""Precision and recall of a spotter at every confidence, and the area under that curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.evaluation.spotting import MIN_IOU, Recording, of_kind, temporal_iou
from engines.events import EventKind

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """What remains when detections below a score are left out.

    Attributes:
        score: (D,) scores of the detections, falling.
        precision: (D,) of the detections down to each score.
        recall: (D,) of the same.
        average_precision: Area under the curve; NaN without a truth, or where a detection has no
            score.
    """

    score: FloatArray
    precision: FloatArray
    recall: FloatArray
    average_precision: float


def precision_recall(
    recordings: Sequence[Recording], kind: EventKind | None = None, min_iou: float = MIN_IOU
) -> PrecisionRecall:
    """Rank the detections of all recordings by score and walk down.

    As in object detection (Everingham et al., The Pascal Visual Object Classes challenge, IJCV
    2010): each detection takes the truth that it overlaps most and that no stronger detection took.
    The area is that under the highest precision at this recall or a higher one.

    Args:
        recordings: Their scores must be comparable.
        kind: Micro, macro, or None for whatever the kind.
        min_iou: Smallest IoU of a true positive.
    """
    ranked: list[tuple[float, bool]] = []  # score of a detection, and whether it is right
    truths = 0
    for recording in recordings:
        true = of_kind(recording.truths, kind)
        found = of_kind(recording.detections, kind)
        truths += len(true)
        scores = [math.nan if d.score is None else d.score for d in found]
        free = temporal_iou(true, found)
        for column in np.argsort(scores)[::-1]:
            right = False
            if len(true):
                row = int(free[:, column].argmax())
                right = bool(free[row, column] >= min_iou - 1e-9)
                if right:
                    free[row] = -1
            ranked.append((scores[column], right))
    ranked.sort(key=lambda each: -each[0])
    score = np.array([each for each, _ in ranked], np.float64)
    hits = np.cumsum([right for _, right in ranked], dtype=np.float64)
    precision = hits / np.arange(1, len(ranked) + 1)
    recall = hits / truths if truths else np.full(len(ranked), math.nan)
    if not truths or np.isnan(score).any():
        return PrecisionRecall(score, precision, recall, math.nan)
    # Detections of one score stand or fall together: a step of the curve ends with the last one.
    last = np.flatnonzero(np.diff(score, append=-math.inf))
    envelope = np.maximum.accumulate(precision[last][::-1])[::-1]
    area = float(np.sum(np.diff(recall[last], prepend=0.0) * envelope))
    return PrecisionRecall(score, precision, recall, area)
