"""Compare the spotters and recognisers on synthetic people that none of them has seen.

    python -m benchmarks.engines --data FOLDER

FOLDER is the synthetic set that the learned engines were trained on; only its test identities are
looked at. Prints, as Markdown, micro-expression spotting as filmed and at lower frame rates,
recognition of true expressions, and what a frame and an event cost one core. `--only recognition`
is the table from which a recogniser is chosen. Engines that read depth take part where FOLDER was
made with a depth camera.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.results import RESULTS, bounded, number, save, table
from benchmarks.spotters import frame_cpu_s, whole
from engines.errors import UserError
from engines.evaluation.spotting import Tally, pool
from engines.events import Event, EventKind
from engines.motion.planes import composite_planes
from engines.recognition.base import Recognizer
from engines.recognition.registry import DEPTH_RECOGNIZERS, RECOGNIZERS, create_recognizer
from engines.runtime.shipped import find_graphs
from engines.spotting.base import MotionSample, Spotter
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.registry import DEPTH_SPOTTERS, SPOTTERS, create_spotter
from engines.training.clips import ClipEvent, FaceClip, at_rate
from engines.training.figures import recognition_figures, spotting_figures
from engines.training.sources import open_source
from engines.training.streaming import event_clip, judged, kept, measure, spot_samples
from streamer.scheduling import one_thread_a_stage

FAST_FPS = 100.0
"""Clips that were filmed at least as fast are looked at again at lower rates."""

LOWER_RATES = (60.0, 30.0)

FACTORS = (4.0, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0)
"""What the training-free spotter's threshold is chosen from, on the validation identities."""

PARTS = ("spotting", "recognition", "cost")

OFF_S = 0.05
"""How far onset and apex are moved for the figures of uncertain events, at most."""

LEAST_RISE_S = 0.02
UNCERTAIN = f"micro, onset and apex off by up to {1e3 * OFF_S:.0f} ms"

TUNED = "flow, tuned"
"""The training-free spotter at the threshold that was chosen so, as the networks' were."""

COST_FRAMES = 300
"""Frames over which costs are measured."""

COST_S = 10.0
"""Seconds of a clip over which the spotters' costs are measured."""

_ALONE = "the spotter alone at {:g} fps, one core"

COST_BLOCKS = 7
"""Of so many measurements the least counts: whatever else runs can only add."""


def spotter_names(clip: FaceClip) -> tuple[str, ...]:
    """Every registered spotter that can see a clip."""
    return SPOTTERS if clip.depth is None else (*SPOTTERS, *DEPTH_SPOTTERS)


def spotters_for(clip: FaceClip, factor: float) -> dict[str, Spotter]:
    """Every registered spotter, and the training-free one at another threshold.

    Args:
        clip: What they are to see.
        factor: That threshold's factor.
    """
    fps, tuned = clip.fps, FlowSpotterConfig(threshold_factor=factor)
    spotters = {
        name: create_spotter(name, FlowSpotterConfig(), fps) for name in spotter_names(clip)
    }
    return {**spotters, TUNED: create_spotter("flow", tuned, fps)}


def choose_factor(clips: Sequence[FaceClip]) -> float:
    """The threshold factor of the training-free spotter with the highest F1 on some clips."""
    measured = [
        (clip, [kept(sample) for sample in measure(clip, delta_flow=False)])
        for clip in tqdm(clips, desc="choosing a threshold", unit="clip", file=sys.stderr)
    ]

    def f1(factor: float) -> float:
        config = FlowSpotterConfig(threshold_factor=factor)
        return pool(
            spot_samples(clip, create_spotter("flow", config, clip.fps), samples)
            for clip, samples in measured
        ).f1

    return max(FACTORS, key=f1)


def spot_all(clip: FaceClip, factor: float) -> dict[str, Tally]:
    """What each spotter finds in a clip; motion is measured once for all of them."""
    spotters = spotters_for(clip, factor)
    events: dict[str, list[Event]] = {name: [] for name in spotters}
    for sample in measure(clip):
        for name, spotter in spotters.items():
            events[name] += spotter.push(sample).events
    return {
        name: judged(clip, chain(events[name], spotter.finish()))
        for name, spotter in spotters.items()
    }


def spotting(clips: Sequence[FaceClip], factor: float) -> dict[str, dict[str, Any]]:
    """Spotting figures: condition to spotter to figures."""
    filmed = _found(clips, factor, "as filmed")
    fast = [clip for clip in clips if clip.fps >= FAST_FPS]
    by_rate = {
        f"filmed at {fps:g} fps": [each for each in filmed if each[0].fps == fps]
        for fps in sorted({clip.fps for clip in clips})
    }
    shown = {
        f"fast clips at {fps:g} fps": _found(
            [at_rate(c, fps) for c in fast], factor, f"{fps:g} fps"
        )
        for fps in LOWER_RATES
    }
    conditions = {
        "all": filmed,
        **by_rate,
        "fast clips": [each for each in filmed if each[0].fps >= FAST_FPS],
        **shown,
    }
    return {
        condition: {
            name: spotting_figures([(clip.identity, tallies[name]) for clip, tallies in found])
            for name in found[0][1]
        }
        for condition, found in conditions.items()
        if found
    }


def _found(
    clips: Sequence[FaceClip], factor: float, what: str
) -> list[tuple[FaceClip, dict[str, Tally]]]:
    shown = tqdm(clips, desc=what, unit="clip", file=sys.stderr)
    return [(clip, spot_all(clip, factor)) for clip in shown]


def recognition(clips: Sequence[FaceClip], classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Recognition figures of each recogniser that has these classes.

    With them `ms_per_event` and its p99, what an event costs one core. The kind `UNCERTAIN` are
    the micro-expressions once more, with onset and apex where a spotter might have put them.
    """
    figures: dict[str, dict[str, Any]] = {}
    for name in sorted({**RECOGNIZERS, **({} if clips[0].depth is None else DEPTH_RECOGNIZERS)}):
        engine = create_recognizer(name)
        if set(engine.classes) == set(classes):
            asked = Asked(engine)
            rng = np.random.default_rng(0)
            true, moved = [], []
            for clip in tqdm(clips, desc=name, unit="clip", file=sys.stderr):
                for event in clip.events:
                    true.append(asked(clip, event))
                    if event.kind is EventKind.MICRO:
                        moved.append(asked(clip, uncertain(event, rng)))
            found = recognition_figures(true, classes)
            found[UNCERTAIN] = recognition_figures(moved, classes)["micro"]
            p50, p99 = np.percentile(asked.spent_ms, (50, 99)).tolist()
            for group in found.values():
                group |= {"ms_per_event": p50, "ms_per_event_p99": p99}
            figures[name] = found
        engine.close()
    return figures


class Asked:
    """A recogniser that is asked for the emotion of events, and what that cost."""

    def __init__(self, engine: Recognizer) -> None:
        self._engine = engine
        self.spent_ms: list[float] = []

    def __call__(self, clip: FaceClip, event: ClipEvent) -> dict[str, Any]:
        """What `recognition_figures` reads of one event."""
        cut = event_clip(clip, event)
        started = time.process_time()
        answer = self._engine.recognize(cut)
        self.spent_ms.append(1e3 * (time.process_time() - started))
        return {
            "identity": clip.identity,
            "kind": event.kind.value,
            "emotion": event.emotion,
            "recognised": answer.most_probable,
            "probabilities": answer.probabilities,
        }


def uncertain(event: ClipEvent, rng: np.random.Generator) -> ClipEvent:
    """The event with its onset and apex each off by up to `OFF_S`, in their order."""
    onset_s, apex_s = np.array([event.onset_s, event.apex_s]) + rng.uniform(-OFF_S, OFF_S, 2)
    onset_s = max(float(onset_s), 0.0)
    return replace(event, onset_s=onset_s, apex_s=max(float(apex_s), onset_s + LEAST_RISE_S))


def costs(clip: FaceClip) -> dict[str, dict[str, float]]:
    """Milliseconds of one core that a frame costs, by what is done: mean, p50 and p99.

    Args:
        clip: A clip at a high frame rate.
    """
    frames = min(COST_FRAMES, len(clip.times))

    def drained(samples: Iterator[MotionSample]) -> None:
        for _, _ in zip(range(frames), samples, strict=False):
            pass

    plain = _cpu_ms(lambda: drained(measure(clip, delta_flow=False)), frames)
    both = _cpu_ms(lambda: drained(measure(clip)), frames)
    found = {"motion, without the flow over 0.1 s": plain, "flow over 0.1 s": both - plain}
    sample = next(s for s in measure(clip) if s.flow_delta is not None)
    flow, delta_s = sample.flow_delta, sample.delta_s
    assert flow is not None
    found["planes"] = _cpu_ms(lambda: composite_planes(flow, delta_s))
    costs_ms: dict[str, dict[str, float]] = {what: {"mean": ms} for what, ms in found.items()}
    samples = [whole(sample) for sample in islice(measure(clip), round(COST_S * clip.fps))]
    for name in spotter_names(clip):
        spotter = create_spotter(name, FlowSpotterConfig(), clip.fps)
        spent_ms = 1e3 * frame_cpu_s(spotter, samples)
        p50, p99 = np.percentile(spent_ms, (50, 99)).tolist()
        shown = f"{name}: {_ALONE.format(clip.fps)}"
        costs_ms[shown] = {"mean": float(spent_ms.mean()), "p50": p50, "p99": p99}
    return costs_ms


def _cpu_ms(work: Callable[[], object], frames: int = 1) -> float:
    """Milliseconds of processor time for each frame; work on one frame is repeated."""
    times = COST_FRAMES if frames == 1 else 1
    blocks = []
    for _ in range(COST_BLOCKS):
        started = time.process_time()
        for _ in range(times):
            work()
        blocks.append(time.process_time() - started)
    return 1e3 * min(blocks) / (times * frames)


def spotting_table(figures: dict[str, dict[str, Any]]) -> str:
    """Rows of conditions and spotters."""
    rows = []
    for condition, by_spotter in figures.items():
        for name, found in by_spotter.items():
            latency = found["latency_p50_s"]
            rows.append(
                (
                    condition,
                    name,
                    found["micro_expressions"],
                    *(
                        bounded(found[key], tuple(found[f"{key}_interval"]))
                        for key in (
                            "f1",
                            "precision",
                            "recall",
                            "false_positives_per_min",
                            "false_alarms_per_min",
                        )
                    ),
                    "-" if latency is None else f"{latency:.2f} s",
                )
            )
    header = ("clips", "spotter", "micro", "F1", "precision", "recall", "false positives/min",
              "false alarms/min", "latency")  # fmt: skip
    return table(header, rows)


def recognition_table(figures: dict[str, dict[str, Any]]) -> str:
    """Rows of recognisers and kinds."""
    rows = [
        (
            name,
            kind,
            found["events"],
            *(
                bounded(found[key], tuple(found[f"{key}_interval"]))
                for key in ("uf1", "uar", "accuracy")
            ),
        )
        for name, groups in figures.items()
        for kind, found in groups.items()
    ]
    return table(("recogniser", "expressions", "number", "UF1", "UAR", "accuracy"), rows)


def choice_table(figures: Mapping[str, Mapping[str, Any]], composite: Path) -> str:
    """One row for each recogniser: on people where it can be, on synthetic people, cost and size.

    Args:
        figures: As `recognition` returns them.
        composite: What `python -m benchmarks.composite` wrote.
    """
    people = json.loads(composite.read_text("utf-8"))["results"] if composite.exists() else []
    # The last protocol of an engine is the strictest: the recipe chosen inside every fold.
    on_people = {row["engine"]: row for row in people if row["data"].startswith("composite")}
    rows = []
    for name, groups in figures.items():
        shown = (on_people.get(name), groups["micro"], groups[UNCERTAIN])
        rows.append(
            (
                name,
                *(
                    "-" if row is None else bounded(row[key], tuple(row[f"{key}_interval"]))
                    for row in shown
                    for key in ("uf1", "uar")
                ),
                number(groups["micro"]["ece"]),
                number(groups["micro"]["ms_per_event"], 0),
                number(sum(path.stat().st_size for path in _networks(name)) / 1000, 0),
            )
        )
    header = ("recogniser", "UF1, people (composite)", "UAR", "UF1, synthetic micro", "UAR",
              f"UF1, times off by up to {1e3 * OFF_S:.0f} ms", "UAR", "ECE",
              "ms of one core an event", "kB")  # fmt: skip
    return table(header, rows)


def _networks(recognizer: str) -> list[Path]:
    return [path for path in find_graphs(recognizer) if path.parents[1].name == "recognition"]


def results(
    spotted: Mapping[str, Mapping[str, Mapping[str, Any]]],
    recognised: Mapping[str, Mapping[str, Mapping[str, Any]]],
    cost_ms: Mapping[str, Mapping[str, float]],
    people: str = "synthetic people",
) -> Iterator[dict[str, Any]]:
    """The figures as docs/results.md takes them; see `benchmarks.tables`."""
    protocol = "identities that no constant was chosen on"
    for shown, by_spotter in spotted.items():
        for name, figures in by_spotter.items():
            yield {
                "engine": name,
                "task": "spotting",
                "data": f"{people}, {shown}",
                "protocol": protocol,
                "kind": "micro",
                **figures,
            }
    for name, by_kind in recognised.items():
        for kind, figures in by_kind.items():
            yield {
                "engine": name,
                "task": "recognition",
                "data": f"{people}, expressions: {kind}",
                "protocol": protocol,
                **figures,
            }
        spent = {key: by_kind["micro"].get(key) for key in ("ms_per_event", "ms_per_event_p99")}
        yield {"engine": name, "task": "cost", "data": "recognition, one core", **spent}
    for what, ms in cost_ms.items():
        engine, colon, part = what.partition(": ")
        if colon:
            figures = {"ms_per_frame": ms["p50"], "ms_per_frame_p99": ms["p99"]}
            mean = {"ms_per_frame_mean": ms["mean"]}
            yield {"engine": engine, "task": "cost", "data": part, **mean, **figures}


def kept_parts(path: Path, fingerprint: str, anew: Sequence[str]) -> dict[str, Any]:
    """What an earlier run on the same data measured, but for the parts that are measured anew."""
    if set(anew) == set(PARTS) or not path.exists():
        return {}
    before = json.loads(path.read_text("utf-8"))
    if before["data_sha256"] != fingerprint:
        return {}
    names = ("spotting", "tuned_threshold_factor", "recognition", "cost_ms", "measured")
    known = {name: before[name] for name in names if name in before}
    known.setdefault("measured", dict.fromkeys(PARTS, before["utc"][:16] + "+00:00"))
    return {name: _unknown_as_nan(value) for name, value in known.items()}


def _unknown_as_nan(value: Any, name: str = "") -> Any:
    """Figures as they were before JSON, which has no word for NaN; a latency may be None."""
    if isinstance(value, dict):
        return {key: _unknown_as_nan(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_unknown_as_nan(each) for each in value]
    return math.nan if value is None and not name.startswith("latency") else value


def report_of(measured: Mapping[str, Any], tested: Sequence[str]) -> str:
    """The tables of all parts that have been measured, Markdown.

    Args:
        measured: As it is kept.
        tested: The test identities.
    """
    parts = ", ".join(f"{part} {utc}" for part, utc in measured["measured"].items())
    sections = [
        f"Data: {measured['data']}; test identities {', '.join(tested)}. Synthetic: "
        "these are no figures for people. In brackets 95 % intervals over identities. "
        f"Measured: {parts}."
    ]
    if measured["spotting"]:
        sections.append(
            f"## Spotting of micro-expressions\n\n{spotting_table(measured['spotting'])}\n\n"
            f"*{TUNED}*: threshold factor {measured['tuned_threshold_factor']:g}, chosen on the "
            "validation identities as the networks' constants were. The head's speed is not known "
            "of these clips."
        )
    if found := measured["recognition"]:
        sections += [
            f"## Recognition of true expressions\n\n{recognition_table(found)}",
            f"## Which recogniser\n\n{choice_table(found, RESULTS / 'composite.json')}",
        ]
    if measured["cost_ms"]:
        rows = [
            (what, *(number(ms[key], 3) if key in ms else "-" for key in ("mean", "p50", "p99")))
            for what, ms in measured["cost_ms"].items()
        ]
        header = ("a frame", "ms of one core, mean", "p50", "p99")
        sections.append(f"## Cost\n\n{table(header, rows)}")
    return "\n\n".join(sections)


def main(argv: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="synthetic set")
    parser.add_argument(
        "--json",
        type=Path,
        default=RESULTS / "engines_synthetic.json",
        help="where the result goes (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        choices=PARTS,
        help="measure one part anew; of the others, keep what --json holds of the same data",
    )
    arguments = parser.parse_args(argv)
    parts = PARTS if arguments.only is None else (arguments.only,)
    one_thread_a_stage()  # as in a session
    try:
        source = open_source(arguments.data)
        clips = list(source.clips(source.splits.get("test", ())))
        if not clips:
            raise UserError(f"{arguments.data} has no test identities: give a synthetic set.")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    measured: dict[str, Any] = {
        **{name: {} for name in ("spotting", "recognition", "cost_ms", "measured")},
        **kept_parts(arguments.json, source.fingerprint, parts),
        "data": source.title,
        "data_sha256": source.fingerprint,
        "synthetic": True,
    }
    if "spotting" in parts:
        factor = choose_factor(list(source.clips(source.splits["validation"])))
        measured |= {"tuned_threshold_factor": factor, "spotting": spotting(clips, factor)}
    if "recognition" in parts:
        measured["recognition"] = recognition(clips, source.classes)
    if "cost" in parts:
        measured["cost_ms"] = costs(max(clips, key=lambda clip: clip.fps))
    now = datetime.now(timezone.utc).isoformat(timespec="minutes")
    measured["measured"] = {**measured["measured"], **dict.fromkeys(parts, now)}
    report = report_of(measured, source.splits["test"])
    print(report)
    figures = (measured[name] for name in ("spotting", "recognition", "cost_ms"))
    seen = "synthetic people" if clips[0].depth is None else "synthetic people with depth"
    measured["results"] = list(results(*figures, seen))
    print(f"\n{save('engines', measured, report, arguments.json)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
