"""Figures of a run, pooled over its folds, with intervals over identities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from calibration.temperature import expected_calibration_error
from engines.evaluation.recognition import scores, subject_interval
from engines.evaluation.spotting import Tally, bootstrap_intervals, error_summary, pool
from engines.events import EventKind

STATISTICS: Mapping[str, Callable[[Tally], float]] = {
    "f1": lambda t: t.f1,
    "precision": lambda t: t.precision,
    "recall": lambda t: t.recall,
    "false_positives_per_min": lambda t: t.false_positives_per_min,
    "false_alarms_per_min": lambda t: t.false_alarms_per_min,
}
"""Figures of spotting; the names under which they are reported."""


MIN_PEOPLE = 5
"""Identities below which a bootstrap over them says nothing; the interval is NaN."""


def spotting_figures(tallies: Sequence[tuple[str, Tally]]) -> dict[str, Any]:
    """Pool the clips of test identities.

    Args:
        tallies: Identity and tally of every clip; micro-expressions only.

    Returns:
        Counts, every figure of `STATISTICS` with a 95 % interval over identities (NaN for fewer
        than `MIN_PEOPLE`), and latency and timing errors in seconds.
    """
    by_identity: dict[str, list[Tally]] = defaultdict(list)
    for identity, each in tallies:
        by_identity[identity].append(each)
    people = [pool(parts) for parts in by_identity.values()]
    whole = pool(people)
    intervals = bootstrap_intervals(people if len(people) >= MIN_PEOPLE else (), STATISTICS)
    latency = np.array(whole.latencies_s)
    return {
        "identities": len(people),
        "clips": len(tallies),
        "minutes": whole.duration_s / 60,
        "micro_expressions": whole.tp + whole.fn,
        "found": whole.tp,
        "detections": whole.tp + whole.fp,
        **{name: statistic(whole) for name, statistic in STATISTICS.items()},
        **{f"{name}_interval": list(bounds) for name, bounds in intervals.items()},
        "latency_p50_s": float(np.median(latency)) if len(latency) else None,
        "latency_p90_s": float(np.quantile(latency, 0.9)) if len(latency) else None,
        "onset_error_s": error_summary(whole.onset_errors_s).median_s,
        "apex_error_s": error_summary(whole.apex_errors_s).median_s,
        "offset_error_s": error_summary(whole.offset_errors_s).median_s,
    }


def recognition_figures(
    events: Sequence[Mapping[str, Any]], classes: Sequence[str]
) -> dict[str, Any]:
    """Pool the expressions of test identities.

    Args:
        events: With `identity`, `kind`, `emotion` and `recognised`, and by choice `probabilities`.
        classes: Names of the classes.

    Returns:
        For micro-expressions and for all: UF1, UAR and accuracy with 95 % intervals over
        identities, the confusion with truth in rows, and the expected calibration error of
        probabilities; nothing for a kind that does not occur.
    """
    groups = {
        "micro": [each for each in events if each["kind"] == EventKind.MICRO.value],
        "all": list(events),
    }
    return {name: _recognised(group, classes) for name, group in groups.items() if group}


def pooled(results: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """Figures of the test identities of all folds.

    Args:
        results: What `engines.training.folded.run_fold` gave for each fold.
        classes: Names of the emotions.

    Returns:
        `spotting` for all clips and `spotting_by_fps` of a network that spots, `proposals` for its
        other decisions where it has any, and `recognition`; empty without a test.
    """
    clips = [clip for result in results for clip in result["clips"]]
    events = [event for result in results for event in result["events"]]
    figures: dict[str, Any] = {}
    if clips:
        figures["spotting"] = spotting_figures([_tallied(clip) for clip in clips])
        figures["spotting_by_fps"] = {
            f"{fps:g}": spotting_figures([_tallied(c) for c in clips if c["fps"] == fps])
            for fps in sorted({clip["fps"] for clip in clips})
        }
        further = [result["further_clips"] for result in results if "further_clips" in result]
        if further:
            figures["proposals"] = {
                name: spotting_figures([_tallied(c) for each in further for c in each[name]])
                for name in further[0]
            }
    if clips or events:
        figures["recognition"] = recognition_figures(events, classes)
    return figures


def _tallied(clip: Mapping[str, Any]) -> tuple[str, Tally]:
    counts: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in clip["tally"].items()
    }
    return clip["identity"], Tally(**counts)


def _recognised(events: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    truth, guess = (
        np.array([classes.index(each[name]) for each in events], np.int64)
        for name in ("emotion", "recognised")
    )
    identities = np.array([each["identity"] for each in events])
    whole = scores(truth, guess, len(classes))
    figures: dict[str, Any] = {"events": len(events), "confusion": whole.confusion.tolist()}
    for name in ("uf1", "uar", "accuracy"):
        figures[name] = getattr(whole, name)
        figures[f"{name}_interval"] = list(
            subject_interval(_measure(name, truth, guess, len(classes)), identities)
        )
    if all("probabilities" in each for each in events):
        predicted = np.array([[each["probabilities"][name] for name in classes] for each in events])
        figures["ece"] = expected_calibration_error(predicted, truth)
    return figures


def _measure(
    name: str, truth: npt.NDArray[np.int64], guess: npt.NDArray[np.int64], classes: int
) -> Callable[[npt.NDArray[np.intp]], float]:
    return lambda drawn: float(getattr(scores(truth[drawn], guess[drawn], classes), name))
