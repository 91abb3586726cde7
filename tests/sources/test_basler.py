"""Basler's SDK with its own emulated cameras."""

from __future__ import annotations

import builtins
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

from benchmarks.emulated_cameras import EmulatedBasler
from streamer.errors import SourceError
from streamer.frame import Frame
from streamer.sources.base import SourceOptions, SourceState
from streamer.sources.basler import BaslerSource
from streamer.sources.camera_config import CameraConfig

pytest.importorskip("pypylon.pylon", reason="needs pypylon")
# On Linux pylon's waits end by SIGALRM, which pytest-timeout would otherwise take for itself.
pytestmark = pytest.mark.timeout(method="thread")

SIZE = {"width": 128, "height": 96}


@pytest.fixture(autouse=True)
def _emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYLON_CAMEMU", "2")


@pytest.fixture
def opened() -> Iterator[Any]:
    sources: list[BaslerSource] = []

    def make(
        spec: str = "basler:0", folder: Path | None = None, **asked: object
    ) -> tuple[EmulatedBasler, Any]:
        camera = asked.pop("camera", CameraConfig(exposure_s=0.0005))
        options = SourceOptions(**{"fps": 200.0, **SIZE, **asked}, camera=camera)  # type: ignore[arg-type]
        source = EmulatedBasler(spec, options, folder)
        sources.append(source)
        return source, source.open()

    yield make
    for source in sources:
        source.close()


def _write_portrait(folder: Path, width: int, height: int) -> Path:
    folder.mkdir()
    portrait = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / "portrait.bmp"), cv2.resize(portrait, (width, height)))
    return folder


def _read(source: BaslerSource, frames: int, shape: tuple[int, ...] = (96, 128)) -> list[Frame]:
    out = np.empty(shape, np.uint8)
    read = [source.read(out) for _ in range(frames)]
    assert None not in read
    return [frame for frame in read if frame is not None]


def test_delivers_every_frame_in_order_on_the_hosts_clock(opened: Any) -> None:
    source, info = opened()
    frames = _read(source, 100)
    assert info.kind == "basler"
    assert info.fps_nominal == info.fps_asked == 200.0
    assert (info.width, info.height, info.channels) == (128, 96, 1)
    assert [f.index for f in frames] == list(range(100))
    assert {f.gap_before for f in frames} == {0}
    # The emulator stamps every frame 0.
    assert not info.device_clock
    assert {f.device_s for f in frames} == {None}
    assert any("no timestamps" in note for note in info.notes)
    assert all(a.time_s < b.time_s for a, b in itertools.pairwise(frames))


def test_session_starts_with_a_fresh_frame(opened: Any) -> None:
    source, _ = opened()
    camera = source.cameras[0]
    while camera.NumReadyBuffers.Value < 20:  # as while engines are loaded
        threading.Event().wait(0.001)
    frames = _read(source, 10)
    assert [frame.index for frame in frames] == list(range(10))
    assert camera.NumReadyBuffers.Value < 20


def test_settings_reach_the_camera_and_the_record(opened: Any) -> None:
    settings = CameraConfig(
        exposure_s=0.002, gain_db=6.0, offset_x=64, offset_y=32, pixel_format="BayerRG8"
    )
    source, info = opened(camera=settings)
    nodes = source.cameras[0]
    assert nodes.ExposureTimeAbs.Value == pytest.approx(2000.0)
    assert (nodes.OffsetX.Value, nodes.OffsetY.Value) == (64, 32)
    assert nodes.PixelFormat.Value == "BayerRG8"
    assert info.channels == 3
    assert info.device["exposure_s"] == pytest.approx(0.002)
    assert info.device["gain_db"] == pytest.approx(6.0, abs=0.01)
    assert info.device["vendor"] == "Basler"


def test_region_lies_in_the_middle_unless_told(opened: Any) -> None:
    source, _ = opened()
    camera = source.cameras[0]
    assert camera.OffsetX.Value == pytest.approx((camera.WidthMax.Value - 128) / 2, abs=2)
    assert camera.OffsetY.Value == pytest.approx((camera.HeightMax.Value - 96) / 2, abs=2)


def test_what_is_not_granted_is_told(opened: Any) -> None:
    _, info = opened(
        fps=200.0, width=8192, height=96, camera=CameraConfig(exposure_s=0.5, ptp=True)
    )
    notes = " ".join(info.notes)
    assert "8192 by 96 pixels were asked for; the camera grants 4096 by 96" in notes
    assert "longer than a frame at 200 fps" in notes
    assert "PTP" in notes


def test_camera_runs_free_however_another_program_left_it() -> None:
    class LeftBehind(EmulatedBasler):
        def _open_camera(self, pylon: Any, device: Any) -> Any:
            camera = super()._open_camera(pylon, device)
            camera.PixelFormat.Value = "Mono12"
            camera.TriggerSelector.Value = "FrameStart"
            camera.TriggerMode.Value = "On"
            camera.ExposureAuto.Value = "Continuous"
            return camera

    source = LeftBehind("basler:0", SourceOptions(**SIZE))
    info = source.open()
    _read(source, 5)
    source.close()
    assert info.device["pixel_format"] == "Mono8"
    assert any("chooses the exposure itself" in note for note in info.notes)


def test_unknown_pixel_format_names_those_that_work(opened: Any) -> None:
    with pytest.raises(SourceError, match=r"no pixel format Mono9.*Mono8"):
        opened(camera=CameraConfig(pixel_format="Mono9"))


def test_failed_buffers_are_counted_by_cause(opened: Any) -> None:
    source, _ = opened()
    before = _read(source, 10)[-1]
    source.cameras[0].ForceFailedBufferCount.Value = 3
    source.cameras[0].ForceFailedBuffer.Execute()
    frames = _read(source, 60)
    gaps = [f for f in frames if f.gap_before]
    assert [(f.gap_before, f.gap_cause) for f in gaps] == [(3, "incomplete_buffer")]
    assert frames[-1].index == before.index + 60 + 3


def test_face_is_fed_through_pictures(opened: Any, tmp_path: Path) -> None:
    folder = _write_portrait(tmp_path / "face", 128, 96)
    source, info = opened(folder=folder, camera=CameraConfig(pixel_format="BGR8"))
    out = np.empty(info.shape, np.uint8)
    frames = [source.read(out) for _ in range(5)]
    expected = cv2.imread(str(folder / "portrait.bmp"))
    assert np.array_equal(out, expected)
    # A file without noise is what a frozen camera looks like.
    assert frames[-1].flags == ("frozen",)
    assert source.counters["frozen"] == 4


def test_software_trigger_releases_each_frame(opened: Any) -> None:
    source, info = opened(camera=CameraConfig(exposure_s=0.0005, trigger="Software"))
    camera = source.cameras[0]
    assert camera.TriggerMode.Value == "On"
    assert camera.TriggerActivation.Value == "RisingEdge"
    camera.AcquisitionStatusSelector.Value = "FrameTriggerWait"
    for index in range(3):
        while not camera.AcquisitionStatus.Value:  # a trigger that comes too early is ignored
            threading.Event().wait(0.001)
        camera.TriggerSoftware.Execute()
        assert [frame.index for frame in _read(source, 1)] == [index]
    # Only now does it show that the emulator has no clock.
    assert any("no timestamps" in note for note in source.notes)
    assert info.fps_nominal == 200.0


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"camera": CameraConfig(trigger="Line9")}, r"no trigger input Line9.*Line1"),
        ({"camera": CameraConfig(trigger="Line1"), "fps": None}, "--fps"),
    ],
)
def test_impossible_trigger_is_refused(opened: Any, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        opened(**asked)


def test_unplugged_camera_is_found_again_by_its_serial(opened: Any) -> None:
    source, _ = opened("basler:1")
    last = _read(source, 5)[-1]
    source.cameras[0].FirePnPCallback.Execute()  # the driver reports the removal
    back = _read(source, 1)[0]
    assert len(source.cameras) == 2
    assert source.cameras[1].GetDeviceInfo().GetSerialNumber() == "0815-0001"
    assert back.gap_before == 0 or back.gap_cause == "basler_reconnect"
    assert back.time_s > last.time_s
    assert source.counters["reconnects"] == 1
    assert source.state is SourceState.LIVE


def test_camera_is_named_by_number_or_serial(opened: Any) -> None:
    source, _ = opened("basler:0815-0001")
    assert source.cameras[0].GetDeviceInfo().GetSerialNumber() == "0815-0001"
    with pytest.raises(SourceError, match=r"no Basler camera 7.*basler:0815-0000"):
        opened("basler:7")


def test_missing_sdk_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_pylon(name: str, *arguments: Any, **named: Any) -> Any:
        if name.startswith("pypylon"):
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without_pylon)
    with pytest.raises(SourceError, match=r"need pypylon.*requirements-lab\.txt"):
        BaslerSource("basler:0", SourceOptions()).open()
