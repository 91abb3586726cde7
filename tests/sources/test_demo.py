import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from engines.synthesis import ScenarioConfig
from streamer.errors import SourceError, SourceInterrupted
from streamer.frame import Frame
from streamer.sources import demo
from streamer.sources.base import FrameSource, SourceInfo, SourceOptions, SourceState
from streamer.sources.camera_config import CameraConfig
from streamer.sources.demo import DemoSource

SMALL = {"width": 320, "height": 240}


_to_close: list[DemoSource] = []


@pytest.fixture(autouse=True)
def _close_all() -> Iterator[None]:
    yield
    while _to_close:
        _to_close.pop().close()


def opened(
    scenario: ScenarioConfig | None = None, **options: object
) -> tuple[DemoSource, SourceInfo, np.ndarray]:
    given = {"realtime": False, "duration_s": 0.5, **SMALL, **options}
    source = DemoSource("demo", SourceOptions(**given), scenario)  # type: ignore[arg-type]
    _to_close.append(source)
    info = source.open()
    return source, info, np.empty(info.shape, np.uint8)


def frames(source: DemoSource, out: np.ndarray) -> list[Frame]:
    read = []
    while (frame := source.read(out)) is not None:
        read.append(frame)
    return read


class Clock:
    """A clock that moves only when someone sleeps, or when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def perf_counter(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(demo, "time", clock)
    return clock


def test_is_what_the_word_demo_means() -> None:
    assert DemoSource.matches("demo")
    assert not any(DemoSource.matches(spec) for spec in ("0", "demo.mp4", "", "Demo/"))
    assert isinstance(DemoSource("demo", SourceOptions()), FrameSource)


def test_shows_a_minute_at_200_frames_a_second_unless_told_otherwise() -> None:
    source = DemoSource("demo", SourceOptions())
    info = source.open()
    source.close()
    assert (info.name, info.kind, info.width, info.height) == ("demo", "demo", 640, 480)
    assert (info.fps_asked, info.fps_nominal, info.frames) == (None, 200.0, 12_000)
    assert info.live
    assert info.device_clock


def test_one_side_of_the_picture_gives_the_other() -> None:
    assert opened(width=320, height=None)[1].shape == (240, 320, 3)
    assert opened(width=None, height=480)[1].shape == (480, 640, 3)


def test_times_are_those_of_the_script() -> None:
    source, info, out = opened(fps=30.0, duration_s=1.0)
    assert not info.live
    read = frames(source, out)
    assert [frame.index for frame in read] == list(range(30)) == list(range(info.frames or 0))
    assert [frame.time_s for frame in read] == [k / 30 for k in range(30)]
    assert all(frame.device_s == frame.time_s and not frame.gap_before for frame in read)
    assert source.render_cpu_s > 0


def test_two_demos_of_one_seed_are_the_same_and_of_two_seeds_are_not() -> None:
    pictures = []
    for seed in (1, 1, 2):
        source, _, out = opened(seed=seed, duration_s=0.05)
        frames(source, out)
        pictures.append(out.copy())
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_the_truth_is_known_from_opening_on() -> None:
    source = DemoSource("demo", SourceOptions(duration_s=30.0, **SMALL))  # type: ignore[arg-type]
    assert source.truth() == ()
    source.open()
    truth = source.truth()
    assert truth
    assert all(0 < one["onset_s"] < one["apex_s"] < one["offset_s"] < 30 for one in truth)
    source.close()
    assert source.truth() == truth


def test_a_scenario_switches_things_off() -> None:
    still = ScenarioConfig(
        expressions=False, head_motion=False, blinks=False, gaze=False, ripple=False, noise=False
    )
    source, _, out = opened(still)
    source.read(out)
    first = out.copy()
    frames(source, out)
    assert np.array_equal(first, out)
    assert source.truth() == ()


def test_in_real_time_frames_come_at_their_deadlines(clock: Clock) -> None:
    source, _, out = opened(realtime=True, fps=50.0)
    read = frames(source, out)
    assert [frame.index for frame in read] == list(range(25))
    hosts = np.array([frame.host_s for frame in read])
    assert np.allclose(hosts - hosts[0], [frame.time_s for frame in read])
    assert all(0 < slept <= 1 / 50 + 1e-9 for slept in clock.slept)


def test_a_late_demo_loses_pictures_as_a_camera_does(clock: Clock) -> None:
    camera = CameraConfig(buffer_s=0.1)
    source, _, out = opened(realtime=True, fps=100.0, camera=camera)
    first = source.read(out)
    assert first is not None
    clock.now += 0.1352  # frames 1 to 13 have come, and those of the last 0.1 s are kept
    late = source.read(out)
    assert late is not None
    assert (late.index, late.gap_before, late.gap_cause) == (3, 2, "demo_late")
    assert late.time_s == pytest.approx(0.03)
    assert clock.now - late.host_s == pytest.approx(0.1052)  # captured when it was due
    following = source.read(out)
    assert following is not None
    assert (following.index, following.gap_before, following.gap_cause) == (4, 0, "")
    # The picture is the one of its index, not of the time at which it was late.
    punctual, _, other = opened(fps=100.0)
    for _ in range(5):
        punctual.read(other)
    assert np.array_equal(out, other)


def test_a_little_late_is_made_up_for(clock: Clock) -> None:
    source, _, out = opened(realtime=True, fps=100.0)
    start = source.read(out)
    clock.now += 0.018
    second, third = source.read(out), source.read(out)
    assert start is not None
    assert second is not None
    assert third is not None
    assert (second.gap_before, third.gap_before) == (0, 0)
    assert third.host_s - start.host_s == pytest.approx(0.02)


def test_pictures_missed_at_the_end_are_counted(clock: Clock) -> None:
    source, info, out = opened(realtime=True, fps=100.0)
    source.read(out)
    clock.now += 60.0
    last = source.read(out)
    assert last is not None
    assert last.index == (info.frames or 0) - 1
    assert last.gap_before == last.index - 1
    assert source.read(out) is None


def test_the_end_is_the_end() -> None:
    source, _, out = opened(duration_s=0.02)
    assert source.state is SourceState.LIVE
    assert len(frames(source, out)) == 4
    assert source.state is SourceState.ENDED
    assert source.read(out) is None
    source.close()
    source.close()


def test_a_waiting_read_can_be_interrupted() -> None:
    source, _, out = opened(realtime=True, fps=0.1, duration_s=30.0)
    ended = threading.Event()

    def read() -> None:
        with pytest.raises(SourceInterrupted):
            frames(source, out)
        ended.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    source.interrupt()
    assert ended.wait(30)
    with pytest.raises(SourceInterrupted):
        source.read(out)
    source.close()


def test_opens_again_from_the_start() -> None:
    source, _, out = opened(duration_s=0.05)
    frames(source, out)
    source.close()
    with pytest.raises(SourceError, match="open"):
        source.read(out)
    source.open()
    frame = source.read(out)
    assert frame is not None
    assert frame.index == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"fps": 0.0}, "0 frames"),
        ({"fps": -5.0}, "-5 frames"),
        ({"fps": 1e9}, "1e\\+09 frames"),
        ({"fps": float("nan")}, "nan frames"),
        ({"duration_s": 0.0}, "0 s"),
        ({"duration_s": float("inf")}, "inf s"),
        ({"width": 10}, "10 by 240"),
        ({"height": 100_000}, "320 by 100000"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_sentence(options: dict[str, float], named: str) -> None:
    with pytest.raises(SourceError, match=named) as refused:
        opened(**options)
    assert str(refused.value).count(".") - named.count(".") <= 1
    assert ": " in str(refused.value)


def test_drawing_is_cheap_and_its_cost_is_known() -> None:
    source, info, out = opened(duration_s=0.25, width=640, height=480)
    before = time.thread_time()
    frames(source, out)
    assert 0 < source.render_cpu_s <= time.thread_time() - before
    assert info.frames == 50


def test_in_real_time_pictures_are_drawn_ahead_and_are_the_same() -> None:
    source, _, out = opened(realtime=True, fps=100.0, duration_s=0.3)
    assert [t.name for t in threading.enumerate()].count("glint-demo") == 1
    waiting, _, other = opened(fps=100.0, duration_s=0.3)
    while (shown := source.read(out)) is not None:
        while (drawn := waiting.read(other)) is not None and drawn.index < shown.index:
            pass
        assert np.array_equal(out, other)
    assert waiting.read(other) is None
    source.close()
    assert "glint-demo" not in [t.name for t in threading.enumerate()]
    assert source.render_cpu_s > 0


def test_drawing_that_fails_is_told_to_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(demo.FaceAnimator, "render", fail)
    source, _, out = opened(realtime=True)
    with pytest.raises(MemoryError, match="no room"):
        frames(source, out)
