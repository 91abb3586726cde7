"""A driver that may block or fail, kept on a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import cv2

from streamer.errors import SourceError, SourceInterrupted
from streamer.frame import Image
from streamer.sources.base import SourceState
from streamer.sources.grabber import Arrival, DeviceLostError, Grabber

_log = logging.getLogger(__name__)

_WARM_UP_FRAMES = 6
_WARM_UP_S = 1.0
_UNREADABLE_IN_A_ROW = 10
_STOP_S = 0.9
_GRAB_S = 0.1  # a driver that can be told waits this long at a time, so that it can be stopped
_STALL_FRAMES = 10
_SILENT_FRAMES = 40
_FALLBACK_FPS = 30.0
_UNREADABLE = "undecodable_frame"


@dataclass(frozen=True, slots=True)
class Connection:
    """A connected device and what it grants.

    Attributes:
        grabber: Connected, ready to grab.
        width: Picture width in pixels.
        height: Picture height in pixels.
        fps: Rate that it states; None when it states none.
        channels: 3 for BGR, 1 for gray.
        notes: What the user must be told about it.
        device: What it is and is set to, for the record.
        triggered: Whether a signal from outside releases the frames: none need come.
    """

    grabber: Grabber
    width: int
    height: int
    fps: float | None
    channels: int = 3
    notes: tuple[str, ...] = ()
    device: Mapping[str, str | float] = field(default_factory=dict)
    triggered: bool = False


@dataclass(frozen=True, slots=True)
class Opening:
    """A first connection and the timestamps, in seconds, of its first (discarded) frames."""

    connection: Connection
    stamps_s: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Grab:
    """How a picture came in.

    Attributes:
        arrival: What the driver says about it.
        lost: Frames right before it that were lost, by cause, as far as the driver can tell.
        resized: True when it had another size than the first connection's.
        reconnected: The new connection of which it is the first picture; None otherwise.
    """

    arrival: Arrival
    lost: Mapping[str, int]
    resized: bool
    reconnected: Connection | None


class CaptureThread:
    """Grabs from a driver on its own thread and connects again when the driver fails.

    `cv2.VideoCapture.grab` blocks until the device delivers: up to ten seconds in V4L2, for ever
    in some Windows drivers, and neither can be woken; releasing the capture from another thread
    meanwhile is undefined behaviour. So the blocking call lives here, the reader waits on a
    condition that `interrupt` can wake, and a thread that is still stuck at the end is left
    behind: it holds no lock, writes to no picture and releases the device when it comes back.

    The reader lends its picture for the time of one `read`, and the thread decodes into it under
    the lock, so that there is no copy and no write after `read` has returned.

    A source is stalled after ten frame periods without a frame, and connected anew after forty
    (and at least two seconds), unless a signal from outside releases its frames.

    Args:
        name: Name of the thread.
        connect: Connects the device, on the thread; raises `SourceError`.
        no_picture: Sentence for a device that connects but delivers nothing.
        stall_s: Least seconds without a frame after which the state is `STALLED`.
        first_retry_s: Seconds before the first new connection; doubled at each failure.
        last_retry_s: Longest wait between two attempts, in seconds.
        silence_s: Least seconds without a frame after which it is connected anew.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        no_picture: str,
        *,
        stall_s: float = 0.25,
        first_retry_s: float = 0.25,
        last_retry_s: float = 5.0,
        silence_s: float = 2.0,
    ) -> None:
        self._connect = connect
        self._no_picture = no_picture
        self._stall_s = stall_s
        self._silence_s = silence_s
        self._retries_s = (first_retry_s, last_retry_s)
        self._changed = threading.Condition()
        self._state = SourceState.CLOSED
        self._opening: Opening | None = None
        self._error: Exception | None = None
        self._out: Image | None = None
        self._grabs: deque[Grab] = deque(maxlen=1)
        self._interrupted = False
        self._stopping = False
        self._counts: Counter[str] = Counter()
        self._grabber: Grabber | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def state(self) -> SourceState:
        """Live, stalled, reconnecting or closed."""
        return self._state

    @property
    def counters(self) -> Counter[str]:
        """Stalls, reconnections and what the driver counts."""
        counts = self._counts.copy()
        if (grabber := self._grabber) is not None:
            counts.update(grabber.counters)
        return counts

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
                        self._counts["stalls"] += 1
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
        """Release the device and end the thread, or leave it behind when it is stuck."""
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
            first = True
            while connection is not None:
                self._grabber = connection.grabber
                try:
                    if first:
                        self._warm_up(connection)
                    self._pump(connection, None if first else connection)
                    self._search()
                finally:
                    self._let_go(connection.grabber)
                connection = self._reconnect()
                first = False
        except Exception as error:  # the reader must learn of it, or it would wait for ever
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _warm_up(self, connection: Connection) -> None:
        """Take the first frames: a busy camera opens, but delivers nothing."""
        fps = connection.fps or _FALLBACK_FPS
        self._stall_s = max(self._stall_s, _STALL_FRAMES / fps)
        self._silence_s = max(self._silence_s, _SILENT_FRAMES / fps)
        stamps = [] if connection.triggered else self._first_stamps(connection.grabber)
        if not stamps and not connection.triggered:
            raise SourceError(self._no_picture)
        with self._changed:
            self._opening = Opening(connection, tuple(stamps))
            self._changed.notify_all()

    def _first_stamps(self, grabber: Grabber) -> list[float | None]:
        stamps: list[float | None] = []
        start_s = time.perf_counter()
        while len(stamps) < _WARM_UP_FRAMES and not self._stopping:
            try:
                arrival = grabber.grab(_GRAB_S)
            except DeviceLostError:
                break
            if arrival is not None:
                stamps.append(arrival.stamp_s)
            if len(stamps) >= 2 and time.perf_counter() - start_s > _WARM_UP_S:
                break
        return stamps

    def _pump(self, connection: Connection, reconnected: Connection | None) -> None:
        """Serve the reader until the device fails or the thread is to stop."""
        lost: Counter[str] = Counter()
        waiting_since_s: float | None = None
        stale = reconnected is None and not connection.triggered
        while lost[_UNREADABLE] < _UNREADABLE_IN_A_ROW:
            with self._changed:
                self._changed.wait_for(lambda: self._out is not None or self._stopping)
            if self._stopping:
                return
            if waiting_since_s is None:
                waiting_since_s = time.perf_counter()
            try:
                if stale:  # engines were loaded since the warm-up, for seconds
                    connection.grabber.skip_waiting()
                    stale = False
                arrival = connection.grabber.grab(_GRAB_S)
            except DeviceLostError:
                return
            if arrival is None:
                silent_s = time.perf_counter() - waiting_since_s
                if silent_s > self._silence_s and not connection.triggered:
                    return
                continue
            waiting_since_s = None
            lost.update(arrival.losses or {})
            with self._changed:
                out = self._out
                if out is None:  # the reader was interrupted
                    continue
                image = connection.grabber.retrieve(out)
                if image is None:
                    lost[_UNREADABLE] += 1
                    continue
                resized = image is not out and _fit(image, out)
                self._grabs.append(Grab(arrival, lost, resized, reconnected))
                self._out = None
                self._changed.notify_all()
            lost = Counter()
            reconnected = None

    def _search(self) -> None:
        """From here on the device is gone; letting go of it may take seconds."""
        with self._changed:
            if not self._stopping:
                self._state = SourceState.RECONNECTING

    def _let_go(self, grabber: Grabber) -> None:
        """Release a device and keep what it counted."""
        self._grabber = None
        self._counts.update(grabber.counters)
        grabber.release()

    def _reconnect(self) -> Connection | None:
        """Try until it works; None when the thread is to stop."""
        delay_s, last_s = self._retries_s
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._stopping, delay_s):
                    return None
            try:
                connection = self._connect()
                self._counts["reconnects"] += 1
                return connection
            except SourceError as error:
                _log.debug("%s: %s", self._thread.name, error)
                delay_s = min(2.0 * delay_s, last_s)


def _fit(image: Image, out: Image) -> bool:
    """Bring a picture of another size or depth into `out`."""
    if image.ndim < out.ndim:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)  # type: ignore[assignment]
    elif image.ndim > out.ndim:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)  # type: ignore[assignment]
    cv2.resize(image, (out.shape[1], out.shape[0]), dst=out, interpolation=cv2.INTER_AREA)
    return True
