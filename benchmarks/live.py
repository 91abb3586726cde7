"""Speed: cost of each stage, 200 frames a second live, the highest rate held, offline rate.

    python -m benchmarks.live
    python -m benchmarks.live --seconds 10 --parts live,blocks --json /tmp/live.json

Run it on an otherwise idle machine. What is compared with one another is measured in one run.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import psutil
from tqdm import tqdm

from benchmarks.arguments import exit_with, floats, live_parser, some_of
from benchmarks.headless import Ended, run_to_end
from benchmarks.host_time import parallel_gain, repeated
from benchmarks.memory_source import MemorySource
from benchmarks.results import number, save, table
from engines.motion.canonical import FACE_SIZE
from engines.motion.flow import create_flow
from engines.motion.meter import MotionMeter
from engines.recognition.base import EventClip
from engines.recognition.registry import create_recognizer
from engines.spotting.registry import create_spotter
from engines.synthesis import FaceAnimator, Portrait, Scenario, ScenarioConfig
from engines.synthesis.depth import DepthCamera
from streamer.alignment.face_aligner import FaceAligner
from streamer.alignment.face_mesh import FaceMeshThread, draw_crop
from streamer.config import GlintConfig
from streamer.frame import Frame, Image
from streamer.sinks.session_folder import SessionFolderSink
from streamer.sources.base import FrameSource, SourceOptions
from streamer.sources.demo import DemoSource
from streamer.sources.image_folder import ImageFolderSource
from streamer.sources.video_file import VideoFileSource

PARTS = ("blocks", "live", "rates", "offline")
_SEED = 100
_SETTLED_S = 15.0  # memory is judged from here on: buffers are full, every engine has worked
_HELD_MS = 100.0
_DEMO, _MEMORY = "demo, drawn beside", "memory"
_MEMORY_AT = {"when settled": "settled_mb", "at the end": "end_mb", "at its peak": "peak_mb"}
_PICTURES = 300  # of a film that is kept in memory; 276 MB at 640×480


# -- memory --------------------------------------------------------------------------------------


@dataclass(slots=True)
class MemoryCurve:
    """Resident memory over time, in seconds since the start and MB (10^6 bytes)."""

    times_s: list[float] = field(default_factory=list)
    resident_mb: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """Memory when settled, at the end and at its peak, and its growth since it settled."""
        times, sizes = np.array(self.times_s), np.array(self.resident_mb)
        settled = times >= min(_SETTLED_S, times[-1] / 2)
        times, later = times[settled], sizes[settled]
        slope = np.polyfit(times, later, 1)[0] if len(times) > 2 else np.nan
        return {
            "settled_mb": float(later[0]),
            "end_mb": float(sizes[-1]),
            "peak_mb": float(sizes.max()),
            "growth_mb_per_min": float(slope) * 60,
        }


@contextmanager
def watched_memory(interval_s: float = 0.25) -> Iterator[MemoryCurve]:
    """Sample the memory of this process while the body runs."""
    curve, process = MemoryCurve(), psutil.Process()
    started = time.perf_counter()

    def sample() -> None:
        curve.times_s.append(time.perf_counter() - started)
        curve.resident_mb.append(process.memory_info().rss / 1e6)

    sample()
    with repeated(sample, interval_s, "benchmark-memory"):
        yield curve


# -- building blocks -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cost:
    """Wall time of one call of a building block, alone on one thread."""

    block: str
    p50_ms: float
    p95_ms: float
    when: str


def block_costs(fps: float, size: tuple[int, int], frames: int = 400) -> list[Cost]:
    """Time each building block by itself, on one thread, on frames of the demo."""
    cv2.setNumThreads(1)
    config = GlintConfig()
    source = _demo(fps, size, frames / fps, realtime=False)
    aligner = FaceAligner(config.alignment, wait=True)
    meter = MotionMeter(config.motion, fps)
    spotter = create_spotter(config.spotter, config.flow_spotter, fps)
    taken: dict[str, list[float]] = {}

    def timed(block: str, work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        result = work(*arguments, **options)
        taken.setdefault(block, []).append((time.perf_counter() - started) * 1e3)
        return result

    info = source.open()
    picture, copy = np.empty(info.shape, np.uint8), np.empty(info.shape, np.uint8)
    faces: list[Image] = []
    times: list[float] = []
    aligner.open()
    try:
        for _ in range(frames):
            frame: Frame = timed("demo: draw a picture", source.read, picture)
            timed("copy a picture", np.copyto, copy, picture)
            face = np.empty((FACE_SIZE, FACE_SIZE), np.uint8)
            alignment = timed("alignment: track and warp", aligner.align, frame, face)
            sample = timed(
                "motion: flow, regions, strain",
                meter.measure,
                frame.index,
                frame.time_s,
                frame.gap_before,
                face if alignment.valid else None,
                epoch=alignment.epoch,
                mesh=alignment.mesh,
                head_speed=alignment.head_speed,
            )
            timed("spotter", spotter.push, sample)
            if alignment.valid:
                faces.append(face)
                times.append(frame.time_s)
    finally:
        aligner.close()
        source.close()
    flow = create_flow(config.motion.flow)
    for before, after in zip(faces[::5], faces[2::5], strict=False):
        timed(f"one {flow.name} flow", flow, before, after)
    _time_face_mesh(picture, timed)
    if faces:
        count = min(len(faces), round(0.3 * fps))
        clip = EventClip(np.stack(faces[:count]), np.array(times[:count]), 0, count // 2)
        recognizer = create_recognizer(config.recognizer)
        for _ in range(5):
            timed("recognition of an event", recognizer.recognize, clip)
        recognizer.close()
    when = {
        "demo: draw a picture": "every frame, demo only",
        "copy a picture": "for scale",
        "Face Mesh": f"{config.alignment.mesh_hz:g} Hz, own thread",
        "face search": f"{config.alignment.search_hz:g} Hz while no face is followed",
        "recognition of an event": "once an event, own thread",
    }
    return [
        Cost(
            block,
            float(np.percentile(values, 50)),
            float(np.percentile(values, 95)),
            when.get(block, "part of motion" if block.startswith("one ") else "every frame"),
        )
        for block, values in taken.items()
    ]


def _time_face_mesh(picture: Image, timed: Callable[..., Any]) -> None:
    mesh = FaceMeshThread()
    mesh.open()
    try:
        mesh.search(picture, None).result()  # the first call builds MediaPipe's graph
        found = None
        for _ in range(10):
            found = timed("face search", lambda: mesh.search(picture, None).result())
        if found is not None:
            crop = draw_crop(picture, found.alignment)
            mesh.follow(crop, None).result()
            for _ in range(30):
                timed("Face Mesh", lambda: mesh.follow(crop, None).result())
    finally:
        mesh.close()


# -- live ----------------------------------------------------------------------------------------


def live_run(source: DemoSource | MemorySource) -> dict[str, Any]:
    """Run a live source with a session folder, as `run_live.py --headless` does."""
    with tempfile.TemporaryDirectory() as folder, watched_memory() as memory:
        ended = run_to_end(GlintConfig(), source, [SessionFolderSink(Path(folder) / "session")])
    figures = _figures(ended)
    if isinstance(source, DemoSource):
        figures["cores_without_drawing"] = (ended.cpu_s - source.render_cpu_s) / ended.wall_s
    else:
        figures["longest_wait_ms"] = source.longest_wait_s * 1e3
    return {**figures, "memory": memory.summary()}


def live_runs(fps: float, size: tuple[int, int], seconds: float) -> dict[str, dict[str, Any]]:
    """Run the demo and, as a camera costs its host nothing, pictures from memory."""
    # The demo comes first: the film in memory is none of Glint's.
    demo = live_run(_demo(fps, size, seconds, realtime=True))
    return {_DEMO: demo, _MEMORY: live_run(_camera(film(fps, size), fps, seconds))}


def rates_held(
    ladder: Sequence[float], size: tuple[int, int], seconds: float
) -> list[dict[str, Any]]:
    """Raise the rate until frames are lost: with the demo drawn beside, and from memory."""
    sources: Mapping[str, Callable[[float], DemoSource | MemorySource]] = {
        _DEMO: lambda fps: _demo(fps, size, seconds, realtime=True),
        _MEMORY: lambda fps: _camera(film(fps, size), fps, seconds),
    }
    rows = []
    for name, build in sources.items():
        for fps in tqdm(ladder, desc=f"rates, {name}", unit="rate", disable=None):
            rows.append({"source": name, **live_run(build(fps))})
            if rows[-1]["lost"]:
                break
    return rows


def _camera(pictures: Image, fps: float, seconds: float) -> MemorySource:
    return MemorySource(pictures, fps, round(seconds * fps), realtime=True)


def _figures(ended: Ended) -> dict[str, Any]:
    metrics = ended.metrics
    return {
        "fps": metrics.fps_asked,
        "fps_measured": metrics.fps_measured,
        "captured": metrics.captured,
        "analysed": metrics.analysed,
        "lost": dict(metrics.lost),
        "latency_ms": {stage: dict(values) for stage, values in metrics.latency_ms.items()},
        "cores": ended.cpu_s / ended.wall_s,
        "wall_s": ended.wall_s,
        "stolen": ended.stolen,
        "undisturbed_ms": dict(ended.undisturbed),
        "notes": list(metrics.notes),
    }


# -- offline -------------------------------------------------------------------------------------


def offline_rates(fps: float, size: tuple[int, int], seconds: float) -> list[dict[str, Any]]:
    """Analyse one clip as fast as possible from a video, a folder and memory.

    Reading alone tells how much of the time is the decoder's. An archive is analysed with several
    recordings at once, each in a process of its own, as `run_live.py batch --jobs` does.
    """
    pictures = film(fps, size)
    frames = round(fps * seconds)
    cores = psutil.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, images = folder / "clip.avi", folder / "images"
        images.mkdir()
        _write_clip(MemorySource(pictures, fps, frames, realtime=False), path, images, fps)
        kinds: Mapping[str, Callable[[], FrameSource]] = {
            "video (MJPG in AVI)": partial(_source, path, fps),
            "folder (JPEG)": partial(_source, images, fps),
            "memory (no decoder)": lambda: MemorySource(pictures, fps, frames, realtime=False),
        }
        rows: list[dict[str, Any]] = []
        for kind, build in kinds.items():
            alone = frames / _read_through(build())
            rows.append({"source": kind, **_offline(build()), "fps_reading_alone": alone})
        for kind, place in (("videos", path), ("folders", images)):
            rows.append({"source": f"{cores} {kind} at once", **_at_once(place, fps, cores)})
    return rows


def _source(place: Path, fps: float) -> FrameSource:
    if place.is_dir():
        return ImageFolderSource(str(place), SourceOptions(fps=fps, realtime=False))
    return VideoFileSource(str(place), SourceOptions(realtime=False))


def _offline(source: FrameSource) -> dict[str, Any]:
    """Analyse a source into a session folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        ended = run_to_end(GlintConfig(), source, [SessionFolderSink(Path(folder) / "session")])
    return {**_figures(ended), "fps_analysed": ended.metrics.analysed / ended.wall_s}


def _at_once(place: Path, fps: float, processes: int) -> dict[str, Any]:
    """Analyse the same recording in several processes at once; rates and cores are their sums."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        work = [(place, fps)] * processes
        pool.starmap(_recording, work, chunksize=1)  # all have started and loaded the models
        ended = pool.starmap(_recording, work, chunksize=1)
    return {
        **{key: sum(each[key] for each in ended) for key in ("analysed", "fps_analysed", "cores")},
        "stolen": float(np.mean([each["stolen"] for each in ended])),
    }


def _recording(place: Path, fps: float) -> dict[str, Any]:
    return _offline(_source(place, fps))


def _write_clip(source: FrameSource, video: Path, images: Path, fps: float) -> None:
    info = source.open()
    picture = np.empty(info.shape, np.uint8)
    codec = cv2.VideoWriter_fourcc(*"MJPG")  # type: ignore[attr-defined]
    writer = cv2.VideoWriter(str(video), codec, fps, (info.width, info.height))
    if not writer.isOpened():
        raise RuntimeError("OpenCV cannot write MJPG in AVI here")
    while (frame := source.read(picture)) is not None:
        writer.write(picture)
        cv2.imwrite(str(images / f"img{frame.index + 1:05d}.jpg"), picture)
    writer.release()


def _read_through(source: FrameSource) -> float:
    """Seconds to read a source to its end without doing anything with it."""
    info = source.open()
    picture = np.empty(info.shape, np.uint8)
    started = time.perf_counter()
    while source.read(picture) is not None:
        pass
    taken = time.perf_counter() - started
    source.close()
    return taken


def film(fps: float, size: tuple[int, int], pictures: int = _PICTURES) -> Image:
    """Draw a film with an expression in it, (N, H, W, 3) uint8."""
    _, animator, times_s = _script(fps, size, pictures)
    drawn = np.empty((pictures, size[1], size[0], 3), np.uint8)
    for index, time_s in enumerate(times_s):
        animator.render(time_s, drawn[index], index)
    return drawn


def depth_film(
    fps: float, size: tuple[int, int], pictures: int = _PICTURES
) -> npt.NDArray[np.uint16]:
    """Draw what a depth camera sees of that film, (N, H, W) uint16 in millimetres."""
    scenario, animator, times_s = _script(fps, size, pictures)
    camera = DepthCamera(Portrait.astronaut(), animator, (size[1], size[0]), _SEED)
    seen = (camera.picture(scenario.at(time_s), i) for i, time_s in enumerate(times_s))
    return np.stack(list(seen))


def _script(
    fps: float, size: tuple[int, int], pictures: int
) -> tuple[Scenario, FaceAnimator, list[float]]:
    """The film's course, who draws it, and the time of each picture."""
    scenario = Scenario(ScenarioConfig(), _SEED, 60.0)
    animator = FaceAnimator(Portrait.astronaut(), scenario, *size)
    start_s = scenario.expressions[0].onset_s - 0.25 * pictures / fps
    return scenario, animator, [start_s + index / fps for index in range(pictures)]


def _demo(fps: float, size: tuple[int, int], seconds: float, *, realtime: bool) -> DemoSource:
    return DemoSource(
        "demo",
        SourceOptions(
            fps=fps,
            width=size[0],
            height=size[1],
            duration_s=seconds,
            seed=_SEED,
            realtime=realtime,
        ),
    )


# -- report --------------------------------------------------------------------------------------


def report(measured: Mapping[str, Any], size: tuple[int, int]) -> str:
    """Tables of whatever was measured."""
    parts = []
    if "blocks" in measured:
        parts += [
            f"## Building blocks, one thread, {size[0]}x{size[1]}",
            table(
                ["block", "p50 ms", "p95 ms", "when"],
                (
                    [c["block"], number(c["p50_ms"], 3), number(c["p95_ms"], 3), c["when"]]
                    for c in measured["blocks"]
                ),
            ),
            f"Two cores of this machine did {measured['parallel_gain']:.2f} times the work of one "
            "at optical flow.",
        ]
    if "live" in measured:
        for source, live in measured["live"].items():
            parts += _live_report(source, live)
    if "rates" in measured:
        parts += [
            "## Rates held live",
            table(
                [
                    *("source", "fps", "lost", "p50 ms", "p99 ms", "max ms", "longest wait ms"),
                    *("cores", "drawing", "taken by the host", "s undisturbed", "their p99 ms"),
                ],
                (_rate_row(row) for row in measured["rates"]),
            ),
            f"Held is a rate without a loss at which 99 % of the frames are scored within "
            f"{_HELD_MS:g} ms; a growing backlog shows there. *Longest wait* is what a camera's "
            "driver had to hold: Glint asks lab cameras for a second, webcams for ten pictures. "
            "Highest held: "
            + ", ".join(
                f"{source} {fps:g} fps" for source, fps in highest_held(measured["rates"]).items()
            ),
        ]
    if "offline" in measured:
        parts += [
            "## Offline",
            table(
                [
                    "source",
                    "frames",
                    "analysed fps",
                    "reading alone fps",
                    "cores",
                    "taken by the host",
                ],
                (
                    [
                        row["source"],
                        row["analysed"],
                        number(row["fps_analysed"], 0),
                        number(row.get("fps_reading_alone", math.nan), 0),
                        number(row["cores"]),
                        f"{row['stolen']:.1%}",
                    ]
                    for row in measured["offline"]
                ),
            ),
        ]
    return "\n\n".join(parts)


def highest_held(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Highest rate of each source below the first one not held; 0 when that is the first."""
    held: dict[str, float] = {}
    for row in rows:
        best = held.setdefault(row["source"], 0.0)
        if not row["lost"] and row["latency_ms"]["capture_to_score"]["p99"] <= _HELD_MS:
            held[row["source"]] = max(best, row["fps"])
    return held


def _live_report(source: str, live: Mapping[str, Any]) -> list[str]:
    latency = live["latency_ms"]
    memory, cores = live["memory"], live["cores"]
    return [
        f"## Live, {source}, {live['fps']:g} fps for {live['wall_s']:.0f} s",
        table(
            ["stage", "p50 ms", "p95 ms", "p99 ms", "max ms"],
            (
                [stage, *(number(values[q], 3) for q in ("p50", "p95", "p99", "max"))]
                for stage, values in latency.items()
            ),
        ),
        table(
            ["figure", "measured", "reach"],
            [
                ["captured / analysed", f"{live['captured']} / {live['analysed']}", ""],
                ["lost", _lost(live["lost"]), "none"],
                ["capture to score p99", f"{latency['capture_to_score']['p99']:.2f} ms", "8 ms"],
                ["cores without drawing", number(live.get("cores_without_drawing", cores)), "0.8"],
                ["cores in all", number(cores), ""],
                ["taken by the host", f"{live['stolen']:.1%}", ""],
                [
                    f"p99 in the {live['undisturbed_ms']['seconds']:.0f} s it took nothing",
                    f"{live['undisturbed_ms'].get('p99', float('nan')):.2f} ms",
                    "8 ms",
                ],
                # The film in memory is none of Glint's, so only growth is told beside it.
                *(
                    [f"memory {when}", f"{memory[key]:.1f} MB", ""]
                    for when, key in _MEMORY_AT.items()
                    if source == _DEMO
                ),
                ["memory growth", f"{memory['growth_mb_per_min']:+.2f} MB/min", "flat"],
            ],
        ),
        *(f"Note: {note}" for note in live["notes"]),
    ]


def _rate_row(row: Mapping[str, Any]) -> list[object]:
    score = row["latency_ms"].get("capture_to_score", {})
    without = row.get("cores_without_drawing")
    return [
        row["source"],
        f"{row['fps']:g}",
        _lost(row["lost"]),
        *(number(score.get(q, float("nan"))) for q in ("p50", "p99", "max")),
        number(row.get("longest_wait_ms", float("nan")), 0),
        number(row["cores"] if without is None else without),
        number(0.0 if without is None else row["cores"] - without),
        f"{row['stolen']:.1%}",
        number(row["undisturbed_ms"]["seconds"], 0),
        number(row["undisturbed_ms"].get("p99", float("nan"))),
    ]


def _lost(lost: Mapping[str, int]) -> str:
    return ", ".join(f"{cause} {frames}" for cause, frames in lost.items()) or "none"


# -- command line --------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for, print the tables, write JSON and Markdown."""
    options = _parser().parse_args(arguments)
    fps, size, parts = options.fps, options.size, options.parts
    measured: dict[str, Any] = {"size": list(size)}
    # The live runs come first: nothing that another part left behind counts as their memory.
    if "live" in parts:
        measured["live"] = live_runs(fps, size, options.seconds)
    if "blocks" in parts:
        measured["parallel_gain"] = parallel_gain()
        measured["blocks"] = [
            {"block": c.block, "p50_ms": c.p50_ms, "p95_ms": c.p95_ms, "when": c.when}
            for c in block_costs(fps, size)
        ]
    if "rates" in parts:
        measured["rates"] = rates_held(options.ladder, size, options.rate_seconds)
        measured["highest_held"] = highest_held(measured["rates"])
    if "offline" in parts:
        measured["offline"] = offline_rates(fps, size, options.rate_seconds)
    text = report(measured, size)
    print(text)
    path = save("live", measured, text, options.json)
    print(f"\nWritten to {path} and {path.with_suffix('.md').name}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = live_parser("python -m benchmarks.live", __doc__)
    add = parser.add_argument
    add("--seconds", type=float, default=60.0, metavar="S", help="length of each live run (60)")
    add("--fps", type=float, default=200.0, help="rate of the live runs (200)")
    add("--parts", type=some_of(PARTS), default=PARTS, help=f"of: {','.join(PARTS)} (default: all)")
    add(
        "--ladder",
        type=floats,
        default=[200.0, 300.0, 400.0, 500.0, 600.0, 800.0, 1000.0],
        help="rates to try, up to the first that loses frames",
    )
    add(
        "--rate-seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="length of each rate's run and of the offline clip (10)",
    )
    return parser


if __name__ == "__main__":
    exit_with(main)
