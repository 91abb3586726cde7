"""How well the flow spotter does on a synthetic set, by frame rate and by size of the movement.

    python -m benchmarks.synthetic FOLDER

Nothing is rendered: the motion that the set keeps is what a live session would have measured. One
prediction counts for one truth, at an overlap (IoU) of 0.5.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from itertools import chain
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

_BINS_PX = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)


def spot(clip: SyntheticClip) -> list[Interval]:
    """Run the flow spotter over a clip; the closed events."""
    spotter = create_spotter("flow", FlowSpotterConfig(), clip.fps)
    last = {}
    for sample in clip.samples():
        last.update((event.id, event) for event in spotter.push(sample).events)
    last.update((event.id, event) for event in spotter.finish())
    return [interval_of_event(e) for e in last.values() if e.state is EventState.CLOSED]


def report(folder: Path) -> str:
    """Spot on every clip and return the tables."""
    recordings: dict[float, list[Recording]] = defaultdict(list)
    found: dict[float, list[bool]] = defaultdict(list)
    for clip in SyntheticSet(folder).clips():
        detections = spot(clip)
        truths = [Interval(e.onset_s, e.offset_s, e.kind, e.apex_s) for e in clip.events]
        recordings[clip.fps].append(Recording(truths, detections, clip.seconds, clip.name))
        matched = {pair.truth for pair in match(truths, detections)}
        for position, event in enumerate(clip.events):
            if event.kind is EventKind.MICRO:
                size = event.amplitude * REFERENCE_INTER_OCULAR_PX
                low = max(edge for edge in _BINS_PX if edge <= size)
                found[low].append(position in matched)
    rows = []
    for fps, group in [
        *sorted(recordings.items()),
        (0.0, list(chain.from_iterable(recordings.values()))),
    ]:
        for kind in (*EventKind, None):
            tallies = [tally(recording, kind) for recording in group]
            total = pool(tallies)
            bounds = bootstrap_intervals(tallies, {"f1": lambda t: t.f1})
            rows.append(
                [
                    f"{fps:g}" if fps else "all",
                    kind.value if kind else "both",
                    str(total.tp + total.fn),
                    number(total.precision),
                    number(total.recall),
                    bounded(total.f1, bounds["f1"]),
                    number(total.false_alarms_per_min),
                ]
            )
    sizes = [
        [f"{low:g} px and more", str(len(hits)), number(sum(hits) / len(hits))]
        for low, hits in sorted(found.items())
    ]
    return "\n\n".join(
        (
            table(["fps", "kind", "true", "precision", "recall", "F1 [95 %]", "FP/min"], rows),
            table(["micro-expressions of", "true", "found"], sizes),
        )
    )


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.synthetic", description=__doc__)
    parser.add_argument("folder", type=Path, help="a set of engines.training.synthetic_set")
    try:
        print(report(parser.parse_args().folder))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
