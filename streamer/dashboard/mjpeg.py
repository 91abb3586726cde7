"""Motion JPEG for everybody who watches: encoded once, and only while somebody does."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import AsyncIterator, Callable

import cv2

from streamer.frame import Image
from streamer.scheduling import give_way

_log = logging.getLogger(__name__)

BOUNDARY = "glint-frame"
MEDIA_TYPE = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
REPEAT_S = 0.5
"""A picture that still holds is sent again: Chromium shows a part when the next one arrives."""

THREAD_NAME = "glint-dashboard-encoder"

NextPicture = Callable[[], Image | None]
"""Returns a new (h, w, 3) BGR picture, or None when the last one still holds."""


class _Viewer:
    """One client: a slot that holds the newest picture. Used on its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._slot: bytes | None = None
        self._filled = asyncio.Event()
        self._over = False

    def put(self, jpeg: bytes | None) -> None:
        """Take the newest picture; None ends the stream, whatever comes after it."""
        self._over = self._over or jpeg is None
        self._slot = None if self._over else jpeg
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

    def __init__(
        self, open_view: Callable[[], NextPicture], fps: float = 15.0, quality: int = 80
    ) -> None:
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
            while (jpeg := await viewer.take()) is not None:
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}"
                yield b"%b\r\n\r\n%b\r\n" % (head.encode(), jpeg)
        finally:
            self._leave(viewer)

    def close(self) -> None:
        """End every stream and the encoder thread. Idempotent."""
        self._closing.set()
        with self._lock:
            viewers, self._viewers = self._viewers, set()
            thread = self._thread
        for viewer in viewers:
            _hand(viewer, None)
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
        give_way()
        next_picture = self._open_view()
        spent, handed_at = 0.0, -math.inf
        while not self._closing.wait(max(0.0, self._period_s - spent)):
            began = time.perf_counter()
            jpeg = self._jpeg(next_picture)
            if jpeg is None and began - handed_at >= REPEAT_S:
                jpeg = self._latest
            with self._lock:
                if not self._viewers:
                    self._thread = None
                    return
                self._latest = jpeg or self._latest
                viewers = tuple(self._viewers)
            if jpeg is not None:
                handed_at = began
                for viewer in viewers:
                    _hand(viewer, jpeg)
            spent = time.perf_counter() - began

    def _jpeg(self, next_picture: NextPicture) -> bytes | None:
        try:
            picture = next_picture()
            if picture is None:
                return None
            return cv2.imencode(".jpg", picture, self._options)[1].tobytes()
        except Exception:  # one bad picture must not end the stream of everybody
            _log.exception("drawing the live picture failed")
            return None


def _hand(viewer: _Viewer, jpeg: bytes | None) -> None:
    if not viewer.loop.is_closed():
        try:
            viewer.loop.call_soon_threadsafe(viewer.put, jpeg)
        except RuntimeError:  # the loop was closed in between: nobody is left to tell
            return
