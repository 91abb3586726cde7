"""Linux' knowledge of its cameras, from a simulated kernel and a tree as sysfs has it."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.errors import SourceError
from streamer.sources import v4l2
from streamer.sources.base import SourceOptions
from streamer.sources.camera import CameraSource
from streamer.sources.camera_config import CameraConfig
from tests.sources.source_media import HEIGHT, WIDTH, Plan, Rig

MODES = {
    "MJPG": {(640, 480): (60, 200), (1280, 720): (30,)},
    "YUYV": {(640, 480): (30,)},
}


class _FmtDesc(ctypes.Structure):
    """`struct v4l2_fmtdesc` of <linux/videodev2.h>; the others likewise."""

    _fields_ = (
        ("index", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("description", ctypes.c_char * 32),
        ("pixelformat", ctypes.c_char * 4),
        ("rest", ctypes.c_uint32 * 4),
    )


class _FrameSize(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint32),
        ("pixelformat", ctypes.c_char * 4),
        ("type", ctypes.c_uint32),
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("rest", ctypes.c_uint32 * 6),
    )


class _FrameInterval(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint32),
        ("pixelformat", ctypes.c_char * 4),
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("numerator", ctypes.c_uint32),
        ("denominator", ctypes.c_uint32),
        ("rest", ctypes.c_uint32 * 6),
    )


class Kernel:
    """Answers as the kernel does for a camera with `MODES`, or for a metadata node."""

    def __init__(self, captures: bool = True) -> None:
        self.captures = captures
        self.controls: dict[int, int] = {}

    def __call__(self, device: int, request: int, data: bytearray) -> int:
        answers: dict[int, Callable[[bytearray], None]] = {
            0x80685600: self._capability,
            0xC0405602: self._format,
            0xC02C564A: self._size,
            0xC034564B: self._interval,
            0xC008561C: self._set,
        }
        try:
            answers[request](data)
        except (IndexError, KeyError):
            raise OSError(errno.EINVAL, "no such thing") from None
        return 0

    def _capability(self, data: bytearray) -> None:
        data[84:88] = (0x84A00001).to_bytes(4, "little")
        data[88:92] = (0x04200001 if self.captures else 0x04A00000).to_bytes(4, "little")

    def _format(self, data: bytearray) -> None:
        answer = _FmtDesc.from_buffer(data)
        answer.pixelformat = list(MODES)[answer.index].encode()

    def _size(self, data: bytearray) -> None:
        answer = _FrameSize.from_buffer(data)
        answer.type = 1
        answer.width, answer.height = list(MODES[answer.pixelformat.decode()])[answer.index]

    def _interval(self, data: bytearray) -> None:
        answer = _FrameInterval.from_buffer(data)
        rates = MODES[answer.pixelformat.decode()][answer.width, answer.height]
        answer.type = 1
        answer.numerator, answer.denominator = 1, rates[answer.index]

    def _set(self, data: bytearray) -> None:
        control = int.from_bytes(data[:4], "little")
        if control != v4l2.POWER_LINE_FREQUENCY:
            raise KeyError(control)
        self.controls[control] = int.from_bytes(data[4:], "little", signed=True)


def plug_in(system: Path, number: int, serial: str, name: str = "Fast Cam") -> None:
    """Make the entries that sysfs has of a USB camera."""
    usb = system / f"usb-{number}"
    (usb / "interface").mkdir(parents=True)
    for file, text in (("idVendor", "1bcf"), ("idProduct", "2c99"), ("serial", serial)):
        (usb / file).write_text(text + "\n", encoding="ascii")
    node = system / "class" / f"video{number}"
    node.mkdir(parents=True)
    (node / "name").write_text(name + "\n", encoding="ascii")
    (node / "index").write_text("0\n", encoding="ascii")
    os.symlink(usb / "interface", node / "device", target_is_directory=True)


def unplug(system: Path, number: int) -> None:
    (system / "class" / f"video{number}").rename(system / f"gone-{number}")


def test_lists_what_a_camera_offers_fastest_first(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    modes = v4l2.video_modes(tmp_path / "video0", Kernel())
    assert modes is not None
    assert [str(mode) for mode in modes] == [
        "MJPG 640x480 at 200 fps",
        "MJPG 1280x720 at 30 fps",
        "YUYV 640x480 at 30 fps",
    ]


def test_lists_cameras_and_not_their_metadata(tmp_path: Path) -> None:
    for name in ("video0", "video10", "video2", "video-codec", "vbi0"):
        (tmp_path / name).touch()
    found = v4l2.video_devices(Kernel(), tmp_path, tmp_path)
    assert [device.number for device in found] == [0, 2, 10]
    assert v4l2.video_devices(Kernel(captures=False), tmp_path, tmp_path) == []


def test_device_that_cannot_be_asked_has_no_modes(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    assert v4l2.video_modes(tmp_path / "video9", Kernel()) == ()
    assert v4l2.video_modes(tmp_path / "video0", None) == ()
    if (ioctl := v4l2.system_ioctl()) is not None:
        assert v4l2.video_modes(tmp_path / "video0", ioctl) == ()


def test_sets_controls_that_exist(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    kernel = Kernel()
    assert v4l2.set_control(tmp_path / "video0", v4l2.POWER_LINE_FREQUENCY, 1, kernel)
    assert kernel.controls == {v4l2.POWER_LINE_FREQUENCY: 1}
    assert not v4l2.set_control(tmp_path / "video0", 0x00980900, 1, kernel)
    assert not v4l2.set_control(tmp_path / "video9", v4l2.POWER_LINE_FREQUENCY, 1, kernel)


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_camera_is_found_under_its_new_number(tmp_path: Path, rig: Callable[..., Rig]) -> None:
    plug_in(tmp_path, 0, "A1")
    plug_in(tmp_path, 1, "B2")
    names = tmp_path / "class"
    made = rig(Plan(fails_at=10), Plan(stamp_ms=lambda frame: 50.0 + 10.0 * frame))
    source = CameraSource(
        "1", SourceOptions(), made, system=names, first_retry_s=0.01, stall_s=0.02
    )
    source.open()
    unplug(tmp_path, 1)
    plug_in(tmp_path, 4, "B2")
    out = _picture()
    for _ in range(6):
        assert source.read(out) is not None
    source.close()
    assert [capture.device for capture in made.captures] == [1, 4]
    assert "Camera 1 came back as number 4." in source.notes
    assert source.counters["reconnects"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_twins_without_a_serial_number_are_not_guessed(
    tmp_path: Path, rig: Callable[..., Rig]
) -> None:
    plug_in(tmp_path, 0, "")
    plug_in(tmp_path, 1, "")
    names = tmp_path / "class"
    source = CameraSource("1", SourceOptions(), rig(), system=names)
    source.open()
    unplug(tmp_path, 1)
    plug_in(tmp_path, 2, "")
    with pytest.raises(SourceError, match="cannot be told from others"):
        source._connect()
    source.close()


def test_exposure_is_set_and_what_cannot_be_is_told(rig: Callable[..., Rig]) -> None:
    made = rig()
    settings = CameraConfig(exposure_s=0.004, gain_db=6.0, power_line_hz=50)
    source = CameraSource("97", SourceOptions(camera=settings), made)
    info = source.open()
    source.close()
    assert made.captures[0].asked == [cv2.CAP_PROP_AUTO_EXPOSURE, cv2.CAP_PROP_EXPOSURE]
    notes = " ".join(info.notes)
    assert "gain in dB cannot be set" in notes
    assert "power_line_hz" in notes


def _picture() -> np.ndarray:
    return np.empty((HEIGHT, WIDTH, 3), np.uint8)
