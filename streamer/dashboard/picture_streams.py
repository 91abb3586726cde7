"""The live picture with each viewer's own overlay, encoded once for all who chose the same."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator

from streamer.dashboard.control import SessionControl
from streamer.dashboard.live_picture import LivePicture
from streamer.dashboard.mjpeg import MjpegBroadcaster
from streamer.dashboard.overlay import Layers
from streamer.dashboard.sink import DashboardSink


class PictureStreams:
    """One broadcaster for each choice of layers, a dozen at most; each works while it is watched.

    Args:
        control: Holds the pictures.
        sink: Holds what was measured in them.
    """

    def __init__(self, control: SessionControl, sink: DashboardSink) -> None:
        self._control, self._sink = control, sink
        self._lock = threading.Lock()
        self._broadcasters: dict[Layers, MjpegBroadcaster] = {}
        self._closed = False

    def stream(self, layers: Layers) -> AsyncIterator[bytes]:
        """Yield the body of a `multipart/x-mixed-replace` response until `close`."""
        return self._broadcaster(layers).stream()

    @property
    def viewers(self) -> int:
        """How many clients watch now."""
        with self._lock:
            return sum(each.viewers for each in self._broadcasters.values())

    def close(self) -> None:
        """End every stream and every encoder thread. Idempotent."""
        with self._lock:
            self._closed = True
            broadcasters = tuple(self._broadcasters.values())
        for each in broadcasters:
            each.close()

    def _broadcaster(self, layers: Layers) -> MjpegBroadcaster:
        with self._lock:
            known = self._broadcasters.get(layers)
            if known is None:
                known = MjpegBroadcaster(lambda: LivePicture(self._control, self._sink, layers))
                if self._closed:
                    known.close()
                self._broadcasters[layers] = known
            return known
