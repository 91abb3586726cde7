"""The part of Aravis' C library that Glint calls.

Its Python binding, PyGObject, has no wheels for Linux: it is compiled against the headers of
GObject introspection, or the virtual environment is opened to all packages of the system; and it
copies every picture into a new `bytes`. The C interface of the 0.8 series is stable, is called
without Python's lock, and hands out a pointer into the driver's buffer.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint, c_uint64
from ctypes import c_void_p as pointer
from dataclasses import dataclass
from typing import Any

from streamer.errors import SourceError
from streamer.sources.genicam import FeatureError

_LIBRARIES = {
    "linux": ("libaravis-0.8.so.0", "libgobject-2.0.so.0", "libglib-2.0.so.0"),
    "darwin": ("libaravis-0.8.0.dylib", "libgobject-2.0.0.dylib", "libglib-2.0.0.dylib"),
    "win32": ("libaravis-0.8-0.dll", "libgobject-2.0-0.dll", "libglib-2.0-0.dll"),
}

_PLAIN: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "update_device_list": (None, ()),
    "get_n_devices": (c_uint, ()),
    "get_device_id": (c_char_p, (c_uint,)),
    "get_device_address": (c_char_p, (c_uint,)),
    "get_device_vendor": (c_char_p, (c_uint,)),
    "get_device_model": (c_char_p, (c_uint,)),
    "get_device_serial_nbr": (c_char_p, (c_uint,)),
    "get_device_protocol": (c_char_p, (c_uint,)),
    "camera_get_device": (pointer, (pointer,)),
    "camera_is_gv_device": (c_int, (pointer,)),
    "camera_gv_set_stream_options": (None, (pointer, c_int)),
    "buffer_new_allocate": (pointer, (c_size_t,)),
    "buffer_get_status": (c_int, (pointer,)),
    "buffer_get_frame_id": (c_uint64, (pointer,)),
    "buffer_get_timestamp": (c_uint64, (pointer,)),
    "buffer_get_system_timestamp": (c_uint64, (pointer,)),
    "buffer_get_data": (pointer, (pointer, POINTER(c_size_t))),
    "buffer_get_image_width": (c_int, (pointer,)),
    "buffer_get_image_height": (c_int, (pointer,)),
    "stream_push_buffer": (None, (pointer, pointer)),
    "stream_try_pop_buffer": (pointer, (pointer,)),
    "stream_timeout_pop_buffer": (pointer, (pointer, c_uint64)),
    "stream_get_statistics": (
        None,
        (pointer, POINTER(c_uint64), POINTER(c_uint64), POINTER(c_uint64)),
    ),
    "stream_get_info_uint64_by_name": (c_uint64, (pointer, c_char_p)),
}
# These take a place for an error after their own arguments.
_FALLIBLE: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "camera_new": (pointer, (c_char_p,)),
    "camera_create_stream": (pointer, (pointer, pointer, pointer)),
    "camera_get_payload": (c_uint, (pointer,)),
    "camera_start_acquisition": (None, (pointer,)),
    "camera_stop_acquisition": (None, (pointer,)),
    "device_is_feature_available": (c_int, (pointer, c_char_p)),
    "device_get_float_feature_value": (c_double, (pointer, c_char_p)),
    "device_set_float_feature_value": (None, (pointer, c_char_p, c_double)),
    "device_get_float_feature_bounds": (
        None,
        (pointer, c_char_p, POINTER(c_double), POINTER(c_double)),
    ),
    "device_get_integer_feature_value": (c_int64, (pointer, c_char_p)),
    "device_set_integer_feature_value": (None, (pointer, c_char_p, c_int64)),
    "device_get_integer_feature_bounds": (
        None,
        (pointer, c_char_p, POINTER(c_int64), POINTER(c_int64)),
    ),
    "device_get_integer_feature_increment": (c_int64, (pointer, c_char_p)),
    "device_get_string_feature_value": (c_char_p, (pointer, c_char_p)),
    "device_set_string_feature_value": (None, (pointer, c_char_p, c_char_p)),
    "device_set_boolean_feature_value": (None, (pointer, c_char_p, c_int)),
    "device_dup_available_enumeration_feature_values_as_strings": (
        POINTER(c_char_p),
        (pointer, c_char_p, POINTER(c_uint)),
    ),
}

PACKET_SOCKET_DISABLED = 1
SUCCESS = 0
"""Status of a whole buffer."""

_INTEGER = 6 << 2  # GLib's G_TYPE_INT

Signal = ctypes.CFUNCTYPE(None, pointer, pointer)


class _Error(ctypes.Structure):
    _fields_ = (("domain", ctypes.c_uint32), ("code", c_int), ("message", c_char_p))


class _Value(ctypes.Structure):
    """GLib's GValue: a type and what it holds."""

    _fields_ = (("type", c_size_t), ("data", c_int64 * 2))


@dataclass(frozen=True, slots=True)
class AravisDevice:
    """A camera that was found.

    Attributes:
        id: Aravis' name of it.
        address: Address in the network, or empty.
        vendor: Who made it.
        model: Its model.
        serial: Its serial number.
        protocol: `GigEVision`, `USB3Vision` …
    """

    id: str
    address: str
    vendor: str
    model: str
    serial: str
    protocol: str


class Aravis:
    """The loaded library.

    Raises:
        SourceError: It is not installed.
    """

    def __init__(self) -> None:
        try:
            library, objects, basics = (
                ctypes.CDLL(name) for name in _LIBRARIES.get(sys.platform, _LIBRARIES["linux"])
            )
        except OSError as error:
            raise SourceError(
                "Cameras by aravis: need the library Aravis 0.8, which is not installed: "
                "apt-get install libaravis-0.8-0, or as docs/cameras.md says for your system."
            ) from error
        self._functions: dict[str, Callable[..., Any]] = {}
        for name, (result, arguments) in _PLAIN.items():
            self._functions[name] = _declared(library, f"arv_{name}", result, arguments)
        place = POINTER(POINTER(_Error))
        for name, (result, arguments) in _FALLIBLE.items():
            self._functions[name] = _declared(library, f"arv_{name}", result, (*arguments, place))
        self._unref = _declared(objects, "g_object_unref", None, (pointer,))
        self._connect = _declared(
            objects,
            "g_signal_connect_data",
            ctypes.c_ulong,
            (pointer, c_char_p, Signal, pointer, pointer, c_int),
        )
        self._set_property = _declared(
            objects, "g_object_set_property", None, (pointer, c_char_p, POINTER(_Value))
        )
        self._free = _declared(basics, "g_free", None, (pointer,))
        self._free_error = _declared(basics, "g_error_free", None, (POINTER(_Error),))

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function that cannot fail; `name` is without `arv_`."""
        return self._functions[name](*arguments)

    def attempt(self, name: str, *arguments: Any) -> Any:
        """Call a function that can fail.

        Raises:
            FeatureError: It failed.
        """
        error = POINTER(_Error)()
        result = self._functions[name](*arguments, byref(error))
        if error:
            message = (error.contents.message or b"").decode(errors="replace")
            self._free_error(error)
            raise FeatureError(message)
        return result

    def unref(self, thing: int) -> None:
        """Give up an object."""
        self._unref(thing)

    def on_signal(self, thing: int, signal: str, callback: Any) -> None:
        """Have a `Signal` called, from any thread; it must be kept as long as the object."""
        self._connect(thing, signal.encode(), callback, None, None, 0)

    def set_integer(self, thing: int, name: str, value: int) -> None:
        """Set an integer property of an object."""
        self._set_property(thing, name.encode(), byref(_Value(_INTEGER, (value, 0))))

    def devices(self) -> list[AravisDevice]:
        """Look for cameras; takes about a second, in which cameras on the network answer."""
        self.call("update_device_list")
        fields = ("id", "address", "vendor", "model", "serial_nbr", "protocol")
        return [
            AravisDevice(
                *(
                    (self.call(f"get_device_{field}", number) or b"").decode(errors="replace")
                    for field in fields
                )
            )
            for number in range(self.call("get_n_devices"))
        ]

    def choices(self, device: int, feature: str) -> tuple[str, ...]:
        """Values that an enumeration can take now."""
        number = c_uint()
        values = self.attempt(
            "device_dup_available_enumeration_feature_values_as_strings",
            device,
            feature.encode(),
            byref(number),
        )
        found = tuple(values[index].decode() for index in range(number.value))
        self._free(values)
        return found


class AravisFeatures:
    """Features of an Aravis device; see `genicam.Features`."""

    def __init__(self, aravis: Aravis, device: int) -> None:
        self._aravis = aravis
        self._device = device

    def has(self, name: str) -> bool:
        """See `Features`."""
        try:
            return bool(self._do("is_feature_available", name))
        except FeatureError:
            return False

    def number(self, name: str) -> float:
        """See `Features`."""
        kind = "float" if self._is_float(name) else "integer"
        return float(self._do(f"get_{kind}_feature_value", name))

    def set_number(self, name: str, value: float) -> None:
        """See `Features`."""
        if self._is_float(name):
            self._do("set_float_feature_value", name, value)
        else:
            self._do("set_integer_feature_value", name, round(value))

    def bounds(self, name: str) -> tuple[float, float, float]:
        """See `Features`."""
        if self._is_float(name):
            low, high = c_double(), c_double()
            self._do("get_float_feature_bounds", name, byref(low), byref(high))
            return low.value, high.value, 0.0
        least, most = c_int64(), c_int64()
        self._do("get_integer_feature_bounds", name, byref(least), byref(most))
        return least.value, most.value, float(self._do("get_integer_feature_increment", name))

    def text(self, name: str) -> str:
        """See `Features`."""
        value = self._do("get_string_feature_value", name)
        return value.decode(errors="replace") if value else ""

    def set_text(self, name: str, value: str) -> None:
        """See `Features`."""
        self._do("set_string_feature_value", name, value.encode())

    def choices(self, name: str) -> tuple[str, ...]:
        """See `Features`."""
        return self._aravis.choices(self._device, name)

    def set_flag(self, name: str, on: bool) -> None:
        """See `Features`."""
        self._do("set_boolean_feature_value", name, on)

    def _is_float(self, name: str) -> bool:
        try:
            self._do("get_float_feature_value", name)
        except FeatureError:
            return False
        return True

    def _do(self, what: str, name: str, *values: Any) -> Any:
        return self._aravis.attempt(f"device_{what}", self._device, name.encode(), *values)


def _declared(library: Any, name: str, result: Any, arguments: tuple[Any, ...]) -> Any:
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function
