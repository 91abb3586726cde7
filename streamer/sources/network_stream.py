"""A live stream from the network (RTSP, MJPEG over HTTP …), read by FFmpeg through OpenCV."""

from __future__ import annotations

import re
from collections.abc import Callable

import cv2

from streamer.errors import SourceError
from streamer.sources.base import SourceOptions
from streamer.sources.capture_thread import Connection
from streamer.sources.live_source import LiveSource
from streamer.sources.opencv import (
    Capture,
    OpenCvGrabber,
    announced_fps,
    picture_size,
    quiet_opencv,
)

CaptureFactory = Callable[[str, int, list[int]], Capture]

_ADDRESS = re.compile(r"(rtsps?|rtmps?|https?|rtp|udp|tcp|srt)://.+", re.IGNORECASE)
_PARTS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<rest>.*)", re.DOTALL)


def without_credentials(address: str) -> str:
    """The address as it may be shown: no user, no password, no query.

    Cameras take passwords in front of the host and in the query. A password may hold any
    character, even unescaped ones that end the host part (`/`, `?`, `#`), so when in doubt more
    is removed: everything up to the last `@` that could follow a password.
    """
    match = _PARTS.fullmatch(address)
    if match is None:
        return address
    rest = match.group("rest")
    before, at, after = rest.rpartition("@")
    if at and (":" in before or not re.search(r"[/?#]", before)):
        rest = after
    return match.group("scheme") + re.split(r"[?#]", rest, maxsplit=1)[0]


class NetworkStreamSource(LiveSource):
    """Delivers a network stream and connects again, with growing pauses, when it breaks.

    After a reconnection a stream of another size is resized to the first one, with a note, so
    that a camera that falls back to a small picture does not end a session.

    Args:
        spec: Address, possibly with credentials, which appear in no name, note or error.
        options: `fps` (where the stream states no rate) and `duration_s` are followed.
        capture: Opens an address with an OpenCV backend and its parameters.
        timeout_s: Seconds after which opening and reading give up.
        first_retry_s: Seconds before the first reconnection.
        stall_s: Least seconds without a frame after which the state is `STALLED`.
    """

    kind = "stream"

    def __init__(
        self,
        spec: str,
        options: SourceOptions,
        capture: CaptureFactory = cv2.VideoCapture,
        *,
        timeout_s: float = 5.0,
        first_retry_s: float = 0.25,
        stall_s: float = 1.0,
    ) -> None:
        super().__init__(
            without_credentials(spec),
            options,
            # Opening, then the first frame, may take the timeout each.
            open_timeout_s=2.0 * timeout_s + 1.0,
            first_retry_s=first_retry_s,
            stall_s=stall_s,
        )
        self._address = spec
        self._timeout_s = timeout_s
        self._open_address = capture

    @staticmethod
    def matches(spec: str) -> bool:
        """An address with a scheme of live video."""
        return _ADDRESS.fullmatch(spec) is not None

    def _connect(self) -> Connection:
        quiet_opencv()
        timeout_ms = round(self._timeout_s * 1000.0)
        capture = self._open_address(
            self._address,
            cv2.CAP_FFMPEG,
            [
                *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms),
                *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms),
            ],
        )
        try:
            if not capture.isOpened():
                raise SourceError(
                    f"{self._name} cannot be reached, or is no video: check the address, the "
                    "network, and the user name and password."
                )
            if capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
                # It would start anew at each reconnection, and frames of a recording must wait.
                raise SourceError(
                    f"{self._name} is a recording, not a live stream: download it and give the "
                    "file."
                )
            return self._describe(capture)
        except BaseException:
            capture.release()
            raise

    def _describe(self, capture: Capture) -> Connection:
        width, height = picture_size(capture)
        notes = []
        asked = (self._options.width, self._options.height)
        if None not in asked and asked != (width, height):
            notes.append(
                f"The stream's pictures are {width} by {height} pixels and are analysed so, not "
                f"{asked[0]} by {asked[1]} as asked."
            )
        fps = announced_fps(capture)
        return Connection(OpenCvGrabber(capture), width, height, fps, notes=tuple(notes))

    def _no_picture(self) -> str:
        return (
            f"{self._name} answers but delivers no picture in time: check the sender and the "
            "network."
        )
