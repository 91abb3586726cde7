"""What every source that reads through OpenCV shares."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

import cv2

from streamer.frame import Image
from streamer.sources.grabber import Arrival, DeviceLostError

ABSURD_FPS = 10_000.0


class Capture(Protocol):
    """The part of `cv2.VideoCapture` that sources use; tests put faulty ones in its place."""

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        """Whether it can deliver frames."""
        ...

    def grab(self) -> bool:
        """Wait for the next frame and take it, not yet converted."""
        ...

    def retrieve(self, image: Any = ..., /) -> tuple[bool, Any]:
        """Decode the grabbed frame, into `image` when its shape fits."""
        ...

    def get(self, prop: int, /) -> float:
        """Read a property."""
        ...

    def set(self, prop: int, value: float, /) -> bool:
        """Ask for a property."""
        ...

    def release(self) -> None:
        """Give the device back."""
        ...


def quiet_opencv() -> None:
    """Keep the messages of FFmpeg and OpenCV off stderr; sources report in sentences instead.

    A user who sets OpenCV's own variables gets the messages. FFmpeg's level is read once, when
    the first capture of the process is opened, so this is called before each of them.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.setLogLevel(2)  # errors only


def stamp_s(capture: Capture) -> float:
    """Timestamp of the grabbed frame in seconds."""
    return float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0


def announced_fps(capture: Capture) -> float | None:
    """Rate that the device or container states; None when it is no rate at all."""
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return fps if 0.0 < fps <= ABSURD_FPS else None


def picture_size(capture: Capture) -> tuple[int, int]:
    """Width and height in pixels."""
    return (
        int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
    )


class OpenCvGrabber:
    """A `cv2.VideoCapture` as a grabber.

    Args:
        capture: Opened; released with the grabber.
    """

    counters: Mapping[str, int] = MappingProxyType({})

    def __init__(self, capture: Capture) -> None:
        self._capture = capture

    def grab(self, timeout_s: float) -> Arrival:
        """Wait for the next picture, for as long as the driver likes; see `Grabber.grab`."""
        try:
            taken = self._capture.grab()
        except cv2.error:
            taken = False
        if not taken:
            raise DeviceLostError
        return Arrival(time.perf_counter(), stamp_s(self._capture))

    def skip_waiting(self) -> None:
        """OpenCV cannot tell which pictures wait; its few buffers are as many frame periods old."""

    def retrieve(self, out: Image) -> Image | None:
        """Decode the picture; see `Grabber.retrieve`."""
        try:
            decoded, image = self._capture.retrieve(out)
        except cv2.error:
            return None
        return image if decoded else None

    def release(self) -> None:
        """Give the device back."""
        self._capture.release()
