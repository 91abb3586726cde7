"""The pictures of Glint's pages in `docs/screenshots/`, taken of the demo.

    python -m docs.screenshots
    python -m docs.screenshots --seconds 40 --out /tmp/screenshots

Glint runs as a user starts it, and Chromium looks at it: the live page dark and light, at two
widths and as a telephone shows it, the page of a subject's camera, and the review of a recorded
session.
The only face is NASA's public-domain portrait of Eileen Collins, which comes with scikit-image.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
from playwright.sync_api import Browser, Page, sync_playwright
from tqdm import tqdm

PROJECT = Path(__file__).resolve().parent.parent
OUT = PROJECT / "docs" / "screenshots"
MAX_BYTES = 300_000

Pixels = npt.NDArray[np.uint8]

_PATIENCE_MS = 120_000
_CLOSED = '#glint-detections tr[data-state="closed"]'
_LIVE = (
    ("live-dark-1280", "dark", 1280, 1500),
    ("live-light-1280", "light", 1280, 1500),
    ("live-dark-1920", "dark", 1920, 1200),
    ("live-light-1920", "light", 1920, 1200),
    ("live-dark-phone", "dark", 420, 1900),
    ("live-light-phone", "light", 420, 1900),
)
_DEMO = ("--source", "demo", "--seed", 1, "--fps", 30)
_PICTURE_THERE = "document.querySelector('#glint-picture img').naturalWidth > 1"
_CAUTION_READ = "localStorage.setItem('glint-caution-1', 'read')"


@contextmanager
def glint(*arguments: object) -> Iterator[str]:
    """Run the command line in the background; yields the address that it prints."""
    command = [sys.executable, str(PROJECT / "run_live.py"), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if address := re.search(r"http://\S+?(?=[;\s])", line):
                    yield address.group()
                    break
            else:
                raise SystemExit("Glint ended without an address; its message is above.")
        finally:
            process.send_signal(signal.SIGINT)  # so that the session is closed in order
            process.stdout.read()


@contextmanager
def visit(browser: Browser, address: str, width: int, height: int, theme: str) -> Iterator[Page]:
    """Open an address in a window of a size and theme."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if theme == "dark" else "light",
    )
    context.add_init_script(_CAUTION_READ)
    page = context.new_page()
    page.set_default_timeout(_PATIENCE_MS)
    page.goto(address)
    yield page
    context.close()


def keep(page: Page, name: str, out: Path) -> Path:
    """Write a screenshot, its photographs with as few colours as its size demands.

    Photographs have colours of their own: they would leave none for what is small, such as the
    colours of emotions.
    """
    picture = PIL.Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    pixels = np.asarray(picture)
    photo = np.zeros(pixels.shape[:2], bool)
    for box in filter(None, (image.bounding_box() for image in page.locator("img").all())):
        top, left = max(round(box["y"]), 0), max(round(box["x"]), 0)
        photo[top : round(box["y"] + box["height"]), left : round(box["x"] + box["width"])] = True
    path = out / f"{name}.png"
    for colours in (128, 64, 32, 16):
        flat, page_palette = _few(pixels[~photo], _page_palette(pixels[~photo], 256 - colours))
        shaded, photo_palette = _few(pixels[photo], _photo_palette(pixels[photo], colours))
        few = np.zeros(photo.shape, np.uint8)
        few[~photo], few[photo] = flat, shaded + (256 - colours)
        small = PIL.Image.fromarray(few, "P")
        small.putpalette(np.concatenate([page_palette, photo_palette]).tobytes())
        small.save(path, optimize=True)
        if path.stat().st_size <= MAX_BYTES:
            break
    return path


def _page_palette(pixels: Pixels, colours: int) -> Pixels:
    """Return (colours, 3) colours: the most frequent ones exactly, and some that cover the rest."""
    exact, counts = np.unique(pixels, axis=0, return_counts=True)
    exact = exact[np.argsort(-counts)][: colours // 2]
    strip = PIL.Image.fromarray(pixels[np.newaxis])
    others = strip.quantize(colours - colours // 2, PIL.Image.Quantize.MAXCOVERAGE).getpalette()
    return np.resize(np.concatenate([exact.ravel(), others]).astype(np.uint8), (colours, 3))


def _photo_palette(pixels: Pixels, colours: int) -> Pixels:
    """Return (colours, 3) colours, most of them where most pixels are."""
    if not len(pixels):
        return np.zeros((colours, 3), np.uint8)
    found = PIL.Image.fromarray(pixels[np.newaxis]).quantize(colours).getpalette()
    return np.resize(np.array(found, np.uint8), (colours, 3))


def _few(pixels: Pixels, palette: Pixels) -> tuple[Pixels, Pixels]:
    """Return the (N,) numbers of the nearest colours for (N, 3) pixels, and the palette."""
    if not len(pixels):
        return np.zeros(0, np.uint8), palette
    known = PIL.Image.new("P", (1, 1))
    known.putpalette(palette.tobytes())
    strip = PIL.Image.fromarray(pixels[np.newaxis])
    return np.asarray(strip.quantize(palette=known, dither=PIL.Image.Dither.NONE))[0], palette


def live_pages(browser: Browser, session: Path, seconds: float, out: Path) -> Iterator[Path]:
    """Take the live page while the demo runs."""
    stored = ("--session", session, "--subject", "demo", "--consent", "demonstration")
    with glint(*_DEMO, "--port", 0, *stored) as address:
        with visit(browser, address, 1280, 1500, "dark") as page:
            page.locator(_CLOSED).nth(2).wait_for()
            page.fill("#glint-mark-text", "stimulus A")
            page.click("#glint-mark")
            page.wait_for_timeout(seconds * 1000)
        for name, theme, width, height in _LIVE:
            with visit(browser, f"{address}/?__theme={theme}", width, height, theme) as page:
                page.locator(_CLOSED).nth(2).wait_for()
                page.wait_for_function(_PICTURE_THERE)
                page.wait_for_timeout(1500)  # the timeline follows
                yield keep(page, name, out)
        with visit(browser, f"{address}/?__theme=light", 1280, 1100, "light") as page:
            page.get_by_role("tab", name="Setup").click()
            page.locator("#glint-store-now").wait_for()
            page.wait_for_function(_PICTURE_THERE)
            page.wait_for_timeout(1500)
            yield keep(page, "live-setup", out)
        with visit(browser, f"{address}/camera", 420, 700, "light") as page:
            page.locator("#start").wait_for()
            yield keep(page, "camera-phone", out)


def review_pages(browser: Browser, session: Path, out: Path) -> Iterator[Path]:
    """Take the review of a session that is recorded as fast as it can be: it loses nothing."""
    recorded = ("--session", session, "--record", "--subject", "demo", "--duration", "40")
    command = [sys.executable, "run_live.py", "--source", "demo", "--headless", *map(str, recorded)]
    subprocess.run(command, cwd=PROJECT, stdout=subprocess.DEVNULL, check=True)
    with glint("review", session, "--port", 0, "--no-browser") as address:
        for theme in ("light", "dark"):
            with visit(browser, address, 1280, 900, theme) as page:
                page.locator("#sessions tbody tr").first.wait_for()
                page.locator("#sessions tbody a").first.click()
                page.locator("#events tbody tr").first.wait_for()
                page.wait_for_function("document.querySelector('#picture').dataset.frame")
                page.wait_for_timeout(1500)
                yield keep(page, f"review-{theme}", out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Take every picture."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.screenshots", description=(__doc__ or "").split("\n", maxsplit=1)[0]
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=20.0,
        help="how long the demo goes on with its timeline (20)",
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder (docs/screenshots)")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        with tqdm(total=len(_LIVE) + 4, unit="picture", disable=None) as progress:
            for taken in (
                live_pages(browser, Path(place) / "live", options.seconds, options.out),
                review_pages(browser, Path(place) / "demo", options.out),
            ):
                for path in taken:
                    progress.write(f"{path} {path.stat().st_size // 1000} kB")
                    progress.update()
        browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
