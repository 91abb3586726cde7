"""The score of a whole session as strips of equal length, in coordinates for SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.evaluation.spotting import Interval
from engines.events import EventKind
from streamer.dashboard.timeline import clock, colour_of, round_up
from streamer.review.annotations import ReviewedEvent
from streamer.review.comparison import Comparison
from streamer.review.session_reader import Frames

COLUMNS = ("frame", "timestamp", "success", "score", "threshold")
"""Columns of `frames.csv` that are drawn."""

LEFT, WIDTH, LANE, SCORE, AXIS = 62, 938, 16, 110, 18
"""Widths and heights in user units: names, plot, one lane of spans, the score, the times."""

PLOT_WIDTH, PLOT_HEIGHT = 300, 84
"""Size of an event's own plot in user units."""

_AROUND_S = 0.3  # shown before and after an event
_LENGTHS_S = (5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_MAX_STRIPS = 60
_READABLE_S = 30
_TICKS = 10
_GAP_S, _GAP_FRAMES = 0.1, 2.5  # the line is broken over longer stretches without a score
_MIN_WIDTH = 2.5  # a micro-expression of 40 ms must be seen

_Verdicts = dict[Interval | int, str]
"""A truth, or the number of an event, to its verdict."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Strip:
    """A stretch of stream time, and how long a gap in it breaks the line."""

    begin_s: float
    length_s: float
    gap_s: float
    left: float = LEFT
    width: float = WIDTH

    def x(self, time_s: float) -> float:
        """Place of a time, inside the plot."""
        share = (time_s - self.begin_s) / self.length_s
        return self.left + self.width * min(max(share, 0.0), 1.0)

    def holds(self, onset_s: float, offset_s: float) -> bool:
        """Whether any of a span is in it."""
        return onset_s < self.begin_s + self.length_s and offset_s >= self.begin_s

    def box(self, onset_s: float, offset_s: float) -> dict[str, float]:
        """Place and width of a span."""
        left = self.x(onset_s)
        width = max(self.x(offset_s) - left, _MIN_WIDTH)
        return {"x": round(min(left, self.left + self.width - width), 1), "width": round(width, 1)}


def strips(
    frames: Frames, events: Sequence[ReviewedEvent], comparison: Comparison | None
) -> list[dict[str, Any]]:
    """Return what `report.html` draws.

    Args:
        frames: `COLUMNS` of the session's frames.
        events: Its events, rejected ones included.
        comparison: The truth beside them.
    """
    times = frames["timestamp"]
    if not len(times):
        return []
    begin_s = float(math.floor(times[0]))
    lasts_s = float(times[-1]) - begin_s
    length_s = next(
        (
            length
            for length in _LENGTHS_S
            if lasts_s <= length * _MAX_STRIPS and (length >= _READABLE_S or lasts_s <= length)
        ),
        _LENGTHS_S[-1],
    )
    measured = frames["success"] > 0
    finite = frames["score"][measured & np.isfinite(frames["score"])]
    top = round_up(float(max(finite.max(initial=0), np.nanmax(frames["threshold"], initial=0))))
    gap_s = _gap_s(times)
    count = int(lasts_s // length_s) + 1
    every = [_Strip(begin_s + n * length_s, length_s, gap_s) for n in range(count)]
    return [_drawn(strip, frames, measured, top, events, comparison) for strip in every]


def event_plot(frames: Frames, reviewed: ReviewedEvent) -> dict[str, Any]:
    """Return the score around an event, what reviewers made of it included.

    Args:
        frames: `COLUMNS` of the session's frames.
        reviewed: The event.
    """
    event = reviewed.event
    offset_s = event.onset_s if event.offset_s is None else event.offset_s
    around_s = max(_AROUND_S, (offset_s - event.onset_s) / 2)
    strip = _Strip(
        begin_s=event.onset_s - around_s,
        length_s=offset_s - event.onset_s + 2 * around_s,
        gap_s=_gap_s(frames["timestamp"]),
        left=0,
        width=PLOT_WIDTH,
    )
    times = frames["timestamp"]
    inside = slice(*np.searchsorted(times, (strip.begin_s, strip.begin_s + strip.length_s)))
    measured = (frames["success"] > 0)[inside]
    curves = {name: frames[name][inside] for name in ("score", "threshold")}
    highest = max(float(np.nanmax(values[measured], initial=0)) for values in curves.values())
    top = round_up(highest)
    runs = list(_runs(strip, times[inside], measured))
    return {
        "top": f"{top:g}",
        "colour": colour_of(event.emotion),
        **strip.box(event.onset_s, offset_s),
        "apex": round(strip.x(event.apex_s), 1),
        "length": f"{1000 * strip.length_s:.0f} ms",
        **{
            name: "".join(
                _path(strip, times[inside][run], values[run], top, 0, PLOT_HEIGHT) for run in runs
            )
            for name, values in curves.items()
        },
    }


def _drawn(
    strip: _Strip,
    frames: Frames,
    measured: npt.NDArray[np.bool_],
    top: float,
    events: Sequence[ReviewedEvent],
    comparison: Comparison | None,
) -> dict[str, Any]:
    times = frames["timestamp"]
    inside = slice(*np.searchsorted(times, (strip.begin_s, strip.begin_s + strip.length_s)))
    verdicts = _verdicts(comparison)
    kept = [each for each in events if not each.rejected]
    lanes = [
        _lane(kind.value, (_event_span(strip, e, verdicts) for e in kept if e.event.kind is kind))
        for kind in EventKind
    ]
    if any(each.rejected for each in events):
        spans = (_event_span(strip, each, verdicts) for each in events if each.rejected)
        lanes.append(_lane("rejected", spans))
    if comparison is not None:
        spans = (_truth_span(strip, truth, verdicts) for truth in comparison.truths)
        lanes.append(_lane("truth", spans))
    for number, lane in enumerate(lanes):
        lane["y"] = number * LANE
    score_y = len(lanes) * LANE
    runs = list(_runs(strip, times[inside], measured[inside]))
    values = {name: frames[name][inside] for name in ("score", "threshold")}
    return {
        "label": f"{clock(strip.begin_s)} to {clock(strip.begin_s + strip.length_s)}",
        "height": score_y + SCORE + AXIS,
        "score_y": score_y,
        "lanes": lanes,
        "bands": [span for lane in lanes[:2] for span in lane["spans"]],
        "blind": list(_blind(strip, times[inside], measured[inside])),
        "losses": list(_losses(strip, times[inside], frames["frame"][inside])),
        "top": f"{top:g}",
        "ticks": list(_ticks(strip)),
        **{
            name: "".join(
                _path(strip, times[inside][run], value[run], top, score_y) for run in runs
            )
            for name, value in values.items()
        },
    }


def _verdicts(comparison: Comparison | None) -> _Verdicts:
    verdicts: _Verdicts = {}
    for pairing in () if comparison is None else comparison.pairings:
        if pairing.event is not None:
            verdicts[pairing.event.event.id] = pairing.verdict
        if pairing.truth is not None:
            verdicts[pairing.truth] = pairing.verdict
    return verdicts


def _lane(name: str, spans: Iterable[dict[str, Any] | None]) -> dict[str, Any]:
    return {"name": name, "spans": [span for span in spans if span is not None]}


def _event_span(
    strip: _Strip, reviewed: ReviewedEvent, verdicts: _Verdicts
) -> dict[str, Any] | None:
    event = reviewed.event
    offset_s = event.onset_s if event.offset_s is None else event.offset_s
    if not strip.holds(event.onset_s, offset_s):
        return None
    title = f"#{event.id} {event.emotion or ''} {event.onset_s:.2f} to {offset_s:.2f} s"
    verdict = verdicts.get(event.id, "")
    return {
        **strip.box(event.onset_s, offset_s),
        "apex": round(strip.x(event.apex_s), 1),
        "colour": colour_of(event.emotion),
        "title": f"{title} {verdict}".strip(),
        "verdict": verdict,
    }


def _truth_span(strip: _Strip, truth: Interval, verdicts: _Verdicts) -> dict[str, Any] | None:
    if not strip.holds(truth.onset_s, truth.offset_s):
        return None
    verdict = verdicts[truth]
    title = (
        f"{truth.kind.value} {truth.emotion or ''} {truth.onset_s:.2f} to {truth.offset_s:.2f} s"
    )
    return {
        **strip.box(truth.onset_s, truth.offset_s),
        "apex": None if truth.apex_s is None else round(strip.x(truth.apex_s), 1),
        "colour": colour_of(truth.emotion),
        "title": f"{title} {verdict}",
        "verdict": verdict,
    }


def _runs(
    strip: _Strip, times: FloatArray, measured: npt.NDArray[np.bool_]
) -> Iterator[npt.NDArray[np.intp]]:
    """Positions that one line joins: measured, and no gap between."""
    at = np.flatnonzero(measured)
    if len(at):
        yield from np.split(at, np.flatnonzero(np.diff(times[at]) > strip.gap_s) + 1)


def _gap_s(times: FloatArray) -> float:
    """Longest time between two frames that a line joins."""
    if len(times) < 2:
        return 0.0
    return max(_GAP_S, _GAP_FRAMES * float(np.median(np.diff(times))))


def _path(
    strip: _Strip,
    times: FloatArray,
    values: FloatArray,
    top: float,
    y: float,
    height: float = SCORE,
) -> str:
    """A line, of each user unit the highest point."""
    x = np.round(strip.left + strip.width * (times - strip.begin_s) / strip.length_s, 1)
    starts = np.flatnonzero(np.diff(np.floor(x), prepend=-1.0))
    highest = np.maximum.reduceat(np.nan_to_num(values, nan=0.0), starts)
    down = np.clip(y + height * (1 - highest / top), y, y + height)
    points = (f"{a:g} {b:.1f}" for a, b in zip(x[starts].tolist(), down.tolist(), strict=True))
    return "M" + "L".join(points)


def _blind(
    strip: _Strip, times: FloatArray, measured: npt.NDArray[np.bool_]
) -> Iterator[dict[str, float]]:
    at = np.flatnonzero(~measured)
    for run in np.split(at, np.flatnonzero(np.diff(at) > 1) + 1) if len(at) else ():
        yield strip.box(float(times[run[0]]), float(times[min(run[-1] + 1, len(times) - 1)]))


def _losses(strip: _Strip, times: FloatArray, frames: FloatArray) -> Iterator[dict[str, Any]]:
    for at in np.flatnonzero(np.diff(frames) > 1):
        missing = int(frames[at + 1] - frames[at]) - 1
        box = strip.box(float(times[at]), float(times[at + 1]))
        yield {**box, "title": f"{missing} lost"}


def _ticks(strip: _Strip) -> Iterator[dict[str, Any]]:
    step = strip.length_s / _TICKS
    for number in range(_TICKS + 1):
        time_s = strip.begin_s + number * step
        text = clock(time_s) if step >= 1 else f"{time_s:.1f}"
        anchor = "start" if number == 0 else "end" if number == _TICKS else "middle"
        yield {"x": round(strip.x(time_s), 1), "text": text, "anchor": anchor}
