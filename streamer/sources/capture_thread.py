"""A capture that may block or fail, kept on a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import cv2

from streamer.errors import SourceError, SourceInterrupted
from streamer.frame import Image
from streamer.sources.base import SourceState
from streamer.sources.opencv import Capture, stamp_s

_log = logging.getLogger(__name__)

_WARM_UP_FRAMES = 6
_WARM_UP_S = 1.0
_UNDECODABLE_IN_A_ROW = 10
_STOP_S = 0.9


@dataclass(frozen=True, slots=True)
class Connection:
    """An opened capture and what it grants.

    Attributes:
        capture: Opened, ready to grab.
        width: Picture width in pixels.
        height: Picture height in pixels.
        fps: Rate that it states; None when it states none.
        notes: What the user must be told about it.
    """

    capture: Capture
    width: int
    height: int
    fps: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opening:
    """A first connection and the timestamps, in seconds, of its first (discarded) frames."""

    connection: Connection
    stamps_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Grab:
    """How a picture came in.

    Attributes:
        host_s: `time.perf_counter()` when it was grabbed.
        stamp_s: Timestamp of the device in seconds, not yet judged.
        reconnected: True for the first picture of a new connection.
        undecodable: Pictures right before it that could not be decoded.
        resized: True when it had another size than the first connection's.
    """

    host_s: float
    stamp_s: float
    reconnected: bool
    undecodable: int
    resized: bool


class CaptureThread:
    """Grabs from a capture on its own thread and connects again when the capture fails.

    `cv2.VideoCapture.grab` blocks until the device delivers: up to ten seconds in V4L2, for ever
    in some Windows drivers, and neither can be woken; releasing the capture from another thread
    meanwhile is undefined behaviour. So the blocking call lives here, the reader waits on a
    condition that `interrupt` can wake, and a thread that is still stuck at the end is left
    behind: it holds no lock, writes to no picture and releases the device when it comes back.

    The reader lends its picture for the time of one `read`, and the thread decodes into it under
    the lock, so that there is no copy and no write after `read` has returned.

    Args:
        name: Name of the thread.
        connect: Opens a capture, on the thread; raises `SourceError`.
        no_picture: Sentence for a capture that opens but delivers nothing.
        stall_s: Seconds without a frame after which the state is `STALLED`.
        first_retry_s: Seconds before the first new connection; doubled at each failure.
        last_retry_s: Longest wait between two attempts, in seconds.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        no_picture: str,
        *,
        stall_s: float = 0.5,
        first_retry_s: float = 0.25,
        last_retry_s: float = 5.0,
    ) -> None:
        self._connect = connect
        self._no_picture = no_picture
        self._stall_s = stall_s
        self._retries_s = (first_retry_s, last_retry_s)
        self._changed = threading.Condition()
        self._state = SourceState.CLOSED
        self._opening: Opening | None = None
        self._error: Exception | None = None
        self._out: Image | None = None
        self._grabs: deque[Grab] = deque(maxlen=1)
        self._interrupted = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def state(self) -> SourceState:
        """Live, stalled, reconnecting or closed."""
        return self._state

    def start(self, timeout_s: float) -> Opening:
        """Connect and take the first frames.

        Raises:
            SourceError: It cannot be opened or delivers nothing within the time.
            SourceInterrupted: `interrupt` was called.
        """
        self._thread.start()
        with self._changed:
            self._changed.wait_for(
                lambda: self._opening or self._error or self._interrupted, timeout_s
            )
            if self._interrupted:
                raise SourceInterrupted
            if self._error is not None:
                raise self._error
            if self._opening is None:
                raise SourceError(self._no_picture)
            self._state = SourceState.LIVE
            return self._opening

    def read(self, out: Image, until_s: float | None) -> Grab | None:
        """Wait for the next picture, decoded into `out`.

        Args:
            out: Picture of the first connection's size.
            until_s: `time.perf_counter()` at which to give up; None for never.

        Returns:
            How it came in; None when the time was up.

        Raises:
            SourceInterrupted: `interrupt` was called.
        """
        with self._changed:
            self._out = out
            self._grabs.clear()
            self._changed.notify_all()
            try:
                while not self._grabs:
                    if self._interrupted:
                        raise SourceInterrupted
                    if self._error is not None:
                        raise self._error
                    wait_s = self._stall_s
                    if until_s is not None:
                        wait_s = min(wait_s, until_s - time.perf_counter())
                    if wait_s <= 0.0:
                        return None
                    if not self._changed.wait(wait_s) and self._state is SourceState.LIVE:
                        self._state = SourceState.STALLED
            finally:
                self._out = None
            self._state = SourceState.LIVE
            return self._grabs.pop()

    def interrupt(self) -> None:
        """Make `start` and `read` return at once, now and later."""
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Release the capture and end the thread, or leave it behind when it is stuck."""
        with self._changed:
            self._stopping = True
            self._state = SourceState.CLOSED
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)
            if self._thread.is_alive():
                _log.warning("%s is stuck in its driver and was left behind", self._thread.name)

    def _run(self) -> None:
        try:
            connection: Connection | None = self._connect()
            reconnected = False
            while connection is not None:
                try:
                    if self._opening is None:
                        self._warm_up(connection)
                    self._pump(connection.capture, reconnected)
                finally:
                    connection.capture.release()
                connection = self._reconnect()
                reconnected = True
        except Exception as error:  # the reader must learn of it, or it would wait for ever
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _warm_up(self, connection: Connection) -> None:
        """Take the first frames: a busy camera opens, but delivers nothing."""
        stamps: list[float] = []
        start_s = time.perf_counter()
        while len(stamps) < _WARM_UP_FRAMES and not self._stopping and _grab(connection.capture):
            stamps.append(stamp_s(connection.capture))
            if len(stamps) >= 2 and time.perf_counter() - start_s > _WARM_UP_S:
                break
        if not stamps:
            raise SourceError(self._no_picture)
        with self._changed:
            self._opening = Opening(connection, tuple(stamps))
            self._changed.notify_all()

    def _pump(self, capture: Capture, reconnected: bool) -> None:
        """Serve the reader until the capture fails or the thread is to stop."""
        undecodable = 0
        while undecodable < _UNDECODABLE_IN_A_ROW:
            with self._changed:
                self._changed.wait_for(lambda: self._out is not None or self._stopping)
            if self._stopping or not _grab(capture):
                return
            host_s = time.perf_counter()
            with self._changed:
                out = self._out
                if out is None:  # the reader was interrupted
                    continue
                image = _retrieve(capture, out)
                if image is None:
                    undecodable += 1
                    continue
                resized = image is not out and _fit(image, out)
                stamp = stamp_s(capture)
                self._grabs.append(Grab(host_s, stamp, reconnected, undecodable, resized))
                self._out = None
                self._changed.notify_all()
            undecodable = 0
            reconnected = False

    def _reconnect(self) -> Connection | None:
        """Try until it works; None when the thread is to stop."""
        delay_s, last_s = self._retries_s
        while True:
            with self._changed:
                if not self._stopping:
                    self._state = SourceState.RECONNECTING
                if self._changed.wait_for(lambda: self._stopping, delay_s):
                    return None
            try:
                return self._connect()
            except SourceError as error:
                _log.debug("%s: %s", self._thread.name, error)
                delay_s = min(2.0 * delay_s, last_s)


def _grab(capture: Capture) -> bool:
    try:
        return capture.grab()
    except cv2.error:
        return False


def _retrieve(capture: Capture, out: Image) -> Image | None:
    try:
        decoded, image = capture.retrieve(out)
    except cv2.error:
        return None
    return image if decoded else None


def _fit(image: Image, out: Image) -> bool:
    """Bring a picture of another size or depth into `out`."""
    coloured = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
    cv2.resize(coloured, (out.shape[1], out.shape[0]), dst=out, interpolation=cv2.INTER_AREA)
    return True
