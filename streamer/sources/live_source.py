"""What cameras and network streams share: time, lost frames, reconnection."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import ClassVar

from streamer.frame import Frame, Image
from streamer.sources.base import SourceInfo, SourceOptions, SourceState
from streamer.sources.capture_thread import CaptureThread, Connection, Grab
from streamer.sources.clock import Cadence, StreamClock

_log = logging.getLogger(__name__)

_LEAP_S = 10.0
_LATE_S = 0.25
_FALLBACK_FPS = 30.0


class LiveSource(ABC):
    """A source that loses frames when nobody reads, and comes back after a failure.

    Stream time follows the device's timestamps when those of the first frames are not 0 and
    advance, otherwise the host's clock. Lost frames are counted from jumps of the device's
    timestamps (`Cadence`), from pictures that cannot be decoded, and, over a reconnection, from
    the elapsed time and the rate so far.

    Args:
        name: What the user would call it, without credentials.
        options: What the user asked for.
        open_timeout_s: Seconds within which the first frames must have come.
        first_retry_s: Seconds before the first reconnection; doubled at each failure.
        stall_s: Seconds without a frame after which the state is `STALLED`.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        name: str,
        options: SourceOptions,
        *,
        open_timeout_s: float,
        first_retry_s: float,
        stall_s: float,
    ) -> None:
        self._name = name
        self._options = options
        self._open_timeout_s = open_timeout_s
        self._first_retry_s = first_retry_s
        self._stall_s = stall_s
        self._thread: CaptureThread | None = None
        self._ended = False
        self._notes: list[str] = []

    @abstractmethod
    def _connect(self) -> Connection:
        """Open the capture; runs on the capture thread, also for every reconnection.

        Raises:
            SourceError: It cannot be opened; nothing is left open.
        """

    @abstractmethod
    def _no_picture(self) -> str:
        """Sentence for a source that opens but delivers nothing."""

    @property
    def state(self) -> SourceState:
        """What the source is doing now."""
        thread = self._thread
        if thread is None:
            return SourceState.CLOSED
        return SourceState.ENDED if self._ended else thread.state

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user must be told, with what was learnt since `open`."""
        return tuple(self._notes)

    def open(self) -> SourceInfo:
        """Connect, and judge the timestamps of the first frames.

        Raises:
            SourceError: It cannot be opened, or delivers nothing in time.
            SourceInterrupted: `interrupt` was called meanwhile.
        """
        self.close()
        thread = CaptureThread(
            f"glint-{self.kind}",
            self._connect,
            self._no_picture(),
            stall_s=self._stall_s,
            first_retry_s=self._first_retry_s,
        )
        self._thread = thread
        try:
            opening = thread.start(self._open_timeout_s)
        except BaseException:
            self.close()
            raise

        connection, stamps = opening.connection, opening.stamps_s
        intervals = [b - a for a, b in pairwise(stamps)]
        self._device_clock = bool(intervals) and min(intervals) > 0.0 and stamps[1] > 0.0
        self._clock = StreamClock(Cadence(intervals if self._device_clock else ()), _LEAP_S)
        self._host_s: float | None = None
        self._end_host_s: float | None = None
        self._index = -1
        self._time_s = 0.0
        self._ended = False
        self._notes = list(connection.notes)
        if connection.fps is None:
            self._notes.append(
                f"The {self.kind} states no frame rate; {self._assumed_fps():g} fps is assumed "
                "until it is measured."
            )
        if not self._device_clock:
            self._notes.append(
                f"The {self.kind} gives no timestamps; times are those of this computer, and "
                "frames lost on the way to it cannot be noticed."
            )
        self._fps = connection.fps or self._assumed_fps()
        return SourceInfo(
            name=self._name,
            kind=self.kind,
            width=connection.width,
            height=connection.height,
            channels=3,
            fps_asked=self._options.fps,
            fps_nominal=self._fps,
            live=True,
            frames=None,
            device_clock=self._device_clock,
            notes=tuple(self._notes),
        )

    def read(self, out: Image) -> Frame | None:
        """Wait for the next frame; see `FrameSource.read`.

        Raises:
            SourceInterrupted: `interrupt` was called.
        """
        if self._thread is None or self._ended:
            return None
        grab = self._thread.read(out, self._end_host_s)
        frame = None if grab is None else self._place(grab, out)
        duration_s = self._options.duration_s
        if frame is None or (duration_s is not None and frame.time_s >= duration_s):
            self._ended = True
            return None
        return frame

    def interrupt(self) -> None:
        """Make a blocked `open` or `read` return at once."""
        if (thread := self._thread) is not None:
            thread.interrupt()

    def close(self) -> None:
        """Release the device."""
        if self._thread is not None:
            self._thread.stop()
            self._thread = None

    def _place(self, grab: Grab, out: Image) -> Frame:
        """Give the picture its place in the stream."""
        elapsed_s = 0.0 if self._host_s is None else grab.host_s - self._host_s
        if self._host_s is None and self._options.duration_s is not None:
            # A source that falls silent must not hold up the end of the session.
            self._end_host_s = grab.host_s + self._options.duration_s + _LATE_S
        self._host_s = grab.host_s
        if grab.reconnected:
            self._clock.forget_device()
        stamp = grab.stamp_s if self._device_clock else None
        tick = self._clock.tick(stamp, elapsed_s)

        missing, cause = tick.missing, "source_timestamp_gap"
        if grab.reconnected:
            missing, cause = max(round(elapsed_s * self._rate()) - 1, 0), f"{self.kind}_reconnect"
        elif grab.undecodable:
            missing, cause = max(missing, grab.undecodable), "undecodable_frame"
        if not tick.trusted:
            self._note_once(f"The {self.kind}'s timestamps are unsteady; some were replaced.")
        if grab.resized:
            self._note_once(
                f"The {self.kind} came back with another picture size; its pictures are resized."
            )
        self._index += 1 + missing
        self._time_s = tick.time_s
        return Frame(
            index=self._index,
            time_s=tick.time_s,
            device_s=stamp if tick.trusted else None,
            host_s=grab.host_s,
            gap_before=missing,
            gap_cause=cause if missing else "",
            image=out,
        )

    def _rate(self) -> float:
        """Frames a second so far; before the first second, what the source states."""
        return (self._index + 1) / self._time_s if self._time_s >= 1.0 else self._fps

    def _assumed_fps(self) -> float:
        return self._options.fps or _FALLBACK_FPS

    def _note_once(self, note: str) -> None:
        if note not in self._notes:
            _log.warning("%s: %s", self._name, note)
            self._notes.append(note)
