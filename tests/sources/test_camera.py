from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.errors import SourceError, SourceInterrupted
from streamer.frame import Frame, Image
from streamer.sources.base import SourceOptions, SourceState
from streamer.sources.camera import CameraSource
from streamer.sources.capture_thread import CaptureThread, Connection
from streamer.sources.opencv import OpenCvGrabber
from tests.sources.source_media import HEIGHT, WIDTH, Plan, Rig, number, picture

MakeRig = Callable[..., Rig]
WARM_UP = 6  # frames that `open` takes to judge the timestamps


def _camera(rig: Rig, **options: object) -> CameraSource:
    return CameraSource(
        "0",
        SourceOptions(**options),  # type: ignore[arg-type]
        rig,
        first_retry_s=0.01,
        stall_s=0.02,
    )


def _read(source: CameraSource, frames: int) -> list[Frame]:
    out = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    read = [source.read(out) for _ in range(frames)]
    assert None not in read
    return [frame for frame in read if frame is not None]


def _until(condition: Callable[[], bool]) -> None:
    """Wait for another thread's doing; the suite's timeout ends a wait in vain."""
    while not condition():
        threading.Event().wait(0.001)


def test_asks_for_format_then_size_then_rate(rig: MakeRig) -> None:
    made = rig(Plan(granted={cv2.CAP_PROP_FPS: 200.0}))
    source = _camera(made, fps=200.0, width=WIDTH, height=HEIGHT)
    info = source.open()
    source.close()
    assert made.captures[0].asked == [
        cv2.CAP_PROP_FOURCC,
        cv2.CAP_PROP_FRAME_WIDTH,
        cv2.CAP_PROP_FRAME_HEIGHT,
        cv2.CAP_PROP_FPS,
        *((cv2.CAP_PROP_BUFFERSIZE,) if sys.platform == "linux" else ()),
    ]
    assert info.live
    assert info.fps_asked == info.fps_nominal == 200.0
    assert info.notes == ()


def test_asks_for_nothing_when_nothing_was_asked(rig: MakeRig) -> None:
    made = rig()
    source = _camera(made)
    info = source.open()
    source.close()
    assert made.captures[0].asked == []
    assert info.fps_asked is None
    backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
    assert (made.captures[0].device, made.captures[0].parameters) == (0, (backend,))


def test_what_is_not_granted_is_told(rig: MakeRig) -> None:
    granted = {cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV"))}
    source = _camera(rig(Plan(granted=granted)), fps=200.0, width=1280, height=720, fourcc="MJPG")
    info = source.open()
    source.close()
    assert info.fps_nominal == 30.0
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    fourcc, size, fps = info.notes
    assert "MJPG" in fourcc
    assert "YUYV" in fourcc
    assert "1280 by 720" in size
    assert "64 by 48" in size
    assert "200 fps" in fps
    assert "30 fps" in fps


def test_camera_that_states_no_rate(rig: MakeRig) -> None:
    source = _camera(rig(Plan(granted={cv2.CAP_PROP_FPS: 0.0})))
    info = source.open()
    source.close()
    assert info.fps_nominal == 30.0
    assert "no frame rate" in info.notes[0]


def test_device_timestamps_make_the_time(rig: MakeRig) -> None:
    source = _camera(rig())
    info = source.open()
    frames = _read(source, 5)
    source.close()
    assert info.device_clock
    assert [f.time_s for f in frames] == pytest.approx([0.0, 0.01, 0.02, 0.03, 0.04])
    assert frames[0].device_s == pytest.approx(1.0 + 0.01 * WARM_UP)
    assert [f.index for f in frames] == list(range(5))


@pytest.mark.parametrize("stamp", [0.0, -1.0, 5000.0])
def test_camera_without_timestamps_follows_the_host(rig: MakeRig, stamp: float) -> None:
    source = _camera(rig(Plan(stamp_ms=lambda frame: stamp)))
    info = source.open()
    frames = _read(source, 5)
    source.close()
    assert not info.device_clock
    assert "no timestamps" in info.notes[0]
    assert {f.device_s for f in frames} == {None}
    start = frames[0].host_s
    assert [f.time_s for f in frames] == pytest.approx([f.host_s - start for f in frames], abs=1e-4)


def test_jump_of_device_time_is_a_gap(rig: MakeRig) -> None:
    def stamp_ms(frame: int) -> float:
        return 1000.0 + 10.0 * (frame + (3 if frame >= WARM_UP + 4 else 0))

    source = _camera(rig(Plan(stamp_ms=stamp_ms)))
    source.open()
    frames = _read(source, 7)
    source.close()
    assert [f.gap_before for f in frames] == [0, 0, 0, 0, 3, 0, 0]
    assert frames[4].gap_cause == "source_timestamp_gap"
    assert [f.index for f in frames] == [0, 1, 2, 3, 7, 8, 9]


def test_zero_timestamp_is_replaced_and_told(rig: MakeRig) -> None:
    def stamp_ms(frame: int) -> float:
        return 0.0 if frame == WARM_UP + 2 else 1000.0 + 10.0 * frame

    source = _camera(rig(Plan(stamp_ms=stamp_ms)))
    source.open()
    frames = _read(source, 3)
    source.close()
    assert frames[2].device_s is None
    assert frames[2].time_s > frames[1].time_s
    assert "unsteady" in source.notes[-1]


def test_undecodable_pictures_are_counted(rig: MakeRig) -> None:
    broken = frozenset({WARM_UP + 2, WARM_UP + 3})
    source = _camera(rig(Plan(undecodable=broken)))
    source.open()
    frames = _read(source, 4)
    source.close()
    assert [f.gap_before for f in frames] == [0, 0, 2, 0]
    assert frames[2].gap_cause == "undecodable_frame"


def test_comes_back_after_a_failure(rig: MakeRig) -> None:
    made = rig(
        Plan(fails_at=WARM_UP + 3), Plan(opens=False), Plan(stamp_ms=lambda f: 50.0 + 10.0 * f)
    )
    source = _camera(made)
    source.open()
    frames = _read(source, 8)
    assert source.state is SourceState.LIVE
    source.close()
    assert len(made.captures) == 3
    assert all(capture.released for capture in made.captures)
    back = frames[3]
    elapsed_s = back.host_s - frames[2].host_s
    assert back.time_s - frames[2].time_s == pytest.approx(elapsed_s, abs=1e-3)
    assert back.gap_before == max(round(elapsed_s * 100.0) - 1, 0)
    assert back.gap_before == 0 or back.gap_cause == "camera_reconnect"
    assert [f.index - back.index for f in frames[3:]] == [0, 1, 2, 3, 4]
    assert [f.time_s - back.time_s for f in frames[3:]] == pytest.approx(np.arange(5) / 100.0)


def test_blocked_camera_is_stalled_and_interruptible(rig: MakeRig) -> None:
    made = rig(Plan(blocks_at=WARM_UP + 2))
    source = _camera(made)
    source.open()
    out = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert source.read(out) is not None
    assert source.read(out) is not None
    outcome: list[BaseException] = []

    def read() -> None:
        try:
            source.read(out)
        except BaseException as error:
            outcome.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    _until(lambda: source.state is SourceState.STALLED)
    source.interrupt()
    reader.join()
    assert [type(error) for error in outcome] == [SourceInterrupted]

    # The picture is the reader's again, whatever the stuck driver delivers later.
    out[:] = 7
    source.close()
    made.unblock.set()
    _until(lambda: made.captures[0].released)
    assert (out == 7).all()


def test_interrupt_ends_the_search_for_a_lost_camera(rig: MakeRig) -> None:
    source = _camera(rig(Plan(fails_at=WARM_UP), Plan(opens=False)))
    source.open()
    watcher = threading.Thread(
        target=lambda: (
            _until(lambda: source.state is SourceState.RECONNECTING),
            source.interrupt(),
        )
    )
    watcher.start()
    with pytest.raises(SourceInterrupted):
        source.read(np.empty((HEIGHT, WIDTH, 3), np.uint8))
    watcher.join()
    source.close()
    assert source.state is SourceState.CLOSED


def test_lost_camera_does_not_hold_up_the_end(rig: MakeRig) -> None:
    source = _camera(rig(Plan(fails_at=WARM_UP + 2), Plan(opens=False)), duration_s=0.1)
    source.open()
    _read(source, 2)
    assert source.read(np.empty((HEIGHT, WIDTH, 3), np.uint8)) is None
    assert source.state is SourceState.ENDED
    source.close()


def test_busy_camera_delivers_nothing(rig: MakeRig) -> None:
    made = rig(Plan(fails_at=0))
    source = _camera(made)
    with pytest.raises(SourceError, match=r"delivers no picture.*close every other program"):
        source.open()
    assert made.captures[0].released
    assert source.state is SourceState.CLOSED


def test_camera_that_never_delivers_is_given_up(rig: MakeRig) -> None:
    made = rig(Plan(blocks_at=0))
    source = CameraSource("0", SourceOptions(), made, open_timeout_s=0.05)
    with pytest.raises(SourceError, match="delivers no picture"):
        source.open()
    made.unblock.set()
    _until(lambda: made.captures[0].released)


@pytest.mark.skipif(sys.platform != "linux", reason="device files are Linux's")
def test_missing_camera_names_what_is_there() -> None:
    with pytest.raises(SourceError, match=r"no camera 97.*--source"):
        CameraSource("97", SourceOptions()).open()
    with pytest.raises(SourceError, match=r"no camera /dev/video98"):
        CameraSource("/dev/video98", SourceOptions()).open()


@pytest.mark.skipif(sys.platform != "linux", reason="device files are Linux's")
def test_device_that_is_no_camera(tmp_path: Path) -> None:
    device = tmp_path / "video0"
    device.touch()
    with pytest.raises(SourceError, match="cannot be opened: plug it in and close"):
        CameraSource(str(device), SourceOptions()).open()


def test_retry_after_a_failed_opening(rig: MakeRig) -> None:
    source = _camera(rig(Plan(fails_at=0), Plan()))
    with pytest.raises(SourceError):
        source.open()
    source.open()
    assert _read(source, 1)[0].index == 0
    source.close()


def test_fault_in_the_capture_reaches_the_reader(rig: MakeRig) -> None:
    made = rig()
    source = _camera(made)
    source.open()
    made.captures[0].get = lambda prop: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        source.read(np.empty((HEIGHT, WIDTH, 3), np.uint8))
    source.close()


def test_pictures_of_another_size_and_depth_are_fitted() -> None:
    class Odd:
        """Delivers pictures that a converting driver would not."""

        def __init__(self) -> None:
            self.images: list[Image] = [picture(3, 128, 96), picture(4)[..., 0].copy()]

        def grab(self) -> bool:
            return True

        def retrieve(self, out: Image) -> tuple[bool, Image]:
            return True, self.images.pop(0)

        def get(self, prop: int) -> float:
            return 1.0

        def release(self) -> None:
            pass

    thread = CaptureThread(
        "odd",
        lambda: Connection(OpenCvGrabber(Odd()), WIDTH, HEIGHT, 30.0),  # type: ignore[arg-type]
        "Nothing.",
    )
    thread.start(10.0)
    out = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    for expected in (3, 4):
        grab = thread.read(out, None)
        assert grab is not None
        assert grab.resized
        assert number(out) == expected
    thread.stop()


@pytest.mark.hardware
def test_real_camera() -> None:
    source = CameraSource("0", SourceOptions())
    try:
        info = source.open()
    except SourceError as error:
        pytest.skip(str(error))
    out = np.empty(info.shape, np.uint8)
    frames = [source.read(out) for _ in range(10)]
    source.close()
    assert None not in frames
