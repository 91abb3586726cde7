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
from streamer.sources import v4l2
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
_DRIVER_BUFFERS = 10  # the most that OpenCV grants; its own four are 20 ms at 200 fps
_V4L2_MANUAL = 1.0
_SHOWN_MODES = 4
_POWER_LINE = {0: 0, 50: 1, 60: 2}  # V4L2's menu


def open_device(device: int | str, backend: int) -> Capture:
    """Open a camera with OpenCV."""
    return cv2.VideoCapture(device, backend)


class CameraSource(LiveSource):
    """Delivers the frames of a webcam or another camera that the system itself drives.

    Pixel format, size and rate are asked for in that order, because each limits what the next
    may be, and read back: what was not granted becomes a note. On Linux a camera that is plugged
    in again is found by what it is, whatever its number has become.

    Args:
        spec: Number (`0`) or device path (`/dev/video2`, `/dev/v4l/by-id/…`).
        options: `fps`, `width`, `height`, `fourcc`, `duration_s` and, of `camera`, exposure, gain
            and `power_line_hz` are followed.
        capture: Opens a device with an OpenCV backend.
        system: Where Linux lists its cameras.
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
        system: Path = v4l2.CLASS,
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
        self._system = system
        found = re.fullmatch(r"(?:/dev/video)?(\d+)", spec)
        self._number = int(found[1]) if found else None
        self._identity: tuple[str, ...] | None = None

    @staticmethod
    def matches(spec: str) -> bool:
        """A number or a video device path."""
        return _DEVICE.fullmatch(spec) is not None

    def _connect(self) -> Connection:
        quiet_opencv()
        note = self._find_again()
        device = self._spec if self._number is None else self._number
        backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
        capture = self._open_device(device, backend)
        try:
            if not capture.isOpened():
                raise SourceError(self._diagnosis())
            connection = self._negotiate(capture, note)
        except BaseException:
            capture.release()
            raise
        if self._identity is None and self._number is not None:
            self._identity = v4l2.video_identity(self._number, self._system)
        return connection

    def _find_again(self) -> str | None:
        """Follow the camera to the number that it has now; return a note when that is another.

        Raises:
            SourceError: Several cameras could be the one.
        """
        if self._identity is None:
            return None
        there = v4l2.find_video(self._identity, self._system)
        if self._number in there or not there:
            return None
        if len(there) > 1:
            raise SourceError(
                f"Camera {self._spec} cannot be told from others of its kind: plug it in where it "
                "was."
            )
        self._number = there[0]
        return f"Camera {self._spec} came back as number {there[0]}."

    def _negotiate(self, capture: Capture, note: str | None) -> Connection:
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
            if sys.platform == "linux":
                capture.set(cv2.CAP_PROP_BUFFERSIZE, _DRIVER_BUFFERS)

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
        if notes:
            notes += self._offer()
        if note is not None:
            notes.append(note)
        notes += self._control(capture)
        device = {"pixel_format": granted} if granted else {}
        return Connection(
            OpenCvGrabber(capture), width, height, fps, notes=tuple(notes), device=device
        )

    def _offer(self) -> list[str]:
        """What the camera offers instead, as far as the system tells."""
        modes = v4l2.video_modes(self._path(), v4l2.system_ioctl()) or ()
        if not modes:
            return []
        best = ", ".join(str(mode) for mode in modes[:_SHOWN_MODES])
        return [f"The fastest that the camera offers is {best} (--list-sources shows all)."]

    def _control(self, capture: Capture) -> list[str]:
        """Set exposure, gain and the flicker filter; return what could not be set."""
        camera = self._options.camera
        refused = []
        linux = sys.platform == "linux"
        if camera.exposure_s is not None:
            # V4L2 counts 100 µs; DirectShow and Media Foundation the logarithm of seconds.
            exposure = camera.exposure_s * 1e4 if linux else math.log2(camera.exposure_s)
            manual = capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _V4L2_MANUAL if linux else 0.0)
            if not (capture.set(cv2.CAP_PROP_EXPOSURE, round(exposure)) and manual):
                refused.append("exposure")
        if camera.gain_db is not None:
            refused.append("gain in dB")  # webcams count their gain in units of their own
        if linux and self._options.fps is not None:
            # Otherwise automatic exposure may halve the rate in a dim room.
            v4l2.set_control(self._path(), v4l2.EXPOSURE_MAY_SLOW_DOWN, 0, v4l2.system_ioctl())
        if camera.power_line_hz is not None and not v4l2.set_control(
            self._path(),
            v4l2.POWER_LINE_FREQUENCY,
            _POWER_LINE[camera.power_line_hz],
            v4l2.system_ioctl(),
        ):
            refused.append("flicker filter (power_line_hz)")
        return [f"The camera's {name} cannot be set." for name in refused]

    def _path(self) -> Path:
        return Path(self._spec if self._number is None else f"/dev/video{self._number}")

    def _diagnosis(self) -> str:
        """Why the camera cannot be opened, as far as the system tells."""
        if sys.platform == "linux":
            path = self._path()
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
