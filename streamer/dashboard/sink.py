"""The dashboard's memory of a session: the last minute, small and ready to be shown.

`on_frame` runs for every frame, so it costs a few microseconds at any history length; whoever
wants to look asks for a snapshot.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from engines.events import Event, EventState
from streamer.sinks.base import FrameRecord, SessionInfo, SessionMetrics

HISTORY_S = 60.0
"""Length of the timeline in seconds of stream time."""

STEP_S = 0.1
"""One point of the timeline; it keeps the highest score of its frames, so no peak is hidden."""

MAX_EVENTS = 100
"""Detections that are kept; older ones are in the session folder."""


@dataclass(frozen=True, slots=True)
class TimelinePoint:
    """The frames of one step of the timeline.

    Attributes:
        time_s: Stream time of the step's highest score.
        score: Highest score.
        threshold: Threshold in force at that frame.
        face: Whether motion was measured in any of its frames.
        lost: Frames lost before or within it.
    """

    time_s: float
    score: float
    threshold: float
    face: bool
    lost: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session as the dashboard shows it; immutable.

    Attributes:
        session: The session; None before the first.
        points: The last `HISTORY_S` seconds, oldest first.
        events: Detections that were not withdrawn, by id, newest first.
        withdrawn: The last withdrawn detections, newest first.
        detected: Closed detections of the session by kind.
        reasons: Withdrawn detections of the session by reason.
        last: The newest analysed frame.
        ended: Final figures once the session is over.
    """

    session: SessionInfo | None = None
    points: tuple[TimelinePoint, ...] = ()
    events: tuple[Event, ...] = ()
    withdrawn: tuple[Event, ...] = ()
    detected: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    last: FrameRecord | None = None
    ended: SessionMetrics | None = None

    @property
    def now_s(self) -> float:
        """Stream time of the newest analysed frame."""
        return 0.0 if self.last is None else self.last.time_s


class DashboardSink:
    """A `Sink` that remembers what the dashboard shows."""

    name = "dashboard"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reset(None)

    def _reset(self, session: SessionInfo | None) -> None:
        self._session = session
        self._points: deque[TimelinePoint] = deque(maxlen=math.ceil(HISTORY_S / STEP_S))
        self._events: dict[int, Event] = {}
        self._withdrawn: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._detected: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._last: FrameRecord | None = None
        self._ended: SessionMetrics | None = None
        self._step = -1
        self._peak: FrameRecord | None = None
        self._lost = 0

    def open(self, session: SessionInfo) -> None:
        """Forget the last session and remember this one."""
        with self._lock:
            self._reset(session)

    def on_frame(self, record: FrameRecord) -> None:
        """Take a frame into the timeline."""
        step = int(record.time_s / STEP_S)
        with self._lock:
            self._last = record
            if step != self._step:
                self._close_step()
                self._step = step
            self._lost += record.gap_before
            peak = self._peak
            if peak is None or (record.success, record.score) >= (peak.success, peak.score):
                self._peak = record

    def on_event(self, event: Event) -> None:
        """Take the newest state of a detection."""
        with self._lock:
            known = self._events.get(event.id)
            if event.state is EventState.WITHDRAWN:
                self._events.pop(event.id, None)
                self._withdrawn.append(event)
                self._reasons[", ".join(event.quality) or "unknown"] += 1
                return
            self._events[event.id] = event
            if event.state is EventState.CLOSED and (
                known is None or known.state is not EventState.CLOSED
            ):
                self._detected[event.kind.value if event.kind else "unknown"] += 1
            if len(self._events) > MAX_EVENTS:
                del self._events[next(iter(self._events))]

    def close(self, metrics: SessionMetrics) -> None:
        """Keep the final figures; the last minute stays to be looked at."""
        with self._lock:
            self._ended = metrics

    def snapshot(self) -> Snapshot:
        """Return the session as it is now; callable from any thread."""
        with self._lock:
            points = (*self._points, *self._open_step())
            events = tuple(self._events.values())
            withdrawn = tuple(self._withdrawn)
            detected, reasons = dict(self._detected), dict(self._reasons)
            session, last, ended = self._session, self._last, self._ended
        oldest = -math.inf if last is None else last.time_s - HISTORY_S
        return Snapshot(
            session=session,
            points=tuple(point for point in points if point.time_s >= oldest),
            events=events[::-1],
            withdrawn=withdrawn[::-1],
            detected=detected,
            reasons=reasons,
            last=last,
            ended=ended,
        )

    def _open_step(self) -> tuple[TimelinePoint, ...]:
        peak = self._peak
        if peak is None:
            return ()
        return (TimelinePoint(peak.time_s, peak.score, peak.threshold, peak.success, self._lost),)

    def _close_step(self) -> None:
        self._points.extend(self._open_step())
        self._peak = None
        self._lost = 0
