"""The dashboard's memory of a session: the last minute, small and ready to be shown.

`on_frame` runs for every frame, so it costs a few microseconds at any history length; whoever
wants to look asks for a snapshot, or for what has changed since the last look.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

from engines.events import Event, EventState
from streamer.dashboard.apex_pictures import ApexPictures
from streamer.dashboard.journal import Journal
from streamer.dashboard.light_watch import LightWatch
from streamer.sinks.base import FrameRecord, SessionInfo, SessionMetrics

HISTORY_S = 60.0
"""Length of the timeline in seconds of stream time."""

STEP_S = 0.02
"""One point of the timeline; it keeps the highest score of its frames, so no peak is hidden."""

MAX_EVENTS = 200
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
        events: Detections that were not withdrawn, by id, newest first.
        withdrawn: The last withdrawn detections, newest first.
        detected: Closed detections of the session by kind.
        reasons: Withdrawn detections of the session by reason.
        last: The newest analysed frame.
        ended: Final figures once the session is over.
    """

    session: SessionInfo | None = None
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


@dataclass(frozen=True, slots=True)
class Changes:
    """What a viewer has not seen yet.

    Attributes:
        session: Number of the session; no two of a machine have the same.
        points: Points of the timeline, oldest first.
        next_point: Number of the point that follows them.
        events: Detections whose state has changed, withdrawn ones among them.
        revision: What to ask for changes since, next time.
        now_s: Stream time of the newest analysed frame.
    """

    session: int
    points: tuple[TimelinePoint, ...]
    next_point: int
    events: tuple[Event, ...]
    revision: int
    now_s: float


class DashboardSink:
    """A `Sink` that remembers what the dashboard shows.

    Attributes:
        journal: What the operator says of the session.
        apexes: Pictures of the apexes.
        light: Watches the light on the face.
        hidden: Whether nobody is to see the face now; outlives the session.
    """

    name = "dashboard"

    def __init__(self) -> None:
        self.journal = Journal()
        self.apexes = ApexPictures()
        self.light = LightWatch()
        self.hidden = False
        self._lock = threading.Lock()
        # Not from 0: a page that is still open after a restart must see that everything is new.
        self._sessions = int(time.time())
        self._reset(None)

    def _reset(self, session: SessionInfo | None) -> None:
        self._session = session
        self._points: deque[TimelinePoint] = deque(maxlen=math.ceil(HISTORY_S / STEP_S))
        self._next_point = 0
        self._events: dict[int, tuple[int, Event]] = {}  # with the revision of its last change
        self._withdrawn: deque[tuple[int, Event]] = deque(maxlen=MAX_EVENTS)
        self._revision = 0
        self._detected: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._last: FrameRecord | None = None
        self._ended: SessionMetrics | None = None
        self._step = -1
        self._peak: FrameRecord | None = None
        self._lost = 0

    def open(self, session: SessionInfo) -> None:
        """Forget the last session and remember this one."""
        self.journal.begin(session.folder)
        self.apexes.clear()
        self.light.restart()
        with self._lock:
            self._sessions += 1
            self._reset(session)

    def stored(self, session: SessionInfo) -> None:
        """Forget what was seen of a preview: from the next frame on it is a stored session."""
        self.open(session)

    def on_frame(self, record: FrameRecord) -> None:
        """Take a frame into the timeline."""
        step = int(record.time_s / STEP_S)
        self.light.see(record)
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
        stored_from = None if self._session is None else self._session.stored_from
        if stored_from is not None and event.onset_s < stored_from.time_s:
            return  # it began in the preview, and the session folder does not know it
        # The picture first: whoever sees the event may ask for it.
        self.apexes.take(event, None if self._last is None else self._last.box)
        with self._lock:
            self._revision += 1
            known = self._events.get(event.id)
            if event.state is EventState.WITHDRAWN:
                self._events.pop(event.id, None)
                self._withdrawn.append((self._revision, event))
                self._reasons[", ".join(event.quality) or "unknown"] += 1
            else:
                self._events[event.id] = (self._revision, event)
                if event.state is EventState.CLOSED and (
                    known is None or known[1].state is not EventState.CLOSED
                ):
                    self._detected[event.kind.value if event.kind else "unknown"] += 1
                if len(self._events) > MAX_EVENTS:
                    del self._events[next(iter(self._events))]

    def close(self, metrics: SessionMetrics) -> None:
        """Keep the final figures; the last minute stays to be looked at."""
        with self._lock:
            self._close_step()
            self._ended = metrics

    def snapshot(self) -> Snapshot:
        """Return the session as it is now; callable from any thread."""
        with self._lock:
            events = tuple(event for _, event in self._events.values())
            withdrawn = tuple(event for _, event in self._withdrawn)
            detected, reasons = dict(self._detected), dict(self._reasons)
            session, last, ended = self._session, self._last, self._ended
        return Snapshot(
            session=session,
            events=events[::-1],
            withdrawn=withdrawn[::-1],
            detected=detected,
            reasons=reasons,
            last=last,
            ended=ended,
        )

    def changes(self, session: int = 0, point: int = 0, revision: int = 0) -> Changes:
        """Return what has happened since a viewer's last look; callable from any thread.

        Args:
            session: The session that was looked at; another one is told from its beginning.
            point: `Changes.next_point` of that look.
            revision: `Changes.revision` of that look.
        """
        with self._lock:
            if session != self._sessions:
                point = revision = 0
            kept_from = self._next_point - len(self._points)
            points = tuple(islice(self._points, max(point - kept_from, 0), None))
            known = (*self._events.values(), *self._withdrawn)
            now_s = 0.0 if self._last is None else self._last.time_s
            return Changes(
                session=self._sessions,
                points=points,
                next_point=self._next_point,
                events=tuple(event for changed, event in known if changed > revision),
                revision=self._revision,
                now_s=now_s,
            )

    def _close_step(self) -> None:
        peak = self._peak
        if peak is not None:
            self._points.append(
                TimelinePoint(peak.time_s, peak.score, peak.threshold, peak.success, self._lost)
            )
            self._next_point += 1
        self._peak = None
        self._lost = 0
