"""A source that replays pictures from memory, so that a decoder or a renderer is not measured."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from streamer.frame import Frame, Image
from streamer.sources.base import SourceInfo, SourceOptions, SourceState
from streamer.sources.camera_config import CameraConfig
from streamer.sources.playback import Playback


class MemorySource:
    """Plays a few pictures forwards and backwards without end.

    In real time it behaves like a camera: a reader that comes late finds the frames that the
    driver's buffers held and loses the others. A frame's time of capture is when it was due, so
    that what it waited there counts as latency.

    Args:
        pictures: (N, H, W, 3) uint8, N > 1.
        fps: Rate in frames a second.
        frames: Number of frames to deliver.
        realtime: Camera (True) or file (False).
        buffer_s: What the driver's buffers hold; by default what Glint asks of a lab camera's.
        depth: (N, H, W) uint16 depth picture of each picture, in millimetres; None has none.
    """

    def __init__(
        self,
        pictures: Image,
        fps: float,
        frames: int,
        *,
        realtime: bool,
        buffer_s: float | None = None,
        depth: npt.NDArray[np.uint16] | None = None,
    ) -> None:
        self._pictures = pictures
        self._depth = depth
        self._fps = fps
        self._frames = frames
        self._realtime = realtime
        self._buffers = round(fps * (CameraConfig().buffer_s if buffer_s is None else buffer_s))
        self._playback = Playback(SourceOptions(realtime=realtime))
        self._next = 0
        self._started_s = 0.0
        self.longest_wait_s = 0.0
        """Longest that a frame has waited in the driver's buffers; a shorter buffer loses it."""
        self.state = SourceState.CLOSED

    def open(self) -> SourceInfo:
        """Rewind."""
        self._playback.reset()
        self._next = 0
        self.state = SourceState.LIVE
        _, height, width, channels = self._pictures.shape
        return SourceInfo(
            name="memory",
            kind="memory",
            width=width,
            height=height,
            channels=channels,
            fps_asked=self._fps,
            fps_nominal=self._fps,
            live=self._realtime,
            frames=self._frames,
            device_clock=False,
            depth=self._depth is not None,
        )

    def read(self, out: Image) -> Frame | None:
        """Copy the next picture into `out`; see `FrameSource.read`."""
        index = self._next
        lost = 0
        if index == 0:
            self._started_s = time.perf_counter()
        elif self._realtime:
            produced = int((time.perf_counter() - self._started_s) * self._fps)
            lost = max(produced - self._buffers - index, 0)
        index += lost
        if index >= self._frames:
            self.state = SourceState.ENDED
            return None
        self._playback.wait(index / self._fps)
        host_s = time.perf_counter()
        if self._realtime:
            due_s = self._started_s + index / self._fps
            self.longest_wait_s = max(self.longest_wait_s, host_s - due_s)
            host_s = due_s
        at = self._position(index)
        np.copyto(out, self._pictures[at])
        self._next = index + 1
        return Frame(
            index=index,
            time_s=index / self._fps,
            device_s=None,
            host_s=host_s,
            gap_before=lost,
            gap_cause="driver_overrun" if lost else "",
            image=out,
            depth=None if self._depth is None else self._depth[at],
        )

    def interrupt(self) -> None:
        """End a wait."""
        self._playback.interrupt()

    def close(self) -> None:
        """Nothing is held."""
        self.state = SourceState.CLOSED

    def _position(self, index: int) -> int:
        """Forwards, then backwards, so that the film has no cut."""
        last = len(self._pictures) - 1
        phase = index % (2 * last)
        return phase if phase <= last else 2 * last - phase
