"""What 200 frames a second cost live: with every engine, and while recording.

    python -m benchmarks.realtime
    python -m benchmarks.realtime --seconds 10 --parts spotters --json /tmp/realtime.json

Pictures come from memory, paced like a camera's, so that nothing but Glint is measured. Run it on
an otherwise idle machine; the rows of one run can be compared with one another.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.arguments import exit_with, live_parser, some_of
from benchmarks.headless import Collector, run_to_end
from benchmarks.live import depth_film, film
from benchmarks.memory_source import MemorySource
from benchmarks.results import number, save, table
from engines.events import EventState
from engines.recognition.registry import DEPTH_RECOGNIZERS, RECOGNIZERS
from engines.spotting.registry import DEPTH_SPOTTERS, SPOTTERS
from streamer.config import GlintConfig
from streamer.frame import Image
from streamer.recording.layout import CodecName
from streamer.sinks.session_folder import SessionFolderSink

PARTS = ("spotters", "recognizers", "depth", "recording")

_TITLES = {
    "depth": "with the engines that read depth, from a depth camera beside",
    "recording": "while recording",
}


def variants(parts: Sequence[str]) -> Iterator[tuple[str, str, GlintConfig]]:
    """What is run: part, name and configuration."""
    if "spotters" in parts:
        for name in SPOTTERS:
            yield "spotters", name, GlintConfig(spotter=name, recognizer="none")
    if "recognizers" in parts:
        for name in ("none", *RECOGNIZERS):
            yield "recognizers", name, GlintConfig(recognizer=name)
    if "depth" in parts:
        for name in DEPTH_SPOTTERS:
            yield "depth", name, GlintConfig(spotter=name, recognizer="none")
        for name in DEPTH_RECOGNIZERS:
            yield "depth", f"flow, {name}", GlintConfig(recognizer=name)
    if "recording" in parts:
        for codec in get_args(CodecName):
            recording = {"enabled": True, "codec": codec}
            yield "recording", codec, GlintConfig.model_validate({"recording": recording})


def measure(
    config: GlintConfig,
    pictures: Image,
    fps: float,
    seconds: float,
    depth: npt.NDArray[np.uint16] | None = None,
) -> dict[str, Any]:
    """Run one session.

    Args:
        config: What to run.
        pictures: (N, H, W, C) uint8, played forwards and backwards.
        fps: Rate in frames a second.
        seconds: Length of the session.
        depth: (N, H, W) uint16 depth of each picture in millimetres, of a depth camera beside.

    Returns:
        Frames, losses (those of a recording too), latency, cores, closed events, and how many of
        them were named in time.
    """
    source = MemorySource(pictures, fps, round(fps * seconds), realtime=True, depth=depth)
    collector = Collector()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "session"
        ended = run_to_end(config, source, [SessionFolderSink(folder), collector], folder)
    metrics = ended.metrics
    lost = dict(metrics.lost)
    if metrics.recording is not None:
        lost |= metrics.recording.lost
    return {
        "captured": metrics.captured,
        "analysed": metrics.analysed,
        "lost": lost,
        "latency_ms": {stage: dict(values) for stage, values in metrics.latency_ms.items()},
        "cores": ended.cpu_s / ended.wall_s,
        "stolen": ended.stolen,
        "undisturbed_ms": dict(ended.undisturbed),
        "events": sum(event.state is EventState.CLOSED for event in collector.events),
        "recognised": sum(
            event.state is EventState.CLOSED and event.emotion is not None
            for event in collector.events
        ),
    }


def report(rows: Sequence[Mapping[str, Any]], fps: float) -> str:
    """A table for each part; *emotion* is the time from an event's confirmation to its emotion."""
    sections = []
    header = ["name", "lost", "p50 ms", "p99 ms", "cores", "events", "recognised"]
    header += ["emotion p50 ms", "emotion max ms", "taken by the host"]
    header += ["s undisturbed", "their p99 ms"]
    for part in PARTS:
        chosen = [row for row in rows if row["part"] == part]
        if chosen:
            title = _TITLES.get(part, f"with each of the {part}")
            sections += [
                f"## {fps:g} frames a second {title}",
                table(header, (_row(row) for row in chosen)),
            ]
    return "\n\n".join(sections)


def _row(row: Mapping[str, Any]) -> list[object]:
    score, emotion = (
        row["latency_ms"].get(stage, {}) for stage in ("capture_to_score", "confirmed_to_emotion")
    )
    lost = ", ".join(f"{cause} {frames}" for cause, frames in row["lost"].items()) or "none"
    return [
        row["name"],
        lost,
        *(number(score.get(q, np.nan)) for q in ("p50", "p99")),
        number(row["cores"]),
        row["events"],
        row["recognised"],
        *(number(emotion.get(q, np.nan), 0) for q in ("p50", "max")),
        f"{row['stolen']:.1%}",
        number(row["undisturbed_ms"]["seconds"], 0),
        number(row["undisturbed_ms"].get("p99", np.nan)),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write JSON and Markdown."""
    options = _parser().parse_args(arguments)
    pictures = film(options.fps, options.size)
    depth: npt.NDArray[np.uint16] | None = None
    rows = []
    for part, name, config in tqdm(
        list(variants(options.parts)), desc="sessions", unit="session", disable=None
    ):
        # The first depth session draws the film; it is as large as the pictures'.
        if part == "depth" and depth is None:
            depth = depth_film(options.fps, options.size)
        seen = depth if part == "depth" else None
        figures = measure(config, pictures, options.fps, options.seconds, seen)
        rows.append({"part": part, "name": name, **figures})
    text = report(rows, options.fps)
    print(text)
    measured = {
        "fps": options.fps,
        "size": list(options.size),
        "seconds": options.seconds,
        "rows": rows,
    }
    path = save("realtime", measured, text, options.json)
    print(f"\nWritten to {path} and {path.with_suffix('.md').name}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = live_parser("python -m benchmarks.realtime", __doc__)
    add = parser.add_argument
    add("--seconds", type=float, default=20.0, metavar="S", help="length of each session (20)")
    add("--fps", type=float, default=200.0, help="rate (200)")
    add("--parts", type=some_of(PARTS), default=PARTS, help=f"of: {','.join(PARTS)} (default: all)")
    return parser


if __name__ == "__main__":
    exit_with(main)
