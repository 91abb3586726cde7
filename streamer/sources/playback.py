"""Pace, length and interruption of sources that can wait: files and folders."""

from __future__ import annotations

import threading
import time

from streamer.errors import SourceInterrupted
from streamer.sources.base import SourceOptions


class Playback:
    """Delivers frames when they are due, until the asked duration is over.

    Args:
        options: `realtime` and `duration_s` are followed; a picture size is only compared.
    """

    def __init__(self, options: SourceOptions) -> None:
        self._realtime = options.realtime
        self._width, self._height = options.width, options.height
        self._duration_s = options.duration_s
        self._interrupted = threading.Event()
        self._start_host_s: float | None = None

    def over(self, time_s: float) -> bool:
        """Whether a frame at this stream time lies beyond the asked duration."""
        return self._duration_s is not None and time_s >= self._duration_s

    def limit(self, frames: int | None, fps: float) -> int | None:
        """Number of frames that will be delivered, of the `frames` that there are."""
        if self._duration_s is None:
            return frames
        asked = max(round(self._duration_s * fps), 1)
        return asked if frames is None else min(frames, asked)

    def size_notes(self, width: int, height: int) -> list[str]:
        """What to tell a user who asked for another picture size than the recording has."""
        asked = (self._width, self._height)
        if None in asked or asked == (width, height):
            return []
        return [
            f"The pictures are {width} by {height} pixels and are analysed so, not "
            f"{asked[0]} by {asked[1]} as asked."
        ]

    def wait(self, time_s: float) -> None:
        """Wait until the frame of this stream time is due.

        Raises:
            SourceInterrupted: `interrupt` was called, before or during the wait.
        """
        now = time.perf_counter()
        if self._start_host_s is None:
            self._start_host_s = now - time_s
        due_s = self._start_host_s + time_s - now if self._realtime else 0.0
        interrupted = self._interrupted.wait(due_s) if due_s > 0.0 else self._interrupted.is_set()
        if interrupted:
            raise SourceInterrupted

    def interrupt(self) -> None:
        """End a wait, and every later one until `reset`."""
        self._interrupted.set()

    def reset(self) -> None:
        """Forget the interruption and the starting time."""
        self._interrupted.clear()
        self._start_host_s = None
