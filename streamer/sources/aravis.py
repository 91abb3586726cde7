"""GenICam cameras on the network (GigE Vision) and on USB (USB3 Vision), through Aravis."""

from __future__ import annotations

import ctypes
import math
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from streamer.errors import SourceError
from streamer.frame import Image
from streamer.sources.aravis_library import (
    PACKET_SOCKET_DISABLED,
    SUCCESS,
    Aravis,
    AravisDevice,
    AravisFeatures,
    Signal,
)
from streamer.sources.capture_thread import Connection
from streamer.sources.genicam import FeatureError, GenICamSource, set_up
from streamer.sources.grabber import Arrival, DeviceLostError, LossBook
from streamer.sources.pixels import PixelFormat

_CAUSES = {2: "packet_timeout", 3: "missing_packets", 4: "wrong_packet", 5: "size_mismatch"}
_STATISTICS_S = 1.0
_STATISTICS = {"resent_packets": b"n_resent_packets", "missing_packets": b"n_missing_packets"}
_LONGEST_WAIT_S = 60.0  # in the driver; a host clock that was set meanwhile shows as more
_SOCKET_FRAMES = 8
_SOCKET_LIMIT = Path("/proc/sys/net/core/rmem_max")


class AravisSource(GenICamSource):
    """Delivers every frame of a camera that Aravis drives, in order."""

    kind = "aravis"

    @staticmethod
    def matches(spec: str) -> bool:
        """`aravis:` and Aravis' identifier, a serial number, an address or a number from 0."""
        return spec.startswith("aravis:")

    def _connect(self) -> Connection:
        aravis = Aravis()
        found = self._find(aravis.devices())
        try:
            camera = aravis.attempt("camera_new", found.id.encode())
        except FeatureError as error:
            raise SourceError(
                f"The camera {found.id} cannot be opened: close every other program that uses it, "
                "and give it an address in this computer's network."
            ) from error
        try:
            connection = self._start(aravis, camera, found)
        except BaseException as error:
            aravis.unref(camera)
            if isinstance(error, FeatureError):
                raise SourceError(
                    f"The camera {found.id} cannot be started ({error}): plug it in again."
                ) from error
            raise
        self._known = found.id
        return connection

    def _start(self, aravis: Aravis, camera: int, found: AravisDevice) -> Connection:
        device = aravis.call("camera_get_device", camera)
        setup = set_up(AravisFeatures(aravis, device), self._options)
        network = bool(aravis.call("camera_is_gv_device", camera))
        if network and found.address.startswith("127."):
            # A packet socket, which Aravis prefers where it may, hears nothing on loopback.
            aravis.call("camera_gv_set_stream_options", camera, PACKET_SOCKET_DISABLED)
        payload = aravis.attempt("camera_get_payload", camera)
        stream = aravis.attempt("camera_create_stream", camera, None, None)
        if network:
            aravis.set_integer(stream, "socket-buffer-size", _SOCKET_FRAMES * payload)
        try:
            for _ in range(self._buffers(setup, payload)):
                buffer = aravis.call("buffer_new_allocate", payload)
                aravis.call("stream_push_buffer", stream, buffer)
            grabber = AravisGrabber(aravis, camera, stream, setup.format)
            aravis.attempt("camera_start_acquisition", camera)
        except BaseException:
            aravis.unref(stream)
            raise
        return self._connection(setup, grabber, *(socket_notes(payload) if network else ()))

    def _find(self, devices: list[AravisDevice]) -> AravisDevice:
        """The camera that is meant; after the first time, the same one wherever it is plugged."""
        number = self._choose([(device.id, device.serial, device.address) for device in devices])
        if number is not None:
            return devices[number]
        there = ", ".join(f"aravis:{device.id}" for device in devices)
        raise SourceError(
            f"There is no GenICam camera {self._wanted}: check its cable, power and address "
            f"({f'there are {there}' if there else 'none is found now'})."
        )


class AravisGrabber:
    """A started Aravis stream as a grabber.

    Args:
        aravis: The library.
        camera: Owned from here on.
        stream: With its buffers; owned from here on.
        pixels: The camera's pixel format.
    """

    def __init__(self, aravis: Aravis, camera: int, stream: int, pixels: PixelFormat) -> None:
        self._aravis = aravis
        self._camera = camera
        self._stream = stream
        self._pixels = pixels
        self._book = LossBook()
        self._buffer: int | None = None
        self._counters: Mapping[str, int] = {}
        self._counted_s = 0.0
        self._lost = threading.Event()
        lost = self._lost  # not self: the driver must not keep the grabber alive
        self._when_lost = Signal(lambda device, data: lost.set())
        aravis.on_signal(aravis.call("camera_get_device", camera), "control-lost", self._when_lost)

    @property
    def counters(self) -> Mapping[str, int]:
        """Packets that were sent again or never came, at most a second old."""
        return self._counters

    def grab(self, timeout_s: float) -> Arrival | None:
        """Wait for the next whole frame, counting others; see `Grabber.grab`."""
        deadline_s = time.perf_counter() + timeout_s
        self._let_go()
        call = self._aravis.call
        while True:
            if self._lost.is_set():
                raise DeviceLostError
            left_us = max(round((deadline_s - time.perf_counter()) * 1e6), 1)
            buffer = call("stream_timeout_pop_buffer", self._stream, left_us)
            if buffer is None:
                return None
            self._buffer = buffer
            status = call("buffer_get_status", buffer)
            if status == SUCCESS:
                break
            self._book.damaged(_CAUSES.get(status, "failed_buffer"))
            self._let_go()
        # The picture may have waited in the driver: its time is that of its coming.
        waited_s = time.time() - call("buffer_get_system_timestamp", buffer) * 1e-9
        host_s = time.perf_counter() - (waited_s if 0.0 < waited_s < _LONGEST_WAIT_S else 0.0)
        self._count(host_s)
        stamp_ns = call("buffer_get_timestamp", buffer)
        losses = self._book.before(call("buffer_get_frame_id", buffer), self._underruns)
        return Arrival(host_s, stamp_ns * 1e-9 if stamp_ns else None, losses)

    def skip_waiting(self) -> None:
        """Forget what waits in the driver's buffers; see `Grabber.skip_waiting`."""
        self._let_go()
        while (buffer := self._aravis.call("stream_try_pop_buffer", self._stream)) is not None:
            self._aravis.call("stream_push_buffer", self._stream, buffer)
        self._book = LossBook()

    def retrieve(self, out: Image) -> Image | None:
        """Convert straight out of the driver's buffer; see `Grabber.retrieve`."""
        buffer, call = self._buffer, self._aravis.call
        size = ctypes.c_size_t()
        data = call("buffer_get_data", buffer, ctypes.byref(size))
        width = call("buffer_get_image_width", buffer)
        height = call("buffer_get_image_height", buffer)
        shape = self._pixels.shape(width, height)
        if not data or size.value < math.prod(shape):
            return None
        held = (ctypes.c_ubyte * math.prod(shape)).from_address(data)
        pixels: Image = np.frombuffer(memoryview(held), np.uint8).reshape(shape)
        picture = self._pixels.convert(pixels, out)
        self._let_go()
        return picture

    def release(self) -> None:
        """Stop the stream and give the camera back.

        To a camera that does not answer Aravis repeats its farewell for ten seconds, which must
        not hold up the search for it: then it is said in the background.
        """
        if not self._stream:
            return
        self._let_go()
        try:
            self._aravis.attempt("camera_stop_acquisition", self._camera)
        except FeatureError:
            threading.Thread(
                target=_say_farewell,
                args=(self._aravis, self._stream, self._camera, self._when_lost),
                name="glint-farewell",
                daemon=True,
            ).start()
        else:
            _say_farewell(self._aravis, self._stream, self._camera, self._when_lost)
        self._stream = self._camera = 0

    def _let_go(self) -> None:
        if self._buffer is not None:
            self._aravis.call("stream_push_buffer", self._stream, self._buffer)
            self._buffer = None

    def _underruns(self) -> int:
        whole, failures, underruns = (ctypes.c_uint64() for _ in range(3))
        self._aravis.call(
            "stream_get_statistics",
            self._stream,
            *(ctypes.byref(figure) for figure in (whole, failures, underruns)),
        )
        return int(underruns.value)

    def _count(self, now_s: float) -> None:
        if now_s - self._counted_s >= _STATISTICS_S:
            self._counted_s = now_s
            self._counters = {
                key: int(self._aravis.call("stream_get_info_uint64_by_name", self._stream, name))
                for key, name in _STATISTICS.items()
            }


def _say_farewell(aravis: Aravis, stream: int, camera: int, when_lost: Any) -> None:
    """Give up stream and camera; the callback must outlive them."""
    aravis.unref(stream)
    aravis.unref(camera)
    del when_lost


def socket_notes(payload: int) -> tuple[str, ...]:
    """What to tell a user whose system lets a socket hold less than two frames."""
    if sys.platform != "linux" or not _SOCKET_LIMIT.exists():
        return ()
    limit = int(_SOCKET_LIMIT.read_text(encoding="ascii"))
    if limit >= 2 * payload:
        return ()
    return (
        f"The system lets a network socket hold {limit // 1000} kB, less than two frames: packets "
        f"will be lost until you raise it (sudo sysctl -w net.core.rmem_max={32 * 2**20}).",
    )
