from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from streamer.errors import SourceError
from streamer.sources import v4l2
from streamer.sources.discovery import (
    SEEKERS,
    Discovery,
    FoundSource,
    basler_cameras,
    demo,
    describe,
    find_sources,
    genicam_cameras,
    gentl_cameras,
    webcams,
)
from streamer.sources.registry import source_kinds
from tests.sources.fake_gige import plugged_in
from tests.sources.gentl_producer import viky


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def _without_sdk() -> list[FoundSource]:
    raise SourceError("Fast cameras need fastlib, which is not installed: pip install fastlib.")


def _broken() -> list[FoundSource]:
    raise ZeroDivisionError("in the driver")


def test_one_bad_driver_hides_no_camera(stuck: threading.Event) -> None:
    def hangs() -> list[FoundSource]:
        stuck.wait()
        return []

    seekers = {"fast": _without_sdk, "demo": demo, "odd": _broken, "slow": hangs}
    found = find_sources(seekers, patience_s=0.2)
    assert [source.spec for source in found.sources] == ["demo"]
    absent, broken, silent = found.notes
    assert "pip install fastlib" in absent
    assert "Looking for odd failed (in the driver)" in broken
    assert "driver of slow did not answer" in silent
    assert all(note.endswith(".") and "\n" not in note for note in found.notes)


def test_every_kind_of_camera_is_looked_for() -> None:
    assert set(SEEKERS) == set(source_kinds()) - {"stream", "recording", "folder", "video"}


def test_shows_what_to_type_with_its_modes() -> None:
    long = f"gentl:{'x' * 60}#1"
    text = describe(
        Discovery(
            (
                FoundSource("0", "Fast Cam", ("MJPG 640x480 at 200 fps", "YUYV 640x480 at 30 fps")),
                FoundSource("basler:40012345", "ace 2"),
                FoundSource(long, "Viky"),
            ),
            ("Something is missing: install it.",),
        )
    )
    assert text.splitlines() == [
        "0                Fast Cam",
        "                   MJPG 640x480 at 200 fps",
        "                   YUYV 640x480 at 30 fps",
        "basler:40012345  ace 2",
        f"{long}  Viky",
        "Note: Something is missing: install it.",
    ]


def test_finds_emulated_basler_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pypylon.pylon", reason="needs pypylon")
    monkeypatch.setenv("PYLON_CAMEMU", "2")
    specs = {source.spec for source in basler_cameras()}
    assert {"basler:0815-0000", "basler:0815-0001"} <= specs


def test_finds_cameras_on_the_network() -> None:
    with plugged_in("FOUND"):
        found = {source.spec: source.name for source in genicam_cameras()}
    assert found["aravis:Aravis-Fake-FOUND"] == "Aravis Fake FOUND GigEVision"


def test_finds_cameras_of_installed_producers(monkeypatch: pytest.MonkeyPatch) -> None:
    producer = viky()
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(producer.parent))
    red = gentl_cameras()[0]
    assert red.spec == f"gentl:{producer}#VikyTL_DEV_red"
    assert red.name == "Machine Vision Games Ltd. Viky 0"
    monkeypatch.delenv("GENICAM_GENTL64_PATH")
    assert gentl_cameras() == []


def test_webcams_are_listed_where_the_system_lists_them(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform == "linux":
        device = v4l2.VideoDevice(2, "Fast Cam", (v4l2.Mode("MJPG", 640, 480, 200.0),))
        monkeypatch.setattr(v4l2, "video_devices", lambda ioctl: [device])
        assert webcams() == [FoundSource("2", "Fast Cam", ("MJPG 640x480 at 200 fps",))]
    else:
        with pytest.raises(SourceError, match="try --source 0"):
            webcams()
