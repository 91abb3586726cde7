"""One session through the real pipeline, its results kept in memory."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil

from benchmarks.host_time import FrameAges, watched_host
from engines.evaluation.spotting import Interval, interval_of_event
from engines.events import Event, EventState
from streamer.config import GlintConfig
from streamer.session import build_pipeline
from streamer.sinks.base import FrameRecord, SessionInfo, SessionMetrics, Sink
from streamer.sources.base import FrameSource


class Collector:
    """A sink that keeps everything but the pictures."""

    name = "collector"

    def __init__(self) -> None:
        self.session: SessionInfo | None = None
        self.records: list[FrameRecord] = []
        self.events: list[Event] = []

    def open(self, session: SessionInfo) -> None:
        """Keep the description."""
        self.session = session

    def on_frame(self, record: FrameRecord) -> None:
        """Keep the frame."""
        self.records.append(record)

    def on_event(self, event: Event) -> None:
        """Keep every state of the event."""
        self.events.append(event)

    def close(self, metrics: SessionMetrics) -> None:
        """Nothing to close."""


@dataclass(frozen=True, slots=True)
class FrameCurves:
    """What was measured at each of N analysed frames.

    Attributes:
        time_s: (N,) float64 stream time.
        score: (N,) float64 spotting score.
        threshold: (N,) float64 threshold in force.
        success: (N,) bool, whether a face was measured.
        motion: (N, R, 2) float32 region motion in inter-ocular distances.
    """

    time_s: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]
    threshold: npt.NDArray[np.float64]
    success: npt.NDArray[np.bool_]
    motion: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Run:
    """What a finished session found.

    Attributes:
        events: Last state of every event, closed or withdrawn, in order of their numbers.
        frames: The curves.
        metrics: Figures at the end.
    """

    events: tuple[Event, ...]
    frames: FrameCurves
    metrics: SessionMetrics

    @property
    def detections(self) -> list[Interval]:
        """The closed events."""
        return [interval_of_event(e) for e in self.events if e.state is EventState.CLOSED]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a session went.

    Attributes:
        session: What was run.
        metrics: Figures at the end.
        wall_s: From the first thread's start to the last sink's end, models already loaded.
        cpu_s: Processor time of this process in that span.
        stolen: Share of the processor that the host of a virtual machine gave to others in that
            span, 0 to 1; NaN where the system does not tell.
        undisturbed: Seconds in which the host took nothing, and how old frames were in them when
            their scores were known; see `FrameAges.undisturbed`.
    """

    session: SessionInfo
    metrics: SessionMetrics
    wall_s: float
    cpu_s: float
    stolen: float
    undisturbed: Mapping[str, float]


def run_to_end(
    config: GlintConfig,
    source: FrameSource | None = None,
    sinks: Sequence[Sink] = (),
    folder: Path | None = None,
) -> Ended:
    """Run a session to its end.

    Args:
        config: What to run.
        source: A closed source instead of the one that the configuration names.
        sinks: Who is told.
        folder: Session folder, for a recording.

    Raises:
        UserError: Something cannot be opened.
        RuntimeError: The session ended before its time.
    """
    ages = FrameAges()
    pipeline = build_pipeline(config, [*sinks, ages], source, folder)
    process = psutil.Process()
    try:
        session = pipeline.start()
        started, cpu_before = time.perf_counter(), _cpu_s(process)
        with watched_host() as host:
            pipeline.wait()
        wall_s, cpu_s = time.perf_counter() - started, _cpu_s(process) - cpu_before
        metrics = pipeline.metrics()
    finally:
        pipeline.close()
    if pipeline.failure is not None:
        raise RuntimeError(f"the session failed: {pipeline.failure}") from pipeline.failure
    return Ended(session, metrics, wall_s, cpu_s, host.mean, ages.undisturbed(host))


def run_headless(config: GlintConfig, source: FrameSource | None = None) -> Run:
    """Run a session to its end and keep what it found; raises as `run_to_end`."""
    collector = Collector()
    ended = run_to_end(config, source, [collector])
    last = {event.id: event for event in collector.events}
    events = tuple(last[number] for number in sorted(last))
    return Run(events, curves(collector.records), ended.metrics)


def curves(records: Sequence[FrameRecord]) -> FrameCurves:
    """Stack frame records."""
    return FrameCurves(
        time_s=np.array([r.time_s for r in records]),
        score=np.array([r.score for r in records]),
        threshold=np.array([r.threshold for r in records]),
        success=np.array([r.success for r in records], dtype=bool),
        motion=np.array([r.motion for r in records], dtype=np.float32),
    )


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
