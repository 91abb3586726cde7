"""A real browser on the real demo."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from streamer.config import GlintConfig
from streamer.dashboard.app import DashboardServer
from streamer.dashboard.live_session import LiveSession
from streamer.dashboard.sink import DashboardSink
from streamer.session import build_pipeline

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
)
PATIENCE_MS = 60_000
"""The demo needs seconds to warm up; a loaded machine needs more."""

PIXELS = """() => {
    const image = document.querySelector("#glint-picture img");
    if (!image.naturalWidth) return "";
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 32;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, 32, 32);
    return Array.from(context.getImageData(0, 0, 32, 32).data).join();
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the path")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def demo() -> Iterator[tuple[str, LiveSession]]:
    config = GlintConfig.from_tree(
        {"source": {"spec": "demo", "fps": 60.0, "width": 640, "height": 480, "seed": 1}}
    )
    sink = DashboardSink()
    session = LiveSession(lambda sinks: build_pipeline(config, sinks), [sink])
    server = DashboardServer(session, sink, port=0)
    url = server.start()
    session.start()
    yield url, session
    session.close()
    server.stop()


@pytest.fixture
def page(browser: Browser, demo: tuple[str, LiveSession]) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    foreign: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith((demo[0], "data:")) else foreign.append(request.url)
        ),
    )
    page.goto(demo[0])
    yield page
    page.close()
    assert not complaints
    assert not foreign  # a lab machine without internet shows the same page


def wait_for(page: Page, selector: str, text: str) -> None:
    page.locator(selector).filter(has_text=re.compile(text)).first.wait_for()


def test_a_session_from_the_first_look_to_the_second_start(
    page: Page, demo: tuple[str, LiveSession]
) -> None:
    session = demo[1]
    wait_for(page, "#glint-status", "Live|Analysing")

    # The picture moves.
    page.wait_for_function(f"({PIXELS})().length > 0")
    first = page.evaluate(PIXELS)
    page.wait_for_function(f"(first) => ({PIXELS})() !== first", arg=first)

    # A detection comes to an end and stands in the table and over the score.
    closed = page.locator("#glint-detections .glint-row-closed").first
    closed.wait_for()
    assert closed.locator(".glint-kind").inner_text() in ("micro", "macro")
    page.locator("#glint-timeline .glint-span").first.wait_for()
    assert page.locator("#glint-timeline .glint-line").get_attribute("d")
    wait_for(page, "#glint-detections", "Truth of this source")

    # The threshold follows the slider.
    number = page.locator("#glint-factor input[type=number]")
    number.fill("9.5")
    number.press("Tab")
    wait_for(page, "#glint-figures", "threshold factor 9.5")
    assert session.threshold_factor == 9.5

    page.click("#glint-stop")
    wait_for(page, "#glint-status", "Stopped")
    assert not session.running
    page.click("#glint-start")
    wait_for(page, "#glint-status", "Live|Analysing")
    assert session.running
    assert session.threshold_factor == 9.5


def test_looking_away_changes_nothing_in_the_session(
    page: Page, demo: tuple[str, LiveSession]
) -> None:
    session = demo[1]
    session.start()
    wait_for(page, "#glint-status", "Live|Analysing")
    info = session.session_info
    page.close()
    assert session.running
    assert session.session_info is info


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_shows_the_page_without_scrolling_sideways(
    browser: Browser, demo: tuple[str, LiveSession], theme: str
) -> None:
    page = browser.new_page(viewport={"width": 420, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{demo[0]}/?__theme={theme}")
    page.locator("#glint-timeline .glint-plot").wait_for()
    page.locator("#glint-detections table").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 420
    page.close()
