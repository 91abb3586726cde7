"""How the dashboard bears time: cost per frame, and memory of server and browser.

    python -m tests.dashboard.soak --seconds 180 --refresh 0.05

Ten ticks are asked for where the real page asks for one, so that minutes see as many as an hour.
The server has a process of its own: the driver of the browser keeps every request it saw.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import time
from multiprocessing.connection import Connection

import psutil
from playwright.sync_api import sync_playwright

from streamer.dashboard.app import DashboardServer
from streamer.dashboard.live_picture import LivePicture
from streamer.dashboard.live_session import LiveSession
from streamer.dashboard.sink import DashboardSink
from streamer.dashboard.views import Views
from tests.dashboard.fake_pipeline import FakePipeline, scripted
from tests.dashboard.test_dashboard_sink import frame

_WARM_UP_S = 65.0  # the timeline is full after a minute


def microseconds(call, calls: int) -> float:  # type: ignore[no-untyped-def]
    began = time.perf_counter()
    for number in range(calls):
        call(number)
    return (time.perf_counter() - began) / calls * 1e6


def costs() -> dict[str, float]:
    """Microseconds of each part, on one thread."""
    sink = DashboardSink()
    session = LiveSession(lambda sinks: FakePipeline(sinks, frames=1), [sink])
    session.start()
    while session.running:
        time.sleep(0.01)
    records = [frame(index / 200, 0.1) for index in range(60 * 200)]
    found = {"on_frame": microseconds(lambda n: sink.on_frame(records[n]), len(records))}
    for number in range(100):
        sink.on_event(scripted(number))
    views = Views()
    found["snapshot"] = microseconds(lambda n: sink.snapshot(), 500)
    found["tick"] = microseconds(lambda n: views.panels(session, sink.snapshot()), 50)
    session.close()

    live = LiveSession(FakePipeline, [sink])
    live.start()
    time.sleep(1.0)
    picture = LivePicture(live, sink)

    def draw(_: int) -> None:
        while picture() is None:
            time.sleep(0.001)

    found["picture (with waiting for a new frame)"] = microseconds(draw, 50)
    live.close()
    return found


def serve(refresh_s: float, wire: Connection) -> None:
    """Serve until told to end; the other process's side of `main`."""
    sink = DashboardSink()
    session = LiveSession(FakePipeline, [sink])
    server = DashboardServer(session, sink, port=0, refresh_s=refresh_s)
    wire.send(server.start())
    session.start()
    wire.recv()
    server.stop()
    session.close()


def measure(page, client, server: psutil.Process) -> dict[str, float]:  # type: ignore[no-untyped-def]
    client.send("HeapProfiler.collectGarbage")
    figures = {m["name"]: m["value"] for m in client.send("Performance.getMetrics")["metrics"]}
    return {
        "browser_heap_mb": round(figures["JSHeapUsedSize"] / 2**20, 2),
        "dom_nodes": figures["Nodes"],
        "listeners": figures["JSEventListeners"],
        "server_rss_mb": round(server.memory_info().rss / 2**20, 1),
        "server_cpu_s": round(sum(server.cpu_times()[:2]), 1),
        "threads": server.num_threads(),
        "open_files": server.num_fds() if hasattr(server, "num_fds") else 0,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--refresh", type=float, default=0.05)
    options = parser.parse_args()
    print(json.dumps({"microseconds": costs()}, indent=1), flush=True)
    context = multiprocessing.get_context("spawn")
    wire, far = context.Pipe()
    child = context.Process(target=serve, args=(options.refresh, far), daemon=True)
    child.start()
    url = wire.recv()
    server = psutil.Process(child.pid)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        client = page.context.new_cdp_session(page)
        client.send("Performance.enable")
        ticks = [0]
        page.on("response", lambda r: ticks.__setitem__(0, ticks[0] + ("/run/" in r.url)))
        page.goto(url)
        page.locator(".glint-plot").wait_for()
        page.wait_for_timeout(_WARM_UP_S * 1000)
        began, at_first = time.monotonic(), ticks[0]
        print(json.dumps(measure(page, client, server)), flush=True)
        while time.monotonic() - began < options.seconds:
            page.wait_for_timeout(min(30.0, options.seconds / 4) * 1000)
            figures = {"ticks": ticks[0] - at_first, **measure(page, client, server)}
            print(json.dumps(figures), flush=True)
        browser.close()
    wire.send("end")
    child.join(10)


if __name__ == "__main__":
    main()
