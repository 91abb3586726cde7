from __future__ import annotations

import sys
import threading
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.events import EventState
from streamer.dashboard.sink import HISTORY_S, MAX_EVENTS, STEP_S, DashboardSink
from streamer.sinks.base import FrameRecord, Sink
from tests.dashboard.fake_pipeline import scripted

MOTION = np.zeros((15, 2), np.float32)


def frame(time_s: float, score: float = 0.1, **changes: object) -> FrameRecord:
    record = FrameRecord(
        index=round(time_s * 200),
        time_s=time_s,
        host_s=0.0,
        gap_before=0,
        face_id=0,
        confidence=1.0,
        success=True,
        pose=(0.0, 0.0, 0.0),
        box=None,
        landmarks=None,
        state="following",
        flags=(),
        score=score,
        threshold=0.5,
        motion=MOTION,
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def test_it_is_a_sink() -> None:
    assert isinstance(DashboardSink(), Sink)


@given(
    fps=st.sampled_from([5.0, 30.0, 200.0, 1000.0]),
    seconds=st.floats(0.1, 8.0),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=25, deadline=None)
def test_the_highest_score_of_the_history_is_kept_at_every_rate(
    fps: float, seconds: float, seed: int
) -> None:
    scores = np.random.default_rng(seed).random(max(1, int(seconds * fps)))
    sink = DashboardSink()
    for index, score in enumerate(scores):
        sink.on_frame(frame(index / fps, float(score), gap_before=index % 2))
    points = sink.snapshot().points
    assert max(point.score for point in points) == scores.max()
    assert sum(point.lost for point in points) == sum(i % 2 for i in range(len(scores)))
    assert len(points) <= seconds / STEP_S + 2
    times = [point.time_s for point in points]
    assert times == sorted(times)


def test_the_history_is_bounded_by_time() -> None:
    sink = DashboardSink()
    for index in range(20 * 90):
        sink.on_frame(frame(index / 20))
    points = sink.snapshot().points
    assert len(points) <= HISTORY_S / STEP_S + 1
    assert points[0].time_s >= 90 - HISTORY_S - STEP_S
    sink.on_frame(frame(1000.0))  # after a long gap nothing old is left
    assert [point.time_s for point in sink.snapshot().points] == [1000.0]


def test_a_measured_score_wins_over_one_without_a_face() -> None:
    sink = DashboardSink()
    sink.on_frame(frame(0.01, 0.0, success=False))
    sink.on_frame(frame(0.02, 0.3))
    sink.on_frame(frame(0.03, 9.0, success=False))
    (point,) = sink.snapshot().points
    assert (point.score, point.face) == (0.3, True)


def test_events_are_kept_by_id_newest_first() -> None:
    sink = DashboardSink()
    first, second = scripted(0), scripted(1)
    sink.on_event(replace(first, state=EventState.TENTATIVE, kind=None))
    sink.on_event(replace(second, state=EventState.TENTATIVE, kind=None))
    sink.on_event(first)
    snapshot = sink.snapshot()
    assert [(event.id, event.state.value) for event in snapshot.events] == [
        (2, "tentative"),
        (1, "closed"),
    ]
    assert snapshot.detected == {"micro": 1}
    sink.on_event(replace(first, emotion="surprise"))  # told again: counted once
    assert sink.snapshot().detected == {"micro": 1}


def test_withdrawn_events_leave_the_detections_and_are_counted_by_reason() -> None:
    sink = DashboardSink()
    event = scripted(0)
    sink.on_event(replace(event, state=EventState.TENTATIVE))
    sink.on_event(replace(event, state=EventState.WITHDRAWN, quality=("blink",)))
    snapshot = sink.snapshot()
    assert snapshot.events == ()
    assert snapshot.reasons == {"blink": 1}
    assert [event.id for event in snapshot.withdrawn] == [1]


def test_events_are_bounded() -> None:
    sink = DashboardSink()
    for number in range(MAX_EVENTS + 50):
        sink.on_event(scripted(number))
    snapshot = sink.snapshot()
    assert len(snapshot.events) == MAX_EVENTS
    assert snapshot.events[0].id == MAX_EVENTS + 50
    assert sum(snapshot.detected.values()) == MAX_EVENTS + 50


def test_a_new_session_starts_empty(session, sink) -> None:  # type: ignore[no-untyped-def]
    sink.on_frame(frame(5.0))
    sink.on_event(scripted(0))
    session.start()
    snapshot = sink.snapshot()
    assert snapshot.session is session.session_info
    assert snapshot.events == ()
    assert snapshot.now_s < 5.0


def test_snapshots_are_whole_while_frames_arrive() -> None:
    sink = DashboardSink()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    done = threading.Event()

    def write() -> None:
        for index in range(5_000):
            sink.on_frame(frame(index / 100, index))
            sink.on_event(scripted(index))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not done.is_set():
            snapshot = sink.snapshot()
            scores = [point.score for point in snapshot.points]
            assert scores == sorted(scores)
            if snapshot.last is not None:
                assert scores[-1] == snapshot.last.score
    finally:
        writer.join()
        sys.setswitchinterval(interval)
