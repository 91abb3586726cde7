"""A browser as the camera: the pictures that the dashboard's page `/camera` sends."""

from __future__ import annotations

import io
import math
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
import PIL.Image

from streamer.errors import SourceError
from streamer.frame import Frame, Image
from streamer.sources.base import SourceInfo, SourceOptions, SourceState
from streamer.sources.capture_thread import Connection
from streamer.sources.clock import Cadence
from streamer.sources.grabber import Arrival, DeviceLostError
from streamer.sources.live_source import LiveSource

MAX_MESSAGE = 4 * 2**20
"""Longest message that a browser may send, in bytes."""

_MAX_PIXELS = 4096 * 2160
_DEPTH = 8
_MAX_NOTES = 8
_SILENT_S = 5.0  # a phone that lost its network seems connected for much longer
_SIZE = (640, 480)
_FPS = 30.0
_STALL_S = 0.5  # a radio network delivers in bursts

_INVITATION = (
    "No browser is the camera yet: open the dashboard's page /camera in the subject's browser and "
    "press its button."
)

_MAGIC = b"GLF1"
_HEADER = struct.Struct("<4sIId")


class MalformedPictureError(ValueError):
    """A message that is no picture from the page `/camera`."""


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """What a session asks of the browser's camera; each session's is one of its own.

    Attributes:
        width: Picture width in pixels.
        height: Picture height in pixels.
        fps: Frames a second.
        recorded: Whether the session stores the pictures.
    """

    width: int
    height: int
    fps: float
    recorded: bool


@dataclass(frozen=True, slots=True)
class BrowserPicture:
    """One picture as it arrived.

    Attributes:
        number: Frames that the camera has shown to the page by then, this one included.
        unsent: How many of them the page kept back because the connection was busy.
        stamp_s: The browser's timestamp in seconds; None when it had none.
        host_s: `time.perf_counter()` at arrival.
        jpeg: The picture, not yet decoded.
        guest: Which browser sent it.
    """

    number: int
    unsent: int
    stamp_s: float | None
    host_s: float
    jpeg: memoryview
    guest: int


Tell = Callable[[Wish | None], None]
"""Tells a browser what to send; None for nothing. Called from any thread, must not block."""


class BrowserCamera:
    """The seat of the one browser that is the camera, between the web server and the source.

    Thread-safe. Pictures are taken only while a session asks for them; what the session does not
    fetch in time is dropped, oldest first.

    Args:
        depth: Pictures that wait at most.
        clock: Seconds, steadily growing.
    """

    def __init__(self, depth: int = _DEPTH, clock: Callable[[], float] = time.perf_counter) -> None:
        self._depth = depth
        self._clock = clock
        self._changed = threading.Condition()
        self._guest = 0
        self._tell: Tell | None = None
        self._wish: Wish | None = None
        self._fulfilled: Wish | None = None
        self._heard_s = 0.0
        self._waiting: deque[BrowserPicture] = deque()
        self._dropped = 0
        self._counts: Counter[str] = Counter()
        self._notes: list[str] = []

    @property
    def wish(self) -> Wish | None:
        """What the running session asks for; None while none asks."""
        return self._wish

    @property
    def occupied(self) -> bool:
        """Whether a browser is the camera now."""
        return self._tell is not None

    @property
    def counters(self) -> Mapping[str, int]:
        """What went wrong since the session asked, without costing a frame."""
        with self._changed:
            return dict(self._counts)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the browsers of this session said of their cameras."""
        return tuple(self._notes)

    # -- the web server's side ---------------------------------------------------------------

    def join(self, tell: Tell) -> int | None:
        """Take the seat, and be told what is wished.

        A browser that should be sending and has been silent for five seconds loses the seat to
        the next one that comes.

        Returns:
            The number to `put` and `leave` with; None when another browser is the camera.
        """
        with self._changed:
            silent = self._wish is not None and self._clock() - self._heard_s > _SILENT_S
            if self._tell is not None and not silent:
                self._counts["browsers_refused"] += 1
                return None
            self._guest += 1
            self._tell = tell
            self._heard_s = self._clock()
            tell(self._wish)
            return self._guest

    def put(self, guest: int, message: bytes) -> bool:
        """Take a picture from a browser.

        Returns:
            Whether the browser still is the camera.

        Raises:
            MalformedPictureError: The message is no picture; it is counted.
        """
        arrived_s = self._clock()
        with self._changed:
            if guest != self._guest or self._tell is None:
                return False
            self._heard_s = arrived_s
            if self._wish is None:  # it has not heard of the end yet
                return True
            try:
                picture = _picture(message, arrived_s, guest)
            except MalformedPictureError:
                self._counts["malformed_messages"] += 1
                raise
            if len(self._waiting) == self._depth:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(picture)
            self._changed.notify_all()
            return True

    def note(self, guest: int, note: str) -> None:
        """Keep what a browser says of its camera, within reason."""
        with self._changed:
            current = guest == self._guest and self._wish is not None
            if current and note not in self._notes and len(self._notes) < _MAX_NOTES:
                self._notes.append(note)

    def leave(self, guest: int) -> None:
        """Give the seat back; does nothing once another browser has it."""
        with self._changed:
            if guest == self._guest:
                self._tell = None
                self._changed.notify_all()

    # -- the source's side -------------------------------------------------------------------

    def ask(self, wish: Wish) -> None:
        """Ask for pictures from now on; does nothing when the same was wished already."""
        with self._changed:
            if wish in (self._wish, self._fulfilled):
                return
            self._waiting.clear()
            self._counts.clear()
            self._notes.clear()
            self._dropped = 0
            self._heard_s = self._clock()
            self._wish = wish
            if self._tell is not None:
                self._tell(wish)

    def dismiss(self) -> None:
        """Ask for nothing any more."""
        with self._changed:
            if self._wish is not None:
                self._wish, self._fulfilled = None, self._wish
                self._waiting.clear()
                if self._tell is not None:
                    self._tell(None)

    def take(self, guest: int | None, timeout_s: float) -> tuple[BrowserPicture, int] | None:
        """Wait for the next picture of a browser.

        Args:
            guest: Whose pictures are expected; None for whoever is the camera.
            timeout_s: Seconds after which to give up.

        Returns:
            The picture, and how many right before it had to be dropped; None when none came.

        Raises:
            DeviceLostError: That browser has left, and all that it sent has been taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._gone(guest), timeout_s)
            if self._waiting and guest in (None, self._waiting[0].guest):
                dropped, self._dropped = self._dropped, 0
                return self._waiting.popleft(), dropped
            if self._waiting or self._gone(guest):
                raise DeviceLostError
            return None

    def _gone(self, guest: int | None) -> bool:
        return guest is not None and (self._tell is None or guest != self._guest)


class BrowserGrabber:
    """The pictures of one browser, from its first one until it leaves.

    The page numbers the frames that its camera showed, so a jump tells how many it missed; what
    the camera itself left out shows in the timestamps only.

    Args:
        camera: Where the pictures arrive.
        wish: What to ask for.
    """

    def __init__(self, camera: BrowserCamera, wish: Wish) -> None:
        self._camera = camera
        self._wish = wish
        self._picture: BrowserPicture | None = None
        self._cadence = Cadence()

    @property
    def counters(self) -> Mapping[str, int]:
        """They belong to the seat, which outlives this browser."""
        return {}

    def grab(self, timeout_s: float) -> Arrival | None:
        """Wait for the next picture; see `Grabber.grab`."""
        self._camera.ask(self._wish)
        before = self._picture
        taken = self._camera.take(None if before is None else before.guest, timeout_s)
        if taken is None:
            return None
        self._picture, dropped = taken
        losses = self._losses(before, self._picture, dropped)
        return Arrival(self._picture.host_s, self._picture.stamp_s, losses)

    def skip_waiting(self) -> None:
        """Nothing waits: the browser sends only from the first `grab` on."""

    def retrieve(self, out: Image) -> Image | None:
        """Decode the picture; see `Grabber.retrieve`."""
        assert self._picture is not None
        image = _decoded(self._picture.jpeg)
        if image is None or image.shape != out.shape:
            return image
        np.copyto(out, image)
        return out

    def release(self) -> None:
        """The seat is the source's to give back."""

    def _losses(
        self, before: BrowserPicture | None, now: BrowserPicture, dropped: int
    ) -> Mapping[str, int]:
        """What is missing right before a picture, by cause."""
        if before is None:
            return {"browser_overrun": dropped} if dropped else {}
        missed = max(now.number - before.number - 1 - dropped, 0)
        kept_back = min(max(now.unsent - before.unsent, 0), missed)
        losses = {
            "browser_overrun": dropped,
            "browser_backlog": kept_back,
            "browser_skipped": missed - kept_back,
        }
        if now.stamp_s is not None and before.stamp_s is not None:
            by_time = self._cadence.missing(now.stamp_s - before.stamp_s)
            losses["source_timestamp_gap"] = max(by_time - missed - dropped, 0)
        return {cause: number for cause, number in losses.items() if number}


class BrowserSource(LiveSource):
    """Delivers what a visitor's browser sends from the dashboard's page `/camera`.

    It opens at once and waits for a browser. One that leaves, or loads the page again, is a
    reconnection. Timestamps are the browser's; pictures are JPEG, cut and scaled by the page to
    the size of the session.

    Args:
        spec: `browser`.
        options: `fps`, `width`, `height` and `duration_s` are followed.
        camera: Where the pictures arrive; None without a dashboard.
        recorded: Whether the session stores the pictures; the page says so.
    """

    kind = "browser"

    def __init__(
        self,
        spec: str,
        options: SourceOptions,
        camera: BrowserCamera | None = None,
        *,
        recorded: bool = False,
    ) -> None:
        super().__init__(spec, options, open_timeout_s=5.0, first_retry_s=0.05, stall_s=_STALL_S)
        self._camera = camera
        self._index = -1  # before the first picture
        self._waits = 0  # stalls that were no stalls: nobody had come yet
        width, height = options.width or _SIZE[0], options.height or _SIZE[1]
        self._wish = Wish(width, height, options.fps or _FPS, recorded)

    @staticmethod
    def matches(spec: str) -> bool:
        """The word `browser`."""
        return spec == "browser"

    @property
    def state(self) -> SourceState:
        """As of every live source; `WAITING` until the first browser is the camera."""
        state = super().state
        if state in (SourceState.LIVE, SourceState.STALLED) and not self._occupied():
            return SourceState.WAITING if self._index < 0 else SourceState.RECONNECTING
        return state

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user must be told, with what browsers said of their cameras."""
        said = () if self._camera is None else self._camera.notes
        if self.state is SourceState.WAITING:
            said = (*said, _INVITATION)
        return (*super().notes, *said)

    @property
    def counters(self) -> Mapping[str, int]:
        """What went wrong without costing a frame, refused browsers and messages among it."""
        counts = Counter(super().counters)
        counts["stalls"] -= counts["stalls"] if self._index < 0 else self._waits
        if self._camera is not None:
            counts.update(self._camera.counters)
        return {name: number for name, number in counts.items() if number}

    def open(self) -> SourceInfo:
        """Open at once; the browser may come later.

        Raises:
            SourceError: There is no dashboard, or its pictures would be too large.
        """
        self._wish = replace(self._wish)
        return super().open()

    def read(self, out: Image) -> Frame | None:
        """Wait for the next frame; see `FrameSource.read`. At the end the browser is told."""
        waited = self._index < 0
        frame = super().read(out)
        if waited:
            self._waits = super().counters.get("stalls", 0)
        if frame is None:
            self._dismiss()
        return frame

    def interrupt(self) -> None:
        """Make a blocked `read` return at once, and the browser send nothing any more."""
        super().interrupt()
        self._dismiss()

    def close(self) -> None:
        """Let go of the browser, which stays connected for the next session."""
        super().close()
        self._dismiss()

    def _dismiss(self) -> None:
        if self._camera is not None:
            self._camera.dismiss()

    def _connect(self) -> Connection:
        wish = self._wish
        if self._camera is None:
            raise SourceError(
                "A browser is the camera only through the dashboard's page /camera: start Glint "
                "without --headless."
            )
        if wish.width * wish.height > _MAX_PIXELS:
            raise SourceError(
                f"A browser does not send {wish.width} by {wish.height} pixels: ask for a smaller "
                "--size."
            )
        grabber = BrowserGrabber(self._camera, wish)
        # Nothing need come: the browser releases the frames when its user is ready.
        return Connection(
            grabber,
            wish.width,
            wish.height,
            wish.fps,
            notes=(
                "A browser's camera films 30 to 60 frames a second, fewer in poor light: at 30, a "
                "micro-expression of 0.1 s is three pictures.",
            ),
            triggered=True,
        )

    def _no_picture(self) -> str:
        return _INVITATION

    def _occupied(self) -> bool:
        return self._camera is not None and self._camera.occupied


def _picture(message: bytes, arrived_s: float, guest: int) -> BrowserPicture:
    """Take a message apart: header (little-endian: magic, number, unsent, seconds), then JPEG."""
    if not _HEADER.size < len(message) <= MAX_MESSAGE:
        raise MalformedPictureError("wrong length")
    magic, number, unsent, stamp_s = _HEADER.unpack_from(message)
    if magic != _MAGIC or math.isinf(stamp_s):
        raise MalformedPictureError("wrong header")
    jpeg = memoryview(message)[_HEADER.size :]
    stamp = None if math.isnan(stamp_s) else stamp_s
    return BrowserPicture(number, unsent, stamp, arrived_s, jpeg, guest)


def _decoded(jpeg: memoryview) -> Image | None:
    """Decode a JPEG of sane size; None for anything else.

    The size is read from its header first: a few bytes can ask for gigabytes.
    """
    try:
        with PIL.Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as header:
            width, height = header.size
        if width * height > _MAX_PIXELS:
            return None
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, PIL.Image.DecompressionBombError, cv2.error):
        return None
    return None if image is None else np.asarray(image, np.uint8)
