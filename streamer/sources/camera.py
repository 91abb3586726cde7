"""A camera of the operating system, through OpenCV."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

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

CaptureFactory = Callable[[int | str, int], Capture]

_DEVICE = re.compile(r"[0-9]+|/dev/(video[0-9]+|v4l/.+)")
# Most USB cameras deliver their high rates and sizes only compressed.
_FAST_FORMAT = "MJPG"


def open_device(device: int | str, backend: int) -> Capture:
    """Open a camera with OpenCV."""
    return cv2.VideoCapture(device, backend)


class CameraSource(LiveSource):
    """Delivers the frames of a webcam or another camera that the system itself drives.

    Pixel format, size and rate are asked for in that order, because each limits what the next
    may be, and read back: what was not granted becomes a note.

    Args:
        spec: Number (`0`) or device path (`/dev/video2`, `/dev/v4l/by-id/…`).
        options: `fps`, `width`, `height`, `fourcc` and `duration_s` are followed.
        capture: Opens a device with an OpenCV backend.
        open_timeout_s: Seconds within which the camera must deliver.
        first_retry_s: Seconds before the first attempt to open it again.
        stall_s: Least seconds without a frame after which the state is `STALLED`.
    """

    kind = "camera"

    def __init__(
        self,
        spec: str,
        options: SourceOptions,
        capture: CaptureFactory = open_device,
        *,
        open_timeout_s: float = 10.0,
        first_retry_s: float = 0.25,
        stall_s: float = 0.25,
    ) -> None:
        super().__init__(
            f"camera {spec}",
            options,
            open_timeout_s=open_timeout_s,
            first_retry_s=first_retry_s,
            stall_s=stall_s,
        )
        self._spec = spec
        self._open_device = capture

    @staticmethod
    def matches(spec: str) -> bool:
        """A number or a video device path."""
        return _DEVICE.fullmatch(spec) is not None

    def _connect(self) -> Connection:
        quiet_opencv()
        device = int(self._spec) if self._spec.isdigit() else self._spec
        backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
        capture = self._open_device(device, backend)
        try:
            if not capture.isOpened():
                raise SourceError(self._diagnosis())
            return self._negotiate(capture)
        except BaseException:
            capture.release()
            raise

    def _negotiate(self, capture: Capture) -> Connection:
        options = self._options
        fourcc = options.fourcc
        if fourcc is None and (options.fps is not None or options.width is not None):
            fourcc = _FAST_FORMAT
        if fourcc is not None:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*fourcc))
        if options.width is not None and options.height is not None:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, options.width)
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, options.height)
        if options.fps is not None:
            capture.set(cv2.CAP_PROP_FPS, options.fps)

        notes = []
        granted = _fourcc(capture)
        if options.fourcc is not None and granted.upper() != options.fourcc.upper():
            notes.append(
                f"Pixel format {options.fourcc} was asked for; the camera grants "
                f"{granted or 'one that it does not name'}."
            )
        width, height = picture_size(capture)
        if None not in (asked := (options.width, options.height)) and asked != (width, height):
            notes.append(
                f"{asked[0]} by {asked[1]} pixels were asked for; the camera grants "
                f"{width} by {height}."
            )
        fps = announced_fps(capture)
        if None not in (options.fps, fps) and not math.isclose(
            options.fps or 0.0, fps or 0.0, rel_tol=1e-3
        ):
            notes.append(f"{options.fps:g} fps were asked for; the camera grants {fps:g} fps.")
        return Connection(OpenCvGrabber(capture), width, height, fps, notes=tuple(notes))

    def _diagnosis(self) -> str:
        """Why the camera cannot be opened, as far as the system tells."""
        if sys.platform == "linux":
            path = Path(f"/dev/video{self._spec}" if self._spec.isdigit() else self._spec)
            if not path.exists():
                there = ", ".join(sorted(str(device) for device in Path("/dev").glob("video*")))
                return (
                    f"There is no camera {self._spec}: plug it in, or choose another with "
                    f"--source ({there or 'this computer has none now; --source demo needs none'})."
                )
            if not os.access(path, os.R_OK | os.W_OK):
                return (
                    f"You may not use {path}: add your account to the group that owns it "
                    "(usually video) and log in again."
                )
        return (
            f"Camera {self._spec} cannot be opened: plug it in and close every other program "
            "that uses it."
        )

    def _no_picture(self) -> str:
        return (
            f"Camera {self._spec} opens but delivers no picture: close every other program that "
            "uses it, or plug it in again."
        )


def _fourcc(capture: Capture) -> str:
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    name = bytes((code >> shift) & 0xFF for shift in (0, 8, 16, 24))
    return name.decode("ascii", "replace").strip("\0 ") if code > 0 else ""
