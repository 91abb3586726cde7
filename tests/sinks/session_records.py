"""A session, a frame, an event and figures for the tests of sinks."""

import math

import numpy as np

from engines.events import Event, EventKind, EventState, Explanation
from engines.motion.canonical import REGION_NAMES
from streamer.sinks.base import FrameRecord, SessionInfo, SessionMetrics
from streamer.sources.base import SourceInfo

SESSION = SessionInfo(
    version="0.1.0",
    source=SourceInfo(
        name="clip.mp4",
        kind="video",
        width=640,
        height=480,
        channels=3,
        fps_asked=None,
        fps_nominal=200.0,
        live=False,
        frames=400,
        device_clock=True,
        notes=("the index is damaged",),
        device={"model": "ace"},
    ),
    started_utc="2026-01-01T12:00:00Z",
    configuration={"source": {"spec": "clip.mp4"}, "limit": math.inf},
    engines={"spotter": {"name": "flow", "version": "1", "sha256": None}},
    region_names=REGION_NAMES,
)
RECORD = FrameRecord(
    index=0,
    time_s=0.0,
    host_s=123.4,
    gap_before=0,
    face_id=0,
    confidence=0.98,
    success=True,
    pose=(0.1, -0.2, math.nan),
    box=(1.0, 2.0, 3.0, 4.0),
    landmarks=None,
    state="following",
    flags=(),
    score=0.01,
    threshold=0.02,
    motion=np.arange(30, dtype=np.float32).reshape(15, 2),
)
EVENT = Event(
    id=1,
    state=EventState.CLOSED,
    onset_s=1.0,
    apex_s=1.1,
    offset_s=1.30000049,
    onset_frame=200,
    apex_frame=220,
    offset_frame=260,
    score=0.031,
    regions=("left_mouth_corner", "right_mouth_corner"),
    kind=EventKind.MICRO,
    decided_s=1.4,
    quality=("gap",),
    spotter="flow 1",
    recognizer="ststnet 1",
    emotion="positive",
    probabilities={"negative": 0.1, "positive": 0.85, "surprise": 0.05},
    action_units={"AU6": 0.25, "AU12": 0.8000004},
    unit_probabilities={"AU4": 0.1, "AU12": 0.9000004},
    explanation=Explanation({"left_mouth_corner": 0.61234, "chin": 0.2}, ((1.05, 0.4),)),
)
METRICS = SessionMetrics(
    captured=400,
    analysed=398,
    lost={"capture_ring_full": 2},
    fps_asked=None,
    fps_measured=199.8,
    latency_ms={"capture_to_score": {"p50": 1.23456, "p95": 2.0, "p99": 3.0, "max": math.nan}},
    cores=0.61234,
    peak_memory_mb=512.34,
    source_state="ended",
    end_state="finished",
    notes=("the index is damaged", "no recogniser ran"),
    source_counters={"stalls": 1},
    zero_host_s=12.5,
)
