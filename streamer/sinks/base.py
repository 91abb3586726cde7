"""The sink seam: who is told what the analysis found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from engines.events import Event
from streamer.recording.status import RecordingStatus
from streamer.sources.base import SourceInfo


@dataclass(frozen=True, slots=True)
class StoredFrom:
    """Where a session begins that was stored out of a running preview.

    Attributes:
        frame: Index of its first frame.
        time_s: Stream time of that frame in seconds.
    """

    frame: int
    time_s: float


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What is known when a session starts.

    Attributes:
        version: Version of Glint.
        source: The opened source.
        started_utc: ISO 8601 start time.
        configuration: The whole validated configuration, JSON-ready.
        engines: Role (`spotter`, `recognizer`, `aligner`) to `{"name", "version", "sha256", …}`.
        region_names: Names of the R motion regions, in the order of `FrameRecord.motion`.
        truth: For a source that knows its truth (demo): a list of JSON-ready truth events.
        calibration: What the calibration in use is (`path`, `date`, `age_s`, `verdict` …),
            JSON-ready; None when the session has none.
        folder: Where the session is stored; None when nothing is.
        stored_from: Where storing began in the stream; None when it was with the first frame.
    """

    version: str
    source: SourceInfo
    started_utc: str
    configuration: Mapping[str, Any]
    engines: Mapping[str, Mapping[str, Any]]
    region_names: tuple[str, ...]
    truth: tuple[Mapping[str, Any], ...] | None = None
    calibration: Mapping[str, Any] | None = None
    folder: Path | None = None
    stored_from: StoredFrom | None = None


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One analysed frame, small enough to keep. Owns its arrays: safe to keep without copying.

    Attributes:
        index: Frame index (`Frame.index`).
        time_s: Stream time in seconds.
        host_s: `time.perf_counter()` at capture.
        gap_before: Frames lost right before it.
        face_id: Number of the followed face, from 0; -1 when there is none.
        confidence: Tracking confidence from 0 to 1.
        success: True when a face was followed and its motion measured.
        pose: Head rotation (Rx, Ry, Rz) in radians; NaN when unknown.
        box: Face box (x, y, width, height) in picture pixels; None without a face.
        landmarks: (N, 2) float32 tracked landmarks in picture pixels; None without a face.
        state: State of alignment (`searching`, `following`, …).
        flags: Quality flags (`small_face`, `rotated`, `several_faces`, `gap`, `head_motion` …).
        score: Spotting score.
        threshold: Threshold in force.
        motion: (R, 2) float32 displacement of each region in inter-ocular distances.
        luminance: Mean gray level of the face's skin in the picture, of 255; NaN when unknown.
        scored_s: `time.perf_counter()` when the score was known; NaN when it was read back.
    """

    index: int
    time_s: float
    host_s: float
    gap_before: int
    face_id: int
    confidence: float
    success: bool
    pose: tuple[float, float, float]
    box: tuple[float, float, float, float] | None
    landmarks: npt.NDArray[np.float32] | None
    state: str
    flags: tuple[str, ...]
    score: float
    threshold: float
    motion: npt.NDArray[np.float32]
    luminance: float = math.nan
    scored_s: float = math.nan


@dataclass(frozen=True, slots=True)
class SessionMetrics:
    """Figures of the session so far; an immutable snapshot.

    Attributes:
        captured: Frames delivered by the source.
        analysed: Frames that reached the sinks.
        lost: Cause to number of frames; empty when nothing was lost.
        fps_asked: Rate asked for; None when nothing was.
        fps_measured: Rate measured over stream time.
        latency_ms: Stage to `{"p50", "p95", "p99", "max"}`; `capture_to_score` among them.
        cores: CPU seconds per wall second since the start.
        peak_memory_mb: Peak resident memory of the process.
        source_state: `SourceState` value.
        end_state: `running`, `finished`, `interrupted` or `failed`.
        notes: Fallbacks and warnings that a reader must know of.
        source_counters: What went wrong at the source without costing a frame, by name.
        zero_host_s: `time.perf_counter()` at stream time 0, after the frame of the first second
            that came with the least delay; puts sessions of one process on one clock. None for
            a file and before the first frame.
        recording: How the recording goes; None when nothing is recorded.
        interval_ms: `p50`, `p99` and `max` of the time between two frames, in stream time and
            without the losses that are known; empty before the second frame.
        buffers: Stage to the share of the buffer before it that waits to be read, 0 to 1.
    """

    captured: int
    analysed: int
    lost: Mapping[str, int]
    fps_asked: float | None
    fps_measured: float | None
    latency_ms: Mapping[str, Mapping[str, float]]
    cores: float
    peak_memory_mb: float
    source_state: str
    end_state: str
    notes: tuple[str, ...] = field(default=())
    source_counters: Mapping[str, int] = field(default_factory=dict)
    zero_host_s: float | None = None
    recording: RecordingStatus | None = None
    interval_ms: Mapping[str, float] = field(default_factory=dict)
    buffers: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Sink(Protocol):
    """Receives results in stream order, on the sink thread of the pipeline.

    A sink that raises is closed, reported and left out from then on; detection goes on.
    """

    name: str

    def open(self, session: SessionInfo) -> None:
        """The session starts."""
        ...

    def on_frame(self, record: FrameRecord) -> None:
        """A frame was analysed."""
        ...

    def on_event(self, event: Event) -> None:
        """An event changed its state."""
        ...

    def close(self, metrics: SessionMetrics) -> None:
        """The session is over; called once."""
        ...
