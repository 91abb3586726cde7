"""Spotting quality: one-to-one matching of intervals, and what follows from it.

The protocol is that of the Micro-Expression Grand Challenge (MEGC 2020 and later): a detection is
a true positive when its temporal intersection over union with a true interval is at least 0.5.
Here every truth answers for one detection at most and every detection for one truth at most;
published evaluators that let one detection count twice report higher numbers.

Intervals are half-open in seconds. Annotations in inclusive frame numbers become
`[first, last + 1)` frames before they are divided by the frame rate.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.stats import chi2

from engines.errors import UserError
from engines.events import UNSURE, Event, EventKind, most_probable

MIN_IOU = 0.5
"""Smallest intersection over union of a true positive (MEGC)."""

MARGIN_S = 0.5
"""Time around a truth that is not expression-free: tails of a movement are not false alarms."""

FloatArray = npt.NDArray[np.float64]


class EvaluationError(UserError):
    """A file of events or truth cannot be read."""


@dataclass(frozen=True, slots=True)
class Interval:
    """One expression, true or detected; times in seconds of the same stream.

    Attributes:
        onset_s: Start.
        offset_s: End; not before `onset_s`.
        kind: Micro or macro.
        apex_s: Largest displacement; None when it is not known.
        decided_s: When a detection was final; None for a truth.
        score: How sure a detection is, in the spotter's own units; None where nobody said.
        emotion: Its class; None when it is not known.
    """

    onset_s: float
    offset_s: float
    kind: EventKind
    apex_s: float | None = None
    decided_s: float | None = None
    score: float | None = None
    emotion: str | None = None

    def __post_init__(self) -> None:
        if not self.onset_s <= self.offset_s:
            raise ValueError(f"onset {self.onset_s} s lies after offset {self.offset_s} s")

    @property
    def duration_s(self) -> float:
        """Time from onset to offset in seconds."""
        return self.offset_s - self.onset_s


@dataclass(frozen=True, slots=True)
class Match:
    """A truth and the detection that found it, as positions in their lists."""

    truth: int
    detection: int
    iou: float


@dataclass(frozen=True, slots=True)
class Recording:
    """One video or session: what was there and what was found.

    Attributes:
        truths: What was there; may be empty.
        detections: What was found.
        duration_s: Its length; NaN when nobody knows.
        name: Unique among those that are judged together.
        subject: Whom it shows.
    """

    truths: Sequence[Interval]
    detections: Sequence[Interval]
    duration_s: float
    name: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts and errors of one recording, or of many after `pool`.

    Ratios are NaN where nothing defines them (precision without a detection, recall without a
    truth, F1 without either).

    Attributes:
        tp: Matched pairs.
        fp: Detections without a truth.
        fn: Truths without a detection.
        duration_s: Length of what was watched; NaN when nobody knows.
        free_s: The part of it that is expression-free.
        false_alarms: Detections that touch no truth of any kind, `MARGIN_S` around it included.
        onset_errors_s: Detected minus true onset of each matched pair.
        apex_errors_s: Detected minus true apex, where both are known.
        offset_errors_s: Detected minus true offset.
        latencies_s: `decided_s - offset_s` of each detection that has one.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0
    duration_s: float = 0.0
    free_s: float = 0.0
    false_alarms: int = 0
    onset_errors_s: tuple[float, ...] = ()
    apex_errors_s: tuple[float, ...] = ()
    offset_errors_s: tuple[float, ...] = ()
    latencies_s: tuple[float, ...] = ()

    @property
    def precision(self) -> float:
        """True positives over detections."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """True positives over truths."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def false_positives_per_min(self) -> float:
        """Unmatched detections a minute of the whole recording."""
        return _ratio(60.0 * self.fp, self.duration_s)

    @property
    def false_alarms_per_min(self) -> float:
        """Detections away from every expression, a minute of expression-free time."""
        return _ratio(60.0 * self.false_alarms, self.free_s)


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """Spread of a timing error, in seconds; NaN without a value."""

    bias_s: float
    median_s: float
    p90_s: float
    count: int


def temporal_iou(truths: Sequence[Interval], detections: Sequence[Interval]) -> FloatArray:
    """Intersection over union of every truth with every detection.

    Args:
        truths: T intervals.
        detections: D intervals.

    Returns:
        (T, D) array in [0, 1]; 0 where two intervals share no time.
    """
    true, found = _bounds(truths), _bounds(detections)
    onset = np.maximum(true[:, None, 0], found[None, :, 0])
    offset = np.minimum(true[:, None, 1], found[None, :, 1])
    shared = np.maximum(offset - onset, 0.0)
    lengths = (true[:, 1] - true[:, 0])[:, None] + (found[:, 1] - found[:, 0])[None, :]
    union = lengths - shared
    iou: FloatArray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou


def match(
    truths: Sequence[Interval], detections: Sequence[Interval], min_iou: float = MIN_IOU
) -> list[Match]:
    """Pair truths with detections one to one.

    As many pairs as possible; among those pairings the one with the highest total IoU. Kinds are
    not looked at: select them first (`of_kind`).

    Args:
        truths: T intervals.
        detections: D intervals.
        min_iou: Smallest IoU of a pair, above 0.

    Returns:
        The pairs, in order of the truths.
    """
    iou = temporal_iou(truths, detections)
    # IoU is compared with a hair's slack: 5/10 frames must stay 0.5 after division by the rate.
    allowed = iou >= min_iou - 1e-9
    # One more pair must outweigh any gain in IoU, which a pairing cannot sum to more than min(T,D).
    reward = np.where(allowed, min(iou.shape) + 1.0 + iou, 0.0)
    rows, columns = linear_sum_assignment(reward, maximize=True)
    return [
        Match(int(row), int(column), float(iou[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if allowed[row, column]
    ]


def of_kind(intervals: Iterable[Interval], kind: EventKind | None) -> list[Interval]:
    """The intervals of one kind, all of them for None, in order of time."""
    chosen = [interval for interval in intervals if kind is None or interval.kind is kind]
    return sorted(chosen, key=lambda i: (i.onset_s, i.offset_s))


def free_stretches(
    truths: Sequence[Interval], duration_s: float, margin_s: float = MARGIN_S
) -> list[tuple[float, float]]:
    """Parts of a recording that are further than `margin_s` from every truth."""
    stretches: list[tuple[float, float]] = []
    free_from = 0.0
    for truth in sorted(truths, key=lambda t: t.onset_s):
        if truth.onset_s - margin_s > free_from:
            stretches.append((free_from, min(truth.onset_s - margin_s, duration_s)))
        free_from = max(free_from, truth.offset_s + margin_s)
    if duration_s > free_from:
        stretches.append((free_from, duration_s))
    return [(start, end) for start, end in stretches if end > start]


def is_false_alarm(
    detection: Interval, truths: Sequence[Interval], margin_s: float = MARGIN_S
) -> bool:
    """Whether a detection touches no truth, nor the margin around it."""
    return not any(
        detection.onset_s <= truth.offset_s + margin_s
        and detection.offset_s >= truth.onset_s - margin_s
        for truth in truths
    )


def tally(recording: Recording, kind: EventKind | None = None, min_iou: float = MIN_IOU) -> Tally:
    """Evaluate one recording.

    Args:
        recording: Truths and detections.
        kind: Match this kind with the same kind only; None matches whatever the kind. Which time
            is expression-free depends on all truths in either case.
        min_iou: Smallest IoU of a true positive.
    """
    truths = of_kind(recording.truths, kind)
    detections = of_kind(recording.detections, kind)
    pairs = [(truths[m.truth], detections[m.detection]) for m in match(truths, detections, min_iou)]
    free = (b - a for a, b in free_stretches(recording.truths, recording.duration_s))
    return Tally(
        tp=len(pairs),
        fp=len(detections) - len(pairs),
        fn=len(truths) - len(pairs),
        duration_s=recording.duration_s,
        free_s=math.nan if math.isnan(recording.duration_s) else math.fsum(free),
        false_alarms=sum(is_false_alarm(d, recording.truths) for d in detections),
        onset_errors_s=tuple(d.onset_s - t.onset_s for t, d in pairs),
        apex_errors_s=tuple(
            d.apex_s - t.apex_s for t, d in pairs if t.apex_s is not None and d.apex_s is not None
        ),
        offset_errors_s=tuple(d.offset_s - t.offset_s for t, d in pairs),
        latencies_s=tuple(d.decided_s - d.offset_s for d in detections if d.decided_s is not None),
    )


def pool(tallies: Iterable[Tally]) -> Tally:
    """Add recordings up: every expression weighs the same, whichever recording it is in."""
    parts = list(tallies)
    return Tally(
        tp=sum(t.tp for t in parts),
        fp=sum(t.fp for t in parts),
        fn=sum(t.fn for t in parts),
        duration_s=math.fsum(t.duration_s for t in parts),
        free_s=math.fsum(t.free_s for t in parts),
        false_alarms=sum(t.false_alarms for t in parts),
        onset_errors_s=tuple(e for t in parts for e in t.onset_errors_s),
        apex_errors_s=tuple(e for t in parts for e in t.apex_errors_s),
        offset_errors_s=tuple(e for t in parts for e in t.offset_errors_s),
        latencies_s=tuple(e for t in parts for e in t.latencies_s),
    )


def tallies_by_subject(
    recordings: Iterable[Recording], kind: EventKind | None = None, min_iou: float = MIN_IOU
) -> dict[str, Tally]:
    """One tally a subject, in order of first appearance; a recording without one is its own."""
    subjects: dict[str, list[Tally]] = {}
    for recording in recordings:
        subject = recording.subject or recording.name
        subjects.setdefault(subject, []).append(tally(recording, kind, min_iou))
    return {subject: pool(parts) for subject, parts in subjects.items()}


def error_summary(errors_s: Sequence[float]) -> ErrorSummary:
    """Signed median, median and 90th percentile of the absolute value."""
    if not errors_s:
        return ErrorSummary(math.nan, math.nan, math.nan, 0)
    signed = np.asarray(errors_s)
    size = np.abs(signed)
    return ErrorSummary(
        bias_s=float(np.median(signed)),
        median_s=float(np.median(size)),
        p90_s=float(np.quantile(size, 0.9)),
        count=len(errors_s),
    )


def bootstrap_intervals(
    tallies: Sequence[Tally],
    statistics: Mapping[str, Callable[[Tally], float]],
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap over subjects, or over recordings where every one is another's.

    Subjects (not events) are drawn, because events of one person resemble one another. With
    fewer than about ten the intervals are too narrow.

    Args:
        tallies: One for each subject.
        statistics: Name to a number of a pooled tally that is to be bounded.
        level: Coverage.
        resamples: Number of draws.
        seed: Seed of the draws.

    Returns:
        Name to lower and upper bound; NaN with fewer than two subjects. Draws for which a
        statistic is NaN are left out of it.
    """
    if len(tallies) < 2:
        return dict.fromkeys(statistics, (math.nan, math.nan))
    draws = np.random.default_rng(seed).integers(len(tallies), size=(resamples, len(tallies)))
    pooled = [pool(tallies[i] for i in draw) for draw in draws]
    bounds: dict[str, tuple[float, float]] = {}
    for name, statistic in statistics.items():
        values = np.array([statistic(sample) for sample in pooled])
        values = values[~np.isnan(values)]
        tails = [(1 - level) / 2, (1 + level) / 2]
        low, high = np.quantile(values, tails) if len(values) else (math.nan, math.nan)
        bounds[name] = (float(low), float(high))
    return bounds


@dataclass(frozen=True, slots=True)
class Difference:
    """A statistic of one spotter minus that of another on the same subjects.

    Attributes:
        value: Of all subjects together.
        low: Lower end of the bootstrap interval; NaN with fewer than two subjects.
        high: Its upper end.
        above: Share of the draws in which the first was higher; ties count half.
    """

    value: float
    low: float
    high: float
    above: float


def difference(
    first: Sequence[Tally],
    second: Sequence[Tally],
    statistic: Callable[[Tally], float],
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """Paired bootstrap: the same subjects are drawn for both, so what they share cancels.

    Args:
        first: One tally a subject.
        second: The other spotter's, subjects in the same order.
        statistic: What is compared.
        level: Coverage.
        resamples: Number of draws.
        seed: Seed of the draws.

    Raises:
        ValueError: The numbers of subjects differ.
    """
    if len(first) != len(second):
        raise ValueError("both spotters must be judged on the same subjects")
    value = statistic(pool(first)) - statistic(pool(second))
    if len(first) < 2:
        return Difference(value, math.nan, math.nan, math.nan)
    draws = np.random.default_rng(seed).integers(len(first), size=(resamples, len(first)))
    values = np.array(
        [
            statistic(pool(first[i] for i in draw)) - statistic(pool(second[i] for i in draw))
            for draw in draws
        ]
    )
    values = values[~np.isnan(values)]
    if not len(values):
        return Difference(value, math.nan, math.nan, math.nan)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    above = float(np.mean((values > 0) + 0.5 * (values == 0)))
    return Difference(value, float(low), float(high), above)


def poisson_interval(count: int, duration: float, level: float = 0.95) -> tuple[float, float]:
    """Exact bounds of a rate from a count (Garwood, Biometrika 1936).

    For one long recording, where there is nothing to bootstrap over: no event in three minutes
    says only that the rate is below 1.2 a minute.

    Args:
        count: Number of events seen.
        duration: How long was watched, above 0.
        level: Coverage.

    Returns:
        Lower and upper bound, in events per unit of `duration`.
    """
    tail = (1 - level) / 2
    low = chi2.ppf(tail, 2 * count) / 2 if count else 0.0
    high = chi2.ppf(1 - tail, 2 * (count + 1)) / 2
    return float(low) / duration, float(high) / duration


def above(recording: Recording, score: float, most: int | None = None) -> Recording:
    """The same with the detections above a score only, the `most` strongest at most."""
    ranked = sorted(recording.detections, key=lambda d: -_score(d))[:most]
    return replace(recording, detections=[d for d in ranked if _score(d) > score])


def choose_threshold(
    recordings: Sequence[Recording],
    thresholds: Sequence[float],
    kind: EventKind | None = None,
    *,
    most: int | None = None,
    min_iou: float = MIN_IOU,
) -> list[Recording]:
    """Keep the detections above a score that is chosen for each subject on the others.

    Args:
        recordings: Every detection has a score.
        thresholds: Candidates.
        kind: What the F1 that is maximised is of.
        most: How many detections a recording keeps at most.
        min_iou: Smallest IoU of a true positive.

    Raises:
        EvaluationError: A detection has no score, or there is one subject only.
    """
    columns = [
        tallies_by_subject((above(r, t, most) for r in recordings), kind, min_iou)
        for t in thresholds
    ]
    try:
        _, chosen = leave_one_subject_out(
            {subject: [column[subject] for column in columns] for subject in columns[0]}
        )
    except ValueError as error:
        raise EvaluationError(
            "A threshold can only be chosen on other subjects where there are at least two; "
            "give more recordings, or a subject with each."
        ) from error
    return [above(r, thresholds[chosen[r.subject or r.name]], most) for r in recordings]


def leave_one_subject_out(
    tallies: Mapping[str, Sequence[Tally]],
    max_fp_per_min: float = math.inf,
) -> tuple[Tally, dict[str, int]]:
    """Choose a setting for each subject on the other subjects, then evaluate it on that subject.

    The honest way to report a detector whose threshold is free: no subject's own truth has a say
    in the threshold that it is judged by.

    Args:
        tallies: Subject to its tally under each candidate setting, in the same order for all.
        max_fp_per_min: Settings with more false positives a minute on the other subjects are not
            chosen, unless all have.

    Returns:
        The pooled tally, and the position of the setting chosen for each subject (highest F1, the
        first of equals).
    """
    chosen: dict[str, int] = {}
    for subject in tallies:
        others = [t for name, t in tallies.items() if name != subject]
        if not others:
            raise ValueError("leave-one-subject-out needs at least two subjects")
        pooled = [pool(column) for column in zip(*others, strict=True)]
        f1 = np.nan_to_num([each.f1 for each in pooled], nan=-1.0)
        too_many = [each.false_positives_per_min > max_fp_per_min for each in pooled]
        chosen[subject] = int(np.argmax(np.where(too_many, f1 - 2, f1)))
    return pool(tallies[subject][i] for subject, i in chosen.items()), chosen


def interval_of_event(event: Event) -> Interval:
    """A closed event as an interval.

    Raises:
        ValueError: The event is not closed.
    """
    if event.offset_s is None or event.kind is None:
        raise ValueError(f"event {event.id} is {event.state.value}, not closed")
    return Interval(
        event.onset_s,
        event.offset_s,
        event.kind,
        event.apex_s,
        event.decided_s,
        event.score,
        event.most_probable,
    )


def interval_of_record(record: Mapping[str, Any]) -> Interval:
    """A line of `events.jsonl` or `truth.jsonl` as an interval.

    Raises:
        KeyError: `kind`, `onset_s` or `offset_s` is missing.
        ValueError: A value makes no sense.
    """
    return Interval(
        onset_s=float(record["onset_s"]),
        offset_s=float(record["offset_s"]),
        kind=EventKind(record["kind"]),
        apex_s=_optional(record.get("apex_s")),
        decided_s=_optional(record.get("decided_s")),
        score=_optional(record.get("score")),
        emotion=emotion_of(record),
    )


def emotion_of(record: Mapping[str, Any]) -> Any:
    """Emotion of a line of `events.jsonl` as it counts: of an unsure one the most probable."""
    emotion, probabilities = record.get("emotion"), record.get("probabilities")
    if emotion == UNSURE and isinstance(probabilities, Mapping) and probabilities:
        return most_probable(probabilities)
    return emotion


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Line numbers and values of a file of JSON lines.

    A last line that was cut off (the session was killed while writing it) is left out.

    Raises:
        EvaluationError: The file is missing, or a line is no JSON.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(
            f"{path} cannot be read ({error}); give a file of JSON lines or a session folder."
        ) from error
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                return
            raise EvaluationError(
                f"{path}, line {number} is not JSON ({error}); correct it or remove it."
            ) from error
        yield number, value


def read_intervals(path: Path) -> list[Interval]:
    """Read `events.jsonl` or `truth.jsonl` of a session folder.

    Raises:
        EvaluationError: The file is missing, or a line is no expression.
    """
    intervals = []
    for number, record in json_lines(path):
        try:
            intervals.append(interval_of_record(record))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EvaluationError(
                f"{path}, line {number} is not an expression ({error!r}); correct it or remove it."
            ) from error
    return intervals


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan


def _score(detection: Interval) -> float:
    if detection.score is None:
        raise EvaluationError("A detection has no score; give a score with every detection.")
    return detection.score


def _optional(value: Any) -> float | None:
    return None if value is None else float(value)


def _bounds(intervals: Sequence[Interval]) -> FloatArray:
    flat = [(i.onset_s, i.offset_s) for i in intervals]
    return np.asarray(flat, dtype=np.float64).reshape(-1, 2)
