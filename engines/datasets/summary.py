"""What was found in a data set, in numbers and in words."""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Iterator
from typing import Any

from engines.datasets.base import Dataset, Problem
from engines.datasets.facs import action_unit_numbers
from engines.events import EventKind

_EXAMPLES = 3
"""Problems of each kind that are shown unless all are asked for."""


def summarise(dataset: Dataset, classes: int | None) -> dict[str, Any]:
    """Count what was found.

    Args:
        dataset: The data set.
        classes: Number of classes to count by; None counts emotions as they were coded.

    Returns:
        Figures, ready to be written as JSON; durations in seconds.

    Raises:
        DatasetError: The data set has no such set of classes.
    """
    events = [event for _, event in dataset.samples()]
    by_class: dict[str, Counter[str]] = {kind.value: Counter() for kind in EventKind}
    for event in events:
        label = event.emotion if classes is None else dataset.label(event, classes)
        by_class[event.kind.value][label or ""] += 1
    names = sorted({n for c in by_class.values() for n in c if n})
    names = list(dataset.classes(classes)) if classes else names
    known = [r.duration_s for r in dataset.recordings if r.duration_s is not None]
    return {
        "name": dataset.name,
        "title": dataset.title,
        "folder": str(dataset.folder),
        "subjects": list(dataset.subjects),
        "recordings": {
            "total": len(dataset.recordings),
            "with_frames": sum(r.path is not None for r in dataset.recordings),
            "with_depth": sum(r.depth is not None for r in dataset.recordings),
            "without_events": sum(not r.events for r in dataset.recordings),
            "known_length": len(known),
            "duration_s": sum(known),
            "missing_frames": sum(r.missing_frames for r in dataset.recordings),
        },
        "events": {
            kind: {
                "total": counts.total(),
                "classes": {name: counts[name] for name in names},
                "no_class": counts[""],
                "durations_s": _spread([e.offset_s - e.onset_s for e in events if e.kind == kind]),
            }
            for kind, counts in by_class.items()
        },
        "action_units": list(action_unit_numbers(events)),
        "problems": {
            "total": len(dataset.problems),
            "lost_events": sum(p.lost_events for p in dataset.problems),
            "by_kind": dict(Counter(p.kind.value for p in dataset.problems)),
            "list": [_problem(problem) for problem in dataset.problems],
        },
    }


def describe(dataset: Dataset, figures: dict[str, Any], every_problem: bool) -> str:
    """The figures as text for a terminal.

    Args:
        dataset: The data set.
        figures: What `summarise` returned for it.
        every_problem: Show all problems instead of a few of each kind.
    """
    recordings, events = figures["recordings"], figures["events"]
    units = ", ".join(map(str, figures["action_units"])) or "none coded"
    lines = [
        f"{dataset.title} in {dataset.folder}",
        f"  subjects     {len(dataset.subjects)}",
        f"  recordings   {recordings['total']}: {recordings['with_frames']} with frames, "
        f"{recordings['without_events']} without an event",
        f"  length       {_length(recordings)}",
        f"  action units {units}",
        "",
        f"  {'events':<14}" + "".join(f"{kind:>8}" for kind in events),
        *_class_rows(events),
        "",
        *(
            f"  {kind}: {spread['shortest']:.2f} to {spread['longest']:.2f} s, "
            f"median {spread['median']:.2f} s, {spread['over_half_a_second']} longer than 0.5 s"
            for kind, counts in events.items()
            if (spread := counts["durations_s"]) is not None
        ),
        "",
        *_problem_rows(dataset, every_problem),
    ]
    return "\n".join(lines)


def _class_rows(events: dict[str, Any]) -> Iterator[str]:
    first = next(iter(events.values()))
    for name in first["classes"]:
        yield f"    {name:<12}" + "".join(f"{c['classes'][name]:>8}" for c in events.values())
    yield f"    {'no class':<12}" + "".join(f"{c['no_class']:>8}" for c in events.values())
    yield f"    {'total':<12}" + "".join(f"{c['total']:>8}" for c in events.values())


def _length(recordings: dict[str, Any]) -> str:
    missing = f", {recordings['missing_frames']} frames missing"
    return f"{recordings['duration_s'] / 60:.1f} min in {recordings['known_length']} recordings" + (
        missing if recordings["missing_frames"] else ""
    )


def _problem_rows(dataset: Dataset, every_problem: bool) -> Iterator[str]:
    if not dataset.problems:
        yield "  problems: none"
        return
    lost = sum(problem.lost_events for problem in dataset.problems)
    yield f"  problems: {len(dataset.problems)}, events lost by them: {lost}"
    for kind in sorted({problem.kind for problem in dataset.problems}):
        alike = [problem for problem in dataset.problems if problem.kind is kind]
        yield f"    {kind.value}: {len(alike)}"
        shown = alike if every_problem else alike[:_EXAMPLES]
        yield from (f"      {_relative(problem, dataset)}" for problem in shown)
        if len(alike) > len(shown):
            yield f"      … {len(alike) - len(shown)} more, see --all-problems"


def _relative(problem: Problem, dataset: Dataset) -> str:
    return str(problem).replace(f"{dataset.folder}{os.sep}", "", 1)


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "kind": problem.kind.value,
        "file": str(problem.file),
        "row": problem.row,
        "message": problem.message,
        "lost_events": problem.lost_events,
    }


def _spread(durations_s: list[float]) -> dict[str, float] | None:
    if not durations_s:
        return None
    return {
        "shortest": min(durations_s),
        "median": statistics.median(durations_s),
        "longest": max(durations_s),
        "over_half_a_second": sum(duration > 0.5 for duration in durations_s),
    }
