"""Spot, then recognise: one number for a system that does both.

STRS is the F1 of spotting times the F1 of recognition among what was spotted (Liong, See, Chan:
Spot-then-recognize, Signal Processing: Image Communication 110, 2023). The F1 of recognition is
that of the unweighted means of precision and recall over the classes.

The published script lets one detection match several truths, leaves out subjects without a
detection and videos without a truth, so that their false alarms do not count, and prints the mean
precision as UAR. Here matching is one to one, every recording counts, and recall is recall.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines.evaluation.recognition import Confusion, confusion_matrix, scores
from engines.evaluation.spotting import MIN_IOU, Recording, Tally, match, of_kind, pool, tally
from engines.events import EventKind

UNNAMED = "(none)"
"""The class of a detection to which no emotion was given."""


@dataclass(frozen=True, slots=True)
class SpotThenRecognise:
    """Scores of a system that spots and recognises.

    Attributes:
        strs: `spotting.f1` times `analysis_f1`.
        spotting: Counts of the spotting.
        analysis_precision: Mean precision over the classes, among what was spotted.
        analysis_recall: Mean recall.
        analysis_f1: Harmonic mean of the two.
        uf1: Mean F1 over the classes, as `engines.evaluation.recognition` takes it.
        uar: Mean recall over the classes that were spotted.
        classes: Names of the C classes.
        confusion: (C, C) counts among what was spotted, truth in rows.
    """

    strs: float
    spotting: Tally
    analysis_precision: float
    analysis_recall: float
    analysis_f1: float
    uf1: float
    uar: float
    classes: tuple[str, ...]
    confusion: Confusion


@dataclass(frozen=True, slots=True)
class Judged:
    """One recording: its spotting, and true and given emotion of what was spotted."""

    spotting: Tally
    pairs: tuple[tuple[str, str], ...]
    emotions: frozenset[str]


def spot_then_recognise(
    recordings: Sequence[Recording],
    kind: EventKind | None = None,
    min_iou: float = MIN_IOU,
    classes: Sequence[str] | None = None,
) -> SpotThenRecognise:
    """Judge spotting and recognition together.

    Args:
        recordings: Truths with their emotion, detections with theirs. A truth whose emotion is
            not known counts in spotting only.
        kind: Micro, macro, or None for whatever the kind.
        min_iou: Smallest IoU of a true positive.
        classes: All classes; None takes every emotion that a truth or a detection has, as the
            published script does.
    """
    return combine([judge(recording, kind, min_iou) for recording in recordings], classes)


def judge(recording: Recording, kind: EventKind | None, min_iou: float) -> Judged:
    """Judge one recording by itself."""
    truths = of_kind(recording.truths, kind)
    found = of_kind(recording.detections, kind)
    pairs = [
        (truths[each.truth].emotion, found[each.detection].emotion or UNNAMED)
        for each in match(truths, found, min_iou)
    ]
    return Judged(
        spotting=tally(recording, kind, min_iou),
        pairs=tuple((truth, guess) for truth, guess in pairs if truth is not None),
        emotions=frozenset(i.emotion for i in (*truths, *found) if i.emotion is not None),
    )


def combine(judged: Sequence[Judged], classes: Sequence[str] | None = None) -> SpotThenRecognise:
    """Pool recordings before any ratio is taken; see `spot_then_recognise`."""
    pairs = [pair for each in judged for pair in each.pairs]
    seen = frozenset().union(*(each.emotions for each in judged))
    names = tuple(sorted(seen) if classes is None else classes)
    if any(guess == UNNAMED for _, guess in pairs):
        names = (*names, UNNAMED)
    place = {name: at for at, name in enumerate(names)}
    truth = np.array([place[emotion] for emotion, _ in pairs], np.int64)
    guess = np.array([place[emotion] for _, emotion in pairs], np.int64)
    confusion = confusion_matrix(truth, guess, len(names))
    real = [at for at, name in enumerate(names) if name != UNNAMED]
    hits = np.diag(confusion)[real]
    precision = _mean_share(hits, confusion.sum(axis=0)[real])
    recall = _mean_share(hits, confusion.sum(axis=1)[real])
    analysis_f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    spotting = pool(each.spotting for each in judged)
    named = scores(truth, guess, len(names)) if pairs else None
    return SpotThenRecognise(
        strs=spotting.f1 * analysis_f1,
        spotting=spotting,
        analysis_precision=precision,
        analysis_recall=recall,
        analysis_f1=analysis_f1,
        uf1=named.uf1 if named else math.nan,
        uar=named.uar if named else math.nan,
        classes=names,
        confusion=confusion,
    )


def _mean_share(hits: Confusion, of: Confusion) -> float:
    """Mean of the ratios; a class without any counts as 0, as in the published script."""
    shares = np.divide(hits, of, out=np.zeros(len(hits)), where=of > 0)
    return float(shares.mean()) if len(shares) else 0.0
