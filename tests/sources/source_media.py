"""Real media, a real stream server and a real capture with faults, for the source tests."""

from __future__ import annotations

import http.server
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from streamer.frame import Frame
from streamer.recording.layout import FOLDER
from streamer.recording.writer import RecordingWriter
from streamer.sources.base import SourceInfo
from streamer.sources.opencv import quiet_opencv

WIDTH, HEIGHT = 64, 48


def picture(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A flat picture whose brightness names its number, up to 23."""
    return np.full((height, width, 3), 10 + 10 * (index % 24), np.uint8)


def number(image: np.ndarray) -> int:
    """The number that `picture` wrote."""
    return round((float(image.mean()) - 10.0) / 10.0)


def write_video(
    path: Path, frames: int, fps: float = 100.0, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Path:
    quiet_opencv()  # FFmpeg's level is read at its first use in a process, which may be here
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
    for index in range(frames):
        writer.write(picture(index, *size))
    writer.release()
    return path


def write_pictures(
    folder: Path, numbers: Sequence[int], name: str = "img{:03d}.jpg", gray: bool = False
) -> Path:
    folder.mkdir(exist_ok=True)
    for index in numbers:
        image = picture(index)
        cv2.imwrite(str(folder / name.format(index)), image[..., 0] if gray else image)
    return folder


def write_recording(session: Path, frames: int, fps: float = 100.0) -> Path:
    writer = RecordingWriter(session / FOLDER, "raw")
    info = SourceInfo("0", "camera", WIDTH, HEIGHT, 3, fps, fps, True, None, False)
    writer.open(info, "2026-01-01T12:00:00Z")
    for index in range(frames):
        frame = Frame(index, index / fps, None, 0.0, 0, "", picture(index))
        writer.write(frame, lambda: True)
    writer.close()
    return session


def run_ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


@dataclass
class Plan:
    """How one connection of a `Rig` behaves. Frames are counted from the connection's start."""

    opens: bool = True
    fails_at: int | None = None
    blocks_at: int | None = None
    undecodable: frozenset[int] = frozenset()
    stamp_ms: Callable[[int], float] = lambda frame: 1000.0 + 10.0 * frame
    granted: dict[int, float] = field(default_factory=dict)


class Rig:
    """Hands out real `cv2.VideoCapture`s that play a file for ever, with faults as planned.

    The last plan serves every further connection.
    """

    def __init__(self, path: Path, *plans: Plan) -> None:
        self.path = path
        self.plans = plans or (Plan(),)
        self.captures: list[RiggedCapture] = []
        self.unblock = threading.Event()

    def __call__(self, device: int | str, *parameters: object) -> RiggedCapture:
        plan = self.plans[min(len(self.captures), len(self.plans) - 1)]
        self.captures.append(RiggedCapture(self, plan, device, parameters))
        return self.captures[-1]


class RiggedCapture:
    def __init__(
        self, rig: Rig, plan: Plan, device: int | str, parameters: tuple[object, ...]
    ) -> None:
        self.rig, self.plan, self.device, self.parameters = rig, plan, device, parameters
        self.asked: list[int] = []
        self.released = False
        self._frame = -1
        self._real = cv2.VideoCapture(str(rig.path), cv2.CAP_FFMPEG)

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self.plan.opens and self._real.isOpened()

    def grab(self) -> bool:
        self._frame += 1
        if self._frame == self.plan.blocks_at:
            self.rig.unblock.wait()
        if self._frame == self.plan.fails_at:
            return False
        if not self._real.grab():
            self._real.open(str(self.rig.path), cv2.CAP_FFMPEG)
            return bool(self._real.grab())
        return True

    def retrieve(self, image: np.ndarray) -> tuple[bool, np.ndarray | None]:
        if self._frame in self.plan.undecodable:
            return False, None
        return self._real.retrieve(image)

    def get(self, prop: int) -> float:
        if prop == cv2.CAP_PROP_POS_MSEC:
            return self.plan.stamp_ms(self._frame)
        if prop == cv2.CAP_PROP_FRAME_COUNT:
            return -1.0
        return self.plan.granted.get(prop, self._real.get(prop))

    def set(self, prop: int, value: float) -> bool:
        self.asked.append(prop)
        return True

    def release(self) -> None:
        self.released = True
        self._real.release()


class MjpegServer:
    """MJPEG over HTTP on loopback, as network cameras send it.

    Args:
        connections: Number of pictures of each connection before the server hangs up, and their
            size; the last one serves every further connection. None pictures: without an end.
    """

    def __init__(
        self, *connections: tuple[int | None, tuple[int, int]], pace_s: float = 0.005
    ) -> None:
        self.connections = connections or ((None, (WIDTH, HEIGHT)),)
        self.served = 0
        self.stop = threading.Event()
        rig = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                plan = rig.connections[min(rig.served, len(rig.connections) - 1)]
                rig.served += 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                frames, size = plan
                index = 0
                try:
                    while frames is None or index < frames:
                        self.part(cv2.imencode(".jpg", picture(index, *size))[1].tobytes())
                        index += 1
                        if rig.stop.wait(pace_s):
                            return
                except OSError:
                    return  # the client has gone

            def part(self, data: bytes) -> None:
                self.wfile.write(
                    b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n"
                    % (len(data), data)
                )

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
