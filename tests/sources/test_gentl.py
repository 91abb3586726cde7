"""harvesters with a real GenTL producer: the game that comes with the `genicam` package."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.errors import SourceError
from streamer.sources.base import SourceInfo, SourceOptions
from streamer.sources.camera_config import CameraConfig
from streamer.sources.gentl import GenTLSource, load_harvesters, producers
from tests.sources.gentl_producer import viky

pytest.importorskip("harvesters.core", reason="needs harvesters")


@pytest.fixture
def opened() -> Iterator[Any]:
    sources: list[GenTLSource] = []

    def make(camera: str, settings: CameraConfig) -> tuple[GenTLSource, SourceInfo]:
        options = SourceOptions(fps=100.0, width=160, height=120, camera=settings)
        source = GenTLSource(f"gentl:{viky()}#{camera}", options, silence_s=0.1)
        sources.append(source)
        return source, source.open()

    yield make
    for source in sources:
        source.close()


@pytest.mark.parametrize(
    ("camera", "pixel_format", "shape"),
    [("0", "Mono8", (120, 160)), ("VikyTL_DEV_green", "RGBa8", (120, 160, 3))],
)
def test_delivers_every_frame(
    opened: Any, camera: str, pixel_format: str, shape: tuple[int, ...]
) -> None:
    source, info = opened(camera, CameraConfig(pixel_format=pixel_format, buffer_s=0.2))
    assert info.shape == shape
    assert info.fps_nominal == 100.0
    out = np.zeros(shape, np.uint8)
    frames = [source.read(out) for _ in range(20)]
    assert out.any()
    assert frames[-1].index == 19 + sum(frame.gap_before for frame in frames)
    assert {frame.gap_cause for frame in frames if frame.gap_before} <= {"frame_number_gap"}
    assert all(frame.device_s is None for frame in frames)
    assert any("no timestamps" in note for note in info.notes)


def test_unknown_camera_names_what_is_there(opened: Any) -> None:
    with pytest.raises(SourceError, match=r"finds no camera nobody.*#VikyTL_DEV_red"):
        opened("nobody", CameraConfig())


@pytest.mark.parametrize("content", [None, b"", b"no library"])
def test_file_that_is_no_producer(tmp_path: Path, content: bytes | None) -> None:
    producer = tmp_path / "odd.cti"
    if content is not None:
        producer.write_bytes(content)
    with pytest.raises(SourceError, match=r"GenTL producer .*odd\.cti"):
        GenTLSource(f"gentl:{producer}#0", SourceOptions()).open()


def test_installed_producers_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "maker.cti").touch()
    (tmp_path / "readme.txt").touch()
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(tmp_path))
    assert producers() == [tmp_path / "maker.cti"]
    monkeypatch.delenv("GENICAM_GENTL64_PATH")
    assert producers() == []


def test_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_harvesters(name: str, *arguments: Any, **named: Any) -> Any:
        if name.startswith("harvesters"):
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without_harvesters)
    with pytest.raises(SourceError, match=r"need harvesters.*requirements-lab\.txt"):
        load_harvesters()
