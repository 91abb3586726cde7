"""The live picture in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from streamer.dashboard.app import STREAM_PATH, DashboardServer
from tests.dashboard.chromium import PATIENCE_MS, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

LIT = """() => {
    const image = document.querySelector("img");
    if (!image.naturalWidth) return false;
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    return pixels.some((value, place) => place % 4 === 0 && value > 120);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def test_a_picture_that_no_other_follows_is_shown(
    browser: Browser, serve: Callable[..., DashboardServer]
) -> None:
    """Chromium waits with a picture for the head of the next one, which must follow at once."""
    url = serve().start()
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(url + "/robots.txt")
    page.set_content(f'<img src="{STREAM_PATH}">')
    page.wait_for_function(LIT)  # "No session is running" is sent once
    page.close()
