"""Events as JSON: the same fields wherever an event leaves Glint."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from engines.events import Event, Explanation


def event_document(event: Event) -> dict[str, Any]:
    """Return the fields of an event, JSON-ready; times are stream time in seconds."""
    return {
        "id": event.id,
        "kind": event.kind.value if event.kind else None,
        "onset_s": _rounded(event.onset_s),
        "apex_s": _rounded(event.apex_s),
        "offset_s": _rounded(event.offset_s),
        "onset_frame": event.onset_frame,
        "apex_frame": event.apex_frame,
        "offset_frame": event.offset_frame,
        "score": _rounded(event.score),
        "regions": event.regions,
        "emotion": event.emotion,
        "probabilities": _rounded_all(event.probabilities),
        "action_units": _rounded_all(event.action_units),
        "unit_probabilities": _rounded_all(event.unit_probabilities),
        "explanation": _explained(event.explanation),
        "spotter": event.spotter,
        "recognizer": event.recognizer,
        "decided_s": _rounded(event.decided_s),
        "quality": event.quality,
    }


def finite(value: Any) -> Any:
    """Make a tree JSON-ready: JSON has no NaN and no infinity, they become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def json_line(document: Mapping[str, Any]) -> str:
    """Return a document as one line of JSON, without the line's end."""
    return json.dumps(finite(document), ensure_ascii=False, allow_nan=False)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)


def _explained(explanation: Explanation | None) -> dict[str, Any] | None:
    if explanation is None:
        return None
    document: dict[str, Any] = {
        "regions": {name: round(share, 3) for name, share in explanation.regions.items()},
        "frames": [(_rounded(time_s), round(share, 3)) for time_s, share in explanation.frames],
    }
    if explanation.movements:  # hundreds of numbers, and few networks tell
        document["movements"] = [
            [round(value, 2) for value in each] for each in explanation.movements
        ]
    return document


def _rounded_all(values: Mapping[str, float] | None) -> dict[str, float | None] | None:
    return None if values is None else {name: _rounded(value) for name, value in values.items()}
