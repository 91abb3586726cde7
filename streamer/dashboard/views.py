"""What the page shows, as JSON-ready values. The browser sets them as text, never as HTML."""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from engines.evaluation.spotting import Interval, interval_of_event, match
from engines.events import Event, EventKind, EventState
from streamer.dashboard.control import SessionControl
from streamer.dashboard.sink import MAX_EVENTS, Changes, DashboardSink, Snapshot
from streamer.dashboard.timeline import colour_of
from streamer.recording.status import RecordingStatus
from streamer.review.annotations import ReviewedEvent
from streamer.sinks.base import SessionInfo, SessionMetrics
from streamer.sinks.documents import event_document, finite
from streamer.sources.base import SourceState

MAX_TRUTHS = 60
"""Scripted expressions that are told, the newest."""

SLOW_SHARE = 0.9
"""A rate below this share of what was asked is pointed out."""

PANEL_S = 0.5
"""The figures are made anew this often, once for all viewers."""

_NOTHING = "\N{EN DASH}"
_TIMES = "\N{MULTIPLICATION SIGN}"
_ASSETS = files("streamer.dashboard") / "assets"
_MAX_BANNERS = 6
_PENDING_S = 2.0  # after the end of a truth, until its detection must have been closed
_LITTLE_DISK_GB = 5.0
_FULL_BUFFER = 0.5
_STAGES = {
    "capture": "Capture",
    "capture_to_align": "Waiting for alignment",
    "align": "Alignment",
    "flow": "Motion",
    "spot": "Spotting",
    "analyse": "Motion and spotting",
    "capture_to_score": "Capture to score",
    "confirmed_to_emotion": "Confirmation to emotion",
    "sinks": "Sinks",
}

Document = dict[str, Any]


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
        return [event_row(each, self._sink.apexes.has(each.event.id)) for each in reviewed]


def event_row(reviewed: ReviewedEvent, picture: bool) -> Document:
    """Return a detection with what was said of it."""
    event = reviewed.event
    return {
        **event_document(event),
        "state": event.state.value,
        "action_units": getattr(event, "action_units", None),
        "colour": colour_of(event.emotion),
        "found_emotion": reviewed.found_emotion,
        "verdict": reviewed.verdict,
        "notes": reviewed.notes,
        "reviewers": reviewed.reviewers,
        "picture": picture,
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


def panel(control: SessionControl, sink: DashboardSink) -> Document:
    """Return the state and every figure of the session."""
    snapshot = sink.snapshot()
    running = control.running
    metrics = control.metrics() or snapshot.ended
    session = snapshot.session
    light = sink.light.warnings() if running else ()
    truth = None if session is None else session.truth
    return {
        "running": running,
        "state": _state(running, control.error, session, metrics),
        "storage": _storage(session),
        "recording": metrics is not None and metrics.recording is not None and running,
        "hidden": sink.hidden,
        "thumbnails": sink.apexes.wanted,
        "banners": _banners(control, running, session, metrics, light),
        "tiles": _tiles(control, snapshot, metrics, sink, light),
        "stages": _stages(metrics),
        "threshold_factor": control.threshold_factor,
        "summary": _summary(snapshot),
        "truth": None if truth is None else _truth(truth, snapshot),
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


# -- state and banners -----------------------------------------------------------------------


def _banners(
    control: SessionControl,
    running: bool,
    session: SessionInfo | None,
    metrics: SessionMetrics | None,
    light: Sequence[str],
) -> list[Document]:
    notes: list[str] = []
    if session is not None:
        notes += session.source.notes
    if metrics is not None:
        notes += metrics.notes
    notes += light
    banners = [{"tone": "warn", "text": note} for note in dict.fromkeys(notes)]
    if running and metrics is not None and _slow(metrics):
        text = (
            f"The source delivers {metrics.fps_measured:.0f} of {metrics.fps_asked:.0f} frames a "
            "second that were asked for; short expressions may be missed."
        )
        banners.insert(0, {"tone": "warn", "text": text})
    if control.error is not None:
        banners.insert(0, {"tone": "bad", "text": control.error})
    if len(banners) > _MAX_BANNERS:
        more = len(banners) - _MAX_BANNERS + 1
        banners = banners[: _MAX_BANNERS - 1]
        banners.append({"tone": "warn", "text": f"{more} more notes are in the session folder."})
    return banners


def _state(
    running: bool, error: str | None, session: SessionInfo | None, metrics: SessionMetrics | None
) -> Document:
    if not running:
        if error is not None:
            return {"tone": "bad", "text": "Failed"}
        if metrics is None:
            return {"tone": "idle", "text": "Ready"}
        ended = {"finished": ("idle", "Ended"), "failed": ("bad", "Failed")}
        tone, text = ended.get(metrics.end_state, ("idle", "Stopped"))
        return {"tone": tone, "text": text}
    state = SourceState.LIVE.value if metrics is None else metrics.source_state
    if state in (SourceState.ENDED.value, SourceState.CLOSED.value):
        return {"tone": "good", "text": "Finishing"}
    if state != SourceState.LIVE.value:  # stalled, reconnecting, waiting
        return {"tone": "warn", "text": state.capitalize()}
    live = session is None or session.source.live
    return {"tone": "good", "text": "Live" if live else "Analysing"}


def _source(session: SessionInfo) -> str:
    source = session.source
    colour = "colour" if source.channels == 3 else "gray"
    size = f"{source.width} {_TIMES} {source.height} {colour}"
    return f"{source.name}, {size}, {source.fps_nominal:g} frames a second"


def _storage(session: SessionInfo | None) -> Document:
    if session is None or session.folder is None:
        return {"stored": False, "folder": None, "subject": None, "consent": None}
    configuration = session.configuration
    consent = configuration.get("consent")
    return {
        "stored": True,
        "folder": session.folder.name,
        "subject": configuration.get("subject"),
        "consent": None
        if consent is None
        else f"{consent['text']}, confirmed by {consent['confirmed_by']}, "
        f"{str(consent['confirmed_utc'])[:16].replace('T', ' ')} UTC",
    }


# -- figures ---------------------------------------------------------------------------------


def _tiles(
    control: SessionControl,
    snapshot: Snapshot,
    metrics: SessionMetrics | None,
    sink: DashboardSink,
    light: Sequence[str],
) -> list[Document]:
    measured = _measured(metrics, snapshot.session) if metrics is not None else _unmeasured()
    tiles = [
        *measured,
        _face(snapshot),
        _light(sink, light),
        *_recording(snapshot.session, metrics),
        _calibration(snapshot.session),
        _threshold(control, snapshot),
    ]
    return [{"unit": "", "note": "", "tone": "", **tile} for tile in tiles]


def _measured(metrics: SessionMetrics, session: SessionInfo | None) -> list[Document]:
    asked, fps = metrics.fps_asked, metrics.fps_measured
    lost = sum(metrics.lost.values())
    latency = metrics.latency_ms.get("capture_to_score")
    interval = metrics.interval_ms
    jitter = interval["p99"] - interval["p50"] if interval else None
    return [
        {
            "name": "Frame rate",
            "value": _NOTHING if fps is None else f"{fps:.1f}",
            "unit": "fps",
            "note": "nothing asked for" if asked is None else f"{asked:g} asked for",
            "tone": "warn" if _slow(metrics) else "",
        },
        {
            "name": "Lost frames",
            "value": f"{lost:,}",
            "note": _counted(metrics.lost) or f"of {metrics.captured:,} captured",
            "tone": "bad" if lost else "good",
        },
        {
            "name": "Capture to score",
            "value": _NOTHING if latency is None else f"{latency['p50']:.1f}",
            "unit": "ms median",
            "note": "" if latency is None else f"99 % within {latency['p99']:.1f} ms",
        },
        {
            "name": "Jitter",
            "value": _NOTHING if jitter is None else f"{jitter:.2f}",
            "unit": "ms",
            "note": f"interval {interval['p50']:.2f}, 99 % within {interval['p99']:.2f} ms"
            if interval
            else "",
        },
        _buffers(metrics, session),
        {
            "name": "Machine",
            "value": f"{metrics.cores:.2f}",
            "unit": "cores",
            "note": f"{metrics.peak_memory_mb:,.0f} MB at most",
        },
        *_faults(metrics.source_counters),
    ]


def _unmeasured() -> list[Document]:
    names = ("Frame rate", "Lost frames", "Capture to score", "Jitter", "Buffers", "Machine")
    return [{"name": name, "value": _NOTHING} for name in names]


def _buffers(metrics: SessionMetrics, session: SessionInfo | None) -> Document:
    if not metrics.buffers:
        return {"name": "Buffers", "value": _NOTHING}
    fullest = max(metrics.buffers.values())
    live = session is not None and session.source.live
    return {
        "name": "Buffers",
        "value": f"{fullest:.0%}",
        "unit": "full",
        "note": ", ".join(f"{stage} {fill:.0%}" for stage, fill in metrics.buffers.items())
        if live
        else "a file waits: full ones lose nothing",
        "tone": "warn" if live and fullest > _FULL_BUFFER else "",
    }


def _recording(session: SessionInfo | None, metrics: SessionMetrics | None) -> list[Document]:
    status = None if metrics is None else metrics.recording
    folder = None if session is None else session.folder
    if folder is None:
        return [{"name": "Storage", "value": "Off", "note": "nothing is stored; see Setup"}]
    try:
        free_gb = shutil.disk_usage(folder).free / 1e9
    except OSError:
        return [{"name": "Disk", "value": "Gone", "tone": "bad"}, _pictures(status)]
    disk = {
        "name": "Disk",
        "value": f"{free_gb:,.0f}" if free_gb >= 10 else f"{free_gb:.1f}",
        "unit": "GB left",
        "tone": "warn" if free_gb < _LITTLE_DISK_GB else "",
    }
    return [disk, _pictures(status)]


def _pictures(status: RecordingStatus | None) -> Document:
    if status is None:
        return {"name": "Recording", "value": "Off", "note": "no picture is stored"}
    return {
        "name": "Recording",
        "value": f"{status.frames:,}",
        "unit": "frames",
        "note": _counted(status.lost)
        or ("nothing left out" if status.state != "failed" else "the disk is full"),
        "tone": "bad" if status.state == "failed" else "warn" if status.lost else "good",
    }


def _faults(counters: Mapping[str, int]) -> list[Document]:
    """What the source counted; nothing is shown while there is nothing."""
    seen = [f"{name.replace('_', ' ')} {n}" for name, n in counters.items() if n]
    if not seen:
        return []
    return [{"name": "Source", "value": seen[0], "note": ", ".join(seen[1:]), "tone": "warn"}]


def _face(snapshot: Snapshot) -> Document:
    last = snapshot.last
    if last is None:
        return {"name": "Face", "value": _NOTHING}
    flags = ", ".join(flag.replace("_", " ") for flag in last.flags)
    across = "" if last.box is None else f"{last.box[2]:.0f} pixels wide, "
    return {
        "name": "Face",
        "value": last.state.capitalize(),
        "note": flags or (f"{across}confidence {last.confidence:.0%}" if last.success else ""),
        "tone": "" if last.success and not flags else "warn",
    }


def _light(sink: DashboardSink, warnings: Sequence[str]) -> Document:
    level = sink.light.luminance
    return {
        "name": "Light",
        "value": _NOTHING if level is None else f"{level:.0f}",
        "unit": "of 255",
        "note": warnings[0] if warnings else "mean grey of the face",
        "tone": "warn" if warnings else "",
    }


def _calibration(session: SessionInfo | None) -> Document:
    if session is None:
        return {"name": "Calibration", "value": _NOTHING}
    used = session.calibration
    if used is None:
        return {"name": "Calibration", "value": "None", "note": "not calibrated", "tone": "warn"}
    tones = {"fit": "good", "fit with warnings": "warn"}
    whom = ", ".join(str(used[key]) for key in ("camera", "subject") if used.get(key))
    hours = used["age_s"] / 3600
    age = f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.1f} hours"
    return {
        "name": "Calibration",
        "value": str(used["verdict"]).capitalize(),
        "note": f"{age} old at the start{f'; {whom}' if whom else ''}",
        "tone": tones.get(used["verdict"], "bad"),
    }


def _threshold(control: SessionControl, snapshot: Snapshot) -> Document:
    factor, last = control.threshold_factor, snapshot.last
    now = ""
    if last is not None and math.isfinite(last.threshold):
        now = f"score {last.score:.2f}, threshold {last.threshold:.2f} now"
    return {
        "name": "Threshold factor",
        "value": _NOTHING if factor is None else f"{factor:g}",
        "note": now,
    }


def _stages(metrics: SessionMetrics | None) -> list[Document]:
    if metrics is None:
        return []
    return [
        {"name": name, "p50": figures["p50"], "p99": figures["p99"], "max": figures["max"]}
        for stage, name in _STAGES.items()
        if (figures := metrics.latency_ms.get(stage)) is not None
    ]


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


def _slow(metrics: SessionMetrics) -> bool:
    asked, fps = metrics.fps_asked, metrics.fps_measured
    return asked is not None and fps is not None and fps < SLOW_SHARE * asked


def _counted(causes: Mapping[str, int]) -> str:
    return ", ".join(f"{cause.replace('_', ' ')} {n:,}" for cause, n in causes.items())


# -- detections and truth --------------------------------------------------------------------


def _summary(snapshot: Snapshot) -> str:
    counts = [f"{snapshot.detected.get(kind.value, 0)} {kind.value}" for kind in EventKind]
    summary = ", ".join(counts)
    if snapshot.reasons:
        most = sorted(snapshot.reasons.items(), key=lambda item: -item[1])[:5]
        summary += "; withdrawn: " + ", ".join(
            f"{reason.replace('_', ' ')} {n}" for reason, n in most
        )
    return summary


def _truth(truth: Sequence[Mapping[str, Any]], snapshot: Snapshot) -> Document:
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
