"""What viewers are told; how it looks is tested in a browser."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.events import EventKind, EventState
from streamer.dashboard.instruments import panel
from streamer.dashboard.live_session import LiveSession
from streamer.dashboard.sink import DashboardSink
from streamer.dashboard.views import Cursor, LiveView, about
from streamer.recording.status import RecordingStatus
from streamer.sinks.base import SessionInfo, SessionMetrics
from tests.dashboard.fake_pipeline import FakePipeline, scripted
from tests.dashboard.test_dashboard_sink import frame

NOTHING = "\N{EN DASH}"
LIMIT = 60_000
"""Bytes; what one look may weigh at most, however long the session."""


@pytest.fixture
def info() -> SessionInfo:
    live = LiveSession(lambda sinks: FakePipeline(sinks, frames=0), [])
    live.start()
    live.close()
    assert live.session_info is not None
    return live.session_info


class Control:
    """A session in a given condition."""

    def __init__(self, metrics: SessionMetrics | None = None, **state: object) -> None:
        self.running = True
        self.error: str | None = None
        self.threshold_factor: float | None = 6.0
        self._metrics = metrics
        self.__dict__.update(state)

    def metrics(self) -> SessionMetrics | None:
        return self._metrics


def figures(**changes: object) -> SessionMetrics:
    metrics = SessionMetrics(
        captured=1000,
        analysed=990,
        lost={},
        fps_asked=200.0,
        fps_measured=199.7,
        latency_ms={"capture_to_score": {"p50": 1.6, "p95": 3.0, "p99": 4.5, "max": 9.0}},
        cores=0.42,
        peak_memory_mb=400.0,
        source_state="live",
        end_state="running",
        interval_ms={"p50": 5.0, "p95": 5.1, "p99": 5.3, "max": 9.0},
        buffers={"alignment": 0.1, "analysis": 0.25, "sinks": 0.0},
    )
    return replace(metrics, **changes)  # type: ignore[arg-type]


def told(control: Control, sink: DashboardSink) -> dict[str, Any]:
    return panel(control, sink)  # type: ignore[arg-type]


def tile(control: Control, sink: DashboardSink, name: str) -> dict[str, Any]:
    return next(tile for tile in told(control, sink)["tiles"] if tile["name"] == name)


def look(control: Control, sink: DashboardSink, **seen: int) -> dict[str, Any]:
    view = LiveView(control, sink)  # type: ignore[arg-type]
    view.renew_panel()
    return json.loads(json.dumps(view.since(Cursor(**seen)), allow_nan=False))


def test_before_the_first_session(sink: DashboardSink) -> None:
    document = look(Control(running=False, threshold_factor=None), sink)
    assert document["about"] is None
    assert document["figures"]["state"]["text"] == "Ready"
    assert document["points"]["time_s"] == document["events"] == document["markers"] == []


def test_the_second_look_holds_only_what_is_new(sink: DashboardSink, info: SessionInfo) -> None:
    sink.open(info)
    for index in range(10):
        sink.on_frame(frame(index / 10, math.nan if index == 3 else 0.2))
    sink.on_event(scripted(0))
    view = LiveView(Control(figures()), sink)  # type: ignore[arg-type]
    view.renew_panel()
    first = view.since(Cursor())
    assert first["about"]["truth"]
    assert first["points"]["score"][3] is None
    assert [event["id"] for event in first["events"]] == [1]
    seen = Cursor(**{name: first[name] for name in Cursor.__dataclass_fields__})
    second = view.since(seen)
    assert second["points"]["time_s"] == second["events"] == []
    assert "about" not in second
    assert "figures" not in second
    assert len(json.dumps(second)) < 300
    sink.journal.mark(0.5, 100, "stimulus", "AR")
    assert view.since(seen)["markers"] == [{"time_s": 0.5, "text": "stimulus"}]


def test_a_look_stays_small_however_long_the_session(
    sink: DashboardSink, info: SessionInfo
) -> None:
    truth = tuple(
        {
            "kind": "micro",
            "emotion": "negative",
            "action_units": [1, 4],
            "onset_s": 3.0 * n,
            "apex_s": 3.0 * n + 0.1,
            "offset_s": 3.0 * n + 0.2,
        }
        for n in range(1200)
    )
    sink.open(replace(info, truth=truth))
    for step in range(70 * 50):  # the end of an hour
        sink.on_frame(frame(3530 + step / 50, 10 * math.sin(step), gap_before=step % 2))
    for number in range(1200):
        sink.on_event(scripted(number))
    notes = tuple(f"Note number {n} of this long session." for n in range(100))
    first = look(Control(figures(notes=notes)), sink)
    assert len(json.dumps(first)) < 4 * LIMIT
    later = look(
        Control(figures(notes=notes)),
        sink,
        session=first["session"],
        point=first["point"],
        revision=1200,
    )
    assert len(json.dumps(later)) < LIMIT
    assert len(later["figures"]["banners"]) == 6


def test_an_event_carries_what_was_said_of_it(sink: DashboardSink, info: SessionInfo) -> None:
    sink.open(info)
    sink.on_event(scripted(0))
    first = look(Control(figures()), sink)
    (event,) = first["events"]
    assert (event["state"], event["kind"], event["verdict"]) == ("closed", "micro", None)
    assert event["probabilities"]["negative"] == 0.72
    assert event["offset_s"] - event["onset_s"] == pytest.approx(0.24)
    sink.on_event(scripted(1))
    seen = {name: look(Control(figures()), sink)[name] for name in ("session", "revision")}
    from tests.dashboard.test_journal import said  # noqa: PLC0415 - shared helper

    sink.journal.edit(said(1, "relabel", emotion="surprise"))
    (event,) = look(Control(figures()), sink, **seen)["events"]
    assert (event["emotion"], event["found_emotion"]) == ("surprise", "negative")
    assert event["reviewers"] == ["AR"]


def test_the_truth_stands_beside_what_was_found_one_to_one(
    sink: DashboardSink, info: SessionInfo
) -> None:
    sink.open(info)
    sink.on_frame(frame(9.0))
    found, wrong_kind = scripted(0), replace(scripted(1), kind=EventKind.MACRO)
    twice = replace(found, id=7, onset_s=found.onset_s + 0.05)
    for event in (found, twice, wrong_kind):
        sink.on_event(event)
    truth = told(Control(figures()), sink)["truth"]
    # Three expressions have begun; the third may still be found.
    assert truth["summary"].startswith("1 of 2 found, 2 detections match none")
    assert [row["found"] for row in truth["rows"]] == [1, "missed", None]


def test_what_is_to_come_is_not_given_away(sink: DashboardSink, info: SessionInfo) -> None:
    sink.open(info)
    sink.on_frame(frame(0.5))
    assert told(Control(), sink)["truth"]["rows"] == []
    sink.on_frame(frame(1.1))  # in the middle of the first
    (row,) = told(Control(), sink)["truth"]["rows"]
    assert row["offset_s"] == 1.1


def test_a_source_without_truth_shows_none(sink: DashboardSink, info: SessionInfo) -> None:
    sink.open(replace(info, truth=None))
    assert told(Control(figures()), sink)["truth"] is None
    assert look(Control(figures()), sink)["about"]["truth"] is False


@pytest.mark.parametrize(
    ("control", "shown"),
    [
        (Control(figures()), "Analysing"),
        (Control(figures(source_state="stalled")), "Stalled"),
        (Control(figures(source_state="reconnecting")), "Reconnecting"),
        (Control(figures(source_state="waiting")), "Waiting"),
        (Control(figures(source_state="ended")), "Finishing"),
        (Control(figures(end_state="finished"), running=False), "Ended"),
        (Control(figures(end_state="interrupted"), running=False), "Stopped"),
        (Control(figures(end_state="failed"), running=False, error="It broke."), "Failed"),
    ],
)
def test_the_state_of_the_session_is_said(
    sink: DashboardSink, info: SessionInfo, control: Control, shown: str
) -> None:
    sink.open(info)
    document = told(control, sink)
    assert document["state"]["text"] == shown
    if control.error:
        assert document["banners"][0] == {"tone": "bad", "text": "It broke."}


@pytest.mark.parametrize(
    ("metrics", "text"),
    [
        (figures(notes=("Recognition is off.",)), "Recognition is off."),
        (figures(fps_measured=120.0), "120 of 200 frames a second"),
    ],
)
def test_what_the_operator_must_know_is_said(
    sink: DashboardSink, info: SessionInfo, metrics: SessionMetrics, text: str
) -> None:
    sink.open(info)
    assert any(text in banner["text"] for banner in told(Control(metrics), sink)["banners"])


@pytest.mark.parametrize(
    ("changes", "name", "value", "note", "tone"),
    [
        ({}, "Frame rate", "199.7", "200 asked for", ""),
        ({"fps_asked": None, "fps_measured": None}, "Frame rate", NOTHING, "nothing asked for", ""),
        ({"lost": {"alignment_overrun": 1234}}, "Lost frames", "1,234", "overrun 1,234", "bad"),
        ({}, "Lost frames", "0", "of 1,000 captured", "good"),
        ({}, "Capture to score", "1.6", "99 % within 4.5 ms", ""),
        ({}, "Jitter", "0.30", "interval 5.00", ""),
        ({"interval_ms": {}}, "Jitter", NOTHING, "", ""),
        ({"buffers": {"analysis": 0.75}}, "Buffers", "75%", "analysis 75%", "warn"),
        ({"source_counters": {"stalls": 2, "black": 7}}, "Source", "stalls 2", "black 7", "warn"),
    ],
)
def test_the_instruments_say_what_was_measured(
    sink: DashboardSink,
    info: SessionInfo,
    changes: dict[str, Any],
    name: str,
    value: str,
    note: str,
    tone: str,
) -> None:
    sink.open(replace(info, source=replace(info.source, live=True)))
    found = tile(Control(figures(**changes)), sink, name)
    assert (found["value"], found["tone"]) == (value, tone)
    assert note in found["note"]


@pytest.mark.parametrize(
    ("calibration", "value", "note"),
    [
        (None, "None", "not calibrated"),
        (
            {"verdict": "fit", "age_s": 5400, "subject": "P07"},
            "Fit",
            "1.5 hours old at the start; P07",
        ),
        ({"verdict": "not fit", "age_s": 3 * 86_400}, "Not fit", "3 days old at the start"),
    ],
)
def test_the_calibration_and_its_age_are_said(
    sink: DashboardSink,
    info: SessionInfo,
    calibration: dict[str, object] | None,
    value: str,
    note: str,
) -> None:
    sink.open(replace(info, calibration=calibration))
    found = tile(Control(figures()), sink, "Calibration")
    assert (found["value"], found["note"]) == (value, note)


@pytest.mark.parametrize(
    ("status", "value", "note", "tone"),
    [
        (None, "Off", "no picture is stored", ""),
        (RecordingStatus("recording", 12_345, {}), "12,345", "nothing left out", "good"),
        (RecordingStatus("recording", 9, {"recording_overrun": 3}), "9", "overrun 3", "warn"),
        (RecordingStatus("failed", 9, {"recording_failed": 3}), "9", "failed 3", "bad"),
    ],
)
def test_storage_and_recording_are_said(
    sink: DashboardSink,
    info: SessionInfo,
    tmp_path: Path,
    status: RecordingStatus | None,
    value: str,
    note: str,
    tone: str,
) -> None:
    sink.open(replace(info, folder=tmp_path))
    control = Control(figures(recording=status))
    found = tile(control, sink, "Recording")
    assert (found["value"], found["tone"]) == (value, tone)
    assert note in found["note"]
    assert tile(control, sink, "Disk")["unit"] == "GB left"
    assert told(control, sink)["recording"] == (status is not None)


def test_whether_and_under_whose_consent_a_session_is_stored_is_said(
    sink: DashboardSink, info: SessionInfo, tmp_path: Path
) -> None:
    sink.open(info)
    assert told(Control(figures()), sink)["storage"]["stored"] is False
    assert tile(Control(figures()), sink, "Storage")["note"] == "nothing is stored; see Setup"
    consent = {"confirmed_by": "AR", "confirmed_utc": "2026-01-01T10:00:00Z", "text": "glint-1"}
    configuration = {"subject": "P07", "consent": consent}
    sink.open(replace(info, folder=tmp_path, configuration=configuration))
    storage = told(Control(figures()), sink)["storage"]
    assert (storage["stored"], storage["subject"]) == (True, "P07")
    assert storage["consent"] == "glint-1, confirmed by AR, 2026-01-01 10:00 UTC"
    assert str(tmp_path.parent) not in json.dumps(storage)  # a browser learns no path


def test_a_learned_engine_is_shown_with_its_manifest(info: SessionInfo) -> None:
    engines = {
        "recognizer": {"name": "ststnet", "version": "1.0", "backend": "onnx", "fallback": None},
        "spotter": {"name": "flow", "version": "1.0"},
        "aligner": {"name": "../../etc/passwd", "version": ""},
    }
    document = about(replace(info, engines=engines))
    assert document is not None
    learned, *others = document["engines"]
    assert json.loads(learned["manifest"])["name"] == "ststnet"
    assert [engine["manifest"] for engine in others] == [None, None]


def test_unfinished_and_withdrawn_events_are_told_apart(
    sink: DashboardSink, info: SessionInfo
) -> None:
    sink.open(info)
    event = replace(scripted(0), state=EventState.CONFIRMED, offset_s=None, kind=None)
    sink.on_event(event)
    assert look(Control(figures()), sink)["events"][0]["state"] == "confirmed"
    sink.on_event(replace(event, state=EventState.WITHDRAWN, quality=("blink",)))
    document = look(Control(figures()), sink)
    assert document["events"][0]["state"] == "withdrawn"
    assert "withdrawn: blink 1" in document["figures"]["summary"]
