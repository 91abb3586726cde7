"""The picture of the moment: the newest analysed frame with its overlay, never a wrong one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from streamer.dashboard import overlay
from streamer.dashboard.control import SessionControl
from streamer.dashboard.sink import DashboardSink
from streamer.frame import Image
from streamer.sinks.base import SessionInfo

STALE_S = 1.0
"""Without a new frame for this long, the picture says that it is old."""


class LivePicture:
    """Draws the newest frame each time it is called; used by one thread.

    Args:
        control: Holds the pictures.
        sink: Holds what was measured in them.
        layers: What to draw over it.
        clock: Seconds, steadily growing.
    """

    def __init__(
        self,
        control: SessionControl,
        sink: DashboardSink,
        layers: overlay.Layers | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control = control
        self._sink = sink
        self._layers = layers
        self._clock = clock
        self._shown: tuple[SessionInfo, int] | str | None = None
        self._picture: Image | None = None
        self._old_at = math.inf
        self._captured_s: float | None = None

    @property
    def captured_s(self) -> float | None:
        """`time.perf_counter()` at which the last picture was captured; None for a slate."""
        return self._captured_s

    def __call__(self) -> Image | None:
        """Return a new (h, w, 3) BGR picture; None when the last one still holds."""
        if self._sink.hidden:
            return self._slate("Picture hidden")
        if not self._control.running:
            return self._slate("No session is running")
        snapshot = self._sink.snapshot()
        record, session = snapshot.last, snapshot.session
        if record is None or session is None:
            return self._slate("Waiting for the first frame")
        if self._shows(session, record.index):
            return self._darkened()
        image = self._control.frame_image(record.index)
        if image is None:  # it has left the ring: its overlay would lie on another frame
            return self._darkened()
        self._shown, self._old_at = (session, record.index), self._clock() + STALE_S
        self._captured_s = record.host_s
        self._picture = overlay.draw(
            image, record, session.region_names, snapshot.events, layers=self._layers
        )
        return self._picture

    def _shows(self, session: SessionInfo, index: int) -> bool:
        shown = self._shown
        return isinstance(shown, tuple) and shown[0] is session and shown[1] == index

    def _slate(self, text: str) -> Image | None:
        if self._shown == text:
            return None
        height, width = (480, 640) if self._picture is None else self._picture.shape[:2]
        self._shown, self._picture, self._captured_s = text, None, None
        return overlay.slate(width, height, text)

    def _darkened(self) -> Image | None:
        """Return the last picture darkened, once, when it has become old."""
        if self._picture is None or self._clock() < self._old_at:
            return None
        self._old_at = math.inf
        return overlay.stale(self._picture, "No new frame")
