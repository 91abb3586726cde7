"""Basler cameras, through pypylon."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from streamer.errors import SourceError
from streamer.frame import Image
from streamer.sources.capture_thread import Connection
from streamer.sources.genicam import FeatureError, GenApiFeatures, GenICamSource, set_up
from streamer.sources.grabber import Arrival, DeviceLostError, LossBook
from streamer.sources.pixels import PixelFormat

_NO_NUMBER = 2**64 - 1
_STATISTICS_S = 1.0
_STATISTICS = {
    "resent_packets": "Statistic_Resend_Packet_Count",
    "failed_packets": "Statistic_Failed_Packet_Count",
    "resynchronisations": "Statistic_Resynchronization_Count",
}
_UNDERRUNS = "Statistic_Buffer_Underrun_Count"


def load_pylon() -> Any:
    """Import pypylon.

    Raises:
        SourceError: It is not installed.
    """
    try:
        from pypylon import pylon  # noqa: PLC0415 - optional
    except ImportError as error:
        raise SourceError(
            "Basler cameras need pypylon, which is not installed: "
            "pip install -r requirements-lab.txt."
        ) from error
    return pylon


class BaslerSource(GenICamSource):
    """Delivers every frame of a Basler camera, in order.

    Frames are grabbed one by one out of deep buffers, never only the latest: what is missing is
    told by the camera's own frame numbers (`BlockID`), what arrived damaged by the driver.
    """

    kind = "basler"

    @staticmethod
    def matches(spec: str) -> bool:
        """`basler:` and a serial number, a user-defined name or a number from 0."""
        return spec.startswith("basler:")

    def _connect(self) -> Connection:
        pylon = load_pylon()
        errors = pylon.GenericException
        device = self._find(pylon)
        serial = device.GetSerialNumber()
        try:
            camera = self._open_camera(pylon, device)
        except errors as error:
            raise SourceError(
                f"The Basler camera {serial} cannot be opened: close every other program that "
                "uses it, or plug it in again."
            ) from error
        try:
            features = GenApiFeatures(camera.GetNodeMap(), errors)
            setup = set_up(features, self._options)
            payload = int(features.number("PayloadSize"))
            camera.MaxNumBuffer.Value = self._buffers(setup, payload)
            camera.StartGrabbing(pylon.GrabStrategy_OneByOne, pylon.GrabLoop_ProvidedByUser)
        except BaseException as error:
            close_camera(camera, errors)
            if isinstance(error, (errors, FeatureError)):
                raise SourceError(
                    f"The Basler camera {serial} cannot be started: plug it in again."
                ) from error
            raise
        self._known = serial
        grabber = PylonGrabber(pylon, camera, setup.format)
        return self._connection(setup, grabber)

    def _open_camera(self, pylon: Any, device: Any) -> Any:
        camera = pylon.InstantCamera(pylon.TlFactory.GetInstance().CreateDevice(device))
        camera.Open()
        return camera

    def _find(self, pylon: Any) -> Any:
        """The camera that is meant; after the first time, the same one wherever it is plugged."""
        devices = pylon.TlFactory.GetInstance().EnumerateDevices()
        names = [(device.GetSerialNumber(), device.GetUserDefinedName()) for device in devices]
        number = self._choose(names)
        if number is not None:
            return devices[number]
        there = ", ".join(f"basler:{device.GetSerialNumber()}" for device in devices)
        raise SourceError(
            f"There is no Basler camera {self._wanted}: check its cable and power "
            f"({f'there are {there}' if there else 'none is found now'})."
        )


class PylonGrabber:
    """A grabbing `pylon.InstantCamera` as a grabber.

    On Linux pylon ends its waits by SIGALRM: a process that handles this signal itself would wait
    for a silent camera for ever.

    Args:
        pylon: The module.
        camera: Opened and grabbing; closed with the grabber.
        pixels: Its pixel format.
    """

    def __init__(self, pylon: Any, camera: Any, pixels: PixelFormat) -> None:
        self._errors = pylon.GenericException
        self._on_timeout = pylon.TimeoutHandling_Return
        self._camera = camera
        self._pixels = pixels
        self._book = LossBook()
        self._result: Any = None
        self._statistics = GenApiFeatures(camera.GetStreamGrabberNodeMap(), self._errors)
        self._counters: Mapping[str, int] = {}
        self._counted_s = 0.0
        clock = GenApiFeatures(camera.GetNodeMap(), self._errors)
        frequency = "GevTimestampTickFrequency"  # USB cameras count nanoseconds
        self._tick_s = 1.0 / (clock.number(frequency) if clock.has(frequency) else 1e9)

    @property
    def counters(self) -> Mapping[str, int]:
        """Packets that were sent again or failed, at most a second old."""
        return self._counters

    def grab(self, timeout_s: float) -> Arrival | None:
        """Wait for the next good frame, counting bad ones; see `Grabber.grab`."""
        deadline_s = time.perf_counter() + timeout_s
        self._let_go()
        while True:
            left_ms = max(round((deadline_s - time.perf_counter()) * 1e3), 1)
            try:
                if self._camera.IsCameraDeviceRemoved():
                    raise DeviceLostError
                result = self._camera.RetrieveResult(left_ms, self._on_timeout)
            except self._errors as error:
                raise DeviceLostError from error
            if not result.IsValid():
                return None
            if result.GrabSucceeded():
                break
            self._book.damaged(_cause(result.ErrorDescription))
            result.Release()
        host_s = time.perf_counter()
        self._result = result
        self._count(host_s)
        ticks, number = result.TimeStamp, result.BlockID
        losses = self._book.before(
            None if number == _NO_NUMBER else number, lambda: self._statistic(_UNDERRUNS)
        )
        return Arrival(host_s, ticks * self._tick_s if ticks else None, losses)

    def skip_waiting(self) -> None:
        """Forget what waits in the driver's buffers; see `Grabber.skip_waiting`."""
        self._let_go()
        try:
            while (result := self._camera.RetrieveResult(0, self._on_timeout)).IsValid():
                result.Release()
        except self._errors as error:
            raise DeviceLostError from error
        self._book = LossBook()

    def retrieve(self, out: Image) -> Image | None:
        """Convert straight out of the driver's buffer; see `Grabber.retrieve`."""
        try:
            with self._result.GetArrayZeroCopy() as pixels:
                return self._pixels.convert(pixels, out)
        except self._errors:
            return None
        finally:
            self._let_go()

    def release(self) -> None:
        """Close the camera."""
        self._let_go()
        close_camera(self._camera, self._errors)

    def _let_go(self) -> None:
        if self._result is not None:
            self._result.Release()
            self._result = None

    def _count(self, now_s: float) -> None:
        if now_s - self._counted_s >= _STATISTICS_S:
            self._counted_s = now_s
            self._counters = {key: self._statistic(name) for key, name in _STATISTICS.items()}

    def _statistic(self, name: str) -> int:
        with suppress(Exception):  # a figure is not worth a frame
            if self._statistics.has(name):
                return int(self._statistics.number(name))
        return 0


def close_camera(camera: Any, errors: type[Exception]) -> None:
    """Close a `pylon.InstantCamera`, also one whose device is gone."""
    for step in (camera.StopGrabbing, camera.Close, camera.DestroyDevice):
        with suppress(errors):
            step()


def _cause(description: str) -> str:
    return "incomplete_buffer" if "incomplete" in description.lower() else "failed_buffer"
