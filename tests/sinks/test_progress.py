from dataclasses import replace

from engines.events import EventKind, EventState
from streamer.sinks.base import Sink
from streamer.sinks.progress import ProgressSink
from tests.sinks.session_records import EVENT, METRICS, RECORD, SESSION


def test_events_are_counted_when_they_close(capsys):
    sink = ProgressSink(bar=False)
    assert isinstance(sink, Sink)
    sink.open(SESSION)
    sink.on_frame(replace(RECORD, time_s=1.5))
    sink.on_event(replace(EVENT, state=EventState.CONFIRMED))
    sink.on_event(replace(EVENT, state=EventState.WITHDRAWN))
    sink.on_event(EVENT)
    sink.on_event(replace(EVENT, id=2, kind=EventKind.MACRO, emotion=None, recognizer=None))
    sink.close(METRICS)
    assert sink.events == {EventKind.MICRO: 1, EventKind.MACRO: 1}
    assert sink.emotions == {"positive": 1}
    assert sink.seconds == 1.5
    assert capsys.readouterr().err == ""


def test_a_bar_is_drawn_for_a_source_with_an_end(capsys):
    sink = ProgressSink(bar=True)
    sink.open(SESSION)
    sink.on_event(EVENT)
    for _ in range(400):
        sink.on_frame(RECORD)
    sink.close(METRICS)
    drawn = capsys.readouterr().err
    assert "clip.mp4" in drawn
    assert "/400 " in drawn


def test_no_bar_for_a_camera(capsys):
    sink = ProgressSink(bar=True)
    sink.open(replace(SESSION, source=replace(SESSION.source, live=True, frames=None)))
    sink.on_frame(RECORD)
    sink.close(METRICS)
    assert capsys.readouterr().err == ""
