"""What can go wrong with a live source: each fault has a state or flag, and a counter."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.frame import Frame, Image
from streamer.sources.base import SourceOptions, SourceState
from streamer.sources.camera import CameraSource
from streamer.sources.capture_thread import CaptureThread, Connection
from streamer.sources.grabber import Arrival, DeviceLostError, FrameNumbers, LossBook
from streamer.sources.live_source import LiveSource
from streamer.sources.opencv import quiet_opencv
from tests.sources.source_media import HEIGHT, WIDTH, Plan, Rig, picture

WARM_UP = 6
FPS = 100.0
SILENCE, GONE = "silence", "gone"
Event = Mapping[str, int] | str


class ScriptedGrabber:
    """A device that numbers its frames and does as it is told.

    Args:
        script: For each frame what was lost before it, or that nothing comes (`SILENCE`), or that
            the device is gone from here on (`GONE`); then it delivers for ever.
        resent: Packets that it says were sent again.
    """

    def __init__(self, script: Sequence[Event] = (), resent: int = 0) -> None:
        self.script = [{}] * WARM_UP + list(script)
        self.counters = {"resent_packets": resent}
        self.released = threading.Event()
        self.skipped = 0
        self._index = -1

    def grab(self, timeout_s: float) -> Arrival | None:
        self._index += 1
        event = self.script[self._index] if self._index < len(self.script) else {}
        if event == GONE:
            raise DeviceLostError
        if event == SILENCE:
            self._index -= 1
            self.released.wait(0.001)
            return None
        assert isinstance(event, Mapping)
        return Arrival(time.perf_counter(), 5.0 + self._index / FPS, event)

    def skip_waiting(self) -> None:
        self.skipped += 1

    def retrieve(self, out: Image) -> Image:
        out[:] = picture(self._index % 20 + 3)
        return out

    def release(self) -> None:
        self.released.set()


class ScriptedSource(LiveSource):
    """Connects to one scripted device after the other."""

    kind = "scripted"

    def __init__(self, *grabbers: ScriptedGrabber, triggered: bool = False) -> None:
        super().__init__(
            "scripted",
            SourceOptions(fps=FPS),
            open_timeout_s=10.0,
            first_retry_s=0.001,
            stall_s=0.0,
            silence_s=0.0,
        )
        self.grabbers = list(grabbers)
        self.triggered = triggered

    def _connect(self) -> Connection:
        return Connection(
            self.grabbers.pop(0), WIDTH, HEIGHT, FPS, notes=("New.",), triggered=self.triggered
        )

    def _no_picture(self) -> str:
        return "Nothing comes."


def _read(source: LiveSource, frames: int) -> list[Frame]:
    out = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    read = [source.read(out) for _ in range(frames)]
    assert None not in read
    return [frame for frame in read if frame is not None]


def _video(path: Path, pictures: Iterable[Image]) -> Path:
    quiet_opencv()  # FFmpeg's level is read at its first use in a process, which may be here
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    for image in pictures:
        writer.write(image)
    writer.release()
    return path


def _flat(value: int) -> Image:
    return np.full((HEIGHT, WIDTH, 3), value, np.uint8)


@pytest.mark.parametrize(
    ("value", "flag", "advice"),
    [(0, "black", "add light"), (255, "saturated", "expose shorter"), (120, "frozen", "plug")],
)
def test_worthless_pictures_are_flagged_counted_and_told(
    tmp_path: Path, value: int, flag: str, advice: str
) -> None:
    video = _video(tmp_path / "still.avi", [_flat(value)] * 20)
    source = CameraSource("0", SourceOptions(), Rig(video))
    source.open()
    frames = _read(source, 60)
    counters = source.counters
    source.close()
    expected = 59 if flag == "frozen" else 60
    assert [frame.flags for frame in frames[1:]] == [(flag,)] * 59
    assert counters == {flag: expected}
    assert advice in source.notes[-1]


def test_moment_of_darkness_is_flagged_but_not_told(tmp_path: Path) -> None:
    pictures = [picture(index) if index % 10 else _flat(0) for index in range(20)]
    video = _video(tmp_path / "blink.avi", pictures)
    source = CameraSource("0", SourceOptions(), Rig(video))
    source.open()
    _read(source, 80)
    assert source.counters == {"black": 8}
    assert not any("black" in note for note in source.notes)
    source.close()


def test_losses_are_told_with_their_main_cause() -> None:
    script = [{}, {"missing_packets": 2}, {"missing_packets": 1, "frame_number_gap": 4}, {}]
    source = ScriptedSource(ScriptedGrabber(script))
    source.open()
    frames = _read(source, 5)
    source.close()
    assert [frame.gap_before for frame in frames] == [0, 2, 5, 0, 0]
    assert [frame.gap_cause for frame in frames[1:3]] == ["missing_packets", "frame_number_gap"]
    assert [frame.index for frame in frames] == [0, 3, 9, 10, 11]


def test_silent_camera_is_connected_anew_and_its_counters_are_kept() -> None:
    first, second = ScriptedGrabber([{}, {}, SILENCE], resent=3), ScriptedGrabber(resent=4)
    source = ScriptedSource(first, second)
    source.open()
    frames = _read(source, 5)
    assert first.released.is_set()
    assert frames[2].gap_cause == "scripted_reconnect"
    assert frames[2].time_s > frames[1].time_s
    counters = source.counters
    assert counters["reconnects"] == 1
    assert counters["stalls"] == 1
    assert counters["resent_packets"] == 7
    source.close()
    assert source.counters == counters


def test_camera_that_is_gone_is_connected_anew() -> None:
    first, second = ScriptedGrabber([{}, GONE]), ScriptedGrabber()
    source = ScriptedSource(first, second)
    source.open()
    _read(source, 3)
    # What waits is stale at the start of a session and precious in it.
    assert (first.skipped, second.skipped) == (1, 0)
    assert source.counters["reconnects"] == 1
    assert source.state is SourceState.LIVE
    source.close()


def test_triggered_camera_may_be_silent() -> None:
    grabber = ScriptedGrabber([{}, SILENCE])
    source = ScriptedSource(grabber, triggered=True)
    source.open()
    _read(source, WARM_UP + 1)  # a triggered camera is not warmed up
    outcome: list[Frame] = []
    reader = threading.Thread(target=lambda: outcome.extend(_read(source, 1)))
    reader.start()
    while source.state is not SourceState.STALLED:
        threading.Event().wait(0.001)
    grabber.script[-1] = {}
    reader.join(30)
    source.close()
    assert len(outcome) == 1
    assert source.counters == {"stalls": 1}
    assert grabber.skipped == 0


@pytest.mark.parametrize(
    ("stamp_ms", "repaired"),
    [
        (lambda n: 0.0 if n == WARM_UP + 3 else 1000.0 + 10.0 * n, 1),  # a zero
        (lambda n: 900.0 if n == WARM_UP + 3 else 1000.0 + 10.0 * n, 1),  # one step back
        (lambda n: 1000.0 + 10.0 * (n if n < WARM_UP + 3 else n - 50), 1),  # the clock was set
    ],
)
def test_impossible_timestamps_are_replaced_and_counted(
    rig: Callable[..., Rig], stamp_ms: Callable[[int], float], repaired: int
) -> None:
    source = CameraSource("0", SourceOptions(), rig(Plan(stamp_ms=stamp_ms)))
    source.open()
    frames = _read(source, 8)
    source.close()
    assert all(a.time_s < b.time_s for a, b in itertools.pairwise(frames))
    assert source.counters == {"untrusted_time": repaired}
    assert [("untrusted_time" in f.flags) for f in frames].count(True) == repaired
    assert any("unsteady" in note for note in source.notes)


def test_blocked_driver_is_a_counted_stall(rig: Callable[..., Rig]) -> None:
    made = rig(Plan(blocks_at=WARM_UP + 2))
    source = CameraSource("0", SourceOptions(), made, stall_s=0.01)
    source.open()
    _read(source, 2)
    outcome: list[Frame] = []
    reader = threading.Thread(target=lambda: outcome.extend(_read(source, 1)))
    reader.start()
    while source.state is not SourceState.STALLED:
        threading.Event().wait(0.001)
    made.unblock.set()
    reader.join(30)
    assert source.state is SourceState.LIVE
    assert source.counters == {"stalls": 1}
    source.close()


@pytest.mark.parametrize(("fps", "stall_s", "silence_s"), [(200, 0.25, 2), (10, 1, 4), (1, 10, 40)])
def test_limits_follow_the_frame_rate(fps: float, stall_s: float, silence_s: float) -> None:
    thread = CaptureThread(
        "limits", lambda: Connection(ScriptedGrabber(), WIDTH, HEIGHT, fps), "Nothing comes."
    )
    thread.start(10.0)
    thread.stop()
    assert (thread._stall_s, thread._silence_s) == pytest.approx((stall_s, silence_s))


@given(st.lists(st.integers(0, 200), max_size=200), st.integers(0, 65_600), st.booleans())
def test_numbers_tell_exactly_what_is_missing(gaps: list[int], start: int, wraps: bool) -> None:
    def sent(position: int) -> int:
        return 1 + position % 65_535 if wraps else position

    numbers = FrameNumbers()
    position = start
    assert numbers.missing(sent(position)) == 0
    for gap in gaps:
        position += 1 + gap
        assert numbers.missing(sent(position)) == gap


def test_device_that_counts_anew_has_lost_nothing_that_is_known() -> None:
    numbers = FrameNumbers()
    assert [numbers.missing(n) for n in (7, 8, 0, 1, 1, 4)] == [0, 0, 0, 0, 0, 2]


def test_damaged_frames_and_unseen_ones_are_told_apart() -> None:
    underruns = iter((0, 2))
    book = LossBook()

    def no_reason() -> int:
        raise AssertionError("asked although nothing is missing")

    assert book.before(10, no_reason) == {}
    book.damaged("incomplete_buffer")
    assert book.before(12, no_reason) == {"incomplete_buffer": 1}
    book.damaged("incomplete_buffer")
    assert book.before(16, underruns.__next__) == {"incomplete_buffer": 1, "frame_number_gap": 2}
    assert book.before(18, underruns.__next__) == {"buffer_underrun": 1}
    assert book.before(19, no_reason) == {}


def test_frames_without_numbers_leave_it_to_the_clock() -> None:
    book = LossBook()
    assert book.before(None, lambda: 0) is None
    book.damaged("incomplete_buffer")
    assert book.before(None, lambda: 0) == {"incomplete_buffer": 1}
