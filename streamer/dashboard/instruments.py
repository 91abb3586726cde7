"""What the instruments of the live page say: state, warnings, figures."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from engines.events import EventKind
from streamer.dashboard.control import SessionControl
from streamer.dashboard.sink import DashboardSink, Snapshot
from streamer.dashboard.truth import truth_document
from streamer.recording.status import RecordingStatus
from streamer.sinks.base import SessionInfo, SessionMetrics
from streamer.sources.base import SourceState

SLOW_SHARE = 0.9
"""A rate below this share of what was asked is pointed out."""

_NOTHING = "\N{EN DASH}"
_MAX_BANNERS = 6
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
    "sinks": "Sinks",
}

Document = dict[str, Any]


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
        "summary": _summary(snapshot),
        "truth": None if truth is None else truth_document(truth, snapshot),
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


def _storage(session: SessionInfo | None) -> Document:
    if session is None or session.folder is None:
        return {"stored": False, "folder": None, "from_s": None, "subject": None, "consent": None}
    configuration = session.configuration
    consent = configuration.get("consent")
    return {
        "stored": True,
        "folder": session.folder.name,
        "from_s": None if session.stored_from is None else session.stored_from.time_s,
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


def _slow(metrics: SessionMetrics) -> bool:
    asked, fps = metrics.fps_asked, metrics.fps_measured
    return asked is not None and fps is not None and fps < SLOW_SHARE * asked


def _counted(causes: Mapping[str, int]) -> str:
    return ", ".join(f"{cause.replace('_', ' ')} {n:,}" for cause, n in causes.items())


def _summary(snapshot: Snapshot) -> str:
    counts = [f"{snapshot.detected.get(kind.value, 0)} {kind.value}" for kind in EventKind]
    summary = ", ".join(counts)
    if snapshot.reasons:
        most = sorted(snapshot.reasons.items(), key=lambda item: -item[1])[:5]
        summary += "; withdrawn: " + ", ".join(
            f"{reason.replace('_', ' ')} {n}" for reason, n in most
        )
    return summary
