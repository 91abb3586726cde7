"""Why an expression was missed, and what a false detection was: the listing to tune a spotter by.

Matching is per kind (`engines.evaluation.spotting`), so an expression that was found at the right
time but called by the wrong kind fails twice: missed as what it is, false as what it was called.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.headless import FrameCurves
from engines.evaluation.spotting import (
    MARGIN_S,
    MIN_IOU,
    FloatArray,
    Interval,
    interval_of_event,
    is_false_alarm,
    match,
    temporal_iou,
)
from engines.events import Event, EventKind, EventState

_TAIL_S = 0.1  # the score of a movement may peak this much after its offset
_NEARBY_S = 0.3  # what happened this close to a failure is worth reading


@dataclass(frozen=True, slots=True)
class Truth:
    """A true expression.

    Attributes:
        interval: When.
        label: What a reader should see, e.g. `positive AU12+6`.
        amplitude_px: Largest displacement in picture pixels; NaN when unknown.
    """

    interval: Interval
    label: str = ""
    amplitude_px: float = math.nan


@dataclass(frozen=True, slots=True)
class Activity:
    """Something that is no expression: a blink, a head movement, a glance."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """One true expression or one detection, and what became of it.

    Attributes:
        outcome: `found`, `missed` or `false`.
        kind: Micro or macro (of the truth, or of a false detection).
        onset_s: Start.
        offset_s: End.
        cause: In one or two words; empty for `found`.
        detail: Numbers behind the cause.
        label: Of the truth, or the regions of a false detection.
        amplitude_px: Of the truth; NaN for a false detection.
        peak: Highest score of the interval as a multiple of the threshold in force.
        regions: Regions that moved most in the interval, as measured.
        nearby: Blinks, head movements … at the time.
    """

    outcome: str
    kind: str
    onset_s: float
    offset_s: float
    cause: str
    detail: str
    label: str
    amplitude_px: float
    peak: float
    regions: str
    nearby: str


def judge(
    truths: Sequence[Truth],
    events: Sequence[Event],
    frames: FrameCurves,
    region_names: Sequence[str],
    activities: Sequence[Activity] = (),
) -> list[Verdict]:
    """Give every truth and every unmatched detection its verdict, in order of time."""
    truths = sorted(truths, key=lambda t: t.interval.onset_s)
    closed = [event for event in events if event.state is EventState.CLOSED]
    true = [truth.interval for truth in truths]
    found = [interval_of_event(event) for event in closed]
    paired_truths: set[int] = set()
    paired_events: set[int] = set()
    for kind in EventKind:
        rows = [i for i, interval in enumerate(true) if interval.kind is kind]
        columns = [i for i, interval in enumerate(found) if interval.kind is kind]
        for pair in match([true[i] for i in rows], [found[i] for i in columns]):
            paired_truths.add(rows[pair.truth])
            paired_events.add(columns[pair.detection])
    iou = temporal_iou(true, found)
    verdicts = []
    for row, truth in enumerate(truths):
        interval = truth.interval
        hit = row in paired_truths
        peak = _peak(frames, interval)
        cause, detail = ("", "") if hit else _why_missed(row, truths, events, iou, peak)
        verdicts.append(
            Verdict(
                outcome="found" if hit else "missed",
                kind=interval.kind.value,
                onset_s=interval.onset_s,
                offset_s=interval.offset_s,
                cause=cause,
                detail=detail,
                label=truth.label,
                amplitude_px=truth.amplitude_px,
                peak=peak,
                regions=_moved(frames, interval, region_names),
                nearby=_nearby(activities, interval),
            )
        )
    for column, (event, interval) in enumerate(zip(closed, found, strict=True)):
        if column in paired_events:
            continue
        cause, detail = _why_false(column, found, true, paired_truths, iou)
        flags = f" [{', '.join(event.quality)}]" if event.quality else ""
        verdicts.append(
            Verdict(
                outcome="false",
                kind=interval.kind.value,
                onset_s=interval.onset_s,
                offset_s=interval.offset_s,
                cause=cause,
                detail=f"event {event.id}{flags} {detail}".strip(),
                label=", ".join(event.regions[:3]),
                amplitude_px=math.nan,
                peak=_peak(frames, interval),
                regions=_moved(frames, interval, region_names),
                nearby=_nearby(activities, interval),
            )
        )
    return sorted(verdicts, key=lambda v: v.onset_s)


def _why_missed(
    row: int,
    truths: Sequence[Truth],
    events: Sequence[Event],
    iou: FloatArray,
    peak: float,
) -> tuple[str, str]:
    truth = truths[row].interval
    closed = [event for event in events if event.state is EventState.CLOSED]
    column = int(iou[row].argmax()) if closed else -1
    if column >= 0 and iou[row, column] > 0:
        event = closed[column]
        flags = f" [{', '.join(event.quality)}]" if event.quality else ""
        detail = f"event {event.id}{flags} {_offsets(truth, interval_of_event(event))}"
        if iou[row, column] >= MIN_IOU and event.kind is not truth.kind:
            return f"called {event.kind.value if event.kind else '?'}", detail
        if np.count_nonzero(iou[:, column]) > 1:
            return "merged", detail
        return "poor overlap", f"IoU {iou[row, column]:.2f} {detail}"
    for event in events:
        if event.state is not EventState.WITHDRAWN:
            continue
        if event.onset_s <= truth.offset_s + _TAIL_S and event.apex_s >= truth.onset_s - _TAIL_S:
            return f"withdrawn: {', '.join(event.quality)}", f"event {event.id}"
    if peak < 1:
        return "below threshold", ""
    return "not begun", "the score crossed the threshold but no event started"


def _why_false(
    column: int,
    found: Sequence[Interval],
    true: Sequence[Interval],
    paired_truths: set[int],
    iou: FloatArray,
) -> tuple[str, str]:
    detection = found[column]
    row = int(iou[:, column].argmax()) if len(true) else -1
    if row >= 0 and iou[row, column] > 0:
        detail = f"IoU {iou[row, column]:.2f} {_offsets(true[row], detection)}"
        if iou[row, column] >= MIN_IOU and true[row].kind is not detection.kind:
            return f"is {true[row].kind.value}", detail
        if row in paired_truths:
            return "duplicate", detail
        if np.count_nonzero(iou[:, column]) > 1:
            return "merged", detail
        return "poor overlap", detail
    if not is_false_alarm(detection, true):
        return "beside an expression", f"within {MARGIN_S:g} s"
    return "false alarm", ""


def _offsets(truth: Interval, detection: Interval) -> str:
    """How far the ends of a detection lie from the truth's."""
    onset, offset = detection.onset_s - truth.onset_s, detection.offset_s - truth.offset_s
    return f"(onset {onset * 1e3:+.0f} ms, offset {offset * 1e3:+.0f} ms)"


def _within(frames: FrameCurves, interval: Interval) -> slice:
    first, last = np.searchsorted(
        frames.time_s, [interval.onset_s - 1e-9, interval.offset_s + _TAIL_S + 1e-9]
    )
    return slice(int(first), int(last))


def _peak(frames: FrameCurves, interval: Interval) -> float:
    span = _within(frames, interval)
    score, threshold = frames.score[span], frames.threshold[span]
    if not len(score):
        return math.nan
    return float((score / np.maximum(threshold, 1e-12)).max())


def _moved(frames: FrameCurves, interval: Interval, names: Sequence[str]) -> str:
    """The three regions that moved most since the onset, in thousandths of an IOD."""
    motion = frames.motion[_within(frames, interval)]
    if not len(motion):
        return ""
    length = np.linalg.norm(motion - motion[0], axis=2).max(axis=0)
    return ", ".join(f"{names[i]} {length[i] * 1e3:.0f}" for i in np.argsort(-length)[:3])


def _nearby(activities: Sequence[Activity], interval: Interval) -> str:
    """What else happened, with the time from the onset."""
    return ", ".join(
        f"{a.name} {a.start_s - interval.onset_s:+.2f} s"
        for a in activities
        if a.start_s <= interval.offset_s + _NEARBY_S and a.end_s >= interval.onset_s - _NEARBY_S
    )
