"""The ring buffer between two stages: one writer, several readers, nothing copied.

Pictures live in one preallocated array. The writer claims the next slot, fills it in place and
publishes it; each reader walks at its own position and is handed views. What a reader has not
read when the writer needs the slot is either waited for (`Overflow.WAIT`, files) or dropped and
counted (`Overflow.DROP_OLDEST`, cameras). A picture that is overwritten while somebody looks at
it is detected: `Slot.intact` and `RingWindow.intact` turn False.

The sizing rule, capacity from rate × time budget × margin + window, follows the shared-memory
ring of Chi et al., *Diffusion Policy* (RSS 2023).
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from streamer.frame import Frame, Image

PayloadT = TypeVar("PayloadT")


class Overflow(Enum):
    """What the writer does when the slowest reader still needs the slot."""

    WAIT = "wait"
    """Wait for the reader: every frame is read (files)."""
    DROP_OLDEST = "drop_oldest"
    """Take the slot; the reader loses its oldest unread frame, counted (live sources)."""


def ring_capacity(fps: float, budget_s: float, window_s: float = 0.0, margin: float = 1.5) -> int:
    """Return how many slots a ring needs.

    Args:
        fps: Frame rate in frames a second.
        budget_s: Longest time a reader may be busy without losing a frame, in seconds.
        window_s: Length of history that must stay readable, in seconds.
        margin: Safety factor on the budget.
    """
    return math.ceil(fps * budget_s * margin) + math.ceil(fps * window_s) + 2


@dataclass(frozen=True, slots=True)
class Slot(Generic[PayloadT]):
    """A frame that a reader holds until it asks for the next one.

    Attributes:
        frame: The frame; `frame.image` is a view into the ring. `gap_before` includes the
            frames that this reader lost.
        payload: What the writer published beside the picture.
        intact: Call when done with the view: False when it was overwritten meanwhile.
    """

    frame: Frame
    payload: PayloadT
    intact: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class RingWindow(Generic[PayloadT]):
    """The newest frames of a ring, oldest first.

    Attributes:
        images: (N, H, W[, C]) uint8; a view into the ring where the frames lie side by side
            in it, otherwise a copy.
        times_s: (N,) float64 stream times in seconds.
        indices: (N,) int64 frame indices.
        gap_mask: (N,) bool, True where frames are missing right before this one.
        payloads: N payloads.
        copied: Whether `images` is a copy.
        intact: Call when done with a view: False when any of it was overwritten meanwhile.
            Always True for a copy.
    """

    images: Image
    times_s: npt.NDArray[np.float64]
    indices: npt.NDArray[np.int64]
    gap_mask: npt.NDArray[np.bool_]
    payloads: tuple[PayloadT, ...]
    copied: bool
    intact: Callable[[], bool]


class FrameRing(Generic[PayloadT]):
    """Preallocated ring of pictures with times, gaps and a payload.

    Args:
        capacity: Number of slots, at least 2 (one of them may be under the writer's pen).
        shape: Shape of one picture.
        overflow: What to do when the slowest reader still needs the slot.
        name: Name for messages.
    """

    def __init__(
        self,
        capacity: int,
        shape: tuple[int, ...],
        overflow: Overflow,
        name: str = "ring",
    ) -> None:
        if capacity < 2:
            raise ValueError(f"{name}: a ring needs at least 2 slots, not {capacity}")
        self.name = name
        self.capacity = capacity
        self.overflow = overflow
        self._images: Image = np.zeros((capacity, *shape), np.uint8)
        self._frames: list[Frame | None] = [None] * capacity
        self._payloads: list[PayloadT | None] = [None] * capacity
        self._readers: list[RingReader[PayloadT]] = []
        self._changed = threading.Condition()
        self._head = 0  # frames published so far
        self._oldest = 0  # oldest sequence number that is not overwritten
        self._closed = False

    # -- writer ------------------------------------------------------------------------------

    def claim(self) -> Image | None:
        """Return the next slot's picture to be filled in place.

        Waits for readers when the ring does not drop. A claimed slot may be claimed again
        without publishing it.

        Returns:
            The picture, or None when the ring was closed.
        """
        with self._changed:
            doomed = self._head - self.capacity
            if self.overflow is Overflow.WAIT:
                while not self._closed and any(r.needed_from() <= doomed for r in self._readers):
                    self._changed.wait()
            else:
                for reader in self._readers:
                    reader.drop_until(doomed + 1)
            if self._closed:
                return None
            self._oldest = max(self._oldest, doomed + 1)
            picture: Image = self._images[self._head % self.capacity]
            return picture

    def publish(self, frame: Frame, payload: PayloadT) -> None:
        """Make the claimed slot readable.

        Args:
            frame: The frame; its `image` must be (or equal) the claimed picture.
            payload: What belongs to it.
        """
        with self._changed:
            slot = self._head % self.capacity
            self._frames[slot] = frame
            self._payloads[slot] = payload
            self._head += 1
            self._changed.notify_all()

    def close(self) -> None:
        """End the stream: readers still get what is unread, then None. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # -- readers -----------------------------------------------------------------------------

    def reader(self, name: str, keep: int = 0) -> RingReader[PayloadT]:
        """Return a new reader that starts at the next published frame.

        Args:
            name: Who reads; names the cause of its losses.
            keep: Number of frames right before its position that must stay readable for it
                (its window). Less than the capacity.
        """
        if keep > self.capacity - 2:
            raise ValueError(f"{self.name}: keep={keep} does not fit {self.capacity} slots")
        with self._changed:
            reader = RingReader(self, name, self._head, keep)
            self._readers.append(reader)
            return reader

    @property
    def fill(self) -> float:
        """Unread share of the ring for its slowest reader, 0 to 1."""
        with self._changed:
            lag = max((r.lag(self._head) for r in self._readers), default=0)
            return min(1.0, lag / self.capacity)

    def last(self, seconds: float) -> RingWindow[PayloadT] | None:
        """Return the frames of the newest `seconds` of stream time; None when there are none.

        Callable from any thread. The window holds every frame with a time greater than the
        newest one's minus `seconds`, as far back as the ring still has them.
        """
        with self._changed:
            first, stop = self._oldest, self._head
            if first == stop:
                return None
            since = self._frame(stop - 1).time_s - seconds
            first += bisect_right(range(first, stop - 1), since, key=self._time_of)
        return self._window(first, stop)

    def find(self, index: int) -> Image | None:
        """Return a copy of the picture with this frame index, or None when it is gone."""
        with self._changed:
            readable = range(self._oldest, self._head)
            found = self._oldest + bisect_left(readable, index, key=self._index_of)
            if found == self._head or self._index_of(found) != index:
                return None
        picture: Image = self._images[found % self.capacity].copy()
        return picture if self._is_intact(found) else None

    # -- internals ---------------------------------------------------------------------------

    def _frame(self, sequence: int) -> Frame:
        frame = self._frames[sequence % self.capacity]
        assert frame is not None
        return frame

    def _time_of(self, sequence: int) -> float:
        return self._frame(sequence).time_s

    def _index_of(self, sequence: int) -> int:
        return self._frame(sequence).index

    def _is_intact(self, sequence: int) -> bool:
        return sequence >= self._oldest

    def _window(self, first: int, stop: int) -> RingWindow[PayloadT] | None:
        with self._changed:
            first = max(first, self._oldest)
            if first >= stop:
                return None
            slots = [s % self.capacity for s in range(first, stop)]
            frames = [self._frame(s) for s in range(first, stop)]
            payloads: tuple[PayloadT, ...] = tuple(self._payloads[s] for s in slots)  # type: ignore[misc]
        wraps = slots[0] > slots[-1]
        images: Image = self._images[slots] if wraps else self._images[slots[0] : slots[-1] + 1]
        if wraps and not self._is_intact(first):
            # The writer came round while the copy was made: what is left is the newer part.
            return self._window(first, stop)
        return RingWindow(
            images=images,
            times_s=np.array([f.time_s for f in frames]),
            indices=np.array([f.index for f in frames]),
            gap_mask=np.array([f.gap_before > 0 for f in frames]),
            payloads=payloads,
            copied=wraps,
            intact=(lambda: True) if wraps else (lambda: self._is_intact(first)),
        )


class RingReader(Generic[PayloadT]):
    """One reader's position in a ring. Made by `FrameRing.reader`; used by one thread.

    Attributes:
        name: Who reads.
        lost: Frames that this reader has lost so far.
    """

    def __init__(self, ring: FrameRing[PayloadT], name: str, start: int, keep: int) -> None:
        self.name = name
        self.lost = 0
        self._ring = ring
        self._keep = keep
        self._next = start  # sequence number of the next frame to read
        self._holding = False
        self._dropped = 0  # missing since the last frame that was read

    def next(self, timeout: float | None = None) -> Slot[PayloadT] | None:
        """Return the next frame, waiting for it; lets go of the one before.

        Args:
            timeout: Longest wait in seconds; None waits for ever.

        Returns:
            The frame; None at the end of the stream.

        Raises:
            TimeoutError: Nothing came in time.
        """
        ring = self._ring
        deadline = None if timeout is None else time.monotonic() + timeout
        with ring._changed:
            if self._holding:
                self._holding = False
                ring._changed.notify_all()
            while self._next == ring._head:
                if ring._closed:
                    return None
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"{ring.name}: no frame for {self.name} in {timeout} s")
                ring._changed.wait(left)
            sequence = self._next
            frame = ring._frame(sequence)
            payload: PayloadT = ring._payloads[sequence % ring.capacity]  # type: ignore[assignment]
            self._next += 1
            self._holding = True
            dropped, self._dropped = self._dropped, 0
        if dropped:
            cause = frame.gap_cause or f"{self.name}_overrun"
            frame = replace(frame, gap_before=frame.gap_before + dropped, gap_cause=cause)
        return Slot(frame, payload, lambda: ring._is_intact(sequence))

    def window(self, since_s: float) -> RingWindow[PayloadT] | None:
        """Return the frames from stream time `since_s` up to the one that is held.

        Only frames within `keep` of the position are safe from the writer.
        """
        ring = self._ring
        with ring._changed:
            stop = self._next
            first = ring._oldest
            first += bisect_left(range(first, stop), since_s, key=ring._time_of)
        return ring._window(first, stop) if first < stop else None

    def leave(self) -> None:
        """Stop reading: the writer no longer waits for this reader. Idempotent."""
        with self._ring._changed:
            if self in self._ring._readers:
                self._ring._readers.remove(self)
            self._ring._changed.notify_all()

    # -- called by the ring, under its lock --------------------------------------------------

    def needed_from(self) -> int:
        """Oldest sequence number that the writer must not overwrite for this reader."""
        return max(0, self._next - self._holding - self._keep)

    def drop_until(self, sequence: int) -> None:
        """Lose what lies before `sequence`, so that the kept window stays whole."""
        if sequence <= 0:
            return
        until = min(sequence + self._keep, self._ring._head)
        while self._next < until:
            # What was missing before a lost frame is now missing before the next one that is read.
            self._dropped += 1 + self._ring._frame(self._next).gap_before
            self._next += 1
            self.lost += 1

    def lag(self, head: int) -> int:
        """Frames published but not read."""
        return head - self._next
