from __future__ import annotations

import math
import sys
import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.events import EventState, Explanation
from streamer.dashboard.apex_pictures import MAX_PICTURES, SIZE
from streamer.dashboard.light_watch import LightWatch
from streamer.dashboard.live_session import LiveSession
from streamer.dashboard.sink import HISTORY_S, MAX_EVENTS, STEP_S, DashboardSink
from streamer.sinks.base import FrameRecord, Sink
from tests.dashboard.fake_pipeline import FakePipeline, astronaut, scripted

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
    sink.on_frame(frame(len(scores) / fps + 1))  # ends the last step
    points = sink.changes().points
    shown = [point.score for point in points]
    assert set(shown) <= set(scores)
    assert sum(point.lost for point in points) == sum(i % 2 for i in range(len(scores)))
    assert max(shown) == scores.max()
    assert len(points) <= seconds / STEP_S + 2
    times = [point.time_s for point in points]
    assert times == sorted(times)


def test_the_history_is_bounded_by_time() -> None:
    sink = DashboardSink()
    for index in range(50 * 90):
        sink.on_frame(frame(index / 50 + 0.001))
    points = sink.changes().points
    assert len(points) == HISTORY_S / STEP_S
    assert points[0].time_s >= 90 - HISTORY_S - 3 * STEP_S


def test_a_measured_score_wins_over_one_without_a_face() -> None:
    sink = DashboardSink()
    sink.on_frame(frame(0.001, 0.0, success=False))
    sink.on_frame(frame(0.002, 0.3))
    sink.on_frame(frame(0.003, 9.0, success=False))
    sink.on_frame(frame(1.0))
    (point,) = sink.changes().points
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
            changes = sink.changes()
            scores = [point.score for point in changes.points]
            assert scores == sorted(scores)
            assert len(scores) <= changes.next_point
            assert all(point.time_s <= changes.now_s for point in changes.points)
            numbers = [event.id for event in changes.events]
            assert numbers == sorted(numbers)
    finally:
        writer.join()
        sys.setswitchinterval(interval)


def test_a_viewer_is_told_what_it_has_not_seen_and_nothing_twice(session, sink) -> None:  # type: ignore[no-untyped-def]
    session.start()
    session.stop()
    first = sink.changes()
    sink.on_frame(frame(900.0))
    sink.on_frame(frame(901.0))
    sink.on_event(scripted(0))
    second = sink.changes(first.session, first.next_point, first.revision)
    assert [point.time_s for point in second.points] == [900.0]
    assert [event.id for event in second.events] == [1]
    third = sink.changes(second.session, second.next_point, second.revision)
    assert (third.points, third.events) == ((), ())
    sink.on_event(replace(scripted(0), state=EventState.WITHDRAWN, quality=("blink",)))
    (withdrawn,) = sink.changes(third.session, third.next_point, third.revision).events
    assert withdrawn.state is EventState.WITHDRAWN


def test_a_viewer_of_the_last_session_is_told_the_new_one_from_its_beginning(session, sink) -> None:  # type: ignore[no-untyped-def]
    for _ in range(2):
        session.start()
        sink.on_event(scripted(3))
        before = sink.changes()
        session.stop()
    changes = sink.changes(before.session - 1, 10_000, 10_000)
    assert changes.session == before.session
    assert 4 in [event.id for event in changes.events]


def test_the_apex_is_kept_as_a_small_picture_in_memory(sink: DashboardSink) -> None:
    pictures = {scripted(0).apex_frame: astronaut()}
    sink.apexes.take_from(pictures.get, lambda _: None)
    sink.on_frame(frame(1.2, box=(236.0, 52.0, 104.0, 136.0)))
    tentative = replace(scripted(0), state=EventState.TENTATIVE)
    sink.on_event(tentative)
    assert not sink.apexes.has(1)
    sink.on_event(replace(tentative, state=EventState.CONFIRMED))
    jpeg = sink.apexes.jpeg(1)
    assert jpeg is not None
    face = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert max(face.shape) == SIZE
    pictures.clear()  # the ring has moved on: the picture that was taken stays
    sink.on_event(scripted(0))
    assert sink.apexes.jpeg(1) == jpeg
    sink.apexes.wanted = False
    assert not sink.apexes.has(1)
    sink.on_event(replace(scripted(1), state=EventState.CONFIRMED))
    assert not sink.apexes.has(2)


def test_late_sinks_find_the_aligned_face_of_the_apex(sink: DashboardSink) -> None:
    sink.apexes.take_from(
        lambda _: None, {scripted(0).apex_frame: np.full((128, 128), 90, np.uint8)}.get
    )
    sink.on_frame(frame(1.2, box=(236.0, 52.0, 104.0, 136.0)))
    sink.on_event(replace(scripted(0), state=EventState.CONFIRMED))
    sink.on_event(replace(scripted(1), state=EventState.CONFIRMED))
    assert [sink.apexes.has(number) for number in (1, 2)] == [True, False]


def test_what_carried_an_answer_is_laid_over_the_aligned_face(sink: DashboardSink) -> None:
    sink.apexes.take_from(lambda _: None, lambda _: np.full((128, 128), 90, np.uint8))
    sink.on_event(scripted(0))
    assert not sink.apexes.explains(1)
    sink.on_event(replace(scripted(0), explanation=Explanation({"chin": 1.0})))
    jpeg = sink.apexes.explained_jpeg(1)
    assert jpeg is not None
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).astype(int)
    changed = np.abs(picture - 90).sum(axis=2)
    assert np.argmax(changed.max(axis=1)) > 0.8 * SIZE
    sink.apexes.wanted = False
    assert not sink.apexes.explains(1)


def test_pictures_of_apexes_are_bounded_and_end_with_the_session(sink: DashboardSink) -> None:
    sink.apexes.take_from(lambda _: astronaut(), lambda _: None)
    for number in range(MAX_PICTURES + 5):
        sink.apexes.take(scripted(number), (236.0, 52.0, 104.0, 136.0))
    kept = [number for number in range(1, MAX_PICTURES + 6) if sink.apexes.has(number)]
    assert kept == list(range(6, MAX_PICTURES + 6))
    sink.apexes.take(scripted(0), (-500.0, -500.0, 10.0, 10.0))  # a face outside the picture
    assert not sink.apexes.has(1)
    LiveSession(lambda sinks: FakePipeline(sinks, frames=0), [sink]).start()
    assert not sink.apexes.has(MAX_PICTURES)


@pytest.mark.parametrize(
    ("level", "flags", "said"),
    [
        (20.0, (), "dark"),
        (240.0, (), "nearly white"),
        (120.0, ("black",), "black"),
        (120.0, (), ""),
    ],
)
def test_bad_light_is_said(level: float, flags: tuple[str, ...], said: str) -> None:
    watch = LightWatch()
    for index in range(300):
        watch.see(frame(index / 100, luminance=level, flags=flags))
    warnings = " ".join(watch.warnings())
    assert said in warnings if said else "dark" not in warnings


def test_flicker_is_said_as_calibration_says_it() -> None:
    watch = LightWatch()
    noise = np.random.default_rng(0).normal(0, 0.2, 900)
    for index in range(900):
        ripple = 1 + 0.05 * math.sin(2 * math.pi * 100 * index / 180)
        watch.see(frame(index / 180, luminance=120 * ripple + noise[index]))
    assert any("flickers at 100 Hz" in warning for warning in watch.warnings())
