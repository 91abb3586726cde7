"""A browser without a browser: sends numbered pictures while a session asks for them."""

from __future__ import annotations

import struct
import threading

import cv2

from streamer.sources.browser import BrowserCamera, Wish
from tests.sources.source_media import picture


def jpeg(index: int, width: int = 64, height: int = 48) -> bytes:
    return cv2.imencode(".jpg", picture(index, width, height))[1].tobytes()


def message(
    number: int, stamp_s: float, unsent: int = 0, body: bytes | None = None, magic: bytes = b"GLF1"
) -> bytes:
    header = struct.pack("<4sIId", magic, number, unsent, stamp_s)
    return header + (jpeg(number) if body is None else body)


class Visitor:
    """Sits at a camera and keeps what it was told."""

    def __init__(self, camera: BrowserCamera) -> None:
        self.camera = camera
        self.told: list[Wish | None] = []
        self.guest = camera.join(self.told.append)

    def send(self, number: int, stamp_s: float, **parts: object) -> bool:
        assert self.guest is not None
        return self.camera.put(self.guest, message(number, stamp_s, **parts))  # type: ignore[arg-type]

    def leave(self) -> None:
        if self.guest is not None:
            self.camera.leave(self.guest)


class Feeder:
    """A visitor that sends at a rate from a thread, until it is closed."""

    def __init__(self, fps: float = 100.0) -> None:
        self.camera = BrowserCamera()
        self._closing = threading.Event()
        self._period_s = 1.0 / fps
        self._thread = threading.Thread(target=self._run, name="fake-visitor", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        visitor = Visitor(self.camera)
        number = 0
        while not self._closing.wait(self._period_s):
            number += 1
            visitor.send(number, 5.0 + number * self._period_s)
        visitor.leave()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
