"""A browser as the camera: what arrives, what is missing and why, and who may send."""

from __future__ import annotations

import math
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import SourceInterrupted
from streamer.frame import Frame
from streamer.sources.base import SourceOptions, SourceState
from streamer.sources.browser import (
    MAX_MESSAGE,
    BrowserCamera,
    BrowserGrabber,
    BrowserSource,
    MalformedPictureError,
    Wish,
)
from tests.sources.browser_feed import Visitor, jpeg, message

RUNNING = (SourceState.LIVE, SourceState.STALLED)  # a loaded machine may be late to look
WISH = Wish(64, 48, 30.0, recorded=False)


class Reader:
    """Reads a source on a thread, as the pipeline does."""

    def __init__(self, source: BrowserSource) -> None:
        self.source = source
        self.info = source.open()
        self.frames: list[Frame] = []
        self.grew = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(SourceInterrupted):
            while (frame := self.source.read(np.empty(self.info.shape, np.uint8))) is not None:
                with self.grew:
                    self.frames.append(frame)
                    self.grew.notify_all()

    def wait_for(self, count: int) -> list[Frame]:
        with self.grew:
            assert self.grew.wait_for(lambda: len(self.frames) >= count, 20)
            return list(self.frames)


@pytest.fixture
def camera() -> BrowserCamera:
    return BrowserCamera()


@pytest.fixture
def source(camera: BrowserCamera) -> Iterator[BrowserSource]:
    source = BrowserSource("browser", SourceOptions(width=64, height=48), camera)
    yield source
    source.interrupt()
    source.close()


def until(holds: object, what: str) -> None:
    """Wait for a thread to come round; the state has no event to wait for."""
    tick = threading.Event()
    for _ in range(2000):
        if holds():  # type: ignore[operator]
            return
        tick.wait(0.01)
    raise AssertionError(what)


def asked(camera: BrowserCamera) -> None:
    until(lambda: camera.wish is not None, "the session never asked for pictures")


def test_a_session_waits_for_its_browser_and_asks_it_for_what_it_needs(
    camera: BrowserCamera, source: BrowserSource
) -> None:
    reader = Reader(source)
    asked(camera)
    until(lambda: super(BrowserSource, source).state is SourceState.STALLED, "it never waited")
    assert source.state is SourceState.WAITING
    assert source.counters == {}  # to wait for somebody is no stall
    assert "/camera" in source.notes[-1]
    visitor = Visitor(camera)
    (wish,) = visitor.told
    assert wish is not None
    assert asdict(wish) == asdict(WISH)
    for number in range(1, 4):
        visitor.send(number, number / 30.0)
        reader.wait_for(number)  # one at a time, so that none has to be dropped
    frames = reader.wait_for(3)
    assert source.state in RUNNING
    assert not any("/camera" in note for note in source.notes)
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.gap_before for frame in frames] == [0, 0, 0]
    assert np.diff([frame.time_s for frame in frames]) == pytest.approx(1 / 30)
    assert [round((float(frame.image.mean()) - 10) / 10) for frame in frames] == [1, 2, 3]
    source.interrupt()
    source.close()
    assert visitor.told == [wish, None]
    assert source.state is SourceState.CLOSED


def test_every_missing_frame_has_its_cause(camera: BrowserCamera, source: BrowserSource) -> None:
    reader = Reader(source)
    asked(camera)
    visitor = Visitor(camera)
    sent = [
        (1, 1, 0),  # number, which frame its time is of, kept back so far
        *((number, number, 0) for number in range(2, 9)),
        (11, 11, 0),  # the page missed two
        (15, 15, 3),  # … and kept three back
        (16, 18, 3),  # the camera left two out, so that the page never saw them
    ]
    for count, (number, frame, unsent) in enumerate(sent, 1):
        visitor.send(number, frame / 30.0, unsent=unsent)
        reader.wait_for(count)
    gaps = {f.index: (f.gap_before, f.gap_cause) for f in reader.frames if f.gap_before}
    assert gaps == {
        10: (2, "browser_skipped"),
        14: (3, "browser_backlog"),
        17: (2, "source_timestamp_gap"),
    }


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=40))
def test_taken_and_lost_together_are_what_the_camera_showed(steps: list[tuple[int, int]]) -> None:
    """Whatever is missed, kept back and dropped; pictures are fetched in bursts of five."""
    camera = BrowserCamera(depth=3)
    grabber = BrowserGrabber(camera, WISH)
    visitor = Visitor(camera)
    assert grabber.grab(0.0) is None
    number = unsent = taken = first = 0
    lost: Counter[str] = Counter()

    def fetch() -> None:
        nonlocal taken
        while (arrival := grabber.grab(0.0)) is not None:
            assert arrival.losses is not None
            lost.update(arrival.losses)
            taken += 1

    for count, (skipped, kept_back) in enumerate(steps):
        number += 1 + skipped + kept_back
        unsent += kept_back
        first = first or number
        visitor.send(number, math.nan, unsent=unsent, body=b"x")
        if count % 5 == 0:
            fetch()
    fetch()
    assert taken + lost.total() == number - first + 1
    assert lost["browser_overrun"] <= len(steps)


def test_a_browser_that_comes_back_is_a_reconnection_with_a_clock_of_its_own(
    camera: BrowserCamera, source: BrowserSource
) -> None:
    reader = Reader(source)
    asked(camera)
    first = Visitor(camera)
    for number in range(1, 4):
        first.send(number, 100.0 + number / 30.0)
        reader.wait_for(number)
    first.leave()
    until(lambda: source.state is SourceState.RECONNECTING, "nobody noticed that it left")
    second = Visitor(camera)
    assert second.told == first.told
    second.send(1, 2.0)
    second.send(2, 2.0 + 1 / 30.0)
    frames = reader.wait_for(5)
    assert source.state in RUNNING
    assert frames[3].gap_cause in ("", "browser_reconnect")
    assert frames[4].time_s - frames[3].time_s == pytest.approx(1 / 30)
    assert all(after.time_s > before.time_s for before, after in pairwise(frames))
    assert source.counters["reconnects"] == 1


def test_a_clock_that_was_set_costs_one_frame_its_timestamp(
    camera: BrowserCamera, source: BrowserSource
) -> None:
    reader = Reader(source)
    asked(camera)
    visitor = Visitor(camera)
    stamps = [10.0, 10.033, 10.067, 3.0, 3.033, 3.067]
    for number, stamp_s in enumerate(stamps, 1):
        visitor.send(number, stamp_s)
        reader.wait_for(number)
    assert ["untrusted_time" in frame.flags for frame in reader.frames].count(True) == 1
    assert np.all(np.diff([frame.time_s for frame in reader.frames]) > 0)


def test_pictures_that_cannot_be_decoded_are_lost_frames_and_stop_nothing(
    camera: BrowserCamera, source: BrowserSource
) -> None:
    reader = Reader(source)
    asked(camera)
    visitor = Visitor(camera)
    whole = jpeg(3)
    size_at = whole.index(b"\xff\xc0") + 5
    absurd = whole[:size_at] + struct.pack(">HH", 65_000, 65_000) + whole[size_at + 4 :]
    png = b"\x89PNG\r\n\x1a\n" + bytes(100)
    for number, body in enumerate((jpeg(1), b"nothing", png, whole[:40], absurd, jpeg(6)), 1):
        visitor.send(number, number / 30.0, body=body)
    frames = reader.wait_for(2)
    assert (frames[1].gap_before, frames[1].gap_cause) == (4, "undecodable_frame")


def test_a_picture_of_another_size_is_scaled_and_says_so(
    camera: BrowserCamera, source: BrowserSource
) -> None:
    reader = Reader(source)
    asked(camera)
    Visitor(camera).send(1, 1.0, body=jpeg(5, 80, 60))
    (frame,) = reader.wait_for(1)
    assert frame.image.shape == (48, 64, 3)
    assert "resized" in frame.flags


def test_one_browser_at_a_time(camera: BrowserCamera) -> None:
    first = Visitor(camera)
    assert Visitor(camera).guest is None
    camera.ask(WISH)
    assert Visitor(camera).guest is None
    assert camera.counters == {"browsers_refused": 1}
    first.leave()
    assert Visitor(camera).guest is not None
    first.leave()  # late, and without effect on the one that has the seat now
    assert Visitor(camera).guest is None


def test_a_silent_browser_loses_its_seat() -> None:
    now = [0.0]
    camera = BrowserCamera(clock=lambda: now[0])
    camera.ask(WISH)
    silent = Visitor(camera)
    now[0] = 4.0
    assert Visitor(camera).guest is None
    now[0] = 5.1
    assert Visitor(camera).guest is not None
    assert not silent.send(1, 1.0)


@pytest.mark.parametrize("end", ["interrupted", "duration"])
def test_the_browser_is_told_when_nothing_is_read_any_more(camera: BrowserCamera, end: str) -> None:
    """A pipeline that has stopped keeps its source open, for its figures."""
    options = SourceOptions(width=64, height=48, duration_s=0.05)
    source = BrowserSource("browser", options, camera)
    reader = Reader(source)
    asked(camera)
    visitor = Visitor(camera)
    visitor.send(1, 1.0)
    reader.wait_for(1)
    if end == "interrupted":
        source.interrupt()
    else:
        visitor.send(2, 2.0)
    until(lambda: camera.wish is None, "the browser was not told")
    assert len(visitor.told) == 2
    assert visitor.told[1] is None
    source.close()
    assert len(visitor.told) == 2


def test_nothing_is_kept_unless_a_session_asks(camera: BrowserCamera) -> None:
    visitor = Visitor(camera)
    assert visitor.told == [None]
    assert visitor.send(1, 1.0, body=b"anything")
    camera.ask(WISH)
    assert camera.take(None, 0.0) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"GLF1",
        message(1, 1.0, body=b""),
        message(1, 1.0, magic=b"JPEG"),
        message(1, math.inf),
        message(1, 1.0, body=bytes(MAX_MESSAGE)),
    ],
    ids=["empty", "short", "no picture", "magic", "infinite", "too long"],
)
def test_malformed_messages_are_refused_and_counted(camera: BrowserCamera, text: bytes) -> None:
    visitor = Visitor(camera)
    camera.ask(WISH)
    assert visitor.guest is not None
    with pytest.raises(MalformedPictureError):
        camera.put(visitor.guest, text)
    assert camera.counters == {"malformed_messages": 1}
    assert camera.take(None, 0.0) is None


@given(st.binary(max_size=200))
def test_no_message_does_harm(text: bytes) -> None:
    camera = BrowserCamera()
    visitor = Visitor(camera)
    grabber = BrowserGrabber(camera, WISH)
    grabber.grab(0.0)
    assert visitor.guest is not None
    try:
        camera.put(visitor.guest, b"GLF1" + text)
    except MalformedPictureError:
        return
    assert grabber.grab(0.0) is not None
    grabber.retrieve(np.empty((48, 64, 3), np.uint8))
