"""The seam between a driver and the thread that reads it: OpenCV and camera SDKs look alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from streamer.frame import Image


class DeviceLostError(Exception):
    """The device is gone or broken; a new connection may find it again."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is known of a picture when it has arrived.

    Attributes:
        host_s: `time.perf_counter()` when it reached this process.
        stamp_s: Timestamp of the device in seconds, not yet judged; None when it gives none.
        losses: Frames lost right before it, by cause; None when the driver does not number its
            frames, so that only timestamps can tell.
    """

    host_s: float
    stamp_s: float | None
    losses: Mapping[str, int] | None = None


class Grabber(Protocol):
    """A connected device. Used by one thread, except `counters`."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What the driver counted since it was connected (resent packets …)."""
        ...

    def grab(self, timeout_s: float) -> Arrival | None:
        """Wait for the next picture.

        Args:
            timeout_s: Seconds after which to give up; a driver that cannot be told blocks.

        Returns:
            What is known of it; None when none came in time.

        Raises:
            DeviceLostError: None will come any more.
        """
        ...

    def skip_waiting(self) -> None:
        """Forget what the driver holds already: the session starts with the next picture.

        Raises:
            DeviceLostError: None will come any more.
        """
        ...

    def retrieve(self, out: Image) -> Image | None:
        """Bring the picture into `out`; called once after a successful `grab`.

        Returns:
            `out`; another array when the picture has another shape; None when it is unreadable.
        """
        ...

    def release(self) -> None:
        """Give the device back; raises nothing."""
        ...


class FrameNumbers:
    """Finds missing frames in the numbers that a device gives them.

    GigE Vision 1 numbers frames with 16 bits and leaves 0 out: 65535 is followed by 1. A number
    that goes backwards otherwise means that the device counts anew.
    """

    _LAST_16_BIT = 65_535

    def __init__(self) -> None:
        self._last: int | None = None

    def missing(self, number: int) -> int:
        """Number of frames between the one before and this one."""
        last, self._last = self._last, number
        if last is None:
            return 0
        step = number - last
        if step < 0 and last <= self._LAST_16_BIT and -step > self._LAST_16_BIT // 2:
            step += self._LAST_16_BIT
        return max(step - 1, 0)


class LossBook:
    """What is lost between two whole frames of a camera that numbers them."""

    def __init__(self) -> None:
        self._numbers = FrameNumbers()
        self._damaged: Counter[str] = Counter()
        self._underruns = 0

    def damaged(self, cause: str) -> None:
        """A frame came that cannot be used."""
        self._damaged[cause] += 1

    def before(self, number: int | None, underruns: Callable[[], int]) -> Mapping[str, int] | None:
        """What was lost right before a whole frame, by cause; then counting starts anew.

        Args:
            number: The frame's; None when it has none.
            underruns: Tells how often the driver had no buffer so far; asked only when frames are
                missing that nobody saw.
        """
        lost, self._damaged = self._damaged, Counter()
        if number is None:
            return lost or None
        unseen = self._numbers.missing(number) - lost.total()
        if unseen > 0:
            before, self._underruns = self._underruns, underruns()
            lost["buffer_underrun" if self._underruns > before else "frame_number_gap"] += unseen
        return lost
