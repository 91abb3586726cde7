"""The page `/camera`: a real Chromium whose camera films an animated portrait."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import httpx
import numpy as np
import pytest
from wsproto.events import AcceptConnection, CloseConnection

from engines.synthesis import FaceAnimator, Portrait, Scenario, ScenarioConfig
from streamer.config import GlintConfig
from streamer.dashboard.app import DashboardServer
from streamer.dashboard.live_session import LiveSession
from streamer.dashboard.sink import DashboardSink
from streamer.dashboard.webcam import PAGE_PATH, REPLACED, SOCKET_PATH, TAKEN
from streamer.session import build_pipeline
from streamer.sources.base import SourceOptions
from streamer.sources.browser import BrowserCamera, BrowserSource, Wish
from tests.dashboard.chromium import PATIENCE_MS, chromium
from tests.dashboard.socket_client import Client
from tests.sources.browser_feed import message

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WISH = Wish(64, 48, 30.0, recorded=False)
HELLO = {"width": 1280, "height": 720, "fps": 15.0, "clock": "captureTime"}
SIZE, FPS, SECONDS = (320, 240), 30, 6


# -- what a WebSocket client may do -----------------------------------------------------------


@pytest.fixture
def camera() -> BrowserCamera:
    return BrowserCamera()


@pytest.fixture
def visit(
    serve: Callable[..., DashboardServer], camera: BrowserCamera
) -> Iterator[Callable[[], Client]]:
    """Connect WebSocket clients to the same server."""
    url = serve(browser=camera).start()
    clients: list[Client] = []

    def come() -> Client:
        clients.append(Client(url, SOCKET_PATH))
        assert isinstance(clients[-1].answer, AcceptConnection)
        return clients[-1]

    yield come
    for client in clients:
        client.close()


def closed_with(client: Client) -> int:
    while not isinstance(said := client.next(), CloseConnection):
        assert said is None or isinstance(said, dict)
    return said.code


def test_a_session_is_told_of_and_its_pictures_arrive(
    camera: BrowserCamera, visit: Callable[[], Client]
) -> None:
    client = visit()
    assert client.next() is None
    camera.ask(WISH)
    assert client.next() == {"width": 64, "height": 48, "fps": 30.0, "recorded": False}
    client.send(json.dumps(HELLO))
    client.send(message(1, 1.5))
    taken = camera.take(None, 20.0)
    assert taken is not None
    assert (taken[0].number, taken[0].stamp_s) == (1, 1.5)
    assert camera.notes == (
        "The browser's camera states 1280 by 720 pixels (cut and scaled to 64 by 48) at 15 frames "
        "a second, not 30; pictures come as JPEG, with the browser's captureTime.",
    )
    camera.dismiss()
    assert client.next() is None


def test_a_second_browser_is_told_that_there_is_one(
    camera: BrowserCamera, visit: Callable[[], Client]
) -> None:
    first = visit()
    first.next()
    assert closed_with(visit()) == TAKEN
    first.close()
    assert visit().next() is None


def test_a_browser_that_lost_its_seat_is_told(
    serve: Callable[..., DashboardServer],
) -> None:
    now = [0.0]
    camera = BrowserCamera(clock=lambda: now[0])
    url = serve(browser=camera).start()
    camera.ask(WISH)
    with closing(Client(url, SOCKET_PATH)) as silent:
        silent.next()
        now[0] = 6.0
        with closing(Client(url, SOCKET_PATH)) as second:
            assert second.next()["width"] == 64  # type: ignore[index]
            silent.send(message(1, 1.0))
            assert closed_with(silent) == REPLACED


def test_whoever_says_something_else_is_sent_away(
    camera: BrowserCamera, visit: Callable[[], Client]
) -> None:
    camera.ask(WISH)
    for said in (
        b"no picture",
        struct.pack("<4sIId", b"GLF1", 1, 0, float("inf")) + b"x",
        "no JSON",
        json.dumps({**HELLO, "name": "<script>"}),
        json.dumps({**HELLO, "clock": "<b>"}),
        json.dumps({**HELLO, "fps": "NaN"}),
        "{" + " " * 600 + "}",
    ):
        client = visit()
        # The seat is free, and free again after each of them.
        assert client.next()["fps"] == 30.0, said  # type: ignore[index]
        client.send(said)
        assert closed_with(client) == 1008, said
        assert camera.notes == (), said


def test_the_page_says_what_is_sent_and_runs_nothing_of_others(
    serve: Callable[..., DashboardServer], camera: BrowserCamera
) -> None:
    url = serve(browser=camera).start()
    page = httpx.get(url + PAGE_PATH)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "Agree, and use my camera" in page.text
    assert '<p id="recording" hidden>' in page.text
    camera.ask(Wish(64, 48, 30.0, recorded=True))
    assert '<p id="recording">' in httpx.get(url + PAGE_PATH).text


def test_without_a_browser_camera_there_is_no_page(serve: Callable[..., DashboardServer]) -> None:
    assert "Agree, and use my camera" not in httpx.get(serve().start() + PAGE_PATH).text


# -- Chromium ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Seconds with micro-expressions, which Chromium's fake camera plays again and again."""
    config = ScenarioConfig(
        head_motion=False,
        blinks=False,
        gaze=False,
        ripple=False,
        micro_share=1.0,
        micro_amplitude_px=(1.5, 2.0),
        micro_duration_s=(0.3, 0.45),
        expressions_per_min=40.0,
        lead_s=1.0,
    )
    animator = FaceAnimator(Portrait.astronaut(), Scenario(config, 1, SECONDS), *SIZE)
    picture = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    path = tmp_path_factory.mktemp("camera") / "face.y4m"
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F%d:1 Ip A1:1 C420\n" % (*SIZE, FPS))
        for index in range(FPS * SECONDS):
            animator.render(index / FPS, picture, index)
            file.write(b"FRAME\n" + cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420).tobytes())
    yield path
    path.unlink()  # 80 MB


@pytest.fixture(scope="module")
def filming(face: Path) -> Iterator[Browser]:
    with chromium(
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={face}",
    ) as browser:
        yield browser


class Lab:
    """A dashboard with a session whose camera is a browser."""

    def __init__(self, recorded: bool = False) -> None:
        tree = {"source": {"spec": "browser", "width": SIZE[0], "height": SIZE[1]}}
        config = GlintConfig.from_tree(tree)
        self.camera, self.sink = BrowserCamera(), DashboardSink()
        self.session = LiveSession(
            lambda sinks: build_pipeline(config, sinks, browser=self.camera), [self.sink]
        )
        self.server = DashboardServer(self.session, self.sink, port=0, browser=self.camera)
        self.url = self.server.start()

    def close(self) -> None:
        self.session.close()
        self.server.stop()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.close()


@pytest.fixture
def page(filming: Browser, lab: Lab) -> Iterator[Page]:
    page = filming.new_page(viewport={"width": 420, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.goto(lab.url + PAGE_PATH)
    yield page
    page.close()
    assert not complaints


def state(page: Page, text: str) -> None:
    page.locator("#state").filter(has_text=text).wait_for()


@pytest.mark.browser
def test_a_face_before_a_browser_becomes_an_event(page: Page, filming: Browser, lab: Lab) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") == 420
    assert not lab.camera.occupied  # nothing begins without the button
    page.click("#start")
    state(page, "Nothing is sent until")
    lab.session.start()
    state(page, "Sending")

    closed: list[object] = []
    for _ in range(600):
        closed = [e for e in lab.sink.snapshot().events if e.state.value == "closed"]
        if closed:
            break
        page.wait_for_timeout(100)
    assert closed, lab.session.metrics()

    second = filming.new_page()
    second.goto(lab.url + PAGE_PATH)
    second.click("#start")
    state(second, "Another browser is the camera")
    second.close()

    page.click("#stop")
    state(page, "Nothing is sent any more")
    shown = int(page.evaluate("document.body.dataset.last"))
    # What had arrived before the browser left is still taken.
    for _ in range(600):
        metrics = lab.session.metrics()
        assert metrics is not None
        if metrics.captured + sum(metrics.lost.values()) >= shown:
            break
        page.wait_for_timeout(100)
    assert metrics.source_state == "reconnecting"
    # Whatever the camera showed is captured or lost; beyond that, times tell what it left out.
    assert metrics.captured + sum(metrics.lost.values()) >= shown
    if set(metrics.lost) <= {"browser_skipped", "browser_backlog"}:
        assert metrics.captured + sum(metrics.lost.values()) == shown
    if "browser_overrun" not in metrics.lost:
        assert metrics.captured == int(page.locator("#sent").inner_text())
    assert metrics.fps_measured is not None
    assert metrics.fps_measured < 1.1 * FPS  # less where the machine cannot film at the full rate
    assert any("captureTime" in note for note in metrics.notes)
    lab.session.stop()


@pytest.mark.browser
def test_nothing_goes_into_a_recording_without_a_second_yes(page: Page, lab: Lab) -> None:
    page.click("#start")
    state(page, "Nothing is sent until")
    options = SourceOptions(width=SIZE[0], height=SIZE[1])
    source = BrowserSource("browser", options, lab.camera, recorded=True)
    source.open()
    try:
        lab.camera.ask(Wish(*SIZE, 30.0, recorded=True))
        state(page, "Nothing is sent unless you agree")
        assert page.locator("#recording").is_visible()
        assert lab.camera.take(None, 0.5) is None
        page.click("#agree")
        state(page, "The pictures are being recorded")
        assert lab.camera.take(None, 20.0) is not None
    finally:
        source.close()
    page.click("#stop")
