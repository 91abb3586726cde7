"""What Linux knows of its cameras: who they are, what they offer, and their controls."""

from __future__ import annotations

import os
import re
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CLASS = Path("/sys/class/video4linux")
DEVICES = Path("/dev")

POWER_LINE_FREQUENCY = 0x0098_0918  # 0 off, 1: 50 Hz, 2: 60 Hz
EXPOSURE_MAY_SLOW_DOWN = 0x009A_0903  # "exposure, dynamic framerate"

_CAPABILITY = struct.Struct("=16s32s32sIII12x")
_FORMAT = struct.Struct("=III32sII12x")
_FRAME_SIZE = struct.Struct("=III6I8x")
_FRAME_INTERVAL = struct.Struct("=IIIII6I8x")
_CONTROL = struct.Struct("=Ii")
_CAPTURE = 1
_DISCRETE = 1

Ioctl = Callable[[int, int, bytearray], int]


def _request(direction: int, number: int, layout: struct.Struct) -> int:
    return direction << 30 | layout.size << 16 | ord("V") << 8 | number


_QUERY_CAPABILITY = _request(2, 0, _CAPABILITY)
_ENUM_FORMATS = _request(3, 2, _FORMAT)
_ENUM_FRAME_SIZES = _request(3, 74, _FRAME_SIZE)
_ENUM_FRAME_INTERVALS = _request(3, 75, _FRAME_INTERVAL)
_SET_CONTROL = _request(3, 28, _CONTROL)


@dataclass(frozen=True, slots=True)
class Mode:
    """A picture format that a camera offers, with its highest rate.

    Attributes:
        fourcc: Pixel format.
        width: Picture width in pixels.
        height: Picture height in pixels.
        fps: Highest rate in frames a second; 0 when the driver does not say.
    """

    fourcc: str
    width: int
    height: int
    fps: float

    def __str__(self) -> str:
        rate = f" at {self.fps:g} fps" if self.fps else ""
        return f"{self.fourcc} {self.width}x{self.height}{rate}"


@dataclass(frozen=True, slots=True)
class VideoDevice:
    """A camera of the system.

    Attributes:
        number: That of `/dev/video<number>`.
        name: What it calls itself.
        modes: What it offers, fastest first.
    """

    number: int
    name: str
    modes: tuple[Mode, ...]


def system_ioctl() -> Ioctl | None:
    """Linux' own `ioctl`; None elsewhere."""
    if sys.platform != "linux":
        return None
    import fcntl  # noqa: PLC0415 - POSIX only

    return fcntl.ioctl


def video_devices(
    ioctl: Ioctl | None, folder: Path = DEVICES, names: Path = CLASS
) -> list[VideoDevice]:
    """The cameras that are plugged in; those that cannot be asked have no modes."""
    found = []
    for path in folder.glob("video*"):
        number = _number(path)
        if number is None:
            continue
        modes = video_modes(path, ioctl)
        if modes is not None:
            name = _read(names / path.name / "name") or path.name
            found.append(VideoDevice(number, name, modes))
    return sorted(found, key=lambda device: device.number)


def video_modes(path: Path, ioctl: Ioctl | None) -> tuple[Mode, ...] | None:
    """What a camera offers, fastest first; None when the device captures no pictures."""
    if ioctl is None:
        return ()
    try:
        with _opened(path) as device:
            data = _ask(ioctl, device, _QUERY_CAPABILITY, _CAPABILITY, b"", b"", b"", 0, 0, 0)
            if data is None:
                return ()
            *_, everything, here = _CAPABILITY.unpack(data)
            has_own = bool(everything & 0x8000_0000)
            if not (here if has_own else everything) & _CAPTURE:
                return None
            modes = [
                Mode(
                    _fourcc(code), width, height, _highest_rate(ioctl, device, code, width, height)
                )
                for code in _formats(ioctl, device)
                for width, height in _sizes(ioctl, device, code)
            ]
    except OSError:
        return ()
    return tuple(sorted(modes, key=lambda mode: (-mode.fps, -mode.width * mode.height)))


def set_control(path: Path, control: int, value: int, ioctl: Ioctl | None) -> bool:
    """Set a control; False when the camera has none such or refuses."""
    if ioctl is None:
        return False
    try:
        with _opened(path) as device:
            return _ask(ioctl, device, _SET_CONTROL, _CONTROL, control, value) is not None
    except OSError:
        return False


def video_identity(number: int, names: Path = CLASS) -> tuple[str, ...] | None:
    """What a camera can be known by when it comes back under another number.

    Name, maker, product, serial number and which of the device's nodes it is; None when the
    system does not say.
    """
    node = names / f"video{number}"
    name = _read(node / "name")
    if not name:
        return None
    try:
        usb = (node / "device").resolve().parent
    except OSError:
        usb = node
    parts = (_read(usb / part) for part in ("idVendor", "idProduct", "serial"))
    return (name, *parts, _read(node / "index"))


def find_video(identity: tuple[str, ...], names: Path = CLASS) -> list[int]:
    """Numbers of the cameras with this identity."""
    numbers = (_number(node) for node in names.glob("video*"))
    return sorted(
        number
        for number in numbers
        if number is not None and video_identity(number, names) == identity
    )


def _formats(ioctl: Ioctl, device: int) -> Iterator[int]:
    index = 0
    while data := _ask(ioctl, device, _ENUM_FORMATS, _FORMAT, index, _CAPTURE, 0, b"", 0, 0):
        yield _FORMAT.unpack(data)[4]
        index += 1


def _sizes(ioctl: Ioctl, device: int, code: int) -> Iterator[tuple[int, int]]:
    """Sizes of a format; of a range its largest."""
    index = 0
    nothing = (0,) * 6
    while data := _ask(ioctl, device, _ENUM_FRAME_SIZES, _FRAME_SIZE, index, code, 0, *nothing):
        _, _, kind, *sides = _FRAME_SIZE.unpack(data)
        if kind != _DISCRETE:
            yield sides[1], sides[4]
            return
        yield sides[0], sides[1]
        index += 1


def _highest_rate(ioctl: Ioctl, device: int, code: int, width: int, height: int) -> float:
    best = 0.0
    index = 0
    asked = (code, width, height, 0, *(0,) * 6)
    while data := _ask(ioctl, device, _ENUM_FRAME_INTERVALS, _FRAME_INTERVAL, index, *asked):
        _, _, _, _, kind, numerator, denominator, *_ = _FRAME_INTERVAL.unpack(data)
        if numerator:
            best = max(best, denominator / numerator)  # of a range, the first is the shortest
        if kind != _DISCRETE:
            break
        index += 1
    return best


def _ask(
    ioctl: Ioctl, device: int, request: int, layout: struct.Struct, *values: int | bytes
) -> bytearray | None:
    data = bytearray(layout.pack(*values))
    try:
        ioctl(device, request, data)
    except OSError:  # the end of a list, or what the driver does not know
        return None
    return data


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    device = os.open(path, os.O_RDWR | getattr(os, "O_NONBLOCK", 0))
    try:
        yield device
    finally:
        os.close(device)


def _fourcc(code: int) -> str:
    return code.to_bytes(4, "little").decode("ascii", "replace").strip("\0 ")


def _number(path: Path) -> int | None:
    found = re.fullmatch(r"video(\d+)", path.name)
    return int(found[1]) if found else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
