from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sources.source_media import MjpegServer, Plan, Rig, write_video

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "video"


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.avi", 20)


@pytest.fixture
def rig(video: Path) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(*plans: Plan) -> Rig:
        rigs.append(Rig(video, *plans))
        return rigs[-1]

    yield make
    for made in rigs:
        made.unblock.set()


@pytest.fixture
def serve() -> Iterator[Callable[..., MjpegServer]]:
    servers: list[MjpegServer] = []

    def make(*connections: tuple[int | None, tuple[int, int]]) -> MjpegServer:
        servers.append(MjpegServer(*connections))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def ffmpeg() -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs the ffmpeg program to make its video")


@pytest.fixture
def shared_video() -> Path:
    if not SHARED.is_dir():
        pytest.skip("needs the videos of ../shared/data")
    return SHARED
