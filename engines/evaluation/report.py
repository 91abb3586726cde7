"""What the command line reports: figures that are JSON-ready, and the tables made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from calibration.temperature import expected_calibration_error
from engines.evaluation.ranking import precision_recall
from engines.evaluation.recognition import (
    Measures,
    bootstrap_measures,
    coverage_curve,
    scores,
    subject_interval,
)
from engines.evaluation.samples import Samples
from engines.evaluation.spotting import (
    Recording,
    Tally,
    bootstrap_intervals,
    difference,
    error_summary,
    match,
    of_kind,
    pool,
    tallies_by_subject,
)
from engines.evaluation.strs import UNNAMED, combine, judge, spot_then_recognise
from engines.evaluation.tables import bounded, number, table
from engines.events import EventKind

Figures = dict[str, Any]

_RATIOS: Mapping[str, Callable[[Tally], float]] = {
    "precision": lambda t: t.precision,
    "recall": lambda t: t.recall,
    "f1": lambda t: t.f1,
    "false_positives_per_min": lambda t: t.false_positives_per_min,
    "false_alarms_per_min": lambda t: t.false_alarms_per_min,
}

_MEASURES = ("uf1", "uar", "accuracy")


def spotting_figures(recordings: Sequence[Recording], min_iou: float) -> Figures:
    """Everything about spotting, for each kind that occurs and for all together.

    `overall` adds micro and macro up, each matched with its own kind, as MEGC does; `any` matches
    whatever an expression was called.
    """
    groups = _tallies(recordings, min_iou)
    rows = []
    for name, tallies in groups.items():
        total, bounds = pool(tallies), bootstrap_intervals(tallies, _RATIOS)
        kind = None if name in ("overall", "any") else EventKind(name)
        ap = precision_recall(recordings, kind, min_iou).average_precision
        latencies = total.latencies_s
        rows.append(
            {
                "kind": name,
                "tp": total.tp,
                "fp": total.fp,
                "fn": total.fn,
                **{ratio: of(total) for ratio, of in _RATIOS.items()},
                **{f"{ratio}_interval": bounds[ratio] for ratio in _RATIOS},
                "average_precision": math.nan if name == "overall" else ap,
                "onset_error": asdict(error_summary(total.onset_errors_s)),
                "apex_error": asdict(error_summary(total.apex_errors_s)),
                "offset_error": asdict(error_summary(total.offset_errors_s)),
                "latency_p50_s": float(np.median(latencies)) if latencies else math.nan,
                "latency_p95_s": float(np.quantile(latencies, 0.95)) if latencies else math.nan,
            }
        )
    minutes = math.fsum(r.duration_s for r in recordings) / 60
    return {
        "recordings": len(recordings),
        "without_expression": sum(not r.truths for r in recordings),
        "subjects": len({r.subject or r.name for r in recordings}),
        "minutes": minutes,
        "rows": rows,
    }


def describe_spotting(figures: Figures) -> str:
    """The tables of `spotting_figures`."""
    rows = figures["rows"]
    counts = [
        [
            row["kind"],
            row["tp"],
            row["fp"],
            row["fn"],
            *(
                bounded(row[name], row[f"{name}_interval"], 4)
                for name in ("precision", "recall", "f1")
            ),
            number(row["average_precision"], 4),
            *(
                bounded(row[n], row[f"{n}_interval"])
                for n in ("false_positives_per_min", "false_alarms_per_min")
            ),
        ]
        for row in rows
    ]
    timing = [
        [
            row["kind"],
            *(_spread(row[f"{end}_error"]) for end in ("onset", "apex", "offset")),
            f"{_ms(row['latency_p50_s'])} / {_ms(row['latency_p95_s'])}",
        ]
        for row in rows
    ]
    header = ["kind", "TP", "FP", "FN", "precision", "recall", "F1", "AP", "FP/min", "alarms/min"]
    return "\n\n".join(
        [
            f"{figures['recordings']} recordings, {figures['without_expression']} of them without "
            f"an expression, {figures['subjects']} subjects, {number(figures['minutes'], 1)} "
            "minutes; brackets: 95 % bootstrap over subjects.",
            table(header, counts),
            "Timing of matched pairs, ms: median / 90 % of the absolute error / signed median; "
            "final after the offset: median / 95 %.",
            table(["kind", "onset", "apex", "offset", "final after"], timing),
        ]
    )


def comparison_figures(
    first: Sequence[Recording], second: Sequence[Recording], min_iou: float
) -> Figures:
    """Two spotters on the same recordings; `first` minus `second`.

    Args:
        first: Truths with the detections of the one.
        second: The same recordings in the same order with those of the other.
        min_iou: Smallest IoU of a true positive.
    """
    ours, theirs = _tallies(first, min_iou), _tallies(second, min_iou)
    rows = []
    for name in [name for name in ours if name in theirs]:
        rows.append(
            {
                "kind": name,
                "f1": [pool(ours[name]).f1, pool(theirs[name]).f1],
                "f1_difference": asdict(difference(ours[name], theirs[name], lambda t: t.f1)),
                "false_positives_per_min_difference": asdict(
                    difference(ours[name], theirs[name], lambda t: t.false_positives_per_min)
                ),
            }
        )
    both = only_first = only_second = neither = 0
    for one, other in zip(first, second, strict=True):
        truths = of_kind(one.truths, None)
        hit, too = (
            {pair.truth for pair in match(truths, of_kind(r.detections, None), min_iou)}
            for r in (one, other)
        )
        both += len(hit & too)
        only_first += len(hit - too)
        only_second += len(too - hit)
        neither += len(truths) - len(hit | too)
    found = {"both": both, "first": only_first, "second": only_second, "neither": neither}
    return {"rows": rows, "found_by": found}


def describe_comparison(figures: Figures) -> str:
    """The tables of `comparison_figures`."""
    rows = [
        [
            row["kind"],
            *(number(f1, 4) for f1 in row["f1"]),
            _signed(row["f1_difference"], 4),
            number(100 * row["f1_difference"]["above"], 0),
            _signed(row["false_positives_per_min_difference"], 2),
        ]
        for row in figures["rows"]
    ]
    found = figures["found_by"]
    header = ["kind", "F1", "F1 compared", "difference", "higher in %", "FP/min difference"]
    return "\n\n".join(
        [
            "Compared on the same subjects, 95 % paired bootstrap; higher in % of the draws.",
            table(header, rows),
            f"True expressions found by both: {found['both']}, by the first only: "
            f"{found['first']}, by the compared only: {found['second']}, by neither: "
            f"{found['neither']}.",
        ]
    )


def recognition_figures(samples: Samples) -> Figures:
    """UF1, UAR and accuracy of each data set and of all of them together."""
    groups = {"all": np.arange(len(samples.truth))}
    names = list(dict.fromkeys(samples.datasets.tolist()))
    if len(names) > 1:
        groups = {name: np.flatnonzero(samples.datasets == name) for name in names}
        groups["composite"] = np.arange(len(samples.truth))
    rows = []
    for name, members in groups.items():
        found = scores(samples.truth[members], samples.predicted[members], len(samples.classes))
        low, high = _bounds(_drawn(samples, members))
        rows.append(
            {
                "data": name,
                "samples": len(members),
                "subjects": len(set(samples.subjects[members].tolist())),
                **{measure: getattr(found, measure) for measure in _MEASURES},
                **{f"{m}_interval": (low[at], high[at]) for at, m in enumerate(_MEASURES)},
                "confusion": found.confusion.tolist(),
            }
        )
    figures: Figures = {
        "classes": list(samples.classes),
        "left_out": samples.left_out,
        "rows": rows,
    }
    if samples.probabilities is not None:
        confidence = samples.probabilities.max(axis=1)
        figures["ece"] = expected_calibration_error(samples.probabilities, samples.truth)
        figures["coverage"] = coverage_curve(confidence, samples.predicted == samples.truth)
    return figures


def describe_recognition(figures: Figures) -> str:
    """The tables of `recognition_figures`."""
    rows = [
        [
            row["data"],
            row["samples"],
            row["subjects"],
            *(bounded(row[m], row[f"{m}_interval"], 4) for m in _MEASURES),
        ]
        for row in figures["rows"]
    ]
    parts = [
        "Folds pooled; brackets: 95 % bootstrap over subjects.",
        table(["data", "samples", "subjects", "UF1", "UAR", "accuracy"], rows),
        describe_confusion(figures["classes"], figures["rows"][-1]["confusion"]),
    ]
    if "coverage" in figures:
        parts.append(
            "The most probable answers first; expected calibration error "
            f"{number(figures['ece'], 3)}."
        )
        parts.append(describe_coverage(figures["coverage"]))
    if figures["left_out"]:
        parts.append(f"{figures['left_out']} samples have none of the classes and are left out.")
    return "\n\n".join(parts)


def describe_coverage(curve: Sequence[Mapping[str, float]]) -> str:
    """The table of `engines.evaluation.recognition.coverage_curve`."""
    rows = [
        [
            f"{100 * row['coverage']:.0f} %",
            number(row["probability"], 3),
            number(row["accuracy"], 3),
        ]
        for row in curve
    ]
    return table(["answered", "lowest probability", "accuracy"], rows)


def recognition_comparison(first: Samples, second: Samples) -> Figures:
    """Two recognisers on the same samples; `first` minus `second`, paired over subjects.

    Args:
        first: Samples with the predictions of the one.
        second: The same samples in the same order with those of the other.
    """
    everyone = np.arange(len(first.truth))
    ours, theirs = (scores(s.truth, s.predicted, len(s.classes)) for s in (first, second))
    low, high = _bounds(_drawn(first, everyone) - _drawn(second, everyone))
    figures: Figures = {
        measure: {
            "value": getattr(ours, measure) - getattr(theirs, measure),
            "low": low[at],
            "high": high[at],
        }
        for at, measure in enumerate(_MEASURES)
    }
    right = [
        np.array(s.classes)[s.truth] == np.array(s.classes)[s.predicted] for s in (first, second)
    ]
    figures["right"] = {
        "both": int((right[0] & right[1]).sum()),
        "first": int((right[0] & ~right[1]).sum()),
        "second": int((right[1] & ~right[0]).sum()),
        "neither": int((~right[0] & ~right[1]).sum()),
    }
    return figures


def describe_recognition_comparison(figures: Figures) -> str:
    """The table of `recognition_comparison`."""
    right = figures["right"]
    row = [_signed(figures[measure], 4) for measure in _MEASURES]
    return "\n\n".join(
        [
            "Difference to the compared, 95 % paired bootstrap over subjects.",
            table(["UF1", "UAR", "accuracy"], [row]),
            f"Right in both: {right['both']}, in the first only: {right['first']}, in the compared "
            f"only: {right['second']}, in neither: {right['neither']}.",
        ]
    )


def strs_figures(
    recordings: Sequence[Recording], min_iou: float, classes: Sequence[str] | None
) -> Figures:
    """STRS and its two halves for each kind that occurs, with the bootstrap interval of STRS."""
    kinds = _kinds(recordings)
    rows = []
    for kind in kinds if len(kinds) == 1 else [*kinds, None]:
        found = spot_then_recognise(recordings, kind, min_iou, classes)
        rows.append(
            {
                "kind": kind.value if kind else "any",
                "strs": found.strs,
                "strs_interval": _strs_interval(recordings, kind, min_iou, found.classes),
                "tp": found.spotting.tp,
                "fp": found.spotting.fp,
                "fn": found.spotting.fn,
                "spotting_f1": found.spotting.f1,
                "false_positives_per_min": found.spotting.false_positives_per_min,
                **{
                    name: getattr(found, name)
                    for name in (
                        "analysis_precision",
                        "analysis_recall",
                        "analysis_f1",
                        "uf1",
                        "uar",
                    )
                },
                "classes": list(found.classes),
                "confusion": found.confusion.tolist(),
            }
        )
    return {"rows": rows}


def describe_strs(figures: Figures) -> str:
    """The tables of `strs_figures`."""
    header = ["kind", "TP", "FP", "FN", "F1 spotting", "precision", "recall", "F1 analysis"]
    rows = [
        [
            row["kind"],
            row["tp"],
            row["fp"],
            row["fn"],
            *(
                number(row[name], 4)
                for name in (
                    "spotting_f1",
                    "analysis_precision",
                    "analysis_recall",
                    "analysis_f1",
                    "uf1",
                    "uar",
                )
            ),
            bounded(row["strs"], row["strs_interval"], 4),
        ]
        for row in figures["rows"]
    ]
    last = figures["rows"][-1]
    return "\n\n".join(
        [
            "Spotted one to one; precision, recall, UF1 and UAR are those of recognition among "
            "what was spotted; brackets: 95 % bootstrap over subjects.",
            table([*header, "UF1", "UAR", "STRS"], rows),
            describe_confusion(last["classes"], last["confusion"]),
        ]
    )


def describe_confusion(classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    """A confusion matrix, truth in rows."""
    rows = [[name, *counts] for name, counts in zip(classes, confusion, strict=True)]
    return table(["truth \\ predicted", *classes], rows)


def _tallies(recordings: Sequence[Recording], min_iou: float) -> dict[str, list[Tally]]:
    """Kind to one tally a subject."""
    kinds = _kinds(recordings)
    groups = {
        kind.value: list(tallies_by_subject(recordings, kind, min_iou).values()) for kind in kinds
    }
    if len(kinds) > 1:
        pairs = zip(*groups.values(), strict=True)
        # The time that was watched is the same for both kinds, and must not count twice.
        groups["overall"] = [_added(micro_and_macro) for micro_and_macro in pairs]
    if len(kinds) != 1:
        groups["any"] = list(tallies_by_subject(recordings, None, min_iou).values())
    return groups


def _kinds(recordings: Sequence[Recording]) -> list[EventKind]:
    occurring = {i.kind for r in recordings for i in (*r.truths, *r.detections)}
    return [kind for kind in EventKind if kind in occurring]


def _added(parts: Sequence[Tally]) -> Tally:
    return replace(pool(parts), duration_s=parts[0].duration_s, free_s=parts[0].free_s)


def _drawn(samples: Samples, members: npt.NDArray[np.intp]) -> Measures:
    """(3, D) bootstrap draws of the measures of some samples."""
    return bootstrap_measures(
        samples.truth[members],
        samples.predicted[members],
        samples.subjects[members],
        len(samples.classes),
    )


def _bounds(drawn: Measures) -> tuple[list[float], list[float]]:
    low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
    return low.tolist(), high.tolist()


def _strs_interval(
    recordings: Sequence[Recording],
    kind: EventKind | None,
    min_iou: float,
    classes: Sequence[str],
) -> tuple[float, float]:
    judged = [judge(recording, kind, min_iou) for recording in recordings]
    names = [name for name in classes if name != UNNAMED]

    def strs(drawn: npt.NDArray[np.intp]) -> float:
        return float(np.nan_to_num(combine([judged[i] for i in drawn], names).strs))

    subjects = np.array([r.subject or r.name for r in recordings])
    if len(set(subjects.tolist())) < 2:
        return math.nan, math.nan
    return subject_interval(strs, subjects, draws=1000)


def _spread(error: Mapping[str, float]) -> str:
    return " / ".join(_ms(error[name]) for name in ("median_s", "p90_s", "bias_s"))


def _ms(seconds: float) -> str:
    return number(1000 * seconds, 0)


def _signed(change: Mapping[str, float], digits: int) -> str:
    text = bounded(change["value"], (change["low"], change["high"]), digits)
    return text if change["value"] < 0 or math.isnan(change["value"]) else f"+{text}"
