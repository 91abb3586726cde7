"""What other programs are told while a session runs."""

import io
import json
import time
from dataclasses import replace

import numpy as np
import pytest

from engines.events import EventState
from streamer.errors import SessionError
from streamer.sinks.base import Sink
from streamer.sinks.json_lines import JsonLinesSink
from streamer.sinks.lab_streaming_layer import (
    EVENTS_STREAM,
    FRAMES_STREAM,
    LabStreamingLayerSink,
    measure_offset,
)
from tests.sinks.session_records import EVENT, METRICS, RECORD, SESSION

STATES = (EventState.TENTATIVE, EventState.CONFIRMED, EventState.CLOSED)


def test_json_lines_tell_every_state_of_an_event():
    stream = io.StringIO()
    sink = JsonLinesSink(stream)
    assert isinstance(sink, Sink)
    sink.open(SESSION)
    sink.on_frame(RECORD)
    for state in STATES:
        sink.on_event(replace(EVENT, state=state))
    sink.close(METRICS)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["state"] for line in lines] == ["tentative", "confirmed", "closed"]
    assert lines[-1]["kind"] == "micro"
    assert lines[-1]["offset_s"] == 1.3


def test_a_reader_that_has_gone_is_told_in_a_sentence():
    class Broken(io.StringIO):
        def flush(self):
            raise BrokenPipeError

    with pytest.raises(SessionError, match="has gone"):
        JsonLinesSink(Broken()).on_event(EVENT)


@pytest.fixture
def pylsl():
    return pytest.importorskip("pylsl", reason="needs the Lab Streaming Layer")


def inlet_of(pylsl, name):
    (found,) = pylsl.resolve_byprop("name", name, 1, 10)
    inlet = pylsl.StreamInlet(found)
    inlet.open_stream(10)
    return inlet


def test_an_inlet_receives_frames_and_events_at_their_times(pylsl):
    sink = LabStreamingLayerSink()
    assert isinstance(sink, Sink)
    sink.open(SESSION)
    frames, events = (inlet_of(pylsl, name) for name in (FRAMES_STREAM, EVENTS_STREAM))
    start = time.perf_counter()
    to_lsl = pylsl.local_clock() - start
    motion = np.arange(30, dtype=np.float32).reshape(15, 2) / 7
    for index in (0, 1, 4, 5):  # two frames were lost
        gap = 2 if index == 4 else 0
        sink.on_frame(
            replace(
                RECORD,
                index=index,
                time_s=index / 200,
                host_s=start + index / 200,
                gap_before=gap,
                motion=motion,
            )
        )
    for state in STATES:
        sink.on_event(replace(EVENT, state=state, onset_s=4 / 200))

    received = [frames.pull_sample(10) for _ in range(4)]
    assert [sample[:3] for sample, _ in received] == [
        [0.0, 0.0, 0.0],
        [1.0, 0.005, 0.0],
        [4.0, 0.02, 2.0],
        [5.0, 0.025, 0.0],
    ]
    np.testing.assert_array_equal(received[0][0][6:], motion.ravel().astype(float))
    expected = [start + index / 200 + to_lsl for index in (0, 1, 4, 5)]
    assert [stamp for _, stamp in received] == pytest.approx(expected, abs=1e-3)

    told = [events.pull_sample(10) for _ in range(2)]
    assert [json.loads(line)["state"] for (line,), _ in told] == ["confirmed", "closed"]
    assert [stamp for _, stamp in told] == pytest.approx([expected[2]] * 2, abs=1e-3)

    description = frames.info(10).as_xml()
    assert "<can_drop_samples>true</can_drop_samples>" in description
    assert "<label>left_mouth_corner_x</label>" in description
    sink.close(METRICS)
    assert pylsl.resolve_byprop("name", FRAMES_STREAM, 1, 0.5) == []


def test_the_offset_between_two_clocks_is_found():
    offset, uncertainty = measure_offset(lambda: time.perf_counter() + 1234.5)
    assert offset == pytest.approx(1234.5, abs=uncertainty + 1e-6)


def test_without_the_library_the_remedy_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pylsl", None)
    with pytest.raises(SessionError, match="lab extra"):
        LabStreamingLayerSink().open(SESSION)
