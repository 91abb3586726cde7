"""The pipeline: capture → ring → alignment → ring → analysis → queue → sinks.

Every stage is one named thread, and only bounded rings and queues lie between them. A live source
is never held up: what a stage cannot take in time is dropped, oldest first, and counted under the
stage's name. A file waits instead, so that every frame is analysed and the result depends on the
frames alone.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from queue import Full, Queue
from typing import Any

from engines.events import Event, EventState
from engines.motion.canonical import FACE_SIZE, REGION_NAMES
from engines.motion.meter import MotionMeter
from engines.recognition.base import Recognizer
from engines.spotting.base import Spotter
from streamer.alignment.base import Aligner, Alignment
from streamer.analysis import CLIP_MARGIN_S, Analysed, Analysis, cut_clip
from streamer.calibrated import UsedCalibration
from streamer.config import GlintConfig
from streamer.errors import SourceInterrupted
from streamer.frame import Image
from streamer.recognition import PendingRecognition, RecognitionThread
from streamer.recording.recorder import Recorder
from streamer.ring import FrameRing, Overflow, RingReader, ring_capacity
from streamer.scheduling import no_long_pauses, one_thread_a_stage
from streamer.sinks.base import FrameRecord, SessionInfo, SessionMetrics, Sink
from streamer.sources.base import FrameSource, SourceInfo, SourceState
from streamer.telemetry import LatencyHistogram, LossLedger, ProcessUsage, RateMeter, StageClocks
from streamer.version import VERSION

logger = logging.getLogger(__name__)

_ZERO_S = 1.0  # frames from which the host time of stream time 0 is taken
_FILE_BUDGET_S = 0.1  # a file waits, so a deep ring would only delay its end
_RECORDER_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Stages:
    """How the stages of a session are made, once the source is known.

    Attributes:
        aligner: Makes the aligner.
        meter: Makes the motion meter for a spotter.
        spotter: Makes the spotting engine.
        recognizer: Makes the recognition engine; None when emotions are not asked for.
    """

    aligner: Callable[[SourceInfo], Aligner]
    meter: Callable[[SourceInfo, Spotter], MotionMeter]
    spotter: Callable[[SourceInfo], Spotter]
    recognizer: Callable[[], Recognizer] | None


@dataclass(frozen=True, slots=True)
class _Message:
    """What the sink thread is told: a frame or an event, or the end (neither)."""

    record: FrameRecord | None = None
    event: Event | None = None
    recognition: PendingRecognition | None = None


class Pipeline:
    """One session, from a source to its sinks.

    Args:
        source: A closed source; the pipeline opens and closes it.
        stages: How to make the stages.
        sinks: Who is told; opened and closed by the pipeline.
        config: The session's configuration.
        recorder: Keeps the captured pictures; None keeps none.
        calibration: The calibration that `config` holds already; it is checked against the source.
        folder: Where the session is stored; None when nothing is.
    """

    def __init__(
        self,
        source: FrameSource,
        stages: Stages,
        sinks: Sequence[Sink],
        config: GlintConfig,
        recorder: Recorder | None = None,
        calibration: UsedCalibration | None = None,
        folder: Path | None = None,
    ) -> None:
        self._source = source
        self._stages = stages
        self._sinks = list(sinks)
        self._config = config
        self._recorder = recorder
        self._calibration = calibration
        self._folder = folder
        self._info: SourceInfo | None = None
        self._spotter: Spotter | None = None
        self._recognition: RecognitionThread | None = None
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._losses = LossLedger()
        self._clocks = StageClocks()
        self._intervals = LatencyHistogram()
        self._rate = RateMeter()
        self._usage = ProcessUsage()
        self._captured = 0
        self._zero_host_s: float | None = None
        self._factor_by_hand: float | None = None
        self._analysed = 0
        self._notes: tuple[str, ...] = ()
        self._closed = False

    # -- the session's life ------------------------------------------------------------------

    def start(self) -> SessionInfo:
        """Open the source, the engines and the sinks, and start the threads.

        Raises:
            UserError: Something cannot be opened; nothing is left running.
        """
        one_thread_a_stage()
        try:
            session = self._open()
        except BaseException:
            self._release()
            raise
        no_long_pauses()
        stages: list[tuple[str, Callable[[], None]]] = [
            ("glint-capture", self._capture),
            ("glint-alignment", self._align),
            ("glint-analysis", self._analyse),
            ("glint-sinks", self._deliver),
        ]
        if self._recorder is not None:
            to_record = self._frames.reader("recording")
            stages.append(("glint-record", partial(self._recorder.run, to_record)))
        for name, work in stages:
            thread = threading.Thread(target=self._guard, args=(work,), name=name, daemon=True)
            self._threads.append(thread)
        for thread in self._threads:
            thread.start()
        return session

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the session; True when it has ended."""
        return self._ended.wait(timeout)

    def stop(self) -> None:
        """End the session: what is captured is analysed, open events and sinks are closed."""
        self._stop.set()
        self._source.interrupt()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=5.0)

    def close(self) -> None:
        """Stop and release everything. Idempotent."""
        if not self._closed:
            self._closed = True
            if self._threads:
                self.stop()
            self._release()

    @property
    def failure(self) -> BaseException | None:
        """What ended the session before its time; None when nothing did."""
        return self._failure

    # -- what others may ask at any time -----------------------------------------------------

    @property
    def threshold_factor(self) -> float:
        """Factor of the spotter's running threshold; larger spots less."""
        return float(getattr(self._spotter, "threshold_factor", 0.0))

    def set_threshold_factor(self, factor: float) -> None:
        """Change the factor of the running threshold from the next frame on."""
        if hasattr(self._spotter, "threshold_factor"):
            self._factor_by_hand = factor
            setattr(self._spotter, "threshold_factor", factor)  # noqa: B010 - not all have one

    def take_neutral(self) -> None:
        """Take the next face as neutral; see `Analysis.take_neutral`."""
        if self._info is not None:
            self._analysis.take_neutral()

    def frame_image(self, index: int) -> Image | None:
        """Return a copy of the captured picture of a frame; None when it has left the ring."""
        return self._frames.find(index) if self._info is not None else None

    def face_image(self, index: int) -> Image | None:
        """Return a copy of the aligned face of a frame; None when it has left the ring.

        Faces stay several seconds, pictures some tenths of one.
        """
        return self._faces.find(index) if self._info is not None else None

    def metrics(self) -> SessionMetrics:
        """Return the figures of the session so far."""
        return self._measure(self._end_state() if self._ended.is_set() else "running")

    # -- opening and closing -----------------------------------------------------------------

    def _open(self) -> SessionInfo:
        info = self._source.open()
        self._notes = info.notes
        fps, live = info.fps_nominal, info.live
        overflow = Overflow.DROP_OLDEST if live else Overflow.WAIT
        budget = self._config.pipeline
        self._aligner = self._stages.aligner(info)
        self._aligner.open()
        self._spotter = self._stages.spotter(info)
        if self._calibration is not None:
            spotter = f"{self._spotter.name} {self._spotter.version}"
            self._notes += self._calibration.check(info, spotter, self._config.subject)
        self._analysis = Analysis(self._stages.meter(info, self._spotter), self._spotter)
        if self._stages.recognizer is not None:
            self._recognition = RecognitionThread(self._stages.recognizer())
        for engine in self._engines():
            if (fallback := _runs_on(engine).get("fallback")) is not None:
                self._note(fallback)
        history_s = self._config.flow_spotter.macro_s + CLIP_MARGIN_S + 1.0
        self._frames: FrameRing[None] = FrameRing(
            ring_capacity(fps, budget.capture_budget_s if live else _FILE_BUDGET_S),
            info.shape,
            overflow,
            "captured frames",
        )
        self._faces: FrameRing[Alignment] = FrameRing(
            ring_capacity(fps, budget.analysis_budget_s if live else _FILE_BUDGET_S, history_s),
            (FACE_SIZE, FACE_SIZE),
            overflow,
            "aligned faces",
        )
        self._to_align = self._frames.reader("alignment")
        self._to_analyse: RingReader[Alignment] = self._faces.reader(
            "analysis", keep=int(fps * history_s)
        )
        depth = max(64, int(fps * (budget.sink_budget_s if live else _FILE_BUDGET_S)))
        self._results: Queue[_Message] = Queue(maxsize=depth)
        session = self._describe(info)
        for position, sink in enumerate(self._sinks):
            try:
                sink.open(session)
            except BaseException:
                # The ones that are open are told; the others never knew.
                for opened in self._sinks[:position]:
                    opened.close(self._measure("failed"))
                raise
        if self._recorder is not None:
            self._open_recorder(self._recorder, session)
        if self._recognition is not None:
            self._recognition.start()
        self._usage = ProcessUsage()
        self._info = info
        return session

    def _open_recorder(self, recorder: Recorder, session: SessionInfo) -> None:
        """Open the recorder last: its files lie in the session folder that a sink has made."""
        try:
            recorder.open(session.source, session.started_utc)
        except BaseException:
            for sink in self._sinks:
                sink.close(self._measure("failed"))
            raise
        if session.source.depth:
            self._note(
                "The recording holds no depth pictures: engines that read depth cannot run on it."
            )

    def _describe(self, info: SourceInfo) -> SessionInfo:
        assert self._spotter is not None
        engines: dict[str, Mapping[str, Any]] = {
            "aligner": {"name": self._aligner.name, "version": self._aligner.version},
            "spotter": {
                "name": self._spotter.name,
                "version": self._spotter.version,
                "look_ahead_s": self._spotter.look_ahead_s,
                **_runs_on(self._spotter),
            },
        }
        if self._recognition is not None:
            engine = self._recognition.recognizer
            engines["recognizer"] = {
                "name": engine.name,
                "version": engine.version,
                "sha256": engine.model_sha256,
                **_runs_on(engine),
            }
        configuration = self._config.model_dump(mode="json")
        configuration["source"]["spec"] = info.name  # an address without its credentials
        truth = getattr(self._source, "truth", None)
        return SessionInfo(
            version=VERSION,
            source=info,
            started_utc=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            configuration=configuration,
            engines=engines,
            region_names=REGION_NAMES,
            truth=tuple(truth()) if callable(truth) else None,
            calibration=None if self._calibration is None else self._calibration.summary(),
            folder=self._folder,
        )

    def _engines(self) -> list[Spotter | Recognizer]:
        assert self._spotter is not None
        recognition = self._recognition
        return [self._spotter, *([] if recognition is None else [recognition.recognizer])]

    def _release(self) -> None:
        self._source.close()
        aligner = getattr(self, "_aligner", None)
        if aligner is not None:
            aligner.close()
        if self._recognition is not None:
            self._recognition.close()
        close_spotter = getattr(self._spotter, "close", None)  # those with a network have it
        if close_spotter is not None:
            close_spotter()
        if self._recorder is not None:
            self._recorder.close()

    def _guard(self, work: Callable[[], None]) -> None:
        """Run a stage; a failure ends the session in order.

        Every stage closes the ring behind it when it ends, however it ends: what was captured by
        then still passes through the others.
        """
        try:
            work()
        except BaseException as error:
            logger.debug("%s failed", threading.current_thread().name, exc_info=True)
            with self._lock:
                self._failure = self._failure or error
            self._stop.set()
            self._source.interrupt()

    # -- the stages --------------------------------------------------------------------------

    def _capture(self) -> None:
        """Read the source into the first ring."""
        reading = self._clocks.stage("capture")
        live = self._info is not None and self._info.live
        before_s = math.inf
        try:
            while not self._stop.is_set():
                picture = self._frames.claim()
                if picture is None:
                    break
                started = time.perf_counter()
                frame = self._source.read(picture)
                if frame is None:
                    break
                reading.record(time.perf_counter() - started)
                if frame.gap_before:
                    self._losses.add(frame.gap_cause or "source_gap", frame.gap_before)
                self._captured += 1
                if live and frame.time_s < _ZERO_S:
                    zero_s = frame.host_s - frame.time_s
                    self._zero_host_s = min(zero_s, self._zero_host_s or zero_s)
                self._rate.frame(frame.time_s, frame.gap_before)
                if not frame.gap_before and frame.time_s > before_s:
                    self._intervals.record(frame.time_s - before_s)
                before_s = frame.time_s
                self._frames.publish(frame, None)
        except SourceInterrupted:
            pass
        finally:
            self._frames.close()

    def _align(self) -> None:
        """Follow the face; canonical faces go into the second ring."""
        aligning = self._clocks.stage("align")
        waiting = self._clocks.stage("capture_to_align")
        torn = 0
        try:
            while (slot := self._to_align.next()) is not None:
                out = self._faces.claim()
                if out is None:
                    break
                started = time.perf_counter()
                waiting.record(started - slot.frame.host_s)
                alignment = self._aligner.align(slot.frame, out)
                if not slot.intact():
                    # The camera came round while the picture was being read: do not trust it.
                    self._losses.add("alignment_torn")
                    torn += 1 + slot.frame.gap_before
                    continue
                gap = slot.frame.gap_before + torn
                cause = slot.frame.gap_cause or ("alignment_torn" if torn else "")
                torn = 0
                self._faces.publish(
                    replace(slot.frame, image=out, gap_before=gap, gap_cause=cause, depth=None),
                    alignment,
                )
                aligning.record(time.perf_counter() - started)
        finally:
            self._to_align.leave()
            self._faces.close()

    def _analyse(self) -> None:
        """Measure motion, spot expressions, hand their faces to recognition."""
        clocks = [
            self._clocks.stage(name) for name in ("flow", "spot", "capture_to_score", "analyse")
        ]
        asked: dict[int, PendingRecognition | None] = {}
        try:
            while (slot := self._to_analyse.next()) is not None:
                started = time.perf_counter()
                analysed: Analysed = self._analysis.push(slot)
                scored = time.perf_counter()
                for clock, seconds in zip(
                    clocks,
                    (
                        analysed.flow_s,
                        analysed.spot_s,
                        scored - slot.frame.host_s,
                        scored - started,
                    ),
                    strict=True,
                ):
                    clock.record(seconds)
                self._analysed += 1
                self._tell(_Message(record=analysed.record))
                for event in analysed.events:
                    self._announce(event, asked)
            for event in self._analysis.finish():
                self._announce(event, asked)
        finally:
            self._to_analyse.leave()
            self._results.put(_Message())

    def _announce(self, event: Event, asked: dict[int, PendingRecognition | None]) -> None:
        """Pass an event on; recognition starts when it is confirmed and is due when it closes."""
        if event.state is EventState.CONFIRMED and self._recognition is not None:
            asked[event.id] = self._recognise(event, self._recognition)
        pending = None
        if event.state in (EventState.CLOSED, EventState.WITHDRAWN):
            pending = asked.pop(event.id, None)
            if (
                pending is None
                and event.state is EventState.CLOSED
                and self._recognition is not None
            ):
                event = replace(event, quality=(*event.quality, "not_recognized"))
        self._tell(_Message(event=event, recognition=pending))

    def _recognise(self, event: Event, recognition: RecognitionThread) -> PendingRecognition | None:
        """Hand over the faces of a confirmed event; None when they are gone, or too many wait."""
        assert self._info is not None
        confirmed = time.perf_counter()
        clip = cut_clip(self._to_analyse, event)
        if clip is None:
            return None
        pending = recognition.submit(clip, wait=not self._info.live)
        if pending is not None:
            clock = self._clocks.stage("confirmed_to_emotion")
            # Called by the thread that recognises, which is the only one that writes to the clock.
            pending.add_done_callback(lambda _: clock.record(time.perf_counter() - confirmed))
        return pending

    def _tell(self, message: _Message) -> None:
        """Queue for the sinks: a file waits, a live source drops the record and counts it."""
        assert self._info is not None
        if not self._info.live or message.event is not None:
            self._results.put(message)
            return
        try:
            self._results.put_nowait(message)
        except Full:
            self._losses.add("sink_overrun")

    def _deliver(self) -> None:
        """Tell the sinks, in stream order."""
        working = self._clocks.stage("sinks")
        while True:
            message = self._results.get()
            if message.record is None and message.event is None:
                break
            started = time.perf_counter()
            if message.record is not None:
                record = message.record
                self._each_sink(lambda sink, record=record: sink.on_frame(record))  # type: ignore[misc]
                working.record(time.perf_counter() - started)
            elif message.event is not None:
                event = self._with_emotion(message.event, message.recognition)
                self._each_sink(lambda sink, event=event: sink.on_event(event))  # type: ignore[misc]
        if self._recorder is not None:
            self._recorder.wait(_RECORDER_LIMIT_S)  # its last figures belong to the session's
        metrics = self._measure(self._end_state())
        self._each_sink(lambda sink: sink.close(metrics))
        self._ended.set()

    def _with_emotion(self, event: Event, recognition: PendingRecognition | None) -> Event:
        """Add the emotion to a closed event, waiting for it."""
        if recognition is None or event.state is not EventState.CLOSED:
            return event
        assert self._info is not None
        assert self._recognition is not None
        limit = self._config.pipeline.recognition_budget_s if self._info.live else 60.0
        until = time.monotonic() + limit  # for the answer and what carried it together
        try:
            result = recognition.result(timeout=limit)
        except (FutureTimeoutError, CancelledError):
            return replace(event, quality=(*event.quality, "recognition_late"))
        except Exception as error:
            self._note(f"Recognition failed on event {event.id} ({error}).")
            return replace(event, quality=(*event.quality, "recognition_failed"))
        engine = self._recognition.recognizer
        event = replace(
            event,
            recognizer=f"{engine.name} {engine.version}",
            emotion=result.emotion,
            probabilities=result.probabilities,
            action_units=result.action_units,
            unit_probabilities=result.unit_probabilities,
        )
        try:
            explanation = recognition.explanation.result(max(until - time.monotonic(), 0.0))
        except (FutureTimeoutError, CancelledError):
            return replace(event, quality=(*event.quality, "explanation_late"))
        except Exception as error:
            self._note(f"What carried the answer to event {event.id} is not known ({error}).")
            return event
        return replace(event, explanation=explanation)

    def _each_sink(self, call: Callable[[Sink], None]) -> None:
        """Call every sink; one that fails is left out from then on, visibly."""
        for sink in list(self._sinks):
            try:
                call(sink)
            except Exception as error:
                logger.exception("the sink %s failed", sink.name)
                self._note(f"The sink {sink.name} failed and is off ({error}).")
                self._sinks.remove(sink)
                with suppress(Exception):
                    sink.close(self._measure("failed"))

    def _note(self, note: str) -> None:
        with self._lock:
            if note not in self._notes:
                self._notes = (*self._notes, note)

    def _end_state(self) -> str:
        if self._failure is not None:
            return "failed"
        return "interrupted" if self._stop.is_set() else "finished"

    # -- figures -----------------------------------------------------------------------------

    def _measure(self, end_state: str) -> SessionMetrics:
        lost = self._losses.counts()
        if self._info is not None:
            for reader in (self._to_align, self._to_analyse):
                if reader.lost:
                    lost[f"{reader.name}_overrun"] = reader.lost
        notes = list(self._notes)
        if self._factor_by_hand is not None:
            notes.append(
                f"The threshold factor was set by hand, at last to {self._factor_by_hand:g}; "
                "frames.csv holds the threshold of every frame."
            )
        for teller in (self._source, self._recorder, *self._sinks):
            notes += [note for note in getattr(teller, "notes", ()) if note not in notes]
        state = self._source.state if self._info is not None else SourceState.CLOSED
        return SessionMetrics(
            captured=self._captured,
            analysed=self._analysed,
            lost=lost,
            fps_asked=None if self._info is None else self._info.fps_asked,
            fps_measured=self._rate.fps,
            latency_ms=self._clocks.summary_ms(),
            cores=self._usage.cores,
            peak_memory_mb=self._usage.peak_memory_mb,
            source_state=state.value,
            end_state=end_state,
            notes=tuple(notes),
            source_counters=dict(getattr(self._source, "counters", {})),
            zero_host_s=self._zero_host_s,
            recording=None if self._recorder is None else self._recorder.status,
            interval_ms=self._intervals.summary_ms() if self._intervals.count else {},
            buffers=self._buffers(),
        )

    def _buffers(self) -> dict[str, float]:
        """Share of the buffer before each stage that waits to be read."""
        if self._info is None:
            return {}
        return {
            "alignment": self._frames.fill,
            "analysis": self._faces.fill,
            "sinks": self._results.qsize() / self._results.maxsize,
        }


def _runs_on(engine: Spotter | Recognizer) -> dict[str, str | None]:
    """What runs an engine's network and why it is not what was asked for; empty without one."""
    if not hasattr(engine, "backend"):
        return {}
    return {"backend": engine.backend, "fallback": getattr(engine, "fallback", None)}
