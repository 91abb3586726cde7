from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from streamer.errors import SourceError
from streamer.sources.base import SourceOptions
from streamer.sources.registry import create_source, source_factory, source_kinds


def _kind(spec: str) -> str:
    return next(kind for kind in source_kinds() if source_factory(kind).matches(spec))


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("demo", "demo"),
        ("0", "camera"),
        ("12", "camera"),
        ("/dev/video2", "camera"),
        ("/dev/v4l/by-id/usb-Acme-video-index0", "camera"),
        ("basler:0", "basler"),
        ("basler:40012345", "basler"),
        ("aravis:Basler-22801234", "aravis"),
        ("gentl:/opt/maker/producer.cti#0", "gentl"),
        ("gentl:C:\\maker\\producer.cti#Cam 1", "gentl"),
        ("rtsp://10.0.0.7/stream", "stream"),
        ("RTSP://user:secret@10.0.0.7:554/stream", "stream"),
        ("http://cam.local/video.mjpg", "stream"),
        ("https://cam.local/video.m3u8", "stream"),
        ("udp://0.0.0.0:5000", "stream"),
    ],
)
def test_what_is_typed_decides_the_kind(spec: str, kind: str) -> None:
    assert _kind(spec) == kind


def test_what_exists_decides_the_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "frames.mp4").mkdir()
    (tmp_path / "0").touch()
    monkeypatch.chdir(tmp_path)
    assert _kind("clip.mp4") == "video"
    assert _kind(str(tmp_path / "clip.mp4")) == "video"
    assert _kind("frames.mp4") == "folder"
    assert _kind(".") == "folder"
    assert _kind("./0") == "video"
    assert _kind("0") == "camera"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nowhere.mp4", "nowhere.mp4 does not exist"),
        ("gopher://cam/video", "gopher://"),
        ("-1", "-1 does not exist"),
        ("", "empty"),
        ("  ", "empty"),
        ("bad\0name", "does not exist"),
    ],
)
def test_what_matches_nothing_is_told(spec: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        create_source(spec, SourceOptions())


@pytest.mark.parametrize(
    "options",
    [
        SourceOptions(fps=0.0),
        SourceOptions(fps=-30.0),
        SourceOptions(fps=1e6),
        SourceOptions(fps=float("nan")),
        SourceOptions(fps=float("inf")),
        SourceOptions(width=0, height=480),
        SourceOptions(width=640, height=-480),
        SourceOptions(width=10**6, height=480),
        SourceOptions(width=640),
        SourceOptions(duration_s=0.0),
        SourceOptions(duration_s=float("nan")),
        SourceOptions(fourcc="MJPEG"),
        SourceOptions(fourcc=""),
    ],
)
def test_absurd_options_are_refused(options: SourceOptions) -> None:
    with pytest.raises(SourceError, match=r"[.]$"):
        create_source("0", options)


def test_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(SourceError, match=r"demo, browser, camera, .*, recording, folder, video"):
        source_factory("webcam")


def test_listing_kinds_imports_none_of_them() -> None:
    code = (
        "import sys; from streamer.sources.registry import source_kinds; source_kinds(); "
        "sys.exit(any(name in sys.modules for name in ('cv2', 'skimage', 'PIL')))"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
