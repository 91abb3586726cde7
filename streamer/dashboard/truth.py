"""The truth of a source that knows it, beside what was found of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engines.evaluation.spotting import Interval, interval_of_event, match
from engines.events import Event, EventKind, EventState
from streamer.dashboard.sink import MAX_EVENTS, Snapshot
from streamer.dashboard.timeline import colour_of

MAX_TRUTHS = 60
"""Scripted expressions that are told, the newest."""

_PENDING_S = 2.0  # after the end of a truth, until its detection must have been closed


def truth_document(truth: Sequence[Mapping[str, Any]], snapshot: Snapshot) -> dict[str, Any]:
    """Set the truth that has begun beside what was found of it, one to one.

    What is to come is not given away.
    """
    forgotten = len(snapshot.events) >= MAX_EVENTS
    since = snapshot.events[-1].onset_s if forgotten else 0.0
    begun = [item for item in truth if since <= float(item["onset_s"]) <= snapshot.now_s]
    closed = [event for event in snapshot.events if event.state is EventState.CLOSED]
    found = _found(begun, closed)
    over = {
        position
        for position, item in enumerate(begun)
        if position in found or float(item["offset_s"]) + _PENDING_S <= snapshot.now_s
    }
    rows = [
        {
            "id": f"truth-{float(item['onset_s']):.4f}",
            "kind": str(item.get("kind", "")),
            "emotion": item.get("emotion"),
            "colour": colour_of(item.get("emotion")),
            "action_units": ", ".join(str(unit) for unit in item.get("action_units", ())),
            "onset_s": float(item["onset_s"]),
            "apex_s": float(item["apex_s"]),
            "offset_s": min(float(item["offset_s"]), snapshot.now_s),
            "found": found.get(position) or ("missed" if position in over else None),
        }
        for position, item in enumerate(begun)
    ]
    return {
        "rows": rows[-MAX_TRUTHS:],
        "summary": f"{len(found)} of {len(over)} found, "
        f"{len(closed) - len(found)} detections match none "
        "(one to one, same kind, intersection over union at least 0.5)",
    }


def _found(begun: Sequence[Mapping[str, Any]], closed: Sequence[Event]) -> dict[int, int]:
    """Return position in the truth → the detection that found it."""
    found: dict[int, int] = {}
    for kind in EventKind:
        positions = [i for i, item in enumerate(begun) if item.get("kind") == kind.value]
        events = [event for event in closed if event.kind is kind]
        if not positions or not events:
            continue
        truths = [
            Interval(float(begun[i]["onset_s"]), float(begun[i]["offset_s"]), kind)
            for i in positions
        ]
        for pair in match(truths, [interval_of_event(event) for event in events]):
            found[positions[pair.truth]] = events[pair.detection].id
    return found
