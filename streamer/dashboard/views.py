"""What the page says, as HTML. Every value passes through Jinja's escaping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined

from engines.evaluation.spotting import Interval, interval_of_event, match
from engines.events import Event, EventKind, EventState
from streamer.dashboard import timeline
from streamer.dashboard.control import SessionControl
from streamer.dashboard.overlay import MAGNIFICATION
from streamer.dashboard.sink import MAX_EVENTS, Snapshot
from streamer.recording.status import RecordingStatus
from streamer.sinks.base import SessionInfo, SessionMetrics
from streamer.sources.base import SourceState

MAX_ROWS = 30
"""Rows of each table."""

SLOW_SHARE = 0.9
"""A rate below this share of what was asked is pointed out."""

_NOTHING = "\N{EN DASH}"
_TIMES = "\N{MULTIPLICATION SIGN}"
_ASSETS = files("streamer.dashboard") / "assets"
_MAX_BANNERS = 6
_PENDING_S = 2.0  # after the end of a truth, until its detection must have been closed
_SHOWN_REGIONS = 3


@dataclass(frozen=True, slots=True)
class Panels:
    """The parts of the page that change, as HTML."""

    status: str
    figures: str
    timeline: str
    detections: str


def asset(name: str) -> str:
    """Return a file of the dashboard's assets."""
    return (_ASSETS / name).read_text(encoding="utf-8")


class Views:
    """Renders snapshots."""

    def __init__(self) -> None:
        names = [f"{n}.html" for n in ("status", "figures", "timeline", "detections", "picture")]
        templates = Environment(
            loader=DictLoader({name: asset(name) for name in names}),
            autoescape=True,
            undefined=StrictUndefined,
        )
        self._templates = {name: templates.get_template(name) for name in names}

    def picture(self, path: str) -> str:
        """Return the frame in which the live picture is shown."""
        return self._render("picture", {"path": path, "magnification": f"{MAGNIFICATION:g}"})

    def panels(self, control: SessionControl, snapshot: Snapshot) -> Panels:
        """Return everything that changes."""
        running = control.running
        metrics = control.metrics() or snapshot.ended
        session = snapshot.session
        return Panels(
            status=self._render("status", _status(control, running, session, metrics)),
            figures=self._render("figures", _figures(control, snapshot, metrics)),
            timeline=self._render("timeline", timeline.view(snapshot)),
            detections=self._render("detections", _detections(snapshot)),
        )

    def _render(self, name: str, values: Mapping[str, Any]) -> str:
        return self._templates[f"{name}.html"].render(values)


def _status(
    control: SessionControl,
    running: bool,
    session: SessionInfo | None,
    metrics: SessionMetrics | None,
) -> dict[str, Any]:
    error = control.error
    notes: list[str] = []
    if session is not None:
        notes += session.source.notes
    if metrics is not None:
        notes += metrics.notes
    banners = [{"tone": "warn", "text": note} for note in dict.fromkeys(notes)]
    if running and metrics is not None and _slow(metrics):
        text = (
            f"The source delivers {metrics.fps_measured:.0f} of {metrics.fps_asked:.0f} frames a "
            "second that were asked for; short expressions may be missed."
        )
        banners.insert(0, {"tone": "warn", "text": text})
    if error is not None:
        banners.insert(0, {"tone": "bad", "text": error})
    if len(banners) > _MAX_BANNERS:
        more = len(banners) - _MAX_BANNERS + 1
        banners = banners[: _MAX_BANNERS - 1]
        banners.append({"tone": "warn", "text": f"{more} more notes are in the session folder."})
    return {
        "state": _state(running, error, session, metrics),
        "source": _source(session),
        "banners": banners,
    }


def _state(
    running: bool, error: str | None, session: SessionInfo | None, metrics: SessionMetrics | None
) -> dict[str, str]:
    if not running:
        if error is not None:
            return {"tone": "bad", "text": "Failed"}
        if metrics is None:
            return {"tone": "idle", "text": "Ready"}
        ended = {"finished": ("idle", "Finished"), "failed": ("bad", "Failed")}
        tone, text = ended.get(metrics.end_state, ("idle", "Stopped"))
        return {"tone": tone, "text": text}
    state = SourceState.LIVE.value if metrics is None else metrics.source_state
    if state in (SourceState.STALLED.value, SourceState.RECONNECTING.value):
        return {"tone": "warn", "text": state.capitalize()}
    if state != SourceState.LIVE.value:
        return {"tone": "good", "text": "Finishing"}
    live = session is None or session.source.live
    return {"tone": "good", "text": "Live" if live else "Analysing"}


def _source(session: SessionInfo | None) -> str:
    if session is None:
        return "No session yet."
    source = session.source
    colour = "colour" if source.channels == 3 else "gray"
    size = f"{source.width} {_TIMES} {source.height} {colour}"
    return f"{source.name}, {size}, {source.fps_nominal:g} frames a second"


def _figures(
    control: SessionControl, snapshot: Snapshot, metrics: SessionMetrics | None
) -> dict[str, Any]:
    factor = control.threshold_factor
    figures = [
        *(_measured(metrics) if metrics is not None else _unmeasured()),
        _face(snapshot),
        {
            "name": "Stream time",
            "value": f"{int(snapshot.now_s) // 60}:{snapshot.now_s % 60:04.1f}",
            "unit": "min",
            "note": "" if factor is None else f"threshold factor {factor:g}",
        },
        _calibration(snapshot.session),
    ]
    engines = () if snapshot.session is None else snapshot.session.engines.items()
    return {
        "figures": [{"unit": "", "note": "", "tone": "", "wide": False, **f} for f in figures],
        "engines": [(role.capitalize(), _engine(engine)) for role, engine in engines],
    }


def _measured(metrics: SessionMetrics) -> list[dict[str, Any]]:
    asked, fps = metrics.fps_asked, metrics.fps_measured
    lost = sum(metrics.lost.values())
    causes = ", ".join(f"{cause.replace('_', ' ')} {n}" for cause, n in metrics.lost.items())
    latency = metrics.latency_ms.get("capture_to_score")
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
            "note": causes or f"of {metrics.captured:,} captured",
            "tone": "bad" if lost else "good",
        },
        {
            "name": "Capture to score",
            "value": _NOTHING if latency is None else f"{latency['p50']:.1f}",
            "unit": "ms median",
            "note": "" if latency is None else f"99 % within {latency['p99']:.1f} ms",
        },
        {
            "name": "Machine",
            "value": f"{metrics.cores:.2f}",
            "unit": "cores",
            "note": f"{metrics.peak_memory_mb:,.0f} MB at most",
        },
        _recording(metrics.recording),
        *_faults(metrics.source_counters),
    ]


def _recording(status: RecordingStatus | None) -> dict[str, Any]:
    if status is None:
        return {"name": "Recording", "value": "Off", "note": "no picture is stored"}
    causes = ", ".join(f"{cause.replace('_', ' ')} {n}" for cause, n in status.lost.items())
    return {
        "name": "Recording",
        "value": f"{status.frames:,}",
        "unit": "frames",
        "note": causes or ("nothing left out" if status.state != "failed" else "the disk is full"),
        "tone": "bad" if status.state == "failed" else "warn" if status.lost else "good",
    }


def _faults(counters: Mapping[str, int]) -> list[dict[str, Any]]:
    """What the source counted; nothing is shown while there is nothing."""
    seen = [f"{name.replace('_', ' ')} {n}" for name, n in counters.items() if n]
    if not seen:
        return []
    return [{"name": "Source", "value": seen[0], "note": ", ".join(seen[1:]), "tone": "warn"}]


def _unmeasured() -> list[dict[str, Any]]:
    names = ("Frame rate", "Lost frames", "Capture to score", "Machine")
    return [{"name": name, "value": _NOTHING} for name in names]


def _face(snapshot: Snapshot) -> dict[str, Any]:
    last = snapshot.last
    if last is None:
        return {"name": "Face", "value": _NOTHING}
    flags = ", ".join(flag.replace("_", " ") for flag in last.flags)
    return {
        "name": "Face",
        "value": last.state.capitalize(),
        "note": flags or (f"confidence {last.confidence:.0%}" if last.success else ""),
        "tone": "" if last.success and not flags else "warn",
    }


def _calibration(session: SessionInfo | None) -> dict[str, Any]:
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


def _engine(engine: Mapping[str, Any]) -> str:
    named = f"{engine.get('name', 'none')} {engine.get('version', '')}".strip()
    backend = engine.get("backend")
    return named if backend is None else f"{named} on {backend}"


def _slow(metrics: SessionMetrics) -> bool:
    asked, fps = metrics.fps_asked, metrics.fps_measured
    return asked is not None and fps is not None and fps < SLOW_SHARE * asked


def _detections(snapshot: Snapshot) -> dict[str, Any]:
    counts = [f"{snapshot.detected.get(kind.value, 0)} {kind.value}" for kind in EventKind]
    summary = ", ".join(counts)
    if snapshot.reasons:
        reasons = ", ".join(
            f"{reason.replace('_', ' ')} {n}" for reason, n in _most(snapshot.reasons)
        )
        summary += f"; withdrawn: {reasons}"
    truth = None if snapshot.session is None else snapshot.session.truth
    return {
        "summary": summary,
        "rows": [_row(event) for event in snapshot.events[:MAX_ROWS]],
        "truth": None if truth is None else _truth(truth, snapshot),
    }


def _most(reasons: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda item: -item[1])[:5]


def _row(event: Event) -> dict[str, Any]:
    probability = (event.probabilities or {}).get(event.emotion or "")
    regions = [region.replace("_", " ") for region in event.regions]
    more = len(regions) - _SHOWN_REGIONS
    return {
        "id": event.id,
        "kind": event.kind.value if event.kind else "",
        "emotion": event.emotion,
        "colour": timeline.colour_of(event.emotion),
        "confidence": None if probability is None else round(probability * 100),
        "onset": _seconds(event.onset_s),
        "apex": _seconds(event.apex_s),
        "offset": _seconds(event.offset_s),
        "duration": _NOTHING
        if event.offset_s is None
        else _duration(event.offset_s - event.onset_s),
        "regions": ", ".join(regions[:_SHOWN_REGIONS]) + (f" +{more}" if more > 0 else ""),
        "all_regions": ", ".join(regions),
        "state": event.state.value,
        "quality": ", ".join(flag.replace("_", " ") for flag in event.quality),
    }


def _truth(truth: Sequence[Mapping[str, Any]], snapshot: Snapshot) -> dict[str, Any]:
    """Set the truth that has begun beside what was found of it, one to one."""
    forgotten = len(snapshot.events) >= MAX_EVENTS
    since = snapshot.events[-1].onset_s if forgotten else 0.0
    begun = [item for item in truth if since <= float(item["onset_s"]) <= snapshot.now_s]
    closed = [event for event in snapshot.events if event.state is EventState.CLOSED]
    found = _found(begun, closed)
    over = [
        position
        for position, item in enumerate(begun)
        if position in found or float(item["offset_s"]) + _PENDING_S <= snapshot.now_s
    ]
    rows = []
    for position in range(len(begun) - 1, max(-1, len(begun) - 1 - MAX_ROWS), -1):
        item = begun[position]
        verdict = found.get(position) or ("not found" if position in over else "…")
        rows.append(
            {
                "kind": str(item.get("kind", "")),
                "emotion": str(item.get("emotion") or _NOTHING),
                "colour": timeline.colour_of(item.get("emotion")),
                "action_units": ", ".join(str(unit) for unit in item.get("action_units", ())),
                "onset": _seconds(float(item["onset_s"])),
                "apex": _seconds(float(item["apex_s"])),
                "offset": _seconds(float(item["offset_s"])),
                "found": verdict,
            }
        )
    return {
        "rows": rows,
        "summary": f"{len(found)} of {len(over)} found, "
        f"{len(closed) - len(found)} detections match none "
        "(one to one, same kind, intersection over union at least 0.5)",
    }


def _found(begun: Sequence[Mapping[str, Any]], closed: Sequence[Event]) -> dict[int, str]:
    """Return position in the truth → the detection that found it."""
    found: dict[int, str] = {}
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
            found[positions[pair.truth]] = f"#{events[pair.detection].id}"
    return found


def _seconds(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.2f}"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
