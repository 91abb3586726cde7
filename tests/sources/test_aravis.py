"""Aravis with its own fake camera, which speaks GigE Vision over loopback."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.emulated_cameras import FakeGigE
from streamer.errors import SourceError
from streamer.frame import Frame
from streamer.sources import aravis as module
from streamer.sources.aravis import AravisSource, socket_notes
from streamer.sources.base import SourceInfo, SourceOptions, SourceState
from streamer.sources.camera_config import CameraConfig
from tests.sources.fake_gige import plugged_in

SIZE = {"width": 128, "height": 96}
Open = Callable[..., tuple[AravisSource, SourceInfo]]


@pytest.fixture(scope="module")
def camera() -> Iterator[FakeGigE]:
    """A camera on a bad line: every fiftieth packet is lost."""
    with plugged_in("GLINT", lost_per_thousand=20) as plugged:
        yield plugged


@pytest.fixture
def opened() -> Iterator[Open]:
    sources: list[AravisSource] = []

    def make(spec: str, **asked: Any) -> tuple[AravisSource, SourceInfo]:
        camera = asked.pop("camera", CameraConfig())
        options = SourceOptions(**{"fps": 100.0, **SIZE, **asked}, camera=camera)
        source = AravisSource(spec, options, first_retry_s=0.01, silence_s=0.2)
        sources.append(source)
        return source, source.open()

    yield make
    for source in sources:
        source.close()


def _read(source: AravisSource, frames: int) -> list[Frame]:
    out = np.empty((96, 128), np.uint8)
    read = [source.read(out) for _ in range(frames)]
    assert None not in read
    assert out.any()
    return [frame for frame in read if frame is not None]


def test_delivers_frames_on_the_cameras_clock(camera: FakeGigE, opened: Open) -> None:
    settings = CameraConfig(exposure_s=0.002, gain_db=6.0, offset_x=32, offset_y=16, ptp=True)
    source, info = opened("aravis:Aravis-Fake-GLINT", camera=settings)
    frames = _read(source, 30)
    assert info.kind == "aravis"
    assert (info.width, info.height, info.channels) == (128, 96, 1)
    assert info.fps_nominal == 100.0
    assert info.device_clock
    assert info.device["serial"] == camera.serial
    assert info.device["exposure_s"] == pytest.approx(0.002)
    assert frames[-1].index == 29 + sum(frame.gap_before for frame in frames)
    for frame in frames[1:]:
        assert frame.device_s is not None
        assert frame.time_s == pytest.approx(frame.device_s - (frames[0].device_s or 0.0), abs=1e-5)
    # What a camera lacks is said.
    notes = " ".join(info.notes)
    assert "gain cannot be set in dB" in notes
    assert "PTP" in notes


def test_lost_packets_cost_frames_that_are_counted(camera: FakeGigE, opened: Open) -> None:
    source, info = opened("aravis:0", camera=CameraConfig(packet_bytes=1000))
    frames = _read(source, 40)
    assert not any("packets of 1000" in note.lower() for note in info.notes)
    lost = sum(frame.gap_before for frame in frames)
    assert lost > 0
    assert {frame.gap_cause for frame in frames if frame.gap_before} <= {
        "missing_packets",
        "packet_timeout",
        "frame_number_gap",
    }
    assert frames[-1].index == 39 + lost


def test_unplugged_camera_is_found_again(camera: FakeGigE, opened: Open) -> None:
    source, _ = opened("aravis:GLINT")
    last = _read(source, 5)[-1]
    camera.unplug()
    seen: set[SourceState] = set()
    outcome: list[Frame] = []

    def read_on() -> None:
        # What the driver still held comes first.
        while (back := _read(source, 1)[0]).gap_cause != "aravis_reconnect":
            pass
        outcome.append(back)

    reader = threading.Thread(target=read_on)
    reader.start()
    while SourceState.RECONNECTING not in seen:
        seen.add(source.state)
    camera.plug_in()
    reader.join(30)
    (back,) = outcome
    assert back.time_s > last.time_s
    assert back.gap_before == pytest.approx((back.time_s - last.time_s) * 100.0, rel=0.3)
    assert source.counters["reconnects"] == 1
    assert source.state is SourceState.LIVE


def test_unknown_camera_names_what_is_there(camera: FakeGigE, opened: Open) -> None:
    with pytest.raises(SourceError, match=r"no GenICam camera nobody.*aravis:Aravis-Fake-GLINT"):
        opened("aravis:nobody")


def test_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    with pytest.raises(SourceError, match=r"need the library Aravis.*docs/cameras\.md"):
        AravisSource("aravis:0", SourceOptions()).open()


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_small_socket_buffer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "rmem_max"
    limit.write_text("212992\n", encoding="ascii")
    monkeypatch.setattr(module, "_SOCKET_LIMIT", limit)
    (note,) = socket_notes(307_200)
    assert "212 kB" in note
    assert "sysctl" in note
    assert socket_notes(65_536) == ()
