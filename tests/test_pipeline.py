"""The pipeline: every frame analysed or its loss told, an orderly end, no thread left."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from engines.events import Event, EventState
from engines.motion.config import MotionConfig
from engines.motion.meter import MotionMeter
from engines.recognition.base import EventClip, Recognition
from engines.spotting.base import MotionSample, SpotterOutput
from streamer.alignment.base import Alignment, AlignmentState
from streamer.config import GlintConfig
from streamer.errors import SourceError, SourceInterrupted
from streamer.frame import Frame, Image
from streamer.pipeline import Pipeline, Stages
from streamer.sinks.base import FrameRecord, SessionInfo, SessionMetrics
from streamer.sources.base import SourceInfo, SourceState

FPS = 100.0


class ScriptedSource:
    """Delivers gray pictures; `fail_at` breaks it, `gaps` lose frames, `hold` blocks it."""

    def __init__(self, frames: int, live: bool, fail_at: int = -1, gaps=(), hold_at: int = -1):
        self.frames, self.live, self.fail_at = frames, live, fail_at
        self.gaps, self.hold_at = gaps, hold_at
        self.next, self.index, self.closed = 0, -1, 0
        self.interrupted = threading.Event()
        self.state = SourceState.CLOSED

    def open(self) -> SourceInfo:
        self.state = SourceState.LIVE
        return SourceInfo(
            "script", "script", 128, 128, 1, FPS, FPS, self.live, self.frames, True, ("a note",)
        )

    def read(self, out: Image) -> Frame | None:
        if self.interrupted.is_set():
            raise SourceInterrupted
        if self.next == self.fail_at:
            raise SourceError("The cable was pulled; plug it in and start again.")
        if self.next == self.hold_at:
            self.interrupted.wait()
            raise SourceInterrupted
        if self.next == self.frames:
            return None
        gap = 2 if self.next in self.gaps else 0
        self.next += 1
        self.index += 1 + gap
        out[:] = self.index % 200
        return Frame(
            self.index,
            self.index / FPS,
            self.index / FPS,
            time.perf_counter(),
            gap,
            "cable" if gap else "",
            out,
        )

    def interrupt(self) -> None:
        self.interrupted.set()

    def close(self) -> None:
        self.closed += 1


class PassThrough:
    """An aligner for pictures that are canonical already."""

    name, version = "pass-through", "1"
    mesh = np.random.default_rng(0).uniform(20, 108, (468, 3)).astype(np.float32)

    def open(self) -> None: ...

    def close(self) -> None: ...

    def align(self, frame: Frame, out: Image) -> Alignment:
        out[:] = frame.image
        nan = (math.nan,) * 3
        return Alignment(
            AlignmentState.FOLLOWING, True, 0, 0, 1.0, nan, None, None, self.mesh, 64.0, 0.0, ()
        )


class EveryTenth:
    """Spots an event at every tenth frame."""

    name, version, look_ahead_s = "tenth", "1", 0.0
    reads_delta_flow = False
    reads_strain = False
    threshold_factor = 1.0

    def __init__(self) -> None:
        self.last: MotionSample | None = None

    def push(self, sample: MotionSample) -> SpotterOutput:
        if sample.index % 10 != 9:
            return SpotterOutput(0.5, 1.0)
        event = Event(
            id=sample.index // 10 + 1,
            state=EventState.TENTATIVE,
            onset_s=sample.time_s - 0.05,
            apex_s=sample.time_s - 0.02,
            offset_s=None,
            onset_frame=sample.index - 5,
            apex_frame=sample.index - 2,
            offset_frame=None,
            score=2.0,
            regions=("chin",),
        )
        return SpotterOutput(
            2.0,
            1.0,
            (
                event,
                replace(event, state=EventState.CONFIRMED),
                replace(event, state=EventState.CLOSED, offset_s=sample.time_s),
            ),
        )

    def finish(self) -> tuple[Event, ...]:
        return ()

    def reset(self) -> None: ...


class Recogniser:
    name, version, classes, model_sha256 = "fixed", "1", ("positive", "negative"), None

    def __init__(self, answer: Callable[[EventClip], Recognition] | None = None) -> None:
        self.answer = answer
        self.clips: list[EventClip] = []
        self.closed = 0

    def recognize(self, clip: EventClip) -> Recognition:
        self.clips.append(clip)
        if self.answer is not None:
            return self.answer(clip)
        return Recognition("positive", {"positive": 0.75, "negative": 0.25})

    def close(self) -> None:
        self.closed += 1


class Collector:
    name = "collector"

    def __init__(self, on_frame: Callable[[FrameRecord], None] = lambda record: None) -> None:
        self.records: list[FrameRecord] = []
        self.events: list[Event] = []
        self.metrics: list[SessionMetrics] = []
        self.session: SessionInfo | None = None
        self._on_frame = on_frame

    def open(self, session: SessionInfo) -> None:
        self.session = session

    def on_frame(self, record: FrameRecord) -> None:
        self._on_frame(record)
        self.records.append(record)

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def close(self, metrics: SessionMetrics) -> None:
        self.metrics.append(metrics)


def build(source, sinks, recogniser=None, config: GlintConfig | None = None) -> Pipeline:
    stages = Stages(
        aligner=lambda info: PassThrough(),
        meter=lambda info, spotter: MotionMeter(MotionConfig(), info.fps_nominal),
        spotter=lambda info: EveryTenth(),
        recognizer=None if recogniser is None else lambda: recogniser,
    )
    return Pipeline(source, stages, sinks, config or GlintConfig())


def glint_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("glint-")]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    deadline = time.monotonic() + 5
    while glint_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert glint_threads() == []


def test_a_network_on_another_backend_than_asked_for_is_told():
    recogniser, collector = Recogniser(), Collector()
    recogniser.backend, recogniser.fallback = "onnxruntime-cpu", "It runs here. There is no plan."
    pipeline = build(ScriptedSource(20, live=False), [collector], recogniser)
    session = pipeline.start()
    assert pipeline.wait(60)
    pipeline.close()
    assert session.engines["recognizer"]["backend"] == "onnxruntime-cpu"
    assert session.engines["recognizer"]["fallback"] == recogniser.fallback
    assert "backend" not in session.engines["spotter"]  # it has no network
    assert collector.metrics[0].notes == ("a note", recogniser.fallback)


def test_a_file_is_analysed_frame_by_frame_and_in_order():
    collector, source = Collector(), ScriptedSource(300, live=False, gaps=(50,))
    recogniser = Recogniser()
    pipeline = build(source, [collector], recogniser)
    session = pipeline.start()
    assert pipeline.wait(60)
    metrics = pipeline.metrics()
    pipeline.close()
    pipeline.close()
    assert session.engines["recognizer"]["name"] == "fixed"
    assert len(collector.records) == metrics.captured == metrics.analysed == 300
    assert metrics.lost == {"cable": 2}
    assert metrics.end_state == "finished"
    assert metrics.notes == ("a note",)
    indices = [record.index for record in collector.records]
    assert indices == [*range(50), *range(52, 302)]
    assert [r.index for r in collector.records if "gap" in r.flags] == [52]
    closed = [e for e in collector.events if e.state is EventState.CLOSED]
    assert len(closed) == 30
    assert all(e.emotion == "positive" and e.recognizer == "fixed 1" for e in closed)
    assert collector.metrics[0].end_state == "finished"
    assert recogniser.closed == 1
    assert source.closed >= 1
    measured = {"capture", "align", "flow", "spot", "capture_to_score", "confirmed_to_emotion"}
    assert measured <= set(metrics.latency_ms)
    clip = recogniser.clips[5]
    assert clip.times_s[clip.apex] == pytest.approx(closed[5].apex_s)
    assert clip.times_s[clip.onset] == pytest.approx(closed[5].onset_s)
    assert (clip.faces[clip.apex] == closed[5].apex_frame % 200).all()


def test_a_live_source_is_never_held_up_and_every_loss_is_counted():
    """Sinks that hang lose records, not frames; what was not told is in the figures."""
    release = threading.Event()
    collector = Collector(lambda record: release.wait(30) and None)
    config = GlintConfig.from_tree({"pipeline": {"sink_budget_s": 0.5}})
    pipeline = build(ScriptedSource(1500, live=True), [collector], config=config)
    pipeline.start()
    deadline = time.monotonic() + 30
    while pipeline.metrics().captured < 1500 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert pipeline.metrics().captured == 1500  # nobody read, and capture went on
    release.set()
    assert pipeline.wait(30)
    metrics = pipeline.metrics()
    pipeline.close()
    ring_losses = sum(n for cause, n in metrics.lost.items() if cause != "sink_overrun")
    assert metrics.analysed + ring_losses == 1500
    assert len(collector.records) == metrics.analysed - metrics.lost.get("sink_overrun", 0)
    assert sum(metrics.lost.values()) > 0


def test_lost_frames_show_as_gaps_to_later_stages():
    collector = Collector()
    config = GlintConfig.from_tree({"pipeline": {"sink_budget_s": 60}})
    pipeline = build(ScriptedSource(4000, live=True), [collector], config=config)
    pipeline.start()
    assert pipeline.wait(60)
    metrics = pipeline.metrics()
    pipeline.close()
    expected = 0
    assert "sink_overrun" not in metrics.lost
    for record in collector.records:
        assert record.index == expected + record.gap_before
        expected = record.index + 1


def test_stopping_ends_a_blocked_source_with_everything_written():
    collector, source = Collector(), ScriptedSource(500, live=True, hold_at=100)
    pipeline = build(source, [collector])
    pipeline.start()
    deadline = time.monotonic() + 30
    while pipeline.metrics().captured < 100 and time.monotonic() < deadline:
        time.sleep(0.01)
    pipeline.stop()
    assert pipeline.wait(0)
    metrics = pipeline.metrics()
    assert metrics.end_state == "interrupted"
    assert metrics.analysed + sum(metrics.lost.values()) == 100
    assert len(collector.records) == metrics.analysed
    assert collector.metrics[0].end_state == "interrupted"
    pipeline.close()


def test_a_source_that_fails_ends_the_session_in_order():
    collector = Collector()
    pipeline = build(ScriptedSource(500, live=False, fail_at=120), [collector])
    pipeline.start()
    assert pipeline.wait(30)
    assert isinstance(pipeline.failure, SourceError)
    assert len(collector.records) == 120
    assert collector.metrics[0].end_state == "failed"
    pipeline.close()


def test_a_sink_that_fails_is_left_out_and_the_others_go_on():
    def refuse(record: FrameRecord) -> None:
        if record.index == 20:
            raise OSError("no space left on device")

    broken, healthy = Collector(refuse), Collector()
    broken.name = "broken"
    pipeline = build(ScriptedSource(100, live=False), [broken, healthy])
    pipeline.start()
    assert pipeline.wait(30)
    pipeline.close()
    assert len(broken.records) == 20
    assert len(healthy.records) == 100
    assert any("broken" in note and "no space" in note for note in pipeline.metrics().notes)


def test_recognition_that_fails_leaves_the_event_with_a_flag():
    def fail(clip: EventClip) -> Recognition:
        raise RuntimeError("the model said no")

    collector = Collector()
    pipeline = build(ScriptedSource(40, live=False), [collector], Recogniser(fail))
    pipeline.start()
    assert pipeline.wait(30)
    pipeline.close()
    closed = [e for e in collector.events if e.state is EventState.CLOSED]
    assert len(closed) == 4
    assert all(e.emotion is None and "recognition_failed" in e.quality for e in closed)


def test_a_live_event_does_not_wait_for_ever_for_its_emotion():
    asked = threading.Event()

    def slow(clip: EventClip) -> Recognition:
        asked.wait(5)
        return Recognition("positive", {"positive": 1.0, "negative": 0.0})

    collector = Collector()
    config = GlintConfig.from_tree({"pipeline": {"recognition_budget_s": 0.05}})
    pipeline = build(ScriptedSource(12, live=True), [collector], Recogniser(slow), config)
    pipeline.start()
    assert pipeline.wait(30)
    asked.set()
    pipeline.close()
    closed = [e for e in collector.events if e.state is EventState.CLOSED]
    assert closed
    assert "recognition_late" in closed[0].quality


def test_nothing_is_left_open_when_a_sink_refuses_to_open():
    class Refusing(Collector):
        def open(self, session: SessionInfo) -> None:
            raise SourceError("The folder is not empty; choose another.")

    source, opened = ScriptedSource(10, live=False), Collector()
    pipeline = build(source, [opened, Refusing()])
    with pytest.raises(SourceError, match="not empty"):
        pipeline.start()
    assert source.closed == 1
    assert opened.metrics[0].end_state == "failed"
    pipeline.close()


def test_the_picture_of_a_frame_can_be_fetched_while_it_is_in_the_ring():
    collector, source = Collector(), ScriptedSource(200, live=True, hold_at=150)
    pipeline = build(source, [collector])
    assert pipeline.frame_image(0) is None
    assert pipeline.face_image(0) is None
    pipeline.start()
    deadline = time.monotonic() + 30
    while pipeline.face_image(149) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    picture = pipeline.frame_image(149)
    assert picture is not None
    assert (picture == 149).all()
    assert pipeline.frame_image(3) is None
    face = pipeline.face_image(149)
    assert face is not None
    assert face.shape == (128, 128)
    pipeline.set_threshold_factor(9.0)
    assert pipeline.threshold_factor == 9.0
    assert any("by hand, at last to 9" in note for note in pipeline.metrics().notes)
    pipeline.close()
