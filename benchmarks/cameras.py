"""Cameras: the rate that each source holds, its losses by cause and the cores it takes.

    python -m benchmarks.cameras
    python -m benchmarks.cameras --sources basler --rates 200 --seconds 60 --json /tmp/cameras.json

Each source is read alone, then with the whole pipeline behind it. Basler's emulated camera draws
its pictures in this process, so that its cores are counted too; the fake GigE camera sends them
from a process of its own and shows no face, so that its pipeline only searches. Run it on an
otherwise idle machine.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
from tqdm import tqdm

from benchmarks.arguments import exit_with, floats, live_parser, some_of
from benchmarks.emulated_cameras import EmulatedBasler, FakeGigE
from benchmarks.headless import run_to_end
from benchmarks.live import film
from benchmarks.results import number, save, table
from streamer.config import GlintConfig
from streamer.errors import SourceError
from streamer.frame import Image
from streamer.sinks.session_folder import SessionFolderSink
from streamer.sources.aravis import AravisSource
from streamer.sources.base import FrameSource, SourceOptions
from streamer.sources.camera_config import CameraConfig
from streamer.sources.video_file import VideoFileSource

SOURCES = ("basler", "aravis", "file")
RATES = (100.0, 200.0, 400.0)
_PICTURES = 64
_SERIAL = "BENCHMARK"
_EXPOSED = 0.5  # of a frame: the emulator really waits for the exposure
_PACKET_BYTES = 9000

Build = Callable[[float], FrameSource]
"""Makes a closed source of a rate, in frames a second."""


# -- sources -------------------------------------------------------------------------------------


def prepare(name: str, size: tuple[int, int], seconds: float, stack: ExitStack) -> Build:
    """Plug a camera in, or write what it shall show.

    Args:
        name: Of `SOURCES`.
        size: Picture width and height in pixels.
        seconds: Length of a run.
        stack: Unplugs it and removes the files in the end.

    Raises:
        SourceError: It cannot be had on this machine.
    """
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

    def asked(fps: float) -> SourceOptions:
        return SourceOptions(
            fps=fps,
            width=size[0],
            height=size[1],
            duration_s=seconds,
            camera=CameraConfig(exposure_s=_EXPOSED / fps, packet_bytes=_PACKET_BYTES),
        )

    if name == "aravis":
        camera = stack.enter_context(FakeGigE(_SERIAL))
        camera.plug_in()
        return lambda fps: AravisSource(f"aravis:{_SERIAL}", asked(fps))
    pictures = film(RATES[-1], size, _PICTURES)
    if name == "basler":
        os.environ.setdefault("PYLON_CAMEMU", "1")
        for index, picture in enumerate(pictures):
            cv2.imwrite(str(folder / f"{index:03d}.bmp"), picture)
        return lambda fps: EmulatedBasler("basler:0", asked(fps), folder)
    return lambda fps: VideoFileSource(
        str(_write_video(pictures, folder / f"{fps:g}.avi", fps, seconds)), SourceOptions()
    )


def _write_video(pictures: Image, path: Path, fps: float, seconds: float) -> Path:
    if not path.exists():
        height, width = pictures.shape[1:3]
        codec = cv2.VideoWriter.fourcc(*"MJPG")
        writer = cv2.VideoWriter(str(path), codec, fps, (width, height))
        there_and_back = [*pictures, *pictures[-2:0:-1]]
        for index in range(round(fps * seconds)):
            writer.write(there_and_back[index % len(there_and_back)])
        writer.release()
    return path


# -- measuring -----------------------------------------------------------------------------------


def read_alone(source: FrameSource) -> dict[str, Any]:
    """Read a source to its end without doing anything with its frames."""
    info = source.open()
    process = psutil.Process()
    picture = np.empty(info.shape, np.uint8)
    lost: Counter[str] = Counter()
    captured = 0
    try:
        started_s, cpu_s = time.perf_counter(), _cpu_s(process)
        while (frame := source.read(picture)) is not None:
            captured += 1
            if frame.gap_before:
                lost[frame.gap_cause] += frame.gap_before
        wall_s, cpu_s = time.perf_counter() - started_s, _cpu_s(process) - cpu_s
        counters = dict(getattr(source, "counters", {}))
    finally:
        source.close()
    return {
        "captured": captured,
        "fps_held": captured / wall_s,
        "lost": dict(lost),
        "counters": counters,
        "cores": cpu_s / wall_s,
        "latency_p99_ms": None,
        "notes": list(getattr(source, "notes", info.notes)),
    }


def run_whole(source: FrameSource) -> dict[str, Any]:
    """Run a session with the source: alignment, motion, spotting, recognition, folder."""
    with tempfile.TemporaryDirectory() as folder:
        ended = run_to_end(GlintConfig(), source, [SessionFolderSink(Path(folder) / "session")])
    metrics = ended.metrics
    return {
        "captured": metrics.captured,
        "analysed": metrics.analysed,
        "fps_held": metrics.captured / ended.wall_s,
        "lost": dict(metrics.lost),
        "counters": dict(metrics.source_counters),
        "cores": ended.cpu_s / ended.wall_s,
        "latency_p99_ms": metrics.latency_ms["capture_to_score"]["p99"],
        "notes": list(metrics.notes),
    }


def measure(
    sources: Sequence[str], rates: Sequence[float], size: tuple[int, int], seconds: float
) -> dict[str, Any]:
    """Measure every source at every rate, alone and with the pipeline."""
    rows: list[dict[str, Any]] = []
    absent: dict[str, str] = {}
    with tqdm(total=2 * len(sources) * len(rates), unit="run") as progress:
        for name in sources:
            try:
                with ExitStack() as stack:
                    build = prepare(name, size, seconds, stack)
                    for fps in rates:
                        for stages, run in (("reading", read_alone), ("pipeline", run_whole)):
                            progress.set_description(f"{name} {fps:g} fps, {stages}")
                            what = {"source": name, "fps_asked": fps, "stages": stages}
                            rows.append({**what, **run(build(fps))})
                            progress.update()
            except SourceError as error:
                absent[name] = str(error)
    return {"size": list(size), "seconds": seconds, "runs": rows, "absent": absent}


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


# -- report --------------------------------------------------------------------------------------


def report(measured: Mapping[str, Any]) -> str:
    """The table, and what was told during the runs."""
    runs = measured["runs"]
    width, height = measured["size"]
    parts = [
        f"## {width}x{height}, {measured['seconds']:g} s each",
        table(
            ["source", "asked fps", "stages", "held fps", "lost", "cores", "to score p99 ms"],
            (
                [
                    run["source"],
                    f"{run['fps_asked']:g}",
                    run["stages"],
                    number(run["fps_held"], 1),
                    ", ".join(f"{n} {cause}" for cause, n in run["lost"].items()) or "none",
                    number(run["cores"]),
                    "-" if run["latency_p99_ms"] is None else number(run["latency_p99_ms"]),
                ]
                for run in runs
            ),
        ),
    ]
    counted: Counter[str] = Counter()
    for run in runs:
        counted.update({f"{run['source']} {name}": n for name, n in run["counters"].items()})
    if counted:
        parts.append("Counters: " + ", ".join(f"{name} {n}" for name, n in counted.items()))
    parts += [f"Note: {note}" for note in dict.fromkeys(n for run in runs for n in run["notes"])]
    parts += [f"Not measured: {name} ({why})" for name, why in measured["absent"].items()]
    return "\n\n".join(parts)


# -- command line --------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for, print the table, write JSON and Markdown."""
    options = _parser().parse_args(arguments)
    measured = measure(options.sources, options.rates, options.size, options.seconds)
    text = report(measured)
    print(text)
    path = save("cameras", measured, text, options.json)
    print(f"\nWritten to {path} and {path.with_suffix('.md').name}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = live_parser("python -m benchmarks.cameras", __doc__)
    add = parser.add_argument
    add(
        "--sources",
        type=some_of(SOURCES),
        default=SOURCES,
        help=f"of: {','.join(SOURCES)} (default: all)",
    )
    add("--rates", type=floats, default=RATES, metavar="HZ,…", help="rates (100,200,400)")
    add("--seconds", type=float, default=10.0, metavar="S", help="length of each run (10)")
    return parser


if __name__ == "__main__":
    exit_with(main)
