"""How well the flow spotter does on a synthetic set, and what it takes for an expression.

    python -m benchmarks.synthetic FOLDER

Nothing is rendered: the motion that the set keeps is what a live session would have measured. One
prediction counts for one truth, at an overlap (IoU) of 0.5.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import bounded, number, table
from engines.errors import UserError
from engines.evaluation.spotting import (
    Interval,
    Recording,
    bootstrap_intervals,
    interval_of_event,
    match,
    pool,
    tally,
)
from engines.events import EventKind, EventState
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.registry import create_spotter
from engines.synthesis.scenario import REFERENCE_INTER_OCULAR_PX
from engines.training.synthetic_set import SyntheticClip, SyntheticSet

_EDGES_PX = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
_MARGIN_S = 0.15
_CAUSES = ("talking", "nod", "shake", "tilt", "posture", "blink", "saccade")


@dataclass(frozen=True, slots=True)
class Spotted:
    """A clip, what is in it and what was found.

    Attributes:
        clip: The clip.
        recording: Truths and detections.
        found: Positions of the truths that were found.
        false: Detections without a truth.
    """

    clip: SyntheticClip
    recording: Recording
    found: frozenset[int]
    false: tuple[Interval, ...]


def spot(clip: SyntheticClip) -> Spotted:
    """Run the flow spotter over a clip."""
    spotter = create_spotter("flow", FlowSpotterConfig(), clip.fps)
    last = {}
    for sample in clip.samples():
        last.update((event.id, event) for event in spotter.push(sample).events)
    last.update((event.id, event) for event in spotter.finish())
    detections = [interval_of_event(e) for e in last.values() if e.state is EventState.CLOSED]
    truths = [Interval(e.onset_s, e.offset_s, e.kind, e.apex_s) for e in clip.events]
    pairs = match(truths, detections)
    right = {pair.detection for pair in pairs}
    return Spotted(
        clip=clip,
        recording=Recording(truths, detections, clip.seconds, clip.name),
        found=frozenset(pair.truth for pair in pairs),
        false=tuple(d for position, d in enumerate(detections) if position not in right),
    )


def cause(clip: SyntheticClip, detection: Interval) -> str:
    """Name what moved during a false detection; the first of `_CAUSES` where several did."""
    moved = {
        str(distractor["kind"])
        for distractor in clip.distractors
        if distractor["start_s"] - _MARGIN_S < detection.offset_s
        and detection.onset_s < distractor["end_s"] + _MARGIN_S
    }
    expressed = any(
        event.onset_s < detection.offset_s and detection.onset_s < event.offset_s
        for event in clip.events
    )
    named = [kind for kind in _CAUSES if kind in moved]
    return named[0] if named else "another expression" if expressed else "nothing"


def quality(spotted: Sequence[Spotted]) -> str:
    """Precision, recall and F1 by frame rate."""
    groups: dict[str, list[Spotted]] = defaultdict(list)
    for one in sorted(spotted, key=lambda one: one.clip.fps):
        groups[f"{one.clip.fps:g}"].append(one)
    rows = []
    for fps, group in (*groups.items(), ("all", list(spotted))):
        for kind in (*EventKind, None):
            tallies = [tally(one.recording, kind) for one in group]
            total = pool(tallies)
            bounds = bootstrap_intervals(tallies, {"f1": lambda t: t.f1})
            rows.append(
                [
                    fps,
                    kind.value if kind else "any",
                    total.tp + total.fn,
                    number(total.precision),
                    number(total.recall),
                    bounded(total.f1, bounds["f1"]),
                    number(total.false_positives_per_min),
                ]
            )
    return table(["fps", "kind", "true", "precision", "recall", "F1 [95 %]", "FP/min"], rows)


def recall_by_size(spotted: Sequence[Spotted]) -> str:
    """Share of the micro-expressions that are found, by their largest movement."""
    hits: dict[float, list[bool]] = defaultdict(list)
    for one in spotted:
        for position, event in enumerate(one.clip.events):
            if event.kind is EventKind.MICRO:
                size = event.amplitude * REFERENCE_INTER_OCULAR_PX
                low = max(edge for edge in _EDGES_PX if edge <= size)
                hits[low].append(position in one.found)
    rows = [[f"{low:g} %", len(h), number(sum(h) / len(h))] for low, h in sorted(hits.items())]
    return table(["micro, inter-ocular distance from", "true", "found"], rows)


def causes(spotted: Sequence[Spotted]) -> str:
    """What moved when nothing was to be found."""
    counts = Counter(cause(one.clip, false) for one in spotted for false in one.false)
    minutes = sum(one.clip.seconds for one in spotted) / 60
    rows = [[name, count, number(count / minutes)] for name, count in counts.most_common()]
    rows.append(["all", sum(counts.values()), number(sum(counts.values()) / minutes)])
    return table(["false detections during", "count", "a minute"], rows)


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.synthetic",
        description="Run the flow spotter over a synthetic set and count what it finds.",
    )
    parser.add_argument("folder", type=Path, help="a set of engines.training.synthetic_set")
    try:
        clips = SyntheticSet(parser.parse_args().folder).clips()
        spotted = [spot(clip) for clip in clips]
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n\n".join((quality(spotted), recall_by_size(spotted), causes(spotted))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
