"""Motion JPEG for everybody who watches: encoded once, and only while somebody does."""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Protocol

import cv2

from streamer.frame import Image
from streamer.scheduling import give_way

_log = logging.getLogger(__name__)

BOUNDARY = "glint-frame"
MEDIA_TYPE = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
THREAD_NAME = "glint-dashboard-encoder"

_NICE = 5
# It gives way, but not as far as what has time: on a machine that viewers keep busy, a thread that
# is hardly ever let run holds the interpreter, and with it capture, until its turn comes again.

HEAD = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n\r\n".encode()
"""What stands before a picture.

Chromium shows a picture when the head of the next one arrives. So the next head follows each
picture at once, and cannot say how long or how old its picture will be.
"""

STAMP = b"glint captured at "
"""Start of the JPEG comment that says when the picture was captured, `time.perf_counter()`."""


class View(Protocol):
    """Delivers pictures. Used by one thread."""

    @property
    def captured_s(self) -> float | None:
        """`time.perf_counter()` at which the last picture was captured; None for a slate."""
        ...

    def __call__(self) -> Image | None:
        """Return a new (h, w, 3) BGR picture, or None when the last one still holds."""
        ...


class _Viewer:
    """One client: a slot that holds the newest picture. Used on its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._slot: bytes | None = None
        self._filled = asyncio.Event()
        self._over = False

    def put(self, part: bytes | None) -> None:
        """Take the newest picture; None ends the stream, whatever comes after it."""
        self._over = self._over or part is None
        self._slot = None if self._over else part
        self._filled.set()

    async def take(self) -> bytes | None:
        """Wait for a newer picture; None means that there will be no more."""
        await self._filled.wait()
        self._filled.clear()
        return self._slot


class MjpegBroadcaster:
    """Encodes the newest picture at a steady rate and hands it to every viewer.

    The encoder thread lives from the first viewer to the last. A viewer that reads slowly skips
    pictures; it holds up nobody.

    Args:
        open_view: Called when somebody begins to watch; returns what delivers the pictures.
        fps: Highest rate, in pictures a second.
        quality: JPEG quality from 0 to 100.
    """

    def __init__(self, open_view: Callable[[], View], fps: float = 20.0, quality: int = 80) -> None:
        self._open_view = open_view
        self._period_s = 1.0 / fps
        self._options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        self._lock = threading.Lock()
        self._viewers: set[_Viewer] = set()
        self._latest: bytes | None = None
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    @property
    def viewers(self) -> int:
        """How many clients watch now."""
        return len(self._viewers)

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the body of a `multipart/x-mixed-replace` response until `close`."""
        viewer = _Viewer(asyncio.get_running_loop())
        self._join(viewer)
        try:
            yield HEAD
            while (part := await viewer.take()) is not None:
                yield part
        finally:
            self._leave(viewer)

    def close(self) -> None:
        """End every stream and the encoder thread. Idempotent."""
        self._closing.set()
        with self._lock:
            viewers, self._viewers = self._viewers, set()
            thread = self._thread
        _hand(viewers, None)
        if thread is not None:
            thread.join(timeout=1.0)

    def _join(self, viewer: _Viewer) -> None:
        with self._lock:
            if self._closing.is_set():
                viewer.put(None)
                return
            self._viewers.add(viewer)
            if self._thread is None:
                self._latest = None
                self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
                self._thread.start()
            elif self._latest is not None:
                viewer.put(self._latest)

    def _leave(self, viewer: _Viewer) -> None:
        with self._lock:
            self._viewers.discard(viewer)

    def _run(self) -> None:
        give_way(_NICE)
        view = self._open_view()
        due = time.perf_counter()
        while not self._closing.wait(max(0.0, due - time.perf_counter())):
            due = max(due + self._period_s, time.perf_counter())  # a late one is not made up for
            part = self._part(view)
            with self._lock:
                if not self._viewers:
                    self._thread = None
                    return
                self._latest = part or self._latest
                viewers = tuple(self._viewers)
            if part is not None:
                _hand(viewers, part)

    def _part(self, view: View) -> bytes | None:
        """Encode the newest picture, once for all, with the head of the next one."""
        try:
            picture = view()
            if picture is None:
                return None
            jpeg = memoryview(cv2.imencode(".jpg", picture, self._options)[1].data)
            return b"".join((jpeg[:2], _comment(view.captured_s), jpeg[2:], b"\r\n", HEAD))
        except Exception:  # one bad picture must not end the stream of everybody
            _log.exception("drawing the live picture failed")
            return None


def _comment(captured_s: float | None) -> bytes:
    """Return the JPEG segment that stands behind the first two bytes; none without a time."""
    if captured_s is None:
        return b""
    text = STAMP + f"{captured_s:.6f}".encode()
    return struct.pack(">HH", 0xFFFE, len(text) + 2) + text


def _hand(viewers: Iterable[_Viewer], part: bytes | None) -> None:
    """Give a picture to viewers, waking each event loop once."""
    by_loop: defaultdict[asyncio.AbstractEventLoop, list[_Viewer]] = defaultdict(list)
    for viewer in viewers:
        by_loop[viewer.loop].append(viewer)
    for loop, those in by_loop.items():
        with suppress(RuntimeError):  # the loop has been closed: nobody is left to tell
            loop.call_soon_threadsafe(_put, those, part)


def _put(viewers: Iterable[_Viewer], part: bytes | None) -> None:
    for viewer in viewers:
        viewer.put(part)
