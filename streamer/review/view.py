"""What the review page shows of a session, as trees for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from engines.evaluation.spotting import Interval, Tally, error_summary, interval_of_event, pool
from engines.recognition.registry import RECOGNIZERS
from engines.spotting.registry import SPOTTERS
from streamer.markers import read_markers
from streamer.review.annotations import Edit, ReviewedEvent, undone_lines
from streamer.review.comparison import Comparison
from streamer.review.rerun import NO_RECOGNIZER
from streamer.review.session_reader import Frames, Session
from streamer.sinks.documents import event_document, finite

FRAME_COLUMNS = ("frame", "timestamp", "success", "score", "threshold")
"""Columns of `frames.csv` that the page draws."""

_COMMON_EMOTIONS = ("negative", "positive", "surprise")


def session_view(session: Session) -> dict[str, Any]:
    """A session's events with what reviewers said, and what can be said and run."""
    events = session.reviewed()
    configuration = session.document.get("configuration") or {}
    return {
        "events": [event_view(each) for each in events],
        "edits": list(_edits(session.edits)),
        "summary": session.review_summary(),
        "emotions": _emotions(events),
        "truth": session.truth is not None,
        "size": session.document["size"],
        "notes": [*session.notes, *session.document.get("notes", ())],
        "markers": [
            {"time_s": each.time_s, "text": each.text} for each in read_markers(session.path)
        ],
        "choices": {
            "spotters": list(SPOTTERS),
            "recognizers": [*RECOGNIZERS, NO_RECOGNIZER],
            "spotter": configuration.get("spotter"),
            "recognizer": configuration.get("recognizer"),
            "threshold_factor": (configuration.get("flow_spotter") or {}).get("threshold_factor"),
        },
    }


def event_view(reviewed: ReviewedEvent) -> dict[str, Any]:
    """An event as it counts now, and as it was found."""
    found = reviewed.found
    tree: dict[str, Any] = finite(
        {
            **event_document(reviewed.event),
            "found": None if found is None else event_document(found),
            "verdict": reviewed.verdict,
            "added": reviewed.added,
            "moved": reviewed.moved,
            "relabelled": reviewed.relabelled,
            "notes": reviewed.notes,
            "reviewers": reviewed.reviewers,
        }
    )
    return tree


def frames_bytes(frames: Frames) -> bytes:
    """The frames as the page's arrays, one behind the other, little-endian.

    Returns:
        (N,) float64 times in seconds, (N,) int32 frame numbers, (N,) float32 scores, (N,) float32
        thresholds; a score is NaN where no face was measured.
    """
    score = np.where(frames["success"] > 0, frames["score"], np.nan)
    columns = (
        (frames["timestamp"], "<f8"),
        (frames["frame"], "<i4"),
        (score, "<f4"),
        (frames["threshold"], "<f4"),
    )
    return b"".join(values.astype(kind).tobytes() for values, kind in columns)


def comparison_view(comparison: Comparison) -> dict[str, Any]:
    """Reference and events with their verdicts, and a row of figures for each kind."""
    truths: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for number, pairing in enumerate(comparison.pairings):
        shared = {"pair": number, "verdict": pairing.verdict, "iou": pairing.iou}
        if pairing.truth is not None:
            truths.append({**_interval(pairing.truth), **shared})
        if pairing.event is not None:
            event = pairing.event.event
            events.append({"id": event.id, **_interval(interval_of_event(event)), **shared})
    both = pool(comparison.tallies.values())
    # Either kind watches the whole session: pooled, its length must not count twice.
    lengths = {tally.duration_s for tally in comparison.tallies.values()}
    both = replace(both, duration_s=max(lengths, default=math.nan))
    rows = [(kind.value, tally) for kind, tally in comparison.tallies.items()]
    tree: dict[str, Any] = finite(
        {
            "source": comparison.source,
            "truths": truths,
            "events": events,
            "rows": [_figures(name, tally) for name, tally in (*rows, ("both", both))],
        }
    )
    return tree


def _figures(kind: str, tally: Tally) -> dict[str, Any]:
    errors = {
        "onset": tally.onset_errors_s,
        "apex": tally.apex_errors_s,
        "offset": tally.offset_errors_s,
    }
    return {
        "kind": kind,
        "tp": tally.tp,
        "fp": tally.fp,
        "fn": tally.fn,
        "precision": tally.precision,
        "recall": tally.recall,
        "f1": tally.f1,
        "fp_per_min": tally.false_positives_per_min,
        **{
            f"{name}_{part}_s": getattr(error_summary(values), f"{part}_s")
            for name, values in errors.items()
            for part in ("bias", "median")
        },
    }


def _interval(interval: Interval) -> dict[str, Any]:
    return {
        "kind": interval.kind.value,
        "onset_s": interval.onset_s,
        "apex_s": interval.apex_s,
        "offset_s": interval.offset_s,
        "emotion": interval.emotion,
    }


def _edits(edits: Sequence[Edit]) -> Iterable[dict[str, Any]]:
    """Every line, and whether it was taken back."""
    undone = undone_lines(edits)
    for line, edit in enumerate(edits, start=1):
        document = edit.model_dump(mode="json", exclude_none=True)
        yield {**document, "line": line, "undone": line in undone}


def _emotions(events: Iterable[ReviewedEvent]) -> list[str]:
    """What an event may be: classes of the engine, and what was given already."""
    found = [each.event for each in events]
    classes = {name for event in found for name in event.probabilities or ()}
    given = {event.emotion for event in found if event.emotion}
    return [*_COMMON_EMOTIONS, *sorted((classes | given) - set(_COMMON_EMOTIONS))]
