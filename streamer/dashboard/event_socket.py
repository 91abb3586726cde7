"""Events over a WebSocket, for programs that watch the session from elsewhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from engines.events import Event
from streamer.sinks.base import FrameRecord, SessionInfo, SessionMetrics
from streamer.sinks.documents import event_document, json_line

_DEPTH = 256
_TOO_SLOW = 1013  # "try again later"
_GOING_AWAY = 1001


class _Listener:
    """One client's queue. Filled from the sink thread, emptied on the client's event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.lines: asyncio.Queue[str] = asyncio.Queue(maxsize=_DEPTH)
        self.end: asyncio.Future[int] = loop.create_future()

    def put(self, line: str) -> None:
        """Queue a line; a client that lets the queue run full is sent away, not waited for."""
        if self.end.done():
            return  # what is sent until the goodbye must have no gap
        try:
            self.lines.put_nowait(line)
        except asyncio.QueueFull:
            self.finish(_TOO_SLOW)

    def finish(self, code: int) -> None:
        """End the connection with a WebSocket close code."""
        if not self.end.done():
            self.end.set_result(code)


class EventSocket:
    """A sink whose events every connected client receives, a line of JSON each.

    The lines are those of `--json-lines`. Sessions that start later go over the same connection.
    """

    name = "event socket"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: set[_Listener] = set()

    def open(self, session: SessionInfo) -> None:
        """Clients stay from session to session."""

    def on_frame(self, record: FrameRecord) -> None:
        """Frames are not sent."""

    def on_event(self, event: Event) -> None:
        """Send the event to everybody who is connected."""
        with self._lock:
            listeners = tuple(self._listeners)
        if listeners:
            line = json_line({"state": event.state.value, **event_document(event)})
            for listener in listeners:
                self._tell(listener, partial(listener.put, line))

    def close(self, metrics: SessionMetrics) -> None:
        """Clients stay: the next session will be theirs too."""

    def hang_up(self) -> None:
        """End every connection, because the server ends."""
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            self._tell(listener, partial(listener.finish, _GOING_AWAY))

    async def serve(self, socket: WebSocket) -> None:
        """Send events to one client until it leaves."""
        listener = _Listener(asyncio.get_running_loop())
        with self._lock:  # before it is told that it is connected: no event is lost
            self._listeners.add(listener)
        await socket.accept()
        leaving = asyncio.create_task(_wait_for_end(socket))
        sending = asyncio.create_task(_send(socket, listener))
        try:
            first: set[asyncio.Future[Any]] = {leaving, sending, listener.end}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        finally:
            with self._lock:
                self._listeners.discard(listener)
            for task in (leaving, sending):
                task.cancel()
            await asyncio.gather(leaving, sending, return_exceptions=True)
        if listener.end.done() and socket.application_state is WebSocketState.CONNECTED:
            with suppress(WebSocketDisconnect):  # it may have left by itself meanwhile
                await socket.close(listener.end.result())

    @staticmethod
    def _tell(listener: _Listener, call: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # its event loop has ended, and the connection with it
            listener.loop.call_soon_threadsafe(call)


async def _send(socket: WebSocket, listener: _Listener) -> None:
    while True:
        await socket.send_text(await listener.lines.get())


async def _wait_for_end(socket: WebSocket) -> None:
    try:
        while True:
            await socket.receive_text()  # clients have nothing to say
    except (WebSocketDisconnect, RuntimeError):
        return
