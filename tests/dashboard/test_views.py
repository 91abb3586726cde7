from __future__ import annotations

import math
from dataclasses import replace

import pytest

from engines.events import EventKind, EventState
from streamer.dashboard.live_session import LiveSession
from streamer.dashboard.sink import DashboardSink
from streamer.dashboard.views import MAX_ROWS, Panels, Views
from streamer.recording.status import RecordingStatus
from streamer.sinks.base import SessionInfo, SessionMetrics
from tests.dashboard.fake_pipeline import FakePipeline, scripted
from tests.dashboard.test_dashboard_sink import frame

ATTACK = '<script>alert("x")</script>&\'"><img src=x onerror=alert(1)>'
LIMIT = 60_000
"""Bytes; what one panel may weigh at most, however long the session."""


@pytest.fixture
def views() -> Views:
    return Views()


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
    )
    return replace(metrics, **changes)  # type: ignore[arg-type]


def render(views: Views, control: Control, sink: DashboardSink) -> Panels:
    return views.panels(control, sink.snapshot())  # type: ignore[arg-type]


def text(panels: Panels) -> str:
    return panels.status + panels.figures + panels.timeline + panels.detections


def test_before_the_first_session(views: Views, sink: DashboardSink) -> None:
    panels = render(views, Control(running=False, threshold_factor=None), sink)
    assert "Ready" in panels.status
    assert "No score yet." in panels.timeline
    assert "No detection yet." in panels.detections
    assert "do not prove lying" in panels.status


def test_every_string_is_escaped(views: Views, sink: DashboardSink, info: SessionInfo) -> None:
    hostile = replace(
        info,
        source=replace(info.source, name=ATTACK, notes=(ATTACK,)),
        engines={ATTACK: {"name": ATTACK, "version": ATTACK, "backend": ATTACK}},
        truth=(
            {
                "kind": ATTACK,
                "emotion": ATTACK,
                "action_units": [ATTACK],
                "onset_s": 0.5,
                "apex_s": 0.6,
                "offset_s": 0.7,
            },
        ),
    )
    sink.open(hostile)
    sink.on_frame(frame(2.0, state=ATTACK, flags=(ATTACK,)))
    sink.on_event(
        replace(
            scripted(0), emotion=ATTACK, regions=(ATTACK,), quality=(ATTACK,), probabilities=None
        )
    )
    sink.on_event(replace(scripted(1), state=EventState.WITHDRAWN, quality=(ATTACK,)))
    metrics = figures(lost={ATTACK: 3}, notes=(ATTACK + "2",), source_state=ATTACK)
    for running in (True, False):
        html = text(render(views, Control(metrics, running=running, error=ATTACK), sink))
        assert "<script" not in html
        assert "<img" not in html
        assert "onerror=alert(1)&gt;" in html


def test_panels_stay_small_however_long_the_session(
    views: Views, sink: DashboardSink, info: SessionInfo
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
    for step in range(70 * 20):  # the end of an hour
        sink.on_frame(frame(3530 + step / 20, 10 * math.sin(step), gap_before=step % 2))
    for number in range(1200):
        sink.on_event(scripted(number))
    notes = tuple(f"Note number {n} of this long session." for n in range(100))
    panels = render(views, Control(figures(notes=notes)), sink)
    for panel in (panels.status, panels.figures, panels.timeline, panels.detections):
        assert len(panel) < LIMIT
    assert panels.detections.count("<tr") <= 2 * (MAX_ROWS + 1)
    assert panels.timeline.count("L") <= 3 * 601


def test_the_truth_stands_beside_what_was_found_one_to_one(
    views: Views, sink: DashboardSink, info: SessionInfo
) -> None:
    sink.open(info)
    sink.on_frame(frame(9.0))
    found, wrong_kind = scripted(0), replace(scripted(1), kind=EventKind.MACRO)
    twice = replace(found, id=7, onset_s=found.onset_s + 0.05)
    for event in (found, twice, wrong_kind):
        sink.on_event(event)
    html = render(views, Control(figures()), sink).detections
    # Three expressions have begun; the third may still be found.
    assert "1 of 2 found, 2 detections match none" in html
    assert html.count("not found") == 1
    assert "#1</td>" in html


def test_what_is_to_come_is_not_given_away(
    views: Views, sink: DashboardSink, info: SessionInfo
) -> None:
    sink.open(info)
    sink.on_frame(frame(0.5))
    assert "No expression has begun yet." in render(views, Control(), sink).detections


def test_a_source_without_truth_shows_none(
    views: Views, sink: DashboardSink, info: SessionInfo
) -> None:
    sink.open(replace(info, truth=None))
    assert "Truth" not in text(render(views, Control(figures()), sink))


def test_the_line_is_broken_where_nothing_was_measured(
    views: Views, sink: DashboardSink, info: SessionInfo
) -> None:
    sink.open(info)
    for step in range(100):
        blind = 40 <= step < 50
        sink.on_frame(frame(step / 10 + 0.01, math.nan if step == 70 else 0.2, success=not blind))
    html = render(views, Control(figures()), sink).timeline
    line = html.split('class="glint-line" d="')[1].split('"')[0]
    assert line.count("M") == 3
    assert "nan" not in html
    assert html.count('class="glint-blind"') == 1


def test_micro_and_macro_and_unfinished_events_are_told_apart(
    views: Views, sink: DashboardSink, info: SessionInfo
) -> None:
    sink.open(replace(info, truth=None))
    sink.on_frame(frame(9.9))
    sink.on_event(scripted(0))
    sink.on_event(scripted(2))
    html = render(views, Control(figures()), sink).timeline
    micro, macro = html.split('class="glint-lane-name">')[1:3]
    assert micro.count("glint-span") == 1
    assert "glint-e-negative" in micro
    assert macro.count("glint-span") == 1
    assert "glint-e-surprise" in macro
    assert "glint-open" not in html.split('class="glint-plot"')[1]
    sink.on_event(
        replace(
            scripted(2), id=4, state=EventState.CONFIRMED, onset_s=9.8, offset_s=None, kind=None
        )
    )
    html = render(views, Control(figures()), sink).timeline
    assert html.count("glint-open") == 2  # in its lane and behind the score


@pytest.mark.parametrize(
    ("control", "shown"),
    [
        (Control(figures()), "Analysing"),
        (Control(figures(source_state="stalled")), "Stalled"),
        (Control(figures(source_state="reconnecting")), "Reconnecting"),
        (Control(figures(source_state="ended")), "Finishing"),
        (Control(figures(end_state="finished"), running=False), "Finished"),
        (Control(figures(end_state="interrupted"), running=False), "Stopped"),
        (Control(figures(end_state="failed"), running=False, error="It broke."), "It broke."),
        (Control(figures(lost={"alignment_overrun": 1234})), "alignment overrun 1234"),
        (Control(figures(notes=("Recognition is off.",))), "Recognition is off."),
        (Control(figures(fps_measured=120.0)), "120 of 200 frames a second"),
        (Control(figures(fps_measured=None, fps_asked=None, latency_ms={})), "nothing asked for"),
        (Control(figures()), "99 % within 4.5 ms"),
        (Control(figures()), "Spotter"),
        (Control(figures(), threshold_factor=7.5), "threshold factor 7.5"),
    ],
)
def test_the_state_of_the_session_is_said(
    views: Views, sink: DashboardSink, info: SessionInfo, control: Control, shown: str
) -> None:
    sink.open(info)
    sink.on_frame(frame(1.0))
    panels = render(views, control, sink)
    assert shown in panels.status + panels.figures


@pytest.mark.parametrize(
    ("calibration", "shown"),
    [
        (None, "not calibrated"),
        ({"verdict": "fit", "age_s": 5400, "subject": "P07"}, "1.5 hours old at the start; P07"),
        ({"verdict": "not fit", "age_s": 3 * 86_400}, "3 days old at the start"),
    ],
)
def test_the_calibration_and_its_age_are_said(
    views: Views,
    sink: DashboardSink,
    info: SessionInfo,
    calibration: dict[str, object] | None,
    shown: str,
) -> None:
    sink.open(replace(info, calibration=calibration))
    html = render(views, Control(figures()), sink).figures
    assert shown in html
    assert str(calibration["verdict"]).capitalize() in html if calibration else "None" in html


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (None, "no picture is stored"),
        (RecordingStatus("recording", 12_345, {}), "12,345"),
        (RecordingStatus("recording", 12_345, {}), "nothing left out"),
        (RecordingStatus("recording", 9, {"recording_overrun": 3}), "recording overrun 3"),
        (RecordingStatus("failed", 9, {"recording_failed": 3}), "glint-bad"),
    ],
)
def test_the_recording_is_said(
    views: Views,
    sink: DashboardSink,
    info: SessionInfo,
    status: RecordingStatus | None,
    shown: str,
) -> None:
    sink.open(info)
    assert shown in render(views, Control(figures(recording=status)), sink).figures


def test_what_the_source_counted_is_said(
    views: Views, sink: DashboardSink, info: SessionInfo
) -> None:
    sink.open(info)
    quiet = render(views, Control(figures(source_counters={"stalls": 0})), sink).figures
    assert "stalls" not in quiet
    told = render(views, Control(figures(source_counters={"stalls": 2, "black": 7})), sink).figures
    assert "stalls 2" in told
    assert "black 7" in told
