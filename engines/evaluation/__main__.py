"""Judges anybody's detections and classes by one yardstick.

python -m engines.evaluation spotting --truth truth.csv --pred detections.csv --fps 30
python -m engines.evaluation spotting --truth runs/demo --pred runs/demo --plots plots
python -m engines.evaluation recognition --truth samples.csv --pred answers.csv
python -m engines.evaluation strs --truth gt.csv --pred pred.csv --fps 200
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engines.datasets.labels import THREE
from engines.errors import UserError
from engines.evaluation import megc, plots, report
from engines.evaluation.ranking import precision_recall
from engines.evaluation.reading import FrameNumbers, pair, read_listing, with_classes
from engines.evaluation.samples import read_samples
from engines.evaluation.spotting import (
    MIN_IOU,
    EvaluationError,
    Recording,
    choose_threshold,
)
from engines.evaluation.tables import json_ready
from engines.events import EventKind

_FORMS = """\
truth and predictions are each one of:
  session folder          truth.jsonl as truth, events.jsonl as predictions
  folder of sessions      one recording each
  folder of a data set    truth.jsonl, recordings.jsonl: python -m engines.datasets ... --truth
  .csv, .jsonl            one expression a line: recording (or video), subject, kind, onset_s,
                          apex_s, offset_s in seconds, or onset, apex, offset in frames (with
                          --fps); score, emotion; for recognition: sample, subject, dataset, label
  .txt, .log              a result log of MEGC 2020

docs/evaluation.md says what counts as found, and what the figures mean.
"""


def main(argv: Sequence[str]) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name.

    Returns:
        Exit code: 0 done, 2 a user's mistake.
    """
    arguments = _parser().parse_args(argv)
    try:
        figures, text = arguments.judge(arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(json_ready(figures), ensure_ascii=False, indent=1))
    else:
        print(text)
    return 0


def _spotting(arguments: argparse.Namespace) -> tuple[dict[str, Any], str]:
    recordings = _recordings(arguments, arguments.pred)
    figures = report.spotting_figures(recordings, arguments.iou)
    parts = [report.describe_spotting(figures)]
    if arguments.compare is not None:
        other = _recordings(arguments, arguments.compare)
        first, second = _alike(recordings, other)
        figures["comparison"] = report.comparison_figures(first, second, arguments.iou)
        parts.append(report.describe_comparison(figures["comparison"]))
    if arguments.plots is not None:
        curves = {
            row["kind"]: precision_recall(
                recordings, None if row["kind"] == "any" else EventKind(row["kind"]), arguments.iou
            )
            for row in figures["rows"]
            if not math.isnan(row["average_precision"])
        }
        if curves:
            plots.save_precision_recall(arguments.plots, curves)
        plots.save_timeline(arguments.plots, recordings, arguments.iou)
    if arguments.megc is not None:
        megc.write_log(arguments.megc, recordings, _rate(arguments), arguments.first_frame)
    return figures, "\n\n".join(parts)


def _recognition(arguments: argparse.Namespace) -> tuple[dict[str, Any], str]:
    samples = read_samples(arguments.truth, arguments.pred, _classes(arguments))
    figures = report.recognition_figures(samples)
    parts = [report.describe_recognition(figures)]
    if arguments.compare is not None:
        other = read_samples(arguments.truth, arguments.compare, _classes(arguments))
        figures["comparison"] = report.recognition_comparison(samples, other)
        parts.append(report.describe_recognition_comparison(figures["comparison"]))
    if arguments.plots is not None:
        whole = figures["rows"][-1]
        plots.save_confusion(arguments.plots, figures["classes"], whole["confusion"])
    return figures, "\n\n".join(parts)


def _strs(arguments: argparse.Namespace) -> tuple[dict[str, Any], str]:
    recordings = _recordings(arguments, arguments.pred)
    mapping = _classes(arguments)
    if mapping is not None:
        recordings = with_classes(recordings, mapping)
    classes = None if mapping is None else sorted(set(mapping.values()))
    figures = report.strs_figures(recordings, arguments.iou, classes)
    parts = [report.describe_strs(figures)]
    if arguments.compare is not None:
        other = _recordings(arguments, arguments.compare)
        if mapping is not None:
            other = with_classes(other, mapping)
        figures["compared"] = report.strs_figures(other, arguments.iou, classes)
        parts.append("Compared:\n\n" + report.describe_strs(figures["compared"]))
    if arguments.plots is not None:
        last = figures["rows"][-1]
        plots.save_confusion(arguments.plots, last["classes"], last["confusion"])
        plots.save_timeline(arguments.plots, recordings, arguments.iou)
    if arguments.megc is not None:
        rate = _rate(arguments)
        megc.write_predictions(arguments.megc, recordings, rate, arguments.first_frame)
    return figures, "\n\n".join(parts)


def _recordings(arguments: argparse.Namespace, predictions: Path) -> list[Recording]:
    """Truth and predictions by recording, thresholded if that was asked for."""
    frames = FrameNumbers(arguments.fps, arguments.first_frame)
    recordings = pair(
        read_listing(arguments.truth, "truth", frames),
        read_listing(predictions, "detections", frames),
    )
    if arguments.kind != "any":
        kind = EventKind(arguments.kind)
        recordings = [
            replace(
                r,
                truths=[t for t in r.truths if t.kind is kind],
                detections=[replace(d, kind=kind) for d in r.detections],
            )
            for r in recordings
        ]
    step = arguments.nested_threshold
    if step is None:
        return recordings
    scores = [d.score for r in recordings for d in r.detections if d.score is not None]
    low, high = (
        (math.floor(min(scores) / step), math.ceil(max(scores) / step)) if scores else (0, 0)
    )
    # Rounded, so that a score on the grid is compared with the number that it was written as.
    grid = np.round(np.arange(low - 1, high + 1) * step, 9).tolist()
    return choose_threshold(recordings, grid, most=arguments.top, min_iou=arguments.iou)


def _alike(
    first: Sequence[Recording], second: Sequence[Recording]
) -> tuple[list[Recording], list[Recording]]:
    """Both with the same recordings in the same order; what only one names was empty there."""
    ours, theirs = ({r.name: r for r in each} for each in (first, second))
    names = list(dict.fromkeys([*ours, *theirs]))

    def filled(some: Mapping[str, Recording], others: Mapping[str, Recording]) -> list[Recording]:
        return [some.get(name) or replace(others[name], detections=[]) for name in names]

    return filled(ours, theirs), filled(theirs, ours)


def _classes(arguments: argparse.Namespace) -> Mapping[str, str] | None:
    return THREE if arguments.labels == 3 else None


def _rate(arguments: argparse.Namespace) -> float:
    if arguments.fps is None:
        raise EvaluationError("A file of MEGC counts frames; give their rate with --fps.")
    return float(arguments.fps)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m engines.evaluation",
        description="Judge detections and classes: one-to-one matching, every recording counts, "
        "intervals over subjects.",
        epilog=_FORMS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    for name, judge, about in (
        ("spotting", _spotting, "when there was an expression: precision, recall, F1, AP, FP/min"),
        ("recognition", _recognition, "which one it was: UF1, UAR, accuracy, confusion"),
        ("strs", _strs, "both: spot, then recognise"),
    ):
        task = tasks.add_parser(
            name,
            help=about,
            description=f"Judge {about}.",
            epilog=_FORMS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        task.set_defaults(judge=judge)
        _add_files(task)
        if name != "recognition":
            _add_intervals(task, name)
        if name != "spotting":
            task.add_argument(
                "--labels",
                type=int,
                choices=(3,),
                help="pool emotions as negative, positive and surprise, as MEGC 2019 does",
            )
    return parser


def _add_files(task: argparse.ArgumentParser) -> None:
    task.add_argument("--truth", type=Path, required=True, metavar="PATH", help="what was there")
    task.add_argument("--pred", type=Path, required=True, metavar="PATH", help="what was found")
    task.add_argument(
        "--compare", type=Path, metavar="PATH", help="what another engine found in the same data"
    )
    task.add_argument("--json", action="store_true", help="print JSON instead of tables")
    task.add_argument("--plots", type=Path, metavar="FOLDER", help="draw PNG files in this folder")


def _add_intervals(task: argparse.ArgumentParser, name: str) -> None:
    task.add_argument("--fps", type=float, metavar="N", help="frame rate of frame numbers")
    task.add_argument(
        "--first-frame",
        type=int,
        default=0,
        metavar="N",
        help="number of the frame at 0 s, where one side counts frames and the other seconds",
    )
    task.add_argument(
        "--iou", type=float, default=MIN_IOU, metavar="X", help="least overlap (%(default)s)"
    )
    task.add_argument(
        "--kind",
        choices=("any", "micro", "macro"),
        default="any",
        help="judge the truths of one kind, and take every prediction for one of them",
    )
    task.add_argument(
        "--nested-threshold",
        type=float,
        metavar="STEP",
        help="choose the least score for each subject on the others, in multiples of STEP",
    )
    task.add_argument(
        "--top", type=int, metavar="N", help="with it: keep the N best of a recording at most"
    )
    content = "log of MEGC 2020" if name == "spotting" else "predictions as MEGC takes them"
    task.add_argument("--megc", type=Path, metavar="FILE", help=f"write a {content}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
