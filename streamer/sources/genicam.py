"""What all GenICam cameras share: their settings have the same names, whatever SDK sets them."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from streamer.errors import SourceError
from streamer.sources.base import SourceOptions
from streamer.sources.capture_thread import Connection
from streamer.sources.grabber import Grabber
from streamer.sources.live_source import LiveSource
from streamer.sources.pixels import PIXEL_FORMATS, PixelFormat, pixel_format

# The older name first: where both exist, it is the one that works (Basler's emulator).
_EXPOSURE_US = ("ExposureTimeAbs", "ExposureTime")
_RATE = ("AcquisitionFrameRateAbs", "AcquisitionFrameRate")
_RATE_SWITCH = ("AcquisitionFrameRateEnable", "AcquisitionFrameRateEnabled")
_RESULTING_RATE = (
    "ResultingFrameRate",
    "ResultingFrameRateAbs",
    "BslResultingAcquisitionFrameRate",
)
_PTP = ("PtpEnable", "GevIEEE1588")
_PACKET_SIZE = "GevSCPSPacketSize"
_TRIGGERS = ("AcquisitionStart", "FrameBurstStart", "FrameStart")
_RECORDED = {
    "vendor": ("DeviceVendorName",),
    "model": ("DeviceModelName",),
    "serial": ("DeviceSerialNumber", "DeviceID"),
    "firmware": ("DeviceFirmwareVersion", "DeviceVersion"),
}
_MOST_BUFFER_BYTES = 512 * 10**6
_LEAST_BUFFERS = 16


class FeatureError(Exception):
    """The camera refuses a setting."""


class Features(Protocol):
    """The named settings of a camera. All raise `FeatureError` when the camera refuses."""

    def has(self, name: str) -> bool:
        """Whether it can be read now."""
        ...

    def number(self, name: str) -> float:
        """Value of an integer or float."""
        ...

    def set_number(self, name: str, value: float) -> None:
        """Set an integer or float; an integer is rounded."""
        ...

    def bounds(self, name: str) -> tuple[float, float, float]:
        """Lowest and highest value, and the step between values (0: none)."""
        ...

    def text(self, name: str) -> str:
        """Value of an enumeration or string."""
        ...

    def set_text(self, name: str, value: str) -> None:
        """Set an enumeration or string."""
        ...

    def choices(self, name: str) -> tuple[str, ...]:
        """Values that an enumeration can take now."""
        ...

    def set_flag(self, name: str, on: bool) -> None:
        """Set a boolean."""
        ...


@dataclass(frozen=True, slots=True)
class Setup:
    """What a camera was set to.

    Attributes:
        width: Picture width in pixels.
        height: Picture height in pixels.
        format: Pixel format.
        fps: Frames a second; None when it does not say.
        notes: What the user must be told.
        device: What it is and is set to, for the record.
    """

    width: int
    height: int
    format: PixelFormat
    fps: float | None
    notes: tuple[str, ...]
    device: Mapping[str, str | float]


class GenICamSource(LiveSource, ABC):
    """A camera that is set up by the names of GenICam's standard features.

    Args:
        spec: Kind, colon, and which camera: serial number, identifier or number from 0.
        options: `fps`, `width`, `height`, `duration_s` and `camera` are followed.
        open_timeout_s: Seconds within which the camera must deliver.
        first_retry_s: Seconds before the first attempt to open it again.
        stall_s: Least seconds without a frame after which the state is `STALLED`.
        silence_s: Least seconds without a frame after which it is opened again.
    """

    def __init__(
        self,
        spec: str,
        options: SourceOptions,
        *,
        open_timeout_s: float = 15.0,
        first_retry_s: float = 0.25,
        stall_s: float = 0.25,
        silence_s: float = 2.0,
    ) -> None:
        super().__init__(
            spec,
            options,
            open_timeout_s=open_timeout_s,
            first_retry_s=first_retry_s,
            stall_s=stall_s,
            silence_s=silence_s,
        )
        self._wanted = spec.partition(":")[2]
        self._known: str | None = None  # the camera's own name, after the first connection

    def _choose(self, cameras: Sequence[Collection[str]]) -> int | None:
        """Find the camera that is meant; after the first time the same one, wherever it is.

        Args:
            cameras: The names of each camera that is there.

        Returns:
            Its position; None when it is not there.
        """
        wanted = self._known or self._wanted or "0"
        for position, names in enumerate(cameras):
            if wanted in names:
                return position
        if self._known is None and wanted.isdigit() and int(wanted) < len(cameras):
            return int(wanted)
        return None

    def _buffers(self, setup: Setup, payload: int) -> int:
        """Number of driver buffers, for the asked time but within 512 MB."""
        fps = setup.fps or self._assumed_fps()
        asked = math.ceil(fps * self._options.camera.buffer_s)
        return max(min(asked, _MOST_BUFFER_BYTES // max(payload, 1)), _LEAST_BUFFERS)

    def _connection(self, setup: Setup, grabber: Grabber, *notes: str) -> Connection:
        """The connection that a set-up camera is."""
        return Connection(
            grabber,
            setup.width,
            setup.height,
            setup.fps,
            channels=setup.format.channels,
            notes=(*setup.notes, *notes),
            device=setup.device,
            triggered=self._options.camera.trigger is not None,
        )

    def _no_picture(self) -> str:
        return (
            f"{self._name} opens but delivers no picture: check its cable, bandwidth and trigger, "
            "and close every other program that uses it."
        )

    def _no_timestamps(self) -> str:
        return "The camera gives no timestamps; times are those of this computer."


def set_up(features: Features, options: SourceOptions) -> Setup:
    """Set a camera to what was asked for and read back what it grants.

    Each setting limits what the next may be: format and region come first, the rate last.

    Raises:
        SourceError: It cannot do without something that was asked for: a pixel format that it
            does not have, a trigger input that it does not have.
    """
    camera = options.camera
    notes: list[str] = []
    try:
        _free_run(features)
        name = _choose_format(features, camera.pixel_format)
        width = _choose_extent(features, "Width", "OffsetX", options.width, camera.offset_x)
        height = _choose_extent(features, "Height", "OffsetY", options.height, camera.offset_y)
        if None not in (asked := (options.width, options.height)) and asked != (width, height):
            notes.append(
                f"{asked[0]} by {asked[1]} pixels were asked for; the camera grants "
                f"{width} by {height}."
            )
        exposure_s = _choose_exposure(features, camera.exposure_s, notes)
        gain_db = _choose_gain(features, camera.gain_db, notes)
        if camera.packet_bytes is not None:
            _choose_packet_size(features, camera.packet_bytes, notes)
        if camera.ptp:
            _follow_network_clock(features, notes)
        fps: float | None
        if camera.trigger is not None:
            fps = _await_trigger(features, camera.trigger, camera.trigger_edge, options.fps)
        else:
            fps = _choose_rate(features, options.fps, exposure_s, notes)
    except FeatureError as error:
        raise SourceError(
            f"The camera refuses a setting ({error}): ask for less, or unplug it and plug it in "
            "again."
        ) from error
    settings = {"exposure_s": exposure_s, "gain_db": gain_db, "fps": fps}
    device: dict[str, str | float] = {
        **_identity(features),
        "pixel_format": name,
        **{key: value for key, value in settings.items() if value is not None},
    }
    chosen = pixel_format(name)
    assert chosen is not None
    return Setup(width, height, chosen, fps, tuple(notes), device)


def _first(features: Features, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if features.has(name)), None)


def _free_run(features: Features) -> None:
    """Switch every trigger off: the camera may still be set as another program left it."""
    if not features.has("TriggerMode"):
        return
    if not features.has("TriggerSelector"):
        features.set_text("TriggerMode", "Off")
        return
    there = features.choices("TriggerSelector")
    for trigger in _TRIGGERS:
        if trigger in there:
            features.set_text("TriggerSelector", trigger)
            features.set_text("TriggerMode", "Off")


def _choose_format(features: Features, asked: str | None) -> str:
    there = features.choices("PixelFormat")
    usable = [name for name in there if pixel_format(name) is not None]
    if asked is not None:
        matching = [name for name in usable if name.removesuffix("Packed") == asked]
        if not matching:
            raise SourceError(
                f"The camera or Glint has no pixel format {asked}: set pixel_format to one of "
                f"{', '.join(usable)}."
            )
        features.set_text("PixelFormat", matching[0])
        return matching[0]
    current = features.text("PixelFormat")
    if current in usable:
        return current
    if not usable:
        raise SourceError(
            f"The camera has no pixel format that Glint can read ({', '.join(there)}): use a "
            f"camera with one of {', '.join(PIXEL_FORMATS)}."
        )
    order = list(PIXEL_FORMATS)
    best = min(usable, key=lambda name: order.index(name.removesuffix("Packed")))
    features.set_text("PixelFormat", best)
    return best


def _choose_extent(
    features: Features, size: str, offset: str, asked: int | None, asked_offset: int | None
) -> int:
    """Set one side of the region of interest; without an asked offset it lies in the middle."""
    movable = features.has(offset)
    if asked is not None:
        if movable:
            features.set_number(offset, features.bounds(offset)[0])
        features.set_number(size, _possible(features, size, asked))
    if movable and (asked is not None or asked_offset is not None):
        wanted = asked_offset if asked_offset is not None else features.bounds(offset)[1] / 2
        features.set_number(offset, _possible(features, offset, wanted))
    return int(features.number(size))


def _possible(features: Features, name: str, value: float) -> float:
    """The nearest value that the camera can take."""
    low, high, step = features.bounds(name)
    value = min(max(value, low), high)
    return low + math.floor((value - low) / step + 1e-9) * step if step > 0 else value


def _choose_exposure(features: Features, asked_s: float | None, notes: list[str]) -> float | None:
    name = _first(features, _EXPOSURE_US)
    if asked_s is None:
        if features.has("ExposureAuto") and features.text("ExposureAuto") != "Off":
            notes.append(
                "The camera chooses the exposure itself, which looks like flicker: set exposure_s."
            )
    elif name is None:
        notes.append("The camera's exposure cannot be set.")
    else:
        _switch_off(features, "ExposureAuto")
        features.set_number(name, _possible(features, name, asked_s * 1e6))
    if name is None:
        return None
    granted_s = features.number(name) / 1e6
    if asked_s is not None and not math.isclose(asked_s, granted_s, rel_tol=0.02):
        notes.append(
            f"An exposure of {asked_s * 1e3:g} ms was asked for; the camera grants "
            f"{granted_s * 1e3:g} ms."
        )
    return granted_s


def _choose_gain(features: Features, asked_db: float | None, notes: list[str]) -> float | None:
    if not features.has("Gain"):
        if asked_db is not None:
            notes.append("The camera's gain cannot be set in dB and stays as it is.")
        return None
    if asked_db is not None:
        _switch_off(features, "GainAuto")
        features.set_number("Gain", _possible(features, "Gain", asked_db))
    granted_db = features.number("Gain")
    if asked_db is not None and abs(asked_db - granted_db) > 0.1:
        notes.append(
            f"A gain of {asked_db:g} dB was asked for; the camera grants {granted_db:g} dB."
        )
    return granted_db


def _switch_off(features: Features, automatic: str) -> None:
    if features.has(automatic):
        features.set_text(automatic, "Off")


def _choose_packet_size(features: Features, asked: int, notes: list[str]) -> None:
    if not features.has(_PACKET_SIZE):
        notes.append("The camera has no packet size: it is not on the network.")
        return
    features.set_number(_PACKET_SIZE, _possible(features, _PACKET_SIZE, asked))
    granted = int(features.number(_PACKET_SIZE))
    if granted != asked:
        notes.append(f"Packets of {asked} bytes were asked for; the camera grants {granted}.")


def _follow_network_clock(features: Features, notes: list[str]) -> None:
    name = _first(features, _PTP)
    if name is None:
        notes.append("The camera cannot follow the network's clock (PTP); its own clock is used.")
    else:
        features.set_flag(name, True)


def _await_trigger(features: Features, line: str, edge: str, fps: float | None) -> float:
    """Let a signal from outside release each frame."""
    if fps is None:
        raise SourceError(
            "A triggered camera has the rate of its trigger, which Glint cannot know: give it "
            "with --fps."
        )
    if not features.has("TriggerMode"):
        raise SourceError("The camera has no trigger: leave trigger out.")
    if features.has("TriggerSelector") and "FrameStart" in features.choices("TriggerSelector"):
        features.set_text("TriggerSelector", "FrameStart")
    inputs = features.choices("TriggerSource")
    if line not in inputs:
        raise SourceError(
            f"The camera has no trigger input {line}: set trigger to one of {', '.join(inputs)}."
        )
    features.set_text("TriggerSource", line)
    if features.has("TriggerActivation"):
        features.set_text("TriggerActivation", f"{edge.capitalize()}Edge")
    features.set_text("TriggerMode", "On")
    return fps


def _choose_rate(
    features: Features, asked: float | None, exposure_s: float | None, notes: list[str]
) -> float | None:
    switch = _first(features, _RATE_SWITCH)
    if asked is not None and switch is not None:
        features.set_flag(switch, True)
    name = _first(features, _RATE)  # some cameras have it only once it is switched on
    if asked is not None:
        if name is None:
            notes.append("The camera's rate cannot be set.")
        else:
            features.set_number(name, _possible(features, name, asked))
    resulting = _first(features, _RESULTING_RATE) or name
    granted = None if resulting is None else features.number(resulting)
    if asked is not None and granted is not None and not math.isclose(asked, granted, rel_tol=5e-3):
        notes.append(f"{asked:g} fps were asked for; the camera grants {granted:.4g} fps.")
    if asked is not None and exposure_s is not None and exposure_s * asked > 1.0:
        notes.append(
            f"An exposure of {exposure_s * 1e3:g} ms is longer than a frame at {asked:g} fps: "
            "set exposure_s lower."
        )
    return granted


def _identity(features: Features) -> dict[str, str]:
    found = {}
    for key, names in _RECORDED.items():
        name = _first(features, names)
        if name is not None:
            with suppress(FeatureError):
                found[key] = features.text(name)
    return found


class GenApiFeatures:
    """Features through a GenApi node map: pypylon's and that of the EMVA's `genicam` package.

    Both wrap the same library; one has CamelCase names, the other snake_case.

    Args:
        nodes: The node map.
        errors: What the package raises.
    """

    _READABLE = frozenset({3, 4})  # GenApi's RO and RW

    def __init__(self, nodes: Any, errors: type[Exception] | tuple[type[Exception], ...]) -> None:
        self._nodes = nodes
        self._errors = errors
        self._camel = hasattr(nodes, "GetNode")

    def has(self, name: str) -> bool:
        """See `Features`."""
        if not self._camel and not self._nodes.has_node(name):
            return False
        node = self._nodes.GetNode(name) if self._camel else self._nodes.get_node(name)
        if node is None:
            return False
        mode = node.GetAccessMode() if self._camel else node.get_access_mode()
        return int(mode) in self._READABLE

    def number(self, name: str) -> float:
        """See `Features`."""
        return float(self._get(name, "Value"))

    def set_number(self, name: str, value: float) -> None:
        """See `Features`."""
        self._set(name, round(value) if isinstance(self._get(name, "Value"), int) else value)

    def bounds(self, name: str) -> tuple[float, float, float]:
        """See `Features`."""
        integer = isinstance(self._get(name, "Value"), int)
        step = float(self._get(name, "Inc")) if integer else 0.0
        return float(self._get(name, "Min")), float(self._get(name, "Max")), step

    def text(self, name: str) -> str:
        """See `Features`."""
        return str(self._get(name, "Value"))

    def set_text(self, name: str, value: str) -> None:
        """See `Features`."""
        self._set(name, value)

    def choices(self, name: str) -> tuple[str, ...]:
        """See `Features`."""
        return tuple(self._get(name, "Symbolics"))

    def set_flag(self, name: str, on: bool) -> None:
        """See `Features`."""
        self._set(name, on)

    def _node(self, name: str) -> Any:
        if not self.has(name):
            raise FeatureError(f"it has no {name}")
        return self._nodes.GetNode(name) if self._camel else self._nodes.get_node(name)

    def _get(self, name: str, what: str) -> Any:
        try:
            return getattr(self._node(name), what if self._camel else what.lower())
        except self._errors as error:
            raise FeatureError(f"{name} cannot be read: {_one_line(error)}") from error

    def _set(self, name: str, value: object) -> None:
        try:
            setattr(self._node(name), "Value" if self._camel else "value", value)
        except self._errors as error:
            raise FeatureError(f"{name} cannot be {value}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).partition(" : ")[0].rstrip(".")
