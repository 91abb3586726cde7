"""GenICam cameras through the GenTL producer of their maker, with harvesters."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from streamer.errors import SourceError
from streamer.frame import Image
from streamer.sources.capture_thread import Connection
from streamer.sources.genicam import FeatureError, GenApiFeatures, GenICamSource, set_up
from streamer.sources.grabber import Arrival, DeviceLostError, LossBook
from streamer.sources.pixels import PixelFormat

_PATHS = "GENICAM_GENTL64_PATH"  # where installers of producers say where these are
_POLL_MS = 20
_LOOK_S = 0.002
_IDENTIFIERS = ("id_", "serial_number", "model")


def load_harvesters() -> Any:
    """Import harvesters.

    Raises:
        SourceError: It is not installed.
    """
    try:
        import harvesters.core  # noqa: PLC0415 - optional
    except ImportError as error:
        raise SourceError(
            "Cameras by gentl: need harvesters, which is not installed: "
            "pip install -r requirements-lab.txt."
        ) from error
    return harvesters.core


def producers() -> list[Path]:
    """The GenTL producers that are installed on this computer."""
    folders = os.environ.get(_PATHS, "").split(os.pathsep)
    return sorted(file for folder in folders if folder for file in Path(folder).glob("*.cti"))


def look_through(harvesters: Any, producer: Path) -> Any:
    """Load a producer and have it look for cameras.

    Returns:
        A `Harvester`, whose `device_info_list` says what was found; `reset` unloads it.

    Raises:
        SourceError: It is missing.
    """
    if not producer.is_file():
        raise SourceError(
            f"The GenTL producer {producer} does not exist: give the .cti file that came with "
            f"your camera, as gentl:FILE.cti#CAMERA (the variable {_PATHS} says where they lie)."
        )
    harvester = harvesters.Harvester()
    harvester.add_file(str(producer))
    harvester.update()
    return harvester


class GenTLSource(GenICamSource):
    """Delivers every frame of a camera that a GenTL producer drives, in order."""

    kind = "gentl"

    def __init__(self, spec: str, options: Any, **limits: float) -> None:
        super().__init__(spec, options, **limits)
        producer, _, self._wanted = self._wanted.partition("#")
        self._producer = Path(producer)

    @staticmethod
    def matches(spec: str) -> bool:
        """`gentl:`, a producer's file and, after `#`, identifier, serial or number from 0."""
        return spec.startswith("gentl:")

    def _connect(self) -> Connection:
        harvesters = load_harvesters()
        harvester = look_through(harvesters, self._producer)
        try:
            return self._start(harvesters, harvester)
        except BaseException:
            harvester.reset()
            raise

    def _start(self, harvesters: Any, harvester: Any) -> Connection:
        identifier = self._find(harvester.device_info_list)
        errors = gentl_errors(harvesters)
        try:
            acquirer = harvester.create({"id_": identifier})
        except errors as error:
            raise SourceError(
                f"The camera {identifier} cannot be opened: close every other program that uses "
                "it, or plug it in again."
            ) from error
        try:
            features = GenApiFeatures(acquirer.remote_device.node_map, errors)
            setup = set_up(features, self._options)
            # Producers may want larger buffers than the picture is.
            payload = (
                int(features.number("PayloadSize"))
                if features.has("PayloadSize")
                else setup.width * setup.height * setup.format.depth
            )
            wanted = self._buffers(setup, payload)
            acquirer.num_buffers = max(wanted, acquirer.min_num_buffers)
            acquirer.timeout_period_on_update_event_data_call = _POLL_MS
            acquirer.start()
        except BaseException as error:
            acquirer.destroy()
            if isinstance(error, (*errors, FeatureError)):
                raise SourceError(
                    f"The camera {identifier} cannot be started: plug it in again."
                ) from error
            raise
        self._known = identifier
        grabber = HarvestersGrabber(harvesters, harvester, acquirer, setup.format)
        return self._connection(setup, grabber)

    def _find(self, devices: Any) -> str:
        """Identifier of the camera that is meant; after the first time, that of the same one."""
        number = self._choose([described(device).values() for device in devices])
        if number is not None:
            return str(devices[number].id_)
        there = ", ".join(f"gentl:{self._producer}#{device.id_}" for device in devices)
        raise SourceError(
            f"The GenTL producer {self._producer} finds no camera {self._wanted}: check its cable "
            f"and power ({f'there are {there}' if there else 'it finds none now'})."
        )


class HarvestersGrabber:
    """A started `ImageAcquirer` as a grabber.

    Args:
        harvesters: The module.
        harvester: Owned from here on.
        acquirer: Started; owned from here on.
        pixels: The camera's pixel format.
    """

    counters: Mapping[str, int] = MappingProxyType({})

    def __init__(self, harvesters: Any, harvester: Any, acquirer: Any, pixels: PixelFormat) -> None:
        self._errors = gentl_errors(harvesters)
        self._harvester = harvester
        self._acquirer = acquirer
        self._pixels = pixels
        self._book = LossBook()
        self._buffer: Any = None
        damaged = self._damaged

        class CountIncomplete(harvesters.Callback):  # type: ignore[misc]
            def emit(self, context: object | None = None) -> None:
                damaged()

        acquirer.add_callback(acquirer.Events.INCOMPLETE_BUFFER, CountIncomplete())

    def grab(self, timeout_s: float) -> Arrival | None:
        """Wait for the next whole frame, counting others; see `Grabber.grab`."""
        self._let_go()
        try:
            buffer = self._acquirer.try_fetch(timeout=timeout_s)
        except self._errors as error:
            raise DeviceLostError from error
        if buffer is None:
            return None
        host_s = time.perf_counter()
        self._buffer = buffer
        losses = self._book.before(self._number(buffer), lambda: 0)
        return Arrival(host_s, self._stamp_s(buffer), losses)

    def skip_waiting(self) -> None:
        """Forget what waits in the driver's buffers; see `Grabber.skip_waiting`."""
        self._let_go()
        try:
            # harvesters cannot look without waiting: the first frame that was waited for ends it.
            for _ in range(self._acquirer.num_buffers):
                asked_s = time.perf_counter()
                buffer = self._acquirer.try_fetch(timeout=_LOOK_S)
                if buffer is not None:
                    buffer.queue()
                if time.perf_counter() - asked_s > _LOOK_S:
                    break
        except self._errors as error:
            raise DeviceLostError from error
        self._book = LossBook()

    def retrieve(self, out: Image) -> Image | None:
        """Convert straight out of the driver's buffer; see `Grabber.retrieve`."""
        try:
            component = self._buffer.payload.components[0]
            shape = self._pixels.shape(component.width, component.height)
            if component.data.size < math.prod(shape):
                return None
            return self._pixels.convert(component.data[: math.prod(shape)].reshape(shape), out)
        except self._errors:
            return None
        finally:
            self._let_go()

    def release(self) -> None:
        """Stop and unload everything."""
        with suppress(*self._errors):
            self._let_go()
            self._acquirer.stop()
        with suppress(*self._errors):
            self._acquirer.destroy()
        with suppress(*self._errors):
            self._harvester.reset()

    def _damaged(self) -> None:
        self._book.damaged("incomplete_buffer")

    def _let_go(self) -> None:
        if self._buffer is not None:
            buffer, self._buffer = self._buffer, None
            with suppress(*self._errors):
                buffer.queue()

    def _stamp_s(self, buffer: Any) -> float | None:
        try:
            ticks = buffer.timestamp
            return ticks / buffer.timestamp_frequency if ticks else None
        except self._errors:
            return None

    def _number(self, buffer: Any) -> int | None:
        try:
            return int(buffer.module.frame_id)
        except self._errors:
            return None


def described(device: Any) -> dict[str, str]:
    """What a producer says about a camera; not every producer says everything."""
    said = {}
    for name in ("vendor", *_IDENTIFIERS):
        with suppress(Exception):
            said[name] = str(getattr(device, name))
    return said


def gentl_errors(harvesters: Any) -> tuple[type[Exception], ...]:
    """What harvesters and the packages below it raise, for what a producer does not know too."""
    return (
        harvesters.GenTL_GenericException,
        harvesters.GenApi_GenericException,
        AttributeError,
        OSError,
    )
