"""Glint from Python: events of a source, one after the other.

    from streamer.api import glint_session

    for event in glint_session("clip.mp4"):
        print(f"{event.onset_s:.2f} s: {event.kind.value}, {event.emotion}")

Micro-expressions are movements of the face. They do not prove that a person lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from queue import Queue
from typing import Any

from engines.events import Event, EventState
from streamer.config import GlintConfig
from streamer.session import build_pipeline
from streamer.sinks.base import FrameRecord, SessionInfo, SessionMetrics, Sink
from streamer.sinks.session_folder import SessionFolderSink

_DEPTH = 1000


def glint_session(
    source: str = "0",
    *,
    session: Path | str | None = None,
    settings: Mapping[str, Any] | None = None,
    states: tuple[EventState, ...] = (EventState.CLOSED,),
) -> Iterator[Event]:
    """Analyse a source and yield its events as they are decided.

    The session ends with the source, or when the loop is left. A live source never waits for the
    loop: while its body works, events queue up, and when a thousand have done so frames are lost
    to the sinks and counted.

    Args:
        source: Camera number or device, video file, folder of pictures, recorded session, address
            or `demo`, as `--source` takes it.
        session: Session folder to write; None writes nothing.
        settings: What a configuration file would hold, e.g. `{"recognizer": "none", "source":
            {"fps": 200.0, "duration_s": 10.0}}`. Files are read as fast as they can be.
        states: Which changes of state to yield; closed events are final and have an emotion.

    Yields:
        Events, in order of decision.

    Raises:
        UserError: The source, an engine or the session folder cannot be opened, or the source
            failed; the events before that were yielded.
    """
    tree = dict(settings or {})
    tree["source"] = {"speed": "max", **tree.get("source", {}), "spec": str(source)}
    config = GlintConfig.from_tree(tree, "the settings")
    events = _EventQueue(states)
    folder = None if session is None else Path(session)
    sinks: list[Sink] = [events]
    if folder is not None:
        sinks.append(SessionFolderSink(folder))
    pipeline = build_pipeline(config, sinks, folder=folder)
    try:
        pipeline.start()
        yield from events
    finally:
        events.leave()
        pipeline.close()
    if pipeline.failure is not None:
        raise pipeline.failure


class _EventQueue:
    """A sink that is iterated from another thread."""

    name = "iterator"

    def __init__(self, states: tuple[EventState, ...]) -> None:
        self._states = states
        self._queue: Queue[Event | None] = Queue(maxsize=_DEPTH)
        self._left = False

    def __iter__(self) -> Iterator[Event]:
        while (event := self._queue.get()) is not None:
            yield event

    def leave(self) -> None:
        """Nobody iterates any more: free a sink thread that waits for room."""
        self._left = True
        while not self._queue.empty():
            self._queue.get_nowait()

    def open(self, session: SessionInfo) -> None:
        """Nothing to prepare."""

    def on_frame(self, record: FrameRecord) -> None:
        """Frames are not yielded."""

    def on_event(self, event: Event) -> None:
        """Queue an event."""
        if event.state in self._states and not self._left:
            self._queue.put(event)

    def close(self, metrics: SessionMetrics) -> None:
        """End the iteration."""
        if not self._left:
            self._queue.put(None)
