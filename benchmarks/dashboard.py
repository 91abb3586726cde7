"""The dashboard under viewers: frame rate and age of its pictures, losses, memory.

    python -m benchmarks.dashboard
    python -m benchmarks.dashboard --minutes 10
    python -m benchmarks.dashboard --viewers 16 --minutes 0.5 --json /tmp/dashboard.json

For each number of viewers a session of its own analyses 200 frames a second from memory, in a
process that runs nothing else. The first viewer is a real Chromium on the page; the others are
light clients in a process of their own that read `/stream.mjpg` as browsers do. All of them share
the machine's cores with Glint, which viewers of a laboratory do not: run it on an otherwise idle
machine.

A picture's age counts from its capture: at a light client to the last byte, in Chromium until a
script of the page can read it off the screen's next frame, which shows at most a sixtieth of a
second later. There, a code in the picture tells the frame.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
from tqdm import tqdm

from benchmarks.host_time import FrameAges, watched_host
from benchmarks.live import MemoryCurve, film
from benchmarks.memory_source import MemorySource
from benchmarks.results import number, save, table
from streamer.config import GlintConfig
from streamer.dashboard.app import DashboardServer
from streamer.dashboard.live_session import LiveSession
from streamer.dashboard.mjpeg import HEAD, STAMP
from streamer.dashboard.sink import DashboardSink
from streamer.frame import Frame, Image
from streamer.session import build_pipeline

VIEWERS = (0, 1, 4, 16)
_SIZE = (640, 480)
_FPS = 200.0
_WARM_UP_S = 15.0  # engines, rings and the browser's page are up by then
_CURVE_STEP_S = 30
_FOR_EVER = 10**9
_LONGEST_PART = 4 * 2**20

# -- a code in the picture -----------------------------------------------------------------------

_BITS = 10
_CELL = 16  # pixels; survives JPEG
_CODE_TOP = 160


def write_code(image: Image, index: int) -> None:
    """Paint a frame's number, modulo 2^10, onto the right edge: a cell a bit, lowest on top."""
    for bit in range(_BITS):
        top = _CODE_TOP + bit * _CELL
        image[top : top + _CELL, -_CELL:] = 255 if index >> bit & 1 else 0


def resolve_code(code: int, newest: int) -> int:
    """Return the frame that a code means: the last one with it, up to the newest."""
    return newest - (newest - code) % (1 << _BITS)


class CodedSource(MemorySource):
    """A camera whose pictures bear their numbers."""

    def read(self, out: Image) -> Frame | None:
        """Deliver the next picture; see `FrameSource.read`."""
        frame = super().read(out)
        if frame is not None:
            write_code(out, frame.index)
        return frame

    @property
    def started_s(self) -> float:
        """`time.perf_counter()` of the first frame; the others follow at the rate."""
        return self._started_s


# -- Glint, in a process of its own --------------------------------------------------------------


def _serve(wire: Connection) -> None:
    """Run a session with its dashboard; answer with its figures until told to end."""
    source = CodedSource(film(_FPS, _SIZE), _FPS, _FOR_EVER, realtime=True)
    sink, ages = DashboardSink(), FrameAges()
    session = LiveSession(lambda sinks: build_pipeline(GlintConfig(), sinks, source), [sink, ages])
    server = DashboardServer(session, sink, port=0)
    try:
        url = server.start()
        session.start()
        while sink.snapshot().last is None:
            time.sleep(0.05)
        wire.send((url, source.started_s))
        asked_s = time.perf_counter()
        while wire.recv() == "figures":
            last_s, asked_s = asked_s, time.perf_counter()
            wait_s, source.longest_wait_s = source.longest_wait_s, 0.0
            metrics = session.metrics()
            assert metrics is not None
            wire.send(
                {
                    "captured": metrics.captured,
                    "analysed": metrics.analysed,
                    "lost": dict(metrics.lost),
                    "capture_to_score_ms": ages.between(last_s, asked_s),
                    "longest_wait_ms": wait_s * 1e3,
                    "cpu_s": time.process_time(),
                    "objects": sys.getallocatedblocks(),
                }
            )
    finally:
        session.close()
        server.stop()


# -- light viewers, in a process of their own ----------------------------------------------------


def _watch(url: str, viewers: int, seconds: float, wire: Connection) -> None:
    """Watch with several clients and send each one's ages of pictures, in seconds."""
    wire.send(asyncio.run(_watch_all(url, viewers, seconds)))


async def _watch_all(url: str, viewers: int, seconds: float) -> list[list[float]]:
    begin_s = time.perf_counter() + _WARM_UP_S
    watching = (_watch_one(url, begin_s, begin_s + seconds) for _ in range(viewers))
    return list(await asyncio.gather(*watching))


async def _watch_one(url: str, begin_s: float, end_s: float) -> list[float]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(
        address.hostname, address.port, limit=_LONGEST_PART
    )
    writer.write(f"GET /stream.mjpg HTTP/1.0\r\nHost: {address.netloc}\r\n\r\n".encode())
    ages: list[float] = []
    await reader.readuntil(HEAD)
    while (now_s := time.perf_counter()) < end_s:
        part = await reader.readuntil(b"\r\n" + HEAD)
        arrived_s = time.perf_counter()
        at = part.find(STAMP, 0, 64)
        if at >= 0 and now_s >= begin_s:
            text = part[at + len(STAMP) : at + len(STAMP) + 24].split(b"\xff")[0]
            ages.append(arrived_s - float(text))
    writer.close()
    return ages


# -- Chromium, in a process of its own -----------------------------------------------------------

_PROBE = """({ width, cell, top, bits }) => {
  const image = document.querySelector('img[src*="stream.mjpg"]');
  const canvas = document.createElement("canvas");
  canvas.width = 1;
  canvas.height = bits;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  window.seen = [];
  let last = -1;
  const look = () => {
    requestAnimationFrame(look);
    if (!image.naturalWidth) return;
    context.drawImage(image, width - cell, top, cell, cell * bits, 0, 0, 1, bits);
    const pixels = context.getImageData(0, 0, 1, bits).data;
    let code = 0;
    for (let bit = 0; bit < bits; bit += 1) code |= (pixels[4 * bit] > 127) << bit;
    if (code !== last) window.seen.push([performance.now() / 1000, code]);
    last = code;
  };
  look();
}"""
_CODE_PLACE = {"width": _SIZE[0], "cell": _CELL, "top": _CODE_TOP, "bits": _BITS}


def _browse(url: str, seconds: float, started_s: float, wire: Connection) -> None:
    """Open the page and send the ages of the pictures that it showed, in seconds."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - tests only need it

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=_chromium(),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        page.locator('img[src*="stream.mjpg"]').first.wait_for()
        page.evaluate(_PROBE, _CODE_PLACE)
        page.wait_for_timeout(_WARM_UP_S * 1000)
        page.evaluate("window.seen.length = 0")
        page.wait_for_timeout(seconds * 1000)
        seen = page.evaluate("window.seen")
        ahead_s = _clock_offset(page)
        browser.close()
    ages = []
    for shown_s, code in seen:
        at_s = shown_s + ahead_s - started_s
        frame = resolve_code(code, int(at_s * _FPS))
        ages.append(at_s - frame / _FPS)
    wire.send(ages)


def _clock_offset(page: Any) -> float:
    """Seconds by which `time.perf_counter()` is ahead of the page's clock."""
    best = (float("inf"), 0.0)
    for _ in range(30):
        before_s = time.perf_counter()
        there_s = page.evaluate("performance.now() / 1000")
        after_s = time.perf_counter()
        best = min(best, (after_s - before_s, (before_s + after_s) / 2 - there_s))
    return best[1]


def _chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


# -- a run ---------------------------------------------------------------------------------------


@contextmanager
def _process(work: Any, *arguments: Any) -> Iterator[tuple[Connection, psutil.Process]]:
    """Run a function in a fresh process with a wire to it, given as its last argument."""
    context = multiprocessing.get_context("spawn")
    wire, far = context.Pipe()
    child = context.Process(target=work, args=(*arguments, far), daemon=True)
    child.start()
    far.close()
    try:
        yield wire, psutil.Process(child.pid)
    finally:
        wire.close()
        child.join(20)
        if child.is_alive():
            child.kill()


def run(viewers: int, seconds: float, browser: bool) -> dict[str, Any]:
    """Measure a session while some watch it.

    Args:
        viewers: How many, Chromium among them.
        seconds: How long, after the warm-up.
        browser: Whether the first viewer is a Chromium.
    """
    chromium = int(browser and viewers > 0)
    with _process(_serve) as (glint, process):
        url, started_s = glint.recv()
        with (
            _process(_watch, url, viewers - chromium, seconds) as (light, _),
            _process(_browse, url, seconds, started_s) if chromium else _nobody() as page,
        ):
            time.sleep(_WARM_UP_S)
            before = _figures(glint)
            with watched_host() as host:
                memory = _sampled(process, seconds)
            after = _figures(glint)
            ages = light.recv()
            shown = page[0].recv() if page else []
        with suppress(OSError):
            glint.send("end")
    lost = Counter(after["lost"])
    lost.subtract(before["lost"])
    return {
        "viewers": viewers,
        "seconds": seconds,
        "captured": after["captured"] - before["captured"],
        "analysed": after["analysed"] - before["analysed"],
        "lost": {cause: frames for cause, frames in lost.items() if frames},
        "capture_to_score_ms": after["capture_to_score_ms"],
        "longest_wait_ms": after["longest_wait_ms"],
        "stolen": host.mean,
        "cores": (after["cpu_s"] - before["cpu_s"]) / seconds,
        "memory": memory.summary(),
        "objects_per_min": (after["objects"] - before["objects"]) / seconds * 60.0,
        "resident_mb": memory.resident_mb[::_CURVE_STEP_S],
        "light": _ages([age for one in ages for age in one], seconds, len(ages)),
        "light_slowest_fps": min((len(one) / seconds for one in ages), default=None),
        "chromium": _ages(shown, seconds, chromium),
    }


@contextmanager
def _nobody() -> Iterator[None]:
    yield None


def _figures(glint: Connection) -> dict[str, Any]:
    glint.send("figures")
    figures: dict[str, Any] = glint.recv()
    return figures


def _sampled(process: psutil.Process, seconds: float) -> MemoryCurve:
    """Sample another process's memory once a second."""
    curve, started = MemoryCurve(), time.perf_counter()
    while (at_s := time.perf_counter() - started) < seconds:
        curve.times_s.append(at_s)
        curve.resident_mb.append(process.memory_info().rss / 1e6)
        time.sleep(min(1.0, seconds - at_s))
    return curve


def _ages(ages_s: Sequence[float], seconds: float, viewers: int) -> dict[str, float] | None:
    """Pictures a second and viewer, and percentiles of their ages in milliseconds."""
    if not ages_s:
        return None
    found = np.percentile(ages_s, (50, 95, 99)) * 1e3
    percentiles = {name: float(age) for name, age in zip(("p50", "p95", "p99"), found, strict=True)}
    return {"fps": len(ages_s) / seconds / viewers, **percentiles}


# -- report --------------------------------------------------------------------------------------


def report(rows: Sequence[Mapping[str, Any]]) -> str:
    """The tables."""
    seen = table(
        ["viewers", "Chromium fps", "p50 ms", "p95 ms", "light fps", "slowest", "p50 ms", "p95 ms"],
        (
            [
                row["viewers"],
                *_seen(row["chromium"]),
                *_seen(row["light"], row["light_slowest_fps"]),
            ]
            for row in rows
        ),
    )
    cost = table(
        [
            *("viewers", "frames", "lost", "to score p99 ms", "longest wait ms", "cores"),
            *("taken by the host", "memory MB", "growth MB/min", "objects/min"),
        ],
        (
            [
                row["viewers"],
                row["captured"],
                ", ".join(f"{n} {cause}" for cause, n in row["lost"].items()) or "none",
                number(row["capture_to_score_ms"].get("p99", float("nan")), 1),
                number(row["longest_wait_ms"], 0),
                number(row["cores"]),
                f"{row['stolen']:.1%}",
                number(row["memory"]["end_mb"], 1),
                f"{row['memory']['growth_mb_per_min']:+.2f}",
                f"{row['objects_per_min']:+,.0f}",
            ]
            for row in rows
        ),
    )
    return "\n\n".join(
        [
            f"## What viewers see, {rows[0]['seconds']:g} s each: pictures a second and their age",
            seen,
            f"## What it costs the session, {_FPS:g} fps at {_SIZE[0]}x{_SIZE[1]} from memory",
            cost,
            "*Longest wait* is what the camera's driver had to hold; Glint asks lab cameras for a "
            "second.",
            "The memory holds a film of 276 MB. In the first minutes it grows to what the heap "
            "needs at its busiest; a leak would show in the number of Python's objects too. Reach: "
            "age p95 at most 150 ms, nothing lost and memory flat with 16 viewers.",
        ]
    )


def _seen(ages: Mapping[str, float] | None, *more: float | None) -> list[str]:
    if ages is None:
        return ["-"] * (3 + len(more))
    rates = [number(ages["fps"], 1), *(number(fps or 0.0, 1) for fps in more)]
    return [*rates, number(ages["p50"], 0), number(ages["p95"], 0)]


# -- command line --------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each number of viewers, print the tables, write JSON and Markdown."""
    options = _parser().parse_args(arguments)
    browser = not options.no_browser and _chromium() is not None
    rows = [
        run(viewers, options.minutes * 60.0, browser)
        for viewers in tqdm(options.viewers, desc="viewers", unit="run", disable=None)
    ]
    text = report(rows)
    print(text)
    path = save("dashboard", {"runs": rows}, text, options.json)
    print(f"\nWritten to {path} and {path.with_suffix('.md').name}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.dashboard",
        description=(__doc__ or "").split("\n", maxsplit=1)[0],
    )
    add = parser.add_argument
    add("--minutes", type=float, default=1.0, help="length of each run, after 15 s (1)")
    add(
        "--viewers",
        type=lambda text: tuple(int(part) for part in text.split(",")),
        default=VIEWERS,
        metavar="N,N",
        help=f"numbers of viewers ({','.join(map(str, VIEWERS))})",
    )
    add("--no-browser", action="store_true", help="light clients only, no Chromium")
    add("--json", type=Path, help="result file (default: one with the date in benchmarks/results)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
