"""What the page shows, as JSON-ready values. The browser sets them as text, never as HTML."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from streamer.dashboard.control import SessionControl
from streamer.dashboard.instruments import Document, panel
from streamer.dashboard.sink import Changes, DashboardSink
from streamer.dashboard.timeline import colour_of
from streamer.review.annotations import ReviewedEvent
from streamer.sinks.base import SessionInfo
from streamer.sinks.documents import event_document, finite

PANEL_S = 0.5
"""The figures are made anew this often, once for all viewers."""

_TIMES = "\N{MULTIPLICATION SIGN}"
_ASSETS = files("streamer.dashboard") / "assets"


def asset(name: str) -> str:
    """Return a file of the dashboard's assets."""
    return (_ASSETS / name).read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a viewer has seen.

    Attributes:
        session: Number of the session.
        point: Number of the next point of the timeline.
        revision: Revision of the detections.
        entry: Number of the next entry of the journal.
        panel: Number of the panel.
    """

    session: int = 0
    point: int = 0
    revision: int = 0
    entry: int = 0
    panel: int = 0


class LiveView:
    """Tells each viewer what it has not seen.

    Args:
        control: Starts, stops and describes the session.
        sink: Remembers what is shown.
    """

    def __init__(self, control: SessionControl, sink: DashboardSink) -> None:
        self._control, self._sink = control, sink
        self._lock = threading.Lock()
        self._panel: Document = {}
        self._panel_number = 0
        self._panel_due_s = 0.0

    @property
    def panel_is_due(self) -> bool:
        """Whether `renew_panel` has something to do."""
        return time.monotonic() >= self._panel_due_s

    def renew_panel(self) -> None:
        """Make the figures anew, when it is time; takes milliseconds."""
        with self._lock:
            if self.panel_is_due:
                self._panel_due_s = time.monotonic() + PANEL_S
                self._panel = panel(self._control, self._sink)
                self._panel_number += 1

    def changed(self) -> None:
        """Let the next look see new figures: somebody has just changed something."""
        self._panel_due_s = 0.0

    def since(self, seen: Cursor) -> Document:
        """Return what has happened since a viewer's last look, JSON-ready."""
        changes = self._sink.changes(seen.session, seen.point, seen.revision)
        fresh = changes.session != seen.session
        entries = self._sink.journal.since(0 if fresh else seen.entry)
        number = self._panel_number
        document: Document = {
            "session": changes.session,
            "point": changes.next_point,
            "revision": changes.revision,
            "entry": entries.number,
            "panel": number,
            "now_s": changes.now_s,
            "points": _points(changes),
            "events": self._events(changes, entries.edited),
            "markers": [
                {"time_s": marker.time_s, "text": marker.text} for marker in entries.markers
            ],
        }
        if fresh:
            document["about"] = about(self._sink.snapshot().session)
        if fresh or number != seen.panel:
            document["figures"] = self._panel
        finished: Document = finite(document)
        return finished

    def _events(self, changes: Changes, edited: frozenset[int]) -> list[Document]:
        known = {event.id: event for event in changes.events}
        if edited - known.keys():
            kept = self._sink.snapshot().events
            known |= {event.id: event for event in kept if event.id in edited}
        reviewed = self._sink.journal.reviewed(known.values())
        apexes = self._sink.apexes
        return [
            event_row(each, apexes.has(each.event.id), apexes.explains(each.event.id))
            for each in reviewed
        ]


def event_row(reviewed: ReviewedEvent, picture: bool, explained: bool) -> Document:
    """Return a detection with what was said of it.

    Args:
        reviewed: The detection.
        picture: Whether there is a picture of its apex.
        explained: Whether there is one with what carried the answer.
    """
    event = reviewed.event
    return {
        **event_document(event),
        "state": event.state.value,
        "colour": colour_of(event.emotion),
        "found_emotion": reviewed.found_emotion,
        "verdict": reviewed.verdict,
        "notes": reviewed.notes,
        "reviewers": reviewed.reviewers,
        "picture": picture,
        "explained": explained,
    }


def about(session: SessionInfo | None) -> Document | None:
    """Return what is known of a session from its start on."""
    if session is None:
        return None
    return {
        "source": _source(session),
        "truth": session.truth is not None,
        "engines": [_engine(role, engine) for role, engine in session.engines.items()],
    }


def _points(changes: Changes) -> Document:
    points = changes.points
    return {
        "time_s": [round(point.time_s, 4) for point in points],
        "score": [round(point.score, 4) for point in points],
        "threshold": [round(point.threshold, 4) for point in points],
        "measured": [int(point.face) for point in points],
        "lost": [point.lost for point in points],
    }


def _source(session: SessionInfo) -> str:
    source = session.source
    colour = "colour" if source.channels == 3 else "gray"
    size = f"{source.width} {_TIMES} {source.height} {colour}"
    return f"{source.name}, {size}, {source.fps_nominal:g} frames a second"


def _engine(role: str, engine: Mapping[str, Any]) -> Document:
    name = str(engine.get("name", "none"))
    return {
        "role": role.capitalize(),
        "name": f"{name} {engine.get('version', '')}".strip(),
        "backend": engine.get("backend"),
        "fallback": engine.get("fallback"),
        "manifest": _manifest(role, name),
    }


def _manifest(role: str, name: str) -> str | None:
    """The manifest that lies beside a learned engine's network."""
    folders = {"spotter": "spotting", "recognizer": "recognition"}
    if role not in folders or not name.isidentifier():
        return None
    file = files("engines") / folders[role] / name / f"{name}.json"
    if not file.is_file():
        return None
    return json.dumps(json.loads(file.read_text(encoding="utf-8")), indent=2, ensure_ascii=False)
