"""Tells the person at a terminal how far the work is, and what it found."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tqdm import tqdm

from engines.events import Event, EventKind, EventState
from streamer.sinks.base import FrameRecord, SessionInfo, SessionMetrics


class ProgressSink:
    """Counts the events of a session and, on request, draws a progress bar on stderr.

    Args:
        bar: Draw a bar, for a source whose end is known.

    Attributes:
        events: Closed events by kind.
        emotions: Closed events by emotion, where recognition ran.
        seconds: Stream time of the last analysed frame.
    """

    name = "progress"

    def __init__(self, bar: bool) -> None:
        self.events: Counter[EventKind] = Counter()
        self.emotions: Counter[str] = Counter()
        self.seconds = 0.0
        self._wanted = bar
        self._bar: _Bar | None = None

    def open(self, session: SessionInfo) -> None:
        """Draw the empty bar."""
        if self._wanted and session.source.frames:
            self._bar = _Bar(
                total=session.source.frames,
                desc=Path(session.source.name).name,
                unit=" frames",
                dynamic_ncols=True,
                leave=False,
            )

    def on_frame(self, record: FrameRecord) -> None:
        """Move on by one frame."""
        self.seconds = record.time_s
        if self._bar is not None:
            self._bar.update()

    def on_event(self, event: Event) -> None:
        """Count a closed event."""
        if event.state is not EventState.CLOSED or event.kind is None:
            return
        self.events[event.kind] += 1
        if event.emotion is not None:
            self.emotions[event.emotion] += 1
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self.events.total()} events", refresh=False)

    def close(self, metrics: SessionMetrics) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


class _Bar(tqdm):  # type: ignore[misc]  # tqdm carries no types
    monitor_interval = 0  # no thread of its own: it would outlive the session
