"""What cameras and network streams share: time, lost frames, reconnection."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

from streamer.frame import Frame, Image
from streamer.sources.base import SourceInfo, SourceOptions, SourceState
from streamer.sources.capture_thread import CaptureThread, Connection, Grab
from streamer.sources.clock import Cadence, StreamClock, Tick
from streamer.sources.picture_check import PictureCheck

_log = logging.getLogger(__name__)

_LEAP_S = 10.0
_LATE_S = 0.25
_FALLBACK_FPS = 30.0
_WORTHLESS_S = 0.5
_WORTHLESS = {
    "black": "The pictures are black: take the cap off, add light or expose longer.",
    "saturated": "The pictures are saturated: expose shorter or lower the gain.",
    "frozen": "The same picture comes again and again: plug the camera in again.",
}


class LiveSource(ABC):
    """A source that loses frames when nobody reads, and comes back after a failure.

    Stream time follows the device's timestamps when those of the first frames are not 0 and
    advance, otherwise the host's clock. Lost frames are counted from the numbers that the driver
    gives them or, where it gives none, from jumps of the device's timestamps (`Cadence`); from
    pictures that cannot be decoded; and, over a reconnection, from the elapsed time and the rate
    so far. Black, saturated and frozen pictures are delivered, flagged and counted.

    Args:
        name: What the user would call it, without credentials.
        options: What the user asked for.
        open_timeout_s: Seconds within which the first frames must have come.
        first_retry_s: Seconds before the first reconnection; doubled at each failure.
        stall_s: Least seconds without a frame after which the state is `STALLED`; ten frame
            periods when those are longer.
        silence_s: Least seconds without a frame after which it is connected anew; forty frame
            periods when those are longer.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        name: str,
        options: SourceOptions,
        *,
        open_timeout_s: float,
        first_retry_s: float,
        stall_s: float = 0.25,
        silence_s: float = 2.0,
    ) -> None:
        self._name = name
        self._options = options
        self._open_timeout_s = open_timeout_s
        self._first_retry_s = first_retry_s
        self._stall_s = stall_s
        self._silence_s = silence_s
        self._thread: CaptureThread | None = None
        self._ended = False
        self._notes: list[str] = []
        self._counts: Counter[str] = Counter()

    @abstractmethod
    def _connect(self) -> Connection:
        """Connect the device; runs on the capture thread, also for every reconnection.

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

    @property
    def counters(self) -> Mapping[str, int]:
        """What went wrong without costing a frame, with what the driver counts."""
        counts = self._counts.copy()
        if (thread := self._thread) is not None:
            counts.update(thread.counters)
        return {name: number for name, number in counts.items() if number}

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
            silence_s=self._silence_s,
        )
        self._thread = thread
        self._counts = Counter()
        try:
            opening = thread.start(self._open_timeout_s)
        except BaseException:
            self.close()
            raise

        connection = opening.connection
        stamps = [stamp for stamp in opening.stamps_s if stamp is not None]
        intervals = [after - before for before, after in pairwise(stamps)]
        # A triggered camera has shown none yet; what it gives is judged as it comes.
        self._device_clock = connection.triggered or (
            bool(intervals) and min(intervals) > 0.0 and stamps[1] > 0.0
        )
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
            self._notes.append(self._no_timestamps())
        self._fps = connection.fps or self._assumed_fps()
        info = SourceInfo(
            name=self._name,
            kind=self.kind,
            width=connection.width,
            height=connection.height,
            channels=connection.channels,
            fps_asked=self._options.fps,
            fps_nominal=self._fps,
            live=True,
            frames=None,
            device_clock=self._device_clock,
            notes=tuple(self._notes),
            device=connection.device,
        )
        self._check = PictureCheck(info.shape)
        self._worthless = ("", 0.0)
        return info

    def _no_timestamps(self) -> str:
        """Note for a device without a clock."""
        return (
            f"The {self.kind} gives no timestamps; times are those of this computer, and "
            "frames lost on the way to it cannot be noticed."
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
        if (thread := self._thread) is not None:
            thread.stop()
            self._thread = None
            self._counts.update(thread.counters)

    def _place(self, grab: Grab, out: Image) -> Frame:
        """Give the picture its place in the stream."""
        arrival = grab.arrival
        elapsed_s = 0.0 if self._host_s is None else arrival.host_s - self._host_s
        if self._host_s is None and self._options.duration_s is not None:
            # A source that falls silent must not hold up the end of the session.
            self._end_host_s = arrival.host_s + self._options.duration_s + _LATE_S
        self._host_s = arrival.host_s
        if grab.reconnected is not None:
            self._clock.forget_device()
        stamp = arrival.stamp_s if self._device_clock else None
        if stamp is None and self._device_clock:
            self._note_once(self._no_timestamps())
        tick = self._clock.tick(stamp, elapsed_s)
        missing, cause = self._missing(grab, tick, elapsed_s)
        self._index += 1 + missing
        self._time_s = tick.time_s
        return Frame(
            index=self._index,
            time_s=tick.time_s,
            device_s=stamp if tick.trusted else None,
            host_s=arrival.host_s,
            gap_before=missing,
            gap_cause=cause if missing else "",
            image=out,
            flags=self._judge(grab, tick, out),
        )

    def _missing(self, grab: Grab, tick: Tick, elapsed_s: float) -> tuple[int, str]:
        """How many frames are missing right before this one, and the main cause."""
        if grab.reconnected is not None:
            return max(round(elapsed_s * self._rate()) - 1, 0), f"{self.kind}_reconnect"
        known = sum(grab.lost.values())
        if grab.arrival.losses is None and tick.missing > known:
            # Numbers would be exact; without them a jump of the timestamps is the only sign.
            return tick.missing, next(iter(grab.lost), "source_timestamp_gap")
        return known, max(grab.lost, key=lambda cause: grab.lost[cause], default="")

    def _judge(self, grab: Grab, tick: Tick, out: Image) -> tuple[str, ...]:
        """Flag and count what is wrong with the picture or its time, and say what lasts."""
        flags = self._check.judge(out)
        worthless = flags[0] if flags else ""
        if worthless != self._worthless[0]:
            self._worthless = (worthless, tick.time_s)
        elif worthless and tick.time_s - self._worthless[1] >= _WORTHLESS_S:
            self._note_once(_WORTHLESS[worthless])
        if not tick.trusted:
            flags += ("untrusted_time",)
            self._note_once(f"The {self.kind}'s timestamps are unsteady; some were replaced.")
        if grab.resized:
            flags += ("resized",)
            self._note_once(
                f"The {self.kind} came back with another picture size; its pictures are resized."
            )
        if grab.reconnected is not None:
            for note in grab.reconnected.notes:
                self._note_once(note)
        if flags:
            self._counts.update(flags)
        return flags

    def _rate(self) -> float:
        """Frames a second so far; before the first second, what the source states."""
        return (self._index + 1) / self._time_s if self._time_s >= 1.0 else self._fps

    def _assumed_fps(self) -> float:
        return self._options.fps or _FALLBACK_FPS

    def _note_once(self, note: str) -> None:
        if note not in self._notes:
            _log.warning("%s: %s", self._name, note)
            self._notes.append(note)
