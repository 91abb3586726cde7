from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import numpy as np
import pytest

from engines.events import EventState
from engines.motion.canonical import REGION_NAMES
from streamer.alignment.landmarks import OUTLINE
from streamer.dashboard import overlay
from streamer.dashboard.live_picture import STALE_S, LivePicture
from streamer.dashboard.live_session import LiveSession
from streamer.dashboard.mjpeg import THREAD_NAME
from streamer.dashboard.overlay import Layers
from streamer.dashboard.picture_streams import PictureStreams
from streamer.dashboard.sink import DashboardSink
from tests.dashboard.fake_pipeline import FakePipeline, astronaut, face_outline, scripted
from tests.dashboard.test_dashboard_sink import frame


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Rows of (x, y) of the changed pixels."""
    return np.argwhere((before != after).any(axis=2))[:, ::-1]


def blank(height: int = 480, width: int = 640) -> np.ndarray:
    return np.full((height, width, 3), 90, np.uint8)


def plain(image: np.ndarray, **changes: object) -> np.ndarray:
    return overlay.draw(image, frame(1.0, **changes), REGION_NAMES, ())  # type: ignore[arg-type]


def test_the_captured_picture_itself_is_not_drawn_on() -> None:
    image = blank()
    plain(image, box=(100.0, 100.0, 80.0, 80.0))
    assert (image == 90).all()


def test_the_box_is_drawn_where_it_is() -> None:
    image = blank()
    marks = changed(plain(image), plain(image, box=(200.0, 120.0, 100.0, 150.0)))
    assert np.abs(marks.min(axis=0) - (200, 120)).max() <= 3
    assert np.abs(marks.max(axis=0) - (300, 270)).max() <= 3


def test_a_face_that_is_not_measured_is_told_of() -> None:
    image = blank()
    marks = changed(plain(image), plain(image, success=False, state="searching"))
    assert len(marks) > 100
    assert marks.max(axis=0)[1] < 60  # the line on top


def test_large_pictures_are_scaled_with_their_marks() -> None:
    image = blank(1200, 1600)
    drawn = plain(image, box=(400.0, 400.0, 400.0, 400.0))
    assert drawn.shape == (720, 960, 3)
    marks = changed(plain(image), drawn)
    assert np.abs(marks.min(axis=0) - 240).max() <= 3


@pytest.mark.parametrize("turn", [0.0, 0.4, -1.0])
def test_arrows_follow_the_motion_in_the_turned_face(turn: float) -> None:
    image = blank()
    outline = face_outline((0.0, 0.0))
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]], np.float32)
    points = ((outline - (288, 120)) @ spin.T + (320, 240)).astype(np.float32)
    still = np.zeros((len(REGION_NAMES), 2), np.float32)
    up = still.copy()
    up[REGION_NAMES.index("right_mouth_corner")] = (0.0, -0.1)  # up, in the upright face
    marks = changed(
        plain(image, landmarks=points, motion=still), plain(image, landmarks=points, motion=up)
    )
    start = points[OUTLINE.index(61)]
    end = start + spin @ np.array((0.0, -0.1 * 60 * overlay.MAGNIFICATION))
    assert np.abs(marks - start).sum(axis=1).min() <= 4
    assert np.abs(marks - end).sum(axis=1).min() <= 4
    length = np.linalg.norm(end - start)
    assert np.linalg.norm(marks - start, axis=1).max() <= length + 4


def test_gray_pictures_lost_faces_and_wild_values_are_drawn() -> None:
    gray = np.full((480, 640), 90, np.uint8)
    assert plain(gray).shape == (480, 640, 3)
    wild = np.full((len(REGION_NAMES), 2), np.nan, np.float32)
    far = np.full((len(OUTLINE), 2), 1e7, np.float32)
    plain(blank(), landmarks=far, motion=wild, box=(-1e7, 5.0, 3e7, 8.0))
    plain(blank(64, 64), box=(0.0, 0.0, 64.0, 64.0))


def test_the_label_names_the_event_in_course_then_for_a_while_what_it_was() -> None:
    closed = scripted(0)
    tentative = replace(closed, state=EventState.TENTATIVE, kind=None, emotion=None, decided_s=None)
    assert overlay.event_label([tentative], 1.1) == "tentative  #1"
    assert overlay.event_label([tentative], 0.9) == ""  # a frame before its onset
    assert closed.decided_s is not None
    assert overlay.event_label([closed], closed.decided_s + 1) == "micro  #1  negative 72%"
    assert overlay.event_label([closed], closed.decided_s + overlay.LABEL_S + 0.1) == ""


class Still:
    """A session whose pictures and records the test sets by hand."""

    def __init__(self, sink: DashboardSink) -> None:
        self.running = True
        self.sink = sink
        self.pictures: dict[int, np.ndarray] = {}
        self.session_info = self.error = self.threshold_factor = None
        self.now = 0.0
        info = LiveSession(lambda sinks: FakePipeline(sinks, frames=0), [])
        info.start()
        assert info.session_info is not None
        sink.open(info.session_info)
        info.close()

    def frame_image(self, index: int) -> np.ndarray | None:
        return self.pictures.get(index)

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"the live picture asked for {name}")


@pytest.fixture
def still(sink: DashboardSink) -> Still:
    return Still(sink)


@pytest.fixture
def picture(still: Still) -> LivePicture:
    return LivePicture(still, still.sink, clock=lambda: still.now)  # type: ignore[arg-type]


def test_the_overlay_lies_on_the_very_frame_that_was_analysed(
    still: Still, picture: LivePicture
) -> None:
    record = frame(1.0, box=(200.0, 120.0, 100.0, 150.0))
    still.pictures = {record.index: blank(), record.index + 1: astronaut()}
    still.sink.on_frame(record)
    expected = overlay.draw(blank(), record, REGION_NAMES, ())
    assert np.array_equal(picture(), expected)
    assert picture() is None  # nothing new


def test_no_overlay_is_shown_when_its_picture_has_left_the_ring(
    still: Still, picture: LivePicture
) -> None:
    still.sink.on_frame(frame(1.0))
    still.pictures = {0: astronaut()}
    picture()
    assert picture() is None
    still.pictures[200] = blank()
    assert picture() is not None


def test_an_old_picture_says_so_once(still: Still, picture: LivePicture) -> None:
    still.sink.on_frame(frame(1.0))
    still.pictures = {200: blank()}
    live = picture()
    assert live is not None
    still.now = STALE_S + 0.1
    old = picture()
    assert old is not None
    assert old.mean() < live.mean() / 2
    assert picture() is None


def test_nobody_is_shown_once_the_session_has_ended(still: Still, picture: LivePicture) -> None:
    still.sink.on_frame(frame(1.0))
    still.pictures = {200: astronaut()}
    picture()
    still.running = False
    slate = picture()
    assert slate is not None
    assert slate.shape == astronaut().shape
    assert slate.std() < 20
    assert picture() is None


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        (None, Layers(True, True, "arrows")),
        ("", Layers(False, False, "off")),
        ("box,heat", Layers(True, False, "heat")),
        ("landmarks,arrows,../../etc,<b>", Layers(False, True, "arrows")),
    ],
)
def test_a_viewer_names_its_layers(text: str | None, layers: Layers) -> None:
    assert Layers.parse(text) == layers


def test_only_the_layers_that_are_wanted_are_drawn() -> None:
    motion = np.zeros((len(REGION_NAMES), 2), np.float32)
    motion[:4] = (0.0, -0.05)
    record = frame(
        1.0, box=(236.0, 52.0, 104.0, 136.0), landmarks=face_outline((0.0, 0.0)), motion=motion
    )

    def drawn(text: str) -> np.ndarray:
        return overlay.draw(blank(), record, REGION_NAMES, (), layers=Layers.parse(text))

    bare = drawn("")
    pictures = [drawn(text) for text in ("box", "landmarks", "arrows", "heat")]
    for picture in pictures:
        assert not np.array_equal(picture, bare)
    rows, columns = np.nonzero((pictures[3] != bare).any(axis=2))
    assert 20 < rows.min() < rows.max() < 250  # heat stays on the face, above the mouth mostly
    assert 200 < columns.min() < columns.max() < 380


def test_heat_of_a_face_at_the_edge_of_the_picture_is_drawn_as_far_as_it_goes() -> None:
    motion = np.full((len(REGION_NAMES), 2), 0.05, np.float32)
    for shift in ((-280.0, -100.0), (4000.0, 4000.0), (-4000.0, 0.0)):
        record = frame(1.0, landmarks=face_outline(shift), motion=motion)
        overlay.draw(blank(), record, REGION_NAMES, (), layers=Layers(motion="heat"))


def test_viewers_with_the_same_overlay_share_one_encoder(still: Still) -> None:
    streams = PictureStreams(still, still.sink)  # type: ignore[arg-type]

    async def watch() -> None:
        bodies = [streams.stream(Layers.parse(text)) for text in (None, None, "heat")]
        for body in bodies:
            assert await anext(body)
        encoders = [t for t in threading.enumerate() if t.name == THREAD_NAME]
        assert (streams.viewers, len(encoders)) == (3, 2)
        await asyncio.to_thread(streams.close)
        for body in bodies:
            assert len([part async for part in body]) <= 1  # every stream ends

    asyncio.run(watch())


def test_a_hidden_face_is_on_no_picture(still: Still, picture: LivePicture) -> None:
    still.sink.on_frame(frame(1.0))
    still.pictures = {200: astronaut()}
    shown = picture()
    still.sink.hidden = True
    hidden = picture()
    assert shown is not None
    assert hidden is not None
    assert hidden.std() < 20 < shown.std()
    assert picture() is None
    still.sink.hidden = False
    assert np.array_equal(picture(), shown)
