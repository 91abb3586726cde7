"""What every registered kind of source promises."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.emulated_cameras import FakeGigE
from streamer.errors import SourceError, SourceInterrupted
from streamer.sources.base import FrameSource, SourceOptions, SourceState
from streamer.sources.browser import BrowserCamera, BrowserSource
from streamer.sources.camera import CameraSource
from streamer.sources.camera_config import CameraConfig
from streamer.sources.registry import create_source, source_factory, source_kinds
from tests.sources.browser_feed import Feeder
from tests.sources.fake_gige import plugged_in
from tests.sources.gentl_producer import viky
from tests.sources.source_media import (
    MjpegServer,
    Rig,
    write_pictures,
    write_recording,
    write_video,
)

# On Linux pylon's waits end by SIGALRM, which pytest-timeout would otherwise take for itself.
pytestmark = pytest.mark.timeout(method="thread")


@dataclass
class Bench:
    """What specimens are made of."""

    folder: Path
    rig: Callable[..., Rig]
    serve: Callable[..., MjpegServer]
    patch: pytest.MonkeyPatch
    gige: Callable[[], str]
    visitor: Callable[[], BrowserCamera]


@pytest.fixture
def bench(
    tmp_path: Path,
    rig: Callable[..., Rig],
    serve: Callable[..., MjpegServer],
    monkeypatch: pytest.MonkeyPatch,
    gige: Callable[[], str],
    visitor: Callable[[], BrowserCamera],
) -> Bench:
    return Bench(tmp_path, rig, serve, monkeypatch, gige, visitor)


@pytest.fixture
def visitor() -> Iterator[Callable[[], BrowserCamera]]:
    """Where a visitor's browser sends 100 pictures a second."""
    feeders: list[Feeder] = []

    def come() -> BrowserCamera:
        feeders.append(Feeder())
        return feeders[-1].camera

    yield come
    for feeder in feeders:
        feeder.close()


@pytest.fixture(scope="module")
def gige() -> Iterator[Callable[[], str]]:
    """Serial number of a fake camera that is plugged in when it is first asked for."""
    cameras: list[FakeGigE] = []

    def serial() -> str:
        if not cameras:
            cameras.append(plugged_in("CONTRACT"))
        return cameras[0].serial

    yield serial
    for camera in cameras:
        camera.unplug()


def _demo(bench: Bench, options: SourceOptions) -> FrameSource:
    return create_source("demo", options)


def _browser(bench: Bench, options: SourceOptions) -> FrameSource:
    size = {"width": 64, "height": 48}
    return BrowserSource("browser", replace(options, **size), bench.visitor())


def _camera(bench: Bench, options: SourceOptions) -> FrameSource:
    return CameraSource("0", options, bench.rig())


def _basler(bench: Bench, options: SourceOptions) -> FrameSource:
    pytest.importorskip("pypylon.pylon", reason="needs pypylon")
    bench.patch.setenv("PYLON_CAMEMU", "1")
    return create_source("basler:0", options)


def _aravis(bench: Bench, options: SourceOptions) -> FrameSource:
    size = {"width": 128, "height": 96}  # smaller than what a network socket holds
    return create_source(f"aravis:{bench.gige()}", replace(options, **size))


def _gentl(bench: Bench, options: SourceOptions) -> FrameSource:
    pytest.importorskip("harvesters.core", reason="needs harvesters")
    settings = CameraConfig(pixel_format="Mono8", buffer_s=0.1)
    return create_source(f"gentl:{viky()}#0", replace(options, camera=settings))


def _stream(bench: Bench, options: SourceOptions) -> FrameSource:
    return create_source(f"http://{bench.serve().host}/live.mjpg", options)


def _folder(bench: Bench, options: SourceOptions) -> FrameSource:
    return create_source(str(write_pictures(bench.folder / "frames", range(60))), options)


def _video(bench: Bench, options: SourceOptions) -> FrameSource:
    return create_source(str(write_video(bench.folder / "contract.avi", 60)), options)


def _recording(bench: Bench, options: SourceOptions) -> FrameSource:
    return create_source(str(write_recording(bench.folder / "session", 60)), options)


SPECIMENS: Mapping[str, Callable[[Bench, SourceOptions], FrameSource]] = {
    "demo": _demo,
    "browser": _browser,
    "camera": _camera,
    "basler": _basler,
    "aravis": _aravis,
    "gentl": _gentl,
    "stream": _stream,
    "recording": _recording,
    "folder": _folder,
    "video": _video,
}
# A source that cannot be had, of every kind that depends on anything outside Glint.
UNAVAILABLE: Mapping[str, Callable[[Path], str]] = {
    "browser": lambda folder: "browser",  # without a dashboard
    "camera": lambda folder: "97",
    "basler": lambda folder: "basler:nobody",
    "aravis": lambda folder: "aravis:nobody",
    "gentl": lambda folder: f"gentl:{folder / 'none.cti'}#0",
    "stream": lambda folder: "http://127.0.0.1:9/live.mjpg",
    "recording": lambda folder: str(write_recording(folder / "bare", 0)),
    "folder": str,
    "video": lambda folder: str(_touch(folder / "empty.mp4")),
}


def _touch(path: Path) -> Path:
    path.touch()
    return path


def _options(**changes: object) -> SourceOptions:
    given: dict[str, object] = {"fps": 100.0, "realtime": False, "duration_s": 0.3}
    return SourceOptions(**{**given, **changes})  # type: ignore[arg-type]


@pytest.fixture(params=source_kinds())
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_kind_has_a_specimen() -> None:
    assert set(SPECIMENS) == set(source_kinds())
    assert set(UNAVAILABLE) == set(source_kinds()) - {"demo"}


def test_delivers_frames_in_order_until_the_end(kind: str, bench: Bench) -> None:
    source = SPECIMENS[kind](bench, _options())
    assert isinstance(source, FrameSource)
    assert source.state is SourceState.CLOSED
    info = source.open()
    try:
        assert info.kind == kind
        assert info.fps_nominal > 0
        assert source.state is SourceState.LIVE
        frames = []
        out = np.zeros(info.shape, np.uint8)
        while (frame := source.read(out)) is not None:
            assert frame.image is out
            assert out.any()
            assert (frame.device_s is not None) <= info.device_clock
            assert bool(frame.gap_cause) == (frame.gap_before > 0)
            frames.append(frame)
            out[:] = 0
        assert source.state is SourceState.ENDED
        assert source.read(out) is None
    finally:
        source.close()
    assert len(frames) >= 2
    assert frames[0].index == frames[0].gap_before
    assert frames[0].time_s == 0.0
    for before, after in itertools.pairwise(frames):
        assert after.index == before.index + 1 + after.gap_before
        assert after.time_s > before.time_s
        assert after.host_s >= before.host_s
    assert frames[-1].time_s < 0.3
    if not info.live:
        assert info.frames == len(frames) == 30


def test_real_time_is_never_early_and_drops_nothing(kind: str, bench: Bench) -> None:
    source = SPECIMENS[kind](bench, _options(realtime=True, duration_s=0.1))
    info = source.open()
    if info.live:
        source.close()
        pytest.skip("a live source has its own pace")
    out = np.empty(info.shape, np.uint8)
    frames = list(iter(lambda: source.read(out), None))
    source.close()
    assert len(frames) == 10
    for frame in frames:
        assert frame.host_s - frames[0].host_s >= frame.time_s - 0.002


def test_closes_twice_and_opens_again(kind: str, bench: Bench) -> None:
    source = SPECIMENS[kind](bench, _options())
    source.close()
    for _ in range(2):
        info = source.open()
        frame = source.read(np.empty(info.shape, np.uint8))
        assert frame is not None
        assert frame.index == frame.gap_before
        source.close()
        source.close()
        assert source.state is SourceState.CLOSED


def test_interrupt_ends_reading(kind: str, bench: Bench) -> None:
    # One frame a minute where the source waits, so that only the interruption can end it.
    slow = {"fps": 1 / 60} if kind in {"folder", "video"} else {"fps": 30.0}
    source = SPECIMENS[kind](bench, _options(realtime=True, duration_s=None, **slow))
    info = source.open()
    outcome: list[BaseException | None] = []
    reading = threading.Event()

    def read() -> None:
        out = np.empty(info.shape, np.uint8)
        try:
            while source.read(out) is not None:
                reading.set()
            outcome.append(None)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        assert reading.wait(30)
        source.interrupt()
        thread.join(30)
        assert [type(error) for error in outcome] == [SourceInterrupted]
    finally:
        source.interrupt()
        source.close()
        thread.join(30)


def test_leaves_no_thread_behind(kind: str, bench: Bench) -> None:
    source = SPECIMENS[kind](bench, _options())
    info = source.open()
    source.read(np.empty(info.shape, np.uint8))
    source.close()
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("glint") and kind in name]


@pytest.mark.parametrize("unavailable", UNAVAILABLE)
def test_unavailable_is_one_sentence(
    unavailable: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = source_factory(unavailable)(UNAVAILABLE[unavailable](tmp_path), _options())
    with pytest.raises(SourceError) as caught:
        source.open()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert ": " in sentence  # what happened: what to do
    assert source.state is SourceState.CLOSED
    assert capfd.readouterr().err == ""
