"""Detection quality on animated faces with known truth, and on real clips where they are present.

    python -m benchmarks.detection                  # everything
    python -m benchmarks.detection --seeds 100-101 --fps 200 --conditions all --verbose

    python -m benchmarks.detection --seeds 0-9 --replay runs/motion --verbose     # for tuning

Sessions run through the same pipeline as `run_live.py`, headless and as fast as possible. With
`--replay DIR` alignment and flow run only once for each session and the spotter runs anew on their
results, which takes seconds; a change of their code or settings records anew.

**Seeds below 100 are for tuning, seeds from 100 on for measuring**: a parameter that was chosen on
a seed makes every number on that seed optimistic.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.conditions import CONDITIONS, activities_of, scenario_of, truths_of
from benchmarks.failures import Activity, Truth, Verdict, judge
from benchmarks.headless import FrameCurves, run_headless
from benchmarks.replay import RecordedMotion, fingerprint, record_motion, replay
from benchmarks.results import bounded, number, save, table
from engines.evaluation.spotting import (
    Interval,
    Recording,
    Tally,
    bootstrap_intervals,
    error_summary,
    interval_of_event,
    poisson_interval,
    pool,
    tally,
)
from engines.events import Event, EventKind, EventState
from engines.motion.canonical import REGION_NAMES
from engines.spotting.registry import SPOTTERS, create_spotter
from engines.synthesis.scenario import Scenario
from streamer.config import GlintConfig, read_toml
from streamer.errors import UserError
from streamer.sources.base import SourceOptions
from streamer.sources.demo import DemoSource
from streamer.sources.video_file import VideoFileSource

TUNING_SEEDS_BELOW = 100
VIDEO = Path(__file__).parents[2] / "shared" / "data" / "video"

STATISTICS: Mapping[str, Callable[[Tally], float]] = {
    "f1": lambda t: t.f1,
    "precision": lambda t: t.precision,
    "recall": lambda t: t.recall,
    "false_alarms_per_min": lambda t: t.false_alarms_per_min,
    "onset_median_s": lambda t: _median_size(t.onset_errors_s),
    "apex_median_s": lambda t: _median_size(t.apex_errors_s),
    "offset_median_s": lambda t: _median_size(t.offset_errors_s),
}


@dataclass(frozen=True, slots=True)
class Task:
    """One session to run.

    Attributes:
        condition: Name in `CONDITIONS`.
        fps: Frames a second.
        seed: Seed of the demo.
        duration_s: Length of the session.
        expressions: False for a session in which nothing is to be found.
        config: What to run.
        recordings: Folder of recorded motion; None runs the whole pipeline.
    """

    condition: str
    fps: float
    seed: int
    duration_s: float
    expressions: bool
    config: GlintConfig
    recordings: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a session gave; small enough to cross between processes.

    Attributes:
        task: Which session.
        truths: What was there.
        detections: What was found.
        verdicts: Every truth and every false detection with its cause.
    """

    task: Task
    truths: tuple[Truth, ...]
    detections: tuple[Interval, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def recording(self) -> Recording:
        """As evaluation sees it."""
        true = [truth.interval for truth in self.truths]
        return Recording(true, self.detections, self.task.duration_s, f"seed {self.task.seed}")


@dataclass(frozen=True, slots=True)
class Session:
    """A session with everything that is known about it.

    Attributes:
        events: Last state of every event, closed or withdrawn.
        frames: Score, threshold and motion of each frame.
        truths: What was there.
        activities: What happened beside it: blinks, saccades.
    """

    events: tuple[Event, ...]
    frames: FrameCurves
    truths: tuple[Truth, ...]
    activities: tuple[Activity, ...]

    @property
    def detections(self) -> list[Interval]:
        """The closed events."""
        return [interval_of_event(e) for e in self.events if e.state is EventState.CLOSED]

    def verdicts(self) -> list[Verdict]:
        """Every truth and every false detection with its cause."""
        return judge(self.truths, self.events, self.frames, REGION_NAMES, self.activities)


def run_session(
    seed: int,
    fps: float = 200.0,
    duration_s: float = 60.0,
    condition: str = "all",
    *,
    expressions: bool = True,
    config: GlintConfig | None = None,
    recordings: Path | None = None,
) -> Session:
    """Run one animated session as fast as possible.

    Args:
        seed: Seed of the demo; below 100 for tuning, from 100 on for measuring.
        fps: Frames a second.
        duration_s: Length of the session.
        condition: Name in `benchmarks.conditions.CONDITIONS`.
        expressions: False for a session in which nothing is to be found.
        config: Spotter, alignment and motion; the defaults without recognition when None.
        recordings: Folder of recorded motion: taken from there when it is there, recorded there
            when not. None runs the whole pipeline.

    Raises:
        RuntimeError: The session failed, or a frame was lost, which may not happen here.
    """
    config = config or GlintConfig(recognizer="none")
    scenario = scenario_of(condition, expressions=expressions)
    options = SourceOptions(fps=fps, duration_s=duration_s, seed=seed, realtime=False)
    source = DemoSource("demo", options, scenario=scenario)
    script = Scenario(scenario, seed, duration_s)
    truths, activities = truths_of(script), activities_of(script)
    if recordings is None:
        run = run_headless(config, source)
        if run.metrics.lost:
            raise RuntimeError(f"frames were lost although the source waits: {run.metrics.lost}")
        return Session(run.events, run.frames, truths, activities)
    path = recordings / f"{fingerprint(config, f'{scenario!r} {options!r}')}.npz"
    if not path.exists():
        record_motion(config, source).save(path)
    motion = RecordedMotion.load(path)
    events, frames = replay(motion, create_spotter(config.spotter, config.flow_spotter, motion.fps))
    return Session(events, frames, truths, activities)


def run_task(task: Task) -> Outcome:
    """Run one session; the entry point of a worker process."""
    session = run_session(
        task.seed,
        task.fps,
        task.duration_s,
        task.condition,
        expressions=task.expressions,
        config=task.config,
        recordings=task.recordings,
    )
    return Outcome(
        task=task,
        truths=session.truths,
        detections=tuple(session.detections),
        verdicts=tuple(session.verdicts()),
    )


def run_all(tasks: Sequence[Task], jobs: int) -> list[Outcome]:
    """Run sessions in so many processes; results are in the order of the tasks."""
    results: dict[int, Outcome] = {}
    frames = [round(task.fps * task.duration_s) for task in tasks]
    # Longest first, so that no process is left alone with a long one at the end.
    queue = sorted(range(len(tasks)), key=lambda i: -frames[i])
    # MediaPipe's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with (
        tqdm(total=sum(frames), unit=" frames", unit_scale=True, disable=None) as bar,
        ProcessPoolExecutor(jobs, context, _silence) as workers,
    ):
        futures = {workers.submit(run_task, tasks[i]): i for i in queue}
        for future in as_completed(futures):
            i = futures[future]
            results[i] = future.result()
            bar.update(frames[i])
    return [results[i] for i in range(len(tasks))]


def _silence() -> None:
    """Keep MediaPipe's notes on every graph off the progress bar; errors come by their future."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


# -- reports -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Quality:
    """One condition at one frame rate, for one kind.

    Attributes:
        condition: Name in `CONDITIONS`.
        fps: Frames a second.
        kind: Micro or macro; None for both, whatever they were called.
        total: All sessions together.
        bounds: Name in `STATISTICS` to its 95 % interval over seeds.
        agreement: F1 of the detections against those at the highest frame rate.
    """

    condition: str
    fps: float
    kind: EventKind | None
    total: Tally
    bounds: Mapping[str, tuple[float, float]]
    agreement: float


def qualities(outcomes: Sequence[Outcome]) -> list[Quality]:
    """Pool sessions with expressions by condition, frame rate and kind."""
    sessions = [o for o in outcomes if o.task.expressions]
    groups = list(dict.fromkeys((o.task.condition, o.task.fps) for o in sessions))
    rows = []
    for condition, fps in groups:
        group = [o for o in sessions if (o.task.condition, o.task.fps) == (condition, fps)]
        highest = max(f for c, f in groups if c == condition)
        reference = {
            o.task.seed: o.detections
            for o in sessions
            if (o.task.condition, o.task.fps) == (condition, highest)
        }
        for kind in (*EventKind, None):
            tallies = [tally(o.recording, kind) for o in group]
            against = [
                tally(Recording(reference[o.task.seed], o.detections, o.task.duration_s), kind)
                for o in group
            ]
            rows.append(
                Quality(
                    condition=condition,
                    fps=fps,
                    kind=kind,
                    total=pool(tallies),
                    bounds=bootstrap_intervals(tallies, STATISTICS),
                    agreement=pool(against).f1,
                )
            )
    return rows


def quality_table(rows: Iterable[Quality]) -> str:
    """Precision, recall, F1, false alarms."""
    return table(
        [
            "condition",
            "fps",
            "kind",
            "true",
            "precision",
            "recall",
            "F1 [95 %]",
            "FP/min",
            "alarms/min [95 %]",
            "as at top fps",
        ],
        (
            [
                row.condition,
                f"{row.fps:g}",
                _name(row.kind),
                row.total.tp + row.total.fn,
                number(row.total.precision),
                number(row.total.recall),
                bounded(row.total.f1, row.bounds["f1"]),
                number(row.total.false_positives_per_min),
                bounded(row.total.false_alarms_per_min, row.bounds["false_alarms_per_min"]),
                number(row.agreement),
            ]
            for row in rows
        ),
    )


def timing_table(rows: Iterable[Quality]) -> str:
    """Onset, apex and offset error of what was found, and decision latency."""

    def errors(values: Sequence[float]) -> str:
        summary = error_summary(values)
        return " / ".join(
            number(value * 1e3, 0) for value in (summary.median_s, summary.p90_s, summary.bias_s)
        )

    return table(
        ["condition", "fps", "kind", "onset", "apex", "offset", "decided p50 / p95"],
        (
            [
                row.condition,
                f"{row.fps:g}",
                _name(row.kind),
                errors(row.total.onset_errors_s),
                errors(row.total.apex_errors_s),
                errors(row.total.offset_errors_s),
                " / ".join(number(_quantile(row.total.latencies_s, q) * 1e3, 0) for q in (50, 95)),
            ]
            for row in rows
        ),
    )


def quiet_rows(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """False alarms of the sessions in which nothing is to be found."""
    rows: dict[tuple[str, float], dict[str, Any]] = {}
    for outcome in outcomes:
        if outcome.task.expressions:
            continue
        task = outcome.task
        row = rows.setdefault(
            (task.condition, task.fps),
            {"condition": task.condition, "fps": task.fps, "minutes": 0.0, "micro": 0, "macro": 0},
        )
        row["minutes"] += task.duration_s / 60
        for detection in outcome.detections:
            row[detection.kind.value] += 1
    for row in rows.values():
        row["per_min"] = (row["micro"] + row["macro"]) / row["minutes"]
        row["per_min_95"] = poisson_interval(row["micro"] + row["macro"], row["minutes"])
    return list(rows.values())


def quiet_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """False alarms without any expression."""
    return table(
        ["condition", "fps", "minutes", "micro", "macro", "alarms/min [95 %]"],
        (
            [
                row["condition"],
                f"{row['fps']:g}",
                number(row["minutes"], 1),
                row["micro"],
                row["macro"],
                bounded(row["per_min"], row["per_min_95"]),
            ]
            for row in rows
        ),
    )


def cause_table(outcomes: Iterable[Outcome]) -> str:
    """How often each cause made a miss or a false detection."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for outcome in outcomes:
        for verdict in outcome.verdicts:
            if verdict.outcome != "found":
                counts[verdict.outcome, verdict.kind, verdict.cause] += 1
    return table(
        ["outcome", "kind", "cause", "times"],
        ([*key, times] for key, times in counts.most_common()),
    )


def amplitude_table(outcomes: Iterable[Outcome], edges: Sequence[float]) -> str:
    """Recall by the size of the movement, in pixels of a 640×480 picture."""
    found: Counter[tuple[str, int]] = Counter()
    total: Counter[tuple[str, int]] = Counter()
    for verdict in (v for o in outcomes for v in o.verdicts if v.outcome != "false"):
        column = sum(verdict.amplitude_px >= edge for edge in edges)
        total[verdict.kind, column] += 1
        found[verdict.kind, column] += verdict.outcome == "found"
    names = [f"< {edges[0]:g} px"]
    names += [f"{a:g} to {b:g} px" for a, b in pairwise(edges)]
    names += [f">= {edges[-1]:g} px"]
    return table(
        ["kind", *names],
        (
            [kind.value]
            + [f"{found[kind.value, i]}/{total[kind.value, i]}" for i in range(len(names))]
            for kind in EventKind
        ),
    )


def listing(outcomes: Iterable[Outcome]) -> str:
    """Every miss and every false detection, one a line."""
    return table(
        [
            "session",
            "outcome",
            "kind",
            "onset s",
            "ms",
            "px",
            "peak",
            "cause",
            "detail",
            "what",
            "moved (IOD/1000)",
            "nearby",
        ],
        (
            [
                f"{o.task.condition}{'' if o.task.expressions else ' quiet'}"
                f" {o.task.fps:g} #{o.task.seed}",
                v.outcome,
                v.kind,
                f"{v.onset_s:.3f}",
                f"{(v.offset_s - v.onset_s) * 1e3:.0f}",
                number(v.amplitude_px, 1),
                number(v.peak),
                v.cause,
                v.detail,
                v.label,
                v.regions,
                v.nearby,
            ]
            for o in outcomes
            for v in o.verdicts
            if v.outcome != "found"
        ),
    )


# -- real clips ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Clip:
    """A real clip and what must be found in it; no clip has a micro-expression.

    Attributes:
        name: File in the data folder.
        expected: In words.
        macros: Smallest and largest right number of macro-expressions.
        quiet_until_s: Nothing may start before this.
    """

    name: str
    expected: str
    macros: tuple[int, int] = (0, 0)
    quiet_until_s: float = 0.0


CLIPS = (
    Clip("single_face.mp4", "one macro (the smile), no micro", macros=(1, 1)),
    Clip("no_face.mp4", "nothing"),
    # The face appears at 3.95 s and really smiles from 4.45 s to the end.
    Clip(
        "noface_face.mov",
        "nothing before 4.3 s; the smile after it may be a macro",
        macros=(0, 1),
        quiet_until_s=4.3,
    ),
)


def run_clip(clip: Clip, config: GlintConfig) -> dict[str, Any]:
    """Run a real clip and judge what was found."""
    source = VideoFileSource(str(VIDEO / clip.name), SourceOptions(realtime=False))
    found = run_headless(config, source).detections
    return {
        "clip": clip.name,
        "found": [f"{d.kind.value} {d.onset_s:.2f}-{d.offset_s:.2f} s" for d in found],
        "expected": clip.expected,
        "verdict": "as expected" if as_expected(clip, found) else "WRONG",
    }


def as_expected(clip: Clip, found: Sequence[Interval]) -> bool:
    """Whether a clip was understood."""
    kinds = Counter(detection.kind for detection in found)
    fewest, most = clip.macros
    return (
        kinds[EventKind.MICRO] == 0
        and fewest <= kinds[EventKind.MACRO] <= most
        and all(detection.onset_s >= clip.quiet_until_s for detection in found)
    )


# -- command line --------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for, print the tables, write JSON and Markdown."""
    options = _parser().parse_args(arguments)
    config = _config(options)
    tasks = [
        Task(condition, fps, seed, options.duration, True, config, options.replay)
        for condition in options.conditions
        for fps in options.fps
        for seed in options.seeds
    ]
    if options.quiet_minutes > 0:
        tasks += [
            Task(
                condition,
                fps,
                options.seeds[0],
                options.quiet_minutes * 60,
                False,
                config,
                options.replay,
            )
            for condition in options.conditions
            for fps in options.fps
        ]
    outcomes = run_all(tasks, options.jobs)
    rows = qualities(outcomes)
    quiet = quiet_rows(outcomes)
    parts = [f"Seeds {options.seeds}, {options.duration:g} s a session, spotter {config.spotter}."]
    if min(options.seeds) < TUNING_SEEDS_BELOW:
        parts.append(
            f"**Seeds below {TUNING_SEEDS_BELOW} are for tuning: these numbers are optimistic.**"
        )
    if options.replay:
        parts.append(f"Spotted on motion recorded in {options.replay}.")
    parts += ["## Quality on animated faces (IoU 0.5, one to one)", quality_table(rows)]
    parts += ["## Timing, ms: median / 90 % of the absolute error / signed median"]
    parts += [timing_table(rows)]
    if quiet:
        parts += ["## Sessions without expressions", quiet_table(quiet)]
    parts += ["## Causes of failures, all sessions", cause_table(outcomes)]
    parts += ["## Found by amplitude, all sessions", amplitude_table(outcomes, (0.5, 1, 1.5, 2))]
    clips: list[dict[str, Any]] = []
    if options.clips and VIDEO.is_dir():
        clips = [run_clip(clip, config) for clip in CLIPS]
        parts += [
            "## Real clips",
            table(
                ["clip", "found", "expected", "verdict"],
                ([c["clip"], ", ".join(c["found"]), c["expected"], c["verdict"]] for c in clips),
            ),
        ]
    elif options.clips:
        parts.append(f"Real clips: skipped, there is no folder {VIDEO}.")
    report = "\n\n".join(parts)
    print(report)
    if options.verbose:
        print("\n## Failures\n\n" + listing(outcomes))
    measured = {
        "seeds": options.seeds,
        "duration_s": options.duration,
        "configuration": config.model_dump(mode="json"),
        "quality": [_quality_json(row) for row in rows],
        "quiet": quiet,
        "clips": clips,
        "failures": [
            {
                "condition": o.task.condition,
                "fps": o.task.fps,
                "seed": o.task.seed,
                "expressions": o.task.expressions,
                **asdict(v),
            }
            for o in outcomes
            for v in o.verdicts
            if v.outcome != "found"
        ],
    }
    path = save("detection", measured, report, options.json)
    print(f"\nWritten to {path} and {path.with_suffix('.md').name}")
    return 0


def seeds(text: str) -> list[int]:
    """Read `100-109` or `3,5,100-102`."""
    chosen: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        chosen += range(int(first), int(last or first) + 1)
    if not chosen:
        raise ValueError(text)
    return chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.detection", description=__doc__.split("\n", maxsplit=1)[0]
    )
    add = parser.add_argument
    add("--seeds", type=seeds, default=seeds("100-109"), help="e.g. 100-109 (default) or 0,3,7-9")
    add("--fps", type=_floats, default=[30.0, 60.0, 120.0, 200.0], help="e.g. 30,60,120,200")
    add("--duration", type=float, default=60.0, metavar="S", help="seconds a session (60)")
    add(
        "--conditions",
        type=_conditions,
        default=list(CONDITIONS),
        help=f"of: {', '.join(CONDITIONS)} (default: all of them)",
    )
    add(
        "--quiet-minutes",
        type=float,
        default=3.0,
        metavar="MIN",
        help="length of the session without expressions, 0 for none (3)",
    )
    add("--spotter", choices=SPOTTERS, default="flow", help="spotting engine")
    add("--config", type=Path, help="a glint.toml with settings of the engines")
    add(
        "--replay",
        type=Path,
        metavar="DIR",
        help="keep the motion of sessions in DIR and only spot anew; for tuning a spotter",
    )
    add("--jobs", type=int, default=2, help="processes (2)")
    add("--no-clips", dest="clips", action="store_false", help="leave the real clips out")
    add("--verbose", action="store_true", help="list every miss and every false detection")
    add("--json", type=Path, help="result file (default: one with the date in benchmarks/results)")
    return parser


def _config(options: argparse.Namespace) -> GlintConfig:
    tree = read_toml(options.config) if options.config else {}
    origin = str(options.config) if options.config else "the options"
    return GlintConfig.from_tree({**tree, "spotter": options.spotter, "recognizer": "none"}, origin)


def _floats(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def _conditions(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in CONDITIONS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{unknown[0]!r} is no condition; choose of {', '.join(CONDITIONS)}"
        )
    return names


def _quality_json(row: Quality) -> dict[str, Any]:
    total = row.total
    return {
        "condition": row.condition,
        "fps": row.fps,
        "kind": _name(row.kind),
        "tp": total.tp,
        "fp": total.fp,
        "fn": total.fn,
        "free_s": total.free_s,
        "false_alarms": total.false_alarms,
        **{name: statistic(total) for name, statistic in STATISTICS.items()},
        "bounds_95": dict(row.bounds),
        "onset": asdict(error_summary(total.onset_errors_s)),
        "apex": asdict(error_summary(total.apex_errors_s)),
        "offset": asdict(error_summary(total.offset_errors_s)),
        "latency_p50_s": _quantile(total.latencies_s, 50),
        "latency_p95_s": _quantile(total.latencies_s, 95),
        "agreement_with_highest_fps": row.agreement,
    }


def _name(kind: EventKind | None) -> str:
    return kind.value if kind else "any"


def _median_size(errors: Sequence[float]) -> float:
    return float(np.median(np.abs(errors))) if errors else math.nan


def _quantile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else math.nan


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
