"""Judge the causal decision on published score curves, every constant taken from other subjects.

    python -m benchmarks.curves --curves ../shared/data/curves/slswin_cas2_me.npz

The curves are SL-Swin's micro-expression scores on 33 videos of CAS(ME)² (MIT licence; 30 fps, 14
subjects, 57 micro-expressions). Nothing is taken from the subject that is judged. From the others:

- durations: the interval is their mean micro-expression, smoothing is half of it, an event rises
  within their longest, and what lasts longer than that and the span of the flow together is none;
- the threshold: the lowest that keeps within the allowed false positives a minute, on those of
  them that are left out in turn. There are many false positives to count and few hits, so that
  this can be known far better than the best F1.

The field's offline decision gets its threshold in the same way. `--grid` adds the usual search: all
constants at once, from a grid, by F1. Prints Markdown and keeps it with the JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.results import RESULTS, bounded, number, save, table
from engines.errors import UserError
from engines.evaluation.offline_peaks import offline_intervals
from engines.evaluation.spotting import (
    Interval,
    Recording,
    Tally,
    bootstrap_intervals,
    difference,
    interval_of_event,
    leave_one_subject_out,
    pool,
    tally,
)
from engines.events import EventKind, EventState
from engines.spotting.decision import CausalDecision, DecisionConfig

FACTORS = tuple(np.arange(4.0, 10.01, 0.25).tolist())
OFFLINE_P = tuple(np.round(np.arange(0.5, 0.991, 0.01), 2).tolist())
MAX_FP_PER_MIN = 1.2
TIGHTENED = tuple(MAX_FP_PER_MIN * share for share in (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6))

GRID_SMOOTH_S = (0.1, 0.2, 0.3, 0.4)
GRID_RISE_S = (0.5, 1.0)
GRID_MICRO_S = (0.5, 0.8)
GRID_FACTORS = (4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 7.5, 8.0)

_STATISTICS: Mapping[str, Callable[[Tally], float]] = {
    "f1": lambda t: t.f1,
    "precision": lambda t: t.precision,
    "recall": lambda t: t.recall,
    "false_positives_per_min": lambda t: t.false_positives_per_min,
}

FloatArray = npt.NDArray[np.float64]
Setting = TypeVar("Setting")


@dataclass(frozen=True, slots=True)
class Curve:
    """The scores of one video and what is to be found in it.

    Attributes:
        scores: (N,) float64; each becomes known with the last frame of its flow.
        known_s: (N,) float64, when.
        span_s: Time from the first to the second frame of its flow.
    """

    subject: str
    name: str
    scores: FloatArray
    known_s: FloatArray
    span_s: float
    truths: tuple[Interval, ...]
    duration_s: float

    def resampled(self, fps: float) -> Curve:
        """The same curve at another rate."""
        known_s = np.arange(self.known_s[0], self.known_s[-1], 1 / fps)
        scores = np.interp(known_s, self.known_s, self.scores)
        return replace(self, scores=scores, known_s=known_s)

    def judged(self, found: Sequence[Interval]) -> Tally:
        """Counts of the micro-expressions found."""
        return tally(Recording(self.truths, found, self.duration_s), EventKind.MICRO)


def main(argv: Sequence[str]) -> int:
    """Run the command line; returns 0, or 2 for a user's mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.curves", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument(
        "--curves",
        type=Path,
        default=Path("../shared/data/curves/slswin_cas2_me.npz"),
        help="the scores; the truth lies beside them as .json (default: %(default)s)",
    )
    parser.add_argument(
        "--grid", action="store_true", help="also choose all constants at once by F1; takes long"
    )
    parser.add_argument("--json", type=Path, default=RESULTS / "curves.json", metavar="FILE")
    arguments = parser.parse_args(argv)
    try:
        curves = load(arguments.curves)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    measured = measure(curves, arguments.grid)
    report = describe(measured)
    print(report)
    print(f"\n{save('curves', measured, report, arguments.json)}")
    return 0


def load(path: Path) -> list[Curve]:
    """Read curves.

    Raises:
        UserError: A file is missing or holds something else.
    """
    try:
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        fps, k = float(about["fps"]), int(about["k"])
        with np.load(path) as scores:
            return [_curve(video, scores, fps, k) for video in about["videos"]]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"No score curves can be read from {path} ({error}); "
            "give the .npz file, with its .json beside it."
        ) from error


def _curve(video: Mapping[str, Any], scores: Mapping[str, Any], fps: float, k: int) -> Curve:
    name = f"{video['subject']}_{video['video']}"
    values = np.asarray(scores[name], np.float64)
    return Curve(
        subject=video["subject"],
        name=name,
        scores=values,
        # The data set counts frames from 1, and frame n begins at n / fps in its intervals.
        known_s=(np.arange(len(values)) + 1 + k) / fps,
        span_s=k / fps,
        truths=tuple(Interval(a / fps, b / fps, EventKind.MICRO) for a, b in video["intervals"]),
        duration_s=video["frames"] / fps,
    )


def decide(curve: Curve, config: DecisionConfig) -> list[Interval]:
    """Push a curve through the causal decision, frame by frame."""
    rate = (len(curve.known_s) - 1) / (curve.known_s[-1] - curve.known_s[0])
    decision = CausalDecision(config, rate + 1, "curves", curve.span_s / 2)
    changes = [
        event
        for index, (time_s, score) in enumerate(zip(curve.known_s, curve.scores, strict=True))
        for event in decision.push(index, float(time_s), float(score)).events
    ]
    closed = [e for e in (*changes, *decision.finish()) if e.state is EventState.CLOSED]
    return [interval_of_event(event) for event in closed]


def measure(curves: Sequence[Curve], grid: bool) -> dict[str, Any]:
    """Choose, decide and judge; returns what the report tells."""
    people: dict[str, list[Curve]] = {}
    for curve in curves:
        people.setdefault(curve.subject, []).append(curve)
    judged = cache(lambda setting, name: _causal(people[name], setting))
    offline_judged = cache(lambda p, name: _offline(people[name], p))
    chosen: dict[str, DecisionConfig] = {}
    chosen_p: dict[str, float] = {}
    for subject in tqdm(people, desc="subjects", leave=False):
        others = [name for name in people if name != subject]
        base = durations([curve for name in others for curve in people[name]])
        settings = [base.model_copy(update={"threshold_factor": c}) for c in FACTORS]
        chosen[subject] = lowest_within_limit(settings, others, judged)
        chosen_p[subject] = lowest_within_limit(OFFLINE_P, others, offline_judged)

    def causal(change: Callable[[Curve], Curve]) -> list[Tally]:
        return [_causal(map(change, people[name]), chosen[name]) for name in people]

    ours = causal(lambda curve: curve)
    offline = [offline_judged(p, name) for name, p in chosen_p.items()]
    rows = {
        "causal": ours,
        "the same curves at 60 fps": causal(lambda curve: curve.resampled(60)),
        "the same curves at 200 fps": causal(lambda curve: curve.resampled(200)),
        "scores times 1000": causal(lambda curve: replace(curve, scores=1000 * curve.scores)),
        "offline": offline,
        "offline, p = 0.6 for all": [offline_judged(0.6, name) for name in people],
        "offline, p = 0.8 for all": [offline_judged(0.8, name) for name in people],
    }
    if grid:
        rows["causal, from a grid by F1"] = _from_grid(people)
    total = pool(ours)
    latencies = total.latencies_s
    look_ahead_s = max(
        CausalDecision(config, 1, "curves", curves[0].span_s / 2).look_ahead_s
        for config in chosen.values()
    )
    return {
        "subjects": len(people),
        "videos": len(curves),
        "minutes": total.duration_s / 60,
        "rows": [{"decision": name, **_figures(tallies)} for name, tallies in rows.items()],
        "against_offline": asdict(difference(ours, offline, lambda t: t.f1)),
        "look_ahead_s": look_ahead_s,
        "latency_p50_s": float(np.median(latencies)) if latencies else math.nan,
        "latency_p95_s": float(np.quantile(latencies, 0.95)) if latencies else math.nan,
        "chosen": {name: config.model_dump() for name, config in chosen.items()},
        "chosen_p": chosen_p,
        "results": [
            {
                "engine": "causal decision on SL-Swin's scores",
                "task": "spotting",
                "data": "CAS(ME)², 33 videos, 30 fps",
                "protocol": "leave one subject out",
                "kind": "micro",
                **_figures(ours),
                "look_ahead_s": look_ahead_s,
                "latency_p50_s": float(np.median(latencies)) if latencies else None,
            }
        ],
    }


def durations(curves: Sequence[Curve]) -> DecisionConfig:
    """What the micro-expressions of some people tell of how long things last."""
    lengths = [truth.duration_s for curve in curves for truth in curve.truths]
    mean_s, longest_s = round(float(np.mean(lengths)), 2), round(max(lengths), 2)
    return DecisionConfig(
        prior_s=mean_s,
        smooth_s=mean_s / 2,
        rise_s=longest_s,
        micro_s=longest_s + curves[0].span_s,
    )


def lowest_within_limit(
    settings: Sequence[Setting], others: Sequence[str], judged: Callable[[Setting, str], Tally]
) -> Setting:
    """The lowest threshold that keeps within the allowed rate on people it was not chosen on.

    A limit that is just kept by those who chose is broken by about every second newcomer. Among
    the others, each is therefore left out in turn, and the limit tightened until the rate is kept
    on those left out.

    Args:
        settings: In order of a rising threshold, the false positives becoming fewer on the way.
        others: Subjects to choose on.
        judged: Tally of a subject under a setting.

    Returns:
        The setting; the last when even that is above the limit.
    """

    def rate(setting: Setting, names: Sequence[str]) -> float:
        return pool(judged(setting, name) for name in names).false_positives_per_min

    def lowest(limit: float, names: Sequence[str]) -> Setting:
        at = bisect_left(settings, True, key=lambda setting: rate(setting, names) <= limit)
        return settings[min(at, len(settings) - 1)]

    for limit in TIGHTENED:
        left_out = pool(
            judged(lowest(limit, [each for each in others if each != name]), name)
            for name in others
        )
        if left_out.false_positives_per_min <= MAX_FP_PER_MIN:
            return lowest(limit, others)
    return settings[-1]


def describe(measured: Mapping[str, Any]) -> str:
    """The report, Markdown."""
    rows = [
        [
            row["decision"],
            row["tp"],
            row["fp"],
            row["fn"],
            bounded(row["f1"], row["f1_interval"], 4),
            bounded(row["false_positives_per_min"], row["false_positives_per_min_interval"]),
        ]
        for row in measured["rows"]
    ]
    names = ("smooth_s", "rise_s", "micro_s", "prior_s", "threshold_factor")
    choices = [
        [subject, *(number(config[name], 2) for name in names), measured["chosen_p"][subject]]
        for subject, config in measured["chosen"].items()
    ]
    against = measured["against_offline"]
    return "\n\n".join(
        [
            f"{measured['videos']} videos, {measured['subjects']} subjects, "
            f"{measured['minutes']:.1f} minutes; brackets: 95 % bootstrap over subjects.",
            table(["decision", "TP", "FP", "FN", "F1 [95 %]", "FP/min [95 %]"], rows),
            f"F1 of the causal decision minus that of the offline one: {against['value']:+.4f} "
            f"[{against['low']:+.4f}, {against['high']:+.4f}], higher in "
            f"{100 * against['above']:.0f} % of the draws.",
            f"An apex is confirmed {measured['look_ahead_s']:.2f} s after it, all delays included; "
            f"an event is final {number(measured['latency_p50_s'])} s after its offset (median; "
            f"95 %: {number(measured['latency_p95_s'])} s).",
            "## What the other subjects gave for each\n\n"
            + table(
                ["subject", "smooth", "rise", "longest", "interval", "c", "offline p"], choices
            ),
        ]
    )


def _causal(curves: Iterable[Curve], setting: DecisionConfig) -> Tally:
    return pool(curve.judged(decide(curve, setting)) for curve in curves)


def _offline(curves: Iterable[Curve], p: float) -> Tally:
    tallies = []
    for curve in curves:
        frame_s = (curve.known_s[-1] - curve.known_s[0]) / (len(curve.known_s) - 1)
        intervals = offline_intervals(curve.scores, round(curve.span_s / frame_s), p) * frame_s
        begins_s = curve.known_s[0] - curve.span_s
        found = [Interval(begins_s + a, begins_s + b, EventKind.MICRO) for a, b in intervals]
        tallies.append(curve.judged(found))
    return pool(tallies)


def _from_grid(people: Mapping[str, Sequence[Curve]]) -> list[Tally]:
    """All constants at once, by F1 on the other subjects within the allowed rate."""
    settings = [
        DecisionConfig(
            smooth_s=smooth_s, rise_s=rise_s, micro_s=micro_s, threshold_factor=c, prior_s=0.42
        )
        for smooth_s, rise_s, micro_s, c in product(
            GRID_SMOOTH_S, GRID_RISE_S, GRID_MICRO_S, GRID_FACTORS
        )
    ]
    columns = [
        [_causal(theirs, setting) for theirs in people.values()]
        for setting in tqdm(settings, desc="grid", leave=False)
    ]
    tallies = dict(zip(people, map(list, zip(*columns, strict=True)), strict=True))
    _, at = leave_one_subject_out(tallies, max_fp_per_min=MAX_FP_PER_MIN)
    return [tallies[name][at[name]] for name in people]


def _figures(tallies: Sequence[Tally]) -> dict[str, Any]:
    """Counts, statistics and their bootstrap bounds."""
    total = pool(tallies)
    bounds = bootstrap_intervals(tallies, _STATISTICS)
    return {
        "tp": total.tp,
        "fp": total.fp,
        "fn": total.fn,
        **{name: statistic(total) for name, statistic in _STATISTICS.items()},
        **{f"{name}_interval": bounds[name] for name in _STATISTICS},
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
