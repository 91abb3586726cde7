"""Judge the causal decision on published score curves, every constant chosen on other subjects.

    python -m benchmarks.curves --curves ../shared/data/curves/slswin_cas2_me.npz

The curves are SL-Swin's micro-expression scores on 33 videos of CAS(ME)² (MIT licence; 30 fps, 14
subjects, 57 micro-expressions). Nothing is chosen on the subject that is judged. On the others:

1. The length of an interval is the mean length of their micro-expressions.
2. Smoothing, rise time and the longest micro-expression are those with the highest recall, averaged
   over several rates of false positives (FROC): a curve says more than one point of it.
3. The threshold is that with the highest F1 among those that keep within the allowed rate.

For comparison, all of them at once by F1 alone, and the field's offline decision chosen by F1 too.
Prints Markdown and keeps it with the JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

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
    error_summary,
    interval_of_event,
    leave_one_subject_out,
    pool,
    tally,
)
from engines.events import EventKind, EventState
from engines.spotting.decision import CausalDecision, DecisionConfig

SMOOTH_S = (0.1, 0.2, 0.3, 0.4)
RISE_S = (0.5, 1.0)
FACTORS = (4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 7.5, 8.0)
MICRO_S = (0.5, 0.8)
OFFLINE_P = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
MAX_FP_PER_MIN = 1.2
FROC_FP_PER_MIN = (0.3, 0.6, 0.9, 1.2)

_STATISTICS: Mapping[str, Callable[[Tally], float]] = {
    "f1": lambda t: t.f1,
    "precision": lambda t: t.precision,
    "recall": lambda t: t.recall,
    "false_positives_per_min": lambda t: t.false_positives_per_min,
}

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """The scores of one video and what is to be found in it.

    Attributes:
        scores: (N,) float64; each becomes known with the last frame of its flow.
        known_s: (N,) float64, when.
        lag_s: How long before that the middle of the flow lies.
    """

    subject: str
    name: str
    scores: FloatArray
    known_s: FloatArray
    lag_s: float
    truths: tuple[Interval, ...]
    duration_s: float

    def resampled(self, fps: float, factor: float = 1.0) -> Curve:
        """The same curve at another rate and in other units."""
        known_s = np.arange(self.known_s[0], self.known_s[-1], 1 / fps)
        scores = factor * np.interp(known_s, self.known_s, self.scores)
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
    parser.add_argument("--json", type=Path, default=RESULTS / "curves.json", metavar="FILE")
    arguments = parser.parse_args(argv)
    try:
        curves, k = load(arguments.curves)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    measured = measure(curves, k)
    report = describe(measured)
    print(report)
    print(f"\n{save('curves', measured, report, arguments.json)}")
    return 0


def load(path: Path) -> tuple[list[Curve], int]:
    """Read curves; returns them and k, the frames that a flow spans.

    Raises:
        UserError: A file is missing or holds something else.
    """
    try:
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        fps, k = float(about["fps"]), int(about["k"])
        with np.load(path) as scores:
            return [_curve(video, scores, fps, k) for video in about["videos"]], k
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
        lag_s=k / 2 / fps,
        truths=tuple(Interval(a / fps, b / fps, EventKind.MICRO) for a, b in video["intervals"]),
        duration_s=video["frames"] / fps,
    )


def decide(curve: Curve, config: DecisionConfig) -> list[Interval]:
    """Push a curve through the causal decision, frame by frame."""
    rate = (len(curve.known_s) - 1) / (curve.known_s[-1] - curve.known_s[0])
    decision = CausalDecision(config, rate + 1, "curves", curve.lag_s)
    changes = [
        event
        for index, (time_s, score) in enumerate(zip(curve.known_s, curve.scores, strict=True))
        for event in decision.push(index, float(time_s), float(score)).events
    ]
    closed = [e for e in (*changes, *decision.finish()) if e.state is EventState.CLOSED]
    return [interval_of_event(event) for event in closed]


def measure(curves: Sequence[Curve], k: int) -> dict[str, Any]:
    """Choose, decide and judge; returns what the report tells."""
    by_subject = _grouped(curves)
    settings = list(settings_to_choose_from())
    found = {
        (config, curve.name): decide(curve, config)
        for config in tqdm(_searched(settings), desc="settings", leave=False)
        for curve in curves
    }

    @cache
    def judged(prior_s: float) -> dict[str, list[Tally]]:
        """Subject to its tally under each setting."""
        return {
            subject: [
                pool(c.judged(_short(found[_search(s), c.name], s, prior_s)) for c in theirs)
                for s in settings
            ]
            for subject, theirs in by_subject.items()
        }

    staged: dict[str, DecisionConfig] = {}
    joint: dict[str, DecisionConfig] = {}
    for subject in by_subject:
        prior_s = _mean_length(c for c in curves if c.subject != subject)
        tallies = judged(prior_s)
        _, positions = leave_one_subject_out(tallies, max_fp_per_min=MAX_FP_PER_MIN)
        joint[subject] = settings[positions[subject]].model_copy(update={"prior_s": prior_s})
        others = [
            pool(c) for c in zip(*(t for s, t in tallies.items() if s != subject), strict=True)
        ]
        staged[subject] = _choose(settings, others).model_copy(update={"prior_s": prior_s})

    def causal(
        change: Callable[[Curve], Curve], chosen: Mapping[str, DecisionConfig] = staged
    ) -> list[Tally]:
        return [
            pool(c.judged(decide(change(c), chosen[subject])) for c in theirs)
            for subject, theirs in by_subject.items()
        ]

    ours = causal(lambda curve: curve)
    offline, chosen_p = _offline(by_subject, k)
    published = {
        p: [_offline_tally(theirs, k, p) for theirs in by_subject.values()] for p in (0.6, 0.8)
    }
    rows = {
        "causal, constants nested": ours,
        "the same curves at 60 fps": causal(lambda curve: curve.resampled(60)),
        "the same curves at 200 fps": causal(lambda curve: curve.resampled(200)),
        "scores times 1000, 30 fps": causal(
            lambda curve: replace(curve, scores=1000 * curve.scores)
        ),
        "causal, all constants at once by F1": causal(lambda curve: curve, joint),
        "offline, p nested": offline,
        **{f"offline, p = {p}": tallies for p, tallies in published.items()},
    }
    total = pool(ours)
    look_ahead_s = max(
        CausalDecision(config, 1, "curves", curves[0].lag_s).look_ahead_s
        for config in staged.values()
    )
    return {
        "subjects": len(by_subject),
        "videos": len(curves),
        "minutes": total.duration_s / 60,
        "rows": [{"decision": name, **_figures(tallies)} for name, tallies in rows.items()],
        "look_ahead_s": look_ahead_s,
        "latency_s": {
            "p50": float(np.median(total.latencies_s)),
            "p95": float(np.quantile(total.latencies_s, 0.95)),
        },
        "errors_s": {
            "onset": error_summary(total.onset_errors_s).median_s,
            "offset": error_summary(total.offset_errors_s).median_s,
        },
        "against_offline": asdict(difference(ours, offline, lambda t: t.f1)),
        "chosen": {subject: config.model_dump() for subject, config in staged.items()},
        "chosen_p": chosen_p,
        "results": [
            {
                "engine": "causal decision on SL-Swin",
                "task": "spotting",
                "data": "CAS(ME)² score curves, 30 fps",
                "protocol": "leave-one-subject-out, constants nested",
                "kind": "micro",
                **_figures(ours),
                "look_ahead_s": look_ahead_s,
                "latency_p50_s": float(np.median(total.latencies_s)),
            }
        ],
    }


def settings_to_choose_from() -> Iterator[DecisionConfig]:
    """Every combination of the candidate constants."""
    for smooth_s, rise_s, micro_s, factor in product(SMOOTH_S, RISE_S, MICRO_S, FACTORS):
        yield DecisionConfig(
            smooth_s=smooth_s, rise_s=rise_s, micro_s=micro_s, threshold_factor=factor
        )


def _choose(settings: Sequence[DecisionConfig], tallies: Sequence[Tally]) -> DecisionConfig:
    """The shape by recall over several rates of false positives, then the threshold by F1."""
    shapes: dict[DecisionConfig, list[tuple[DecisionConfig, Tally]]] = {}
    for setting, found in zip(settings, tallies, strict=True):
        shape = setting.model_copy(update={"threshold_factor": FACTORS[0]})
        shapes.setdefault(shape, []).append((setting, found))
    best = max(shapes.values(), key=lambda members: _froc([found for _, found in members]))
    allowed = [m for m in best if m[1].false_positives_per_min <= MAX_FP_PER_MIN] or best[-1:]
    return max(allowed, key=lambda member: np.nan_to_num(member[1].f1))[0]


def _froc(tallies: Sequence[Tally]) -> float:
    """Recall that is reached within each of `FROC_FP_PER_MIN`, averaged."""
    return float(
        np.mean(
            [
                max((t.recall for t in tallies if t.false_positives_per_min <= rate), default=0.0)
                for rate in FROC_FP_PER_MIN
            ]
        )
    )


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
    against, latency = measured["against_offline"], measured["latency_s"]
    choices = [
        [
            subject,
            *(number(c[name], 3) for name in ("smooth_s", "rise_s", "micro_s", "prior_s")),
            number(c["threshold_factor"], 1),
            measured["chosen_p"][subject],
        ]
        for subject, c in measured["chosen"].items()
    ]
    return "\n\n".join(
        [
            f"{measured['videos']} videos, {measured['subjects']} subjects, "
            f"{measured['minutes']:.1f} minutes; brackets: 95 % bootstrap over subjects.",
            table(["decision", "TP", "FP", "FN", "F1 [95 %]", "FP/min [95 %]"], rows),
            f"F1 of the causal decision minus that of the offline one with nested p: "
            f"{against['value']:+.4f} [{against['low']:+.4f}, {against['high']:+.4f}], higher in "
            f"{100 * against['above']:.0f} % of the draws.",
            f"An apex is confirmed {measured['look_ahead_s']:.2f} s after it, all delays included; "
            f"an event is final {latency['p50']:.2f} s after its offset (median; 95 %: "
            f"{latency['p95']:.2f} s).",
            "## What was chosen for each subject on the others\n\n"
            + table(
                ["subject", "smooth s", "rise s", "micro s", "prior s", "c", "offline p"], choices
            ),
        ]
    )


def _searched(settings: Sequence[DecisionConfig]) -> list[DecisionConfig]:
    """What must be run: kind and length of an interval follow from what was found."""
    return list(dict.fromkeys(map(_search, settings)))


def _search(setting: DecisionConfig) -> DecisionConfig:
    return setting.model_copy(update={"micro_s": min(MICRO_S), "prior_s": None})


def _short(found: Sequence[Interval], setting: DecisionConfig, prior_s: float) -> list[Interval]:
    """The micro-expressions among what was found, as `setting` with `prior_s` would give them."""
    return [
        replace(
            interval,
            onset_s=interval.apex_s - prior_s / 2,
            offset_s=interval.apex_s + prior_s / 2,
            kind=EventKind.MICRO,
        )
        for interval in found
        if interval.apex_s is not None and interval.duration_s <= setting.micro_s
    ]


def _offline(
    by_subject: Mapping[str, Sequence[Curve]], k: int
) -> tuple[list[Tally], dict[str, float]]:
    """The field's decision, its threshold chosen as ours is."""
    tallies = {s: [_offline_tally(c, k, p) for p in OFFLINE_P] for s, c in by_subject.items()}
    _, chosen = leave_one_subject_out(tallies, max_fp_per_min=MAX_FP_PER_MIN)
    return (
        [tallies[subject][at] for subject, at in chosen.items()],
        {subject: OFFLINE_P[at] for subject, at in chosen.items()},
    )


def _offline_tally(curves: Sequence[Curve], k: int, p: float) -> Tally:
    tallies = []
    for curve in curves:
        frame_s = curve.known_s[1] - curve.known_s[0]
        first_s = curve.known_s[0] - k * frame_s
        intervals = first_s + frame_s * offline_intervals(curve.scores, k, p)
        found = [Interval(float(a), float(b), EventKind.MICRO) for a, b in intervals]
        tallies.append(curve.judged(found))
    return pool(tallies)


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


def _grouped(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(curve.subject, []).append(curve)
    return groups


def _mean_length(curves: Iterable[Curve]) -> float:
    lengths = [truth.duration_s for curve in curves for truth in curve.truths]
    return round(float(np.mean(lengths)), 2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
