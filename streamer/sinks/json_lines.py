"""Events as JSON lines on a stream, for another program at the end of a pipe."""

from __future__ import annotations

from typing import TextIO

from engines.events import Event
from streamer.errors import SessionError
from streamer.sinks.base import FrameRecord, SessionInfo, SessionMetrics
from streamer.sinks.documents import event_document, json_line


class JsonLinesSink:
    """Writes a line whenever an event changes its state.

    The fields are those of `events.jsonl`, with `state` before them: `tentative`, `confirmed`,
    `closed` or `withdrawn`. A reader that wants final events only keeps the closed ones.

    Args:
        stream: Where the lines go; flushed after each.
    """

    name = "json lines"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def open(self, session: SessionInfo) -> None:
        """Nothing is written before the first event."""

    def on_frame(self, record: FrameRecord) -> None:
        """Frames are not written; they are in `frames.csv`."""

    def on_event(self, event: Event) -> None:
        """Write the event.

        Raises:
            SessionError: The reader has gone.
        """
        line = json_line({"state": event.state.value, **event_document(event)})
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except OSError as error:
            raise SessionError(
                "The program that read the events has gone: start it again, and Glint with it."
            ) from error

    def close(self, metrics: SessionMetrics) -> None:
        """The stream belongs to the caller."""
