"""The last minute as lanes of spans over the score, in percent and path strings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from engines.events import Event, EventKind, EventState
from streamer.dashboard.sink import HISTORY_S, STEP_S, Snapshot, TimelinePoint

WIDTH, HEIGHT = 1000, 100
"""User units of the score's drawing; it is stretched to the page."""

EMOTIONS = ("negative", "positive", "surprise")
"""Emotions that have a colour of their own."""

_TICK_S = 10.0
_GAP_S = 3 * STEP_S  # the line is broken over longer stretches without a point
_MIN_WIDTH = 0.35  # percent; a micro-expression of 0.1 s must be seen
_MAX_SPANS = 60


def view(snapshot: Snapshot) -> dict[str, Any]:
    """Return what `timeline.html` draws."""
    begin = max(0.0, snapshot.now_s - HISTORY_S)
    points = snapshot.points
    finite = [p for p in points if p.face and math.isfinite(p.score)]
    top = round_up(max((max(p.score, p.threshold) for p in finite), default=1.0))
    events = (e for e in snapshot.events if e.offset_s is None or e.offset_s >= begin)
    spans = [_event_span(event, snapshot.now_s, begin) for event in events][:_MAX_SPANS]
    lanes = [
        {"name": "Micro", "spans": [s for s in spans if s["lane"] is EventKind.MICRO]},
        {"name": "Macro", "spans": [s for s in spans if s["lane"] is EventKind.MACRO]},
    ]
    truth = None if snapshot.session is None else snapshot.session.truth
    if truth is not None:
        # What is to come is not given away.
        past = [t for t in truth if t["onset_s"] <= snapshot.now_s and t["offset_s"] >= begin]
        shown = [_truth_span(item, snapshot.now_s, begin) for item in past[-_MAX_SPANS:]]
        lanes.append({"name": "Truth", "spans": shown})
    runs = list(_runs(points))
    score = _lines(runs, begin, lambda point: point.score, top)
    threshold = _lines(runs, begin, lambda point: point.threshold, top)
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "lanes": lanes,
        "bands": spans,
        "blind": _stretches([p for p in points if not p.face], begin, "not measured"),
        "losses": _stretches([p for p in points if p.lost], begin, "frames lost"),
        "score": "".join(f"M{line}" for line in score),
        "area": "".join(_under(line) for line in score),
        "threshold": "".join(f"M{line}" for line in threshold),
        "top": f"{top:g}",
        "ticks": _ticks(begin),
        "points": len(finite),
    }


def colour_of(emotion: str | None) -> str:
    """Return the colour class of an emotion."""
    return emotion if emotion in EMOTIONS else "other"


def clock(seconds: float) -> str:
    """Return a stream time as m:ss, from an hour on as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def round_up(value: float) -> float:
    """Return the next of a few round numbers, so that an axis keeps still."""
    if not value > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(s * power for s in (1, 1.5, 2, 3, 5, 7.5, 10) if s * power >= value * (1 - 1e-9))


def _event_span(event: Event, now_s: float, begin: float) -> dict[str, Any]:
    end = now_s if event.offset_s is None else event.offset_s
    open_ = event.state in (EventState.TENTATIVE, EventState.CONFIRMED)
    # Until its offset is known, an event is shown as what it has lasted for.
    kind = event.kind or (EventKind.MICRO if end - event.onset_s <= 0.5 else EventKind.MACRO)
    named = f", {event.emotion}" if event.emotion else ""
    title = f"#{event.id} {kind.value}{named}, {event.onset_s:.2f} to {end:.2f} s"
    return {
        **_span(event.onset_s, end, begin),
        "lane": kind,
        "open": open_,
        "colour": colour_of(event.emotion),
        "title": f"{title} ({event.state.value})" if open_ else title,
    }


def _truth_span(item: Mapping[str, Any], now_s: float, begin: float) -> dict[str, Any]:
    onset, offset = float(item["onset_s"]), float(item["offset_s"])
    emotion = item.get("emotion")
    title = f"{item.get('kind', '')} {emotion or ''}, {onset:.2f} to {offset:.2f} s"
    span = _span(onset, min(offset, now_s), begin)
    return {**span, "open": False, "colour": colour_of(emotion), "title": title}


def _span(start: float, end: float, begin: float) -> dict[str, float]:
    left = _percent(max(start, begin), begin)
    width = max(_percent(end, begin) - left, _MIN_WIDTH)
    return {"left": round(min(left, 100 - width), 2), "width": round(width, 2)}


def _stretches(points: Sequence[TimelinePoint], begin: float, title: str) -> list[dict[str, Any]]:
    """Return the spans that points cover, neighbours joined."""
    spans: list[tuple[float, float]] = []
    for point in points:
        if spans and point.time_s - spans[-1][1] <= _GAP_S:
            spans[-1] = (spans[-1][0], point.time_s)
        else:
            spans.append((point.time_s, point.time_s))
    return [
        {**_span(start, end + STEP_S, begin), "title": title} for start, end in spans[-_MAX_SPANS:]
    ]


def _runs(points: Iterable[TimelinePoint]) -> Iterable[list[TimelinePoint]]:
    """Cut the points where there is nothing to draw between them."""
    run: list[TimelinePoint] = []
    for point in points:
        drawable = point.face and math.isfinite(point.score) and math.isfinite(point.threshold)
        if run and (not drawable or point.time_s - run[-1].time_s > _GAP_S):
            yield run
            run = []
        if drawable:
            run.append(point)
    if run:
        yield run


def _lines(
    runs: Iterable[Sequence[TimelinePoint]],
    begin: float,
    value: Callable[[TimelinePoint], float],
    top: float,
) -> list[str]:
    """Return the coordinates of each run as the inside of a path."""
    across, down = WIDTH / HISTORY_S, HEIGHT / top
    return [
        "L".join(
            f"{(p.time_s - begin) * across:.1f} {min(max(HEIGHT - value(p) * down, 0), HEIGHT):.1f}"
            for p in run
        )
        for run in runs
    ]


def _under(line: str) -> str:
    """Close a line at the bottom."""
    first, _, _ = line.partition(" ")
    last, _, _ = line.rpartition("L")[2].partition(" ")
    return f"M{first} {HEIGHT}L{line}L{last} {HEIGHT}Z"


def _percent(time_s: float, begin: float) -> float:
    return round(min(max((time_s - begin) / HISTORY_S * 100, 0.0), 100.0), 2)


def _ticks(begin: float) -> list[dict[str, Any]]:
    first = math.ceil(begin / _TICK_S)
    times = [(first + step) * _TICK_S for step in range(int(HISTORY_S / _TICK_S) + 1)]
    return [
        {
            "left": _percent(time, begin),
            "text": clock(time),
            "last": time > begin + 0.97 * HISTORY_S,
        }
        for time in times
        if time <= begin + HISTORY_S
    ]
