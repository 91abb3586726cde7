"""When a recogniser had better not name an emotion: coverage against accuracy.

    python -m calibration.selective --engine ststnet --answers runs/ststnet_loso.csv --save
    python -m calibration.selective --engine mean --data FOLDER --save

An answer is given where the calibrated probability of the most probable class reaches a threshold;
otherwise the verdict is `unsure` (selective classification: El-Yaniv and Wiener, JMLR 2010; with a
network's own probability: Geifman and El-Yaniv, NeurIPS 2017). Coverage is the share of expressions
that are answered, selective accuracy the share of those that are answered right.

With `--answers` (held-out probabilities of every sample, as `loso` writes them) the threshold is
chosen on all subjects, and judged by choosing it for each subject on the others. With `--data` (the
set that the engine was trained on) it is chosen on the validation identities and judged on the test
identities. `--save` writes it into the engine's manifest and model card.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt

from calibration.card import insert_section
from calibration.temperature import expected_calibration_error
from engines.errors import UserError
from engines.evaluation.recognition import coverage_curve, subject_interval
from engines.evaluation.report import describe_coverage
from engines.evaluation.samples import read_samples
from engines.evaluation.tables import bounded
from engines.network_files import RecognitionManifest
from engines.recognition.registry import create_recognizer
from engines.runtime.shipped import find_graphs

PROGRAM = "python -m calibration.selective"

TARGET_ACCURACY = 0.85
"""Accuracy that the answers which are given are to have."""

MIN_COVERAGE = 0.2
"""The threshold never withholds more than four of five answers, whatever the accuracy."""

_HEADING = "## Unsure\n"


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Answers to N samples that the engine did not learn from.

    Attributes:
        probabilities: (N, C) calibrated.
        labels: (N,) class indices.
        subjects: (N,) whom each shows.
    """

    probabilities: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    subjects: npt.NDArray[np.str_]

    @property
    def confidence(self) -> npt.NDArray[np.float64]:
        """(N,) probability of the most probable class."""
        return np.asarray(self.probabilities.max(axis=1))

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """(N,) whether the most probable class is the true one."""
        return np.asarray(self.probabilities.argmax(axis=1) == self.labels)


def choose_unsure_below(
    confidence: npt.NDArray[np.float64],
    correct: npt.NDArray[np.bool_],
    target: float = TARGET_ACCURACY,
) -> float:
    """Find the threshold that answers most while the answers are as accurate as asked.

    Args:
        confidence: (N,) probability of the most probable class.
        correct: (N,) whether it is the true one.
        target: Accuracy that is asked for.

    Returns:
        The threshold, 0 where every answer may be given. Where no coverage from `MIN_COVERAGE` on
        is accurate enough, the threshold of the most accurate one.
    """
    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order]
    accuracy = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    ends = np.flatnonzero(np.append(falling[1:] < falling[:-1], True))  # equals go together
    ends = ends[ends + 1 >= MIN_COVERAGE * len(order)]
    enough = ends[accuracy[ends] >= target]
    last = int(enough[-1] if len(enough) else ends[accuracy[ends].argmax()])
    if last == len(order) - 1:
        return 0.0
    return round(float(falling[last] + falling[last + 1]) / 2, 4)


def nested_thresholds(held_out: HeldOut, target: float) -> npt.NDArray[np.float64]:
    """(N,) threshold for each sample, chosen on the other subjects."""
    thresholds = np.empty(len(held_out.labels))
    for subject in np.unique(held_out.subjects):
        own = held_out.subjects == subject
        thresholds[own] = choose_unsure_below(
            held_out.confidence[~own], held_out.correct[~own], target
        )
    return thresholds


def selective_figures(
    held_out: HeldOut, thresholds: npt.NDArray[np.float64] | float
) -> dict[str, Any]:
    """Coverage and accuracy of what is answered, calibration, and the whole curve.

    Args:
        held_out: Answers; the thresholds were not chosen on them.
        thresholds: (N,) or one for all.

    Returns:
        Figures, ready to be written as JSON; 95 % intervals are over subjects.
    """
    given, correct = held_out.confidence >= thresholds, held_out.correct

    def coverage(drawn: npt.NDArray[np.intp]) -> float:
        return float(given[drawn].mean())

    def accuracy(drawn: npt.NDArray[np.intp]) -> float:
        answered = drawn[given[drawn]]
        return float(correct[answered].mean()) if len(answered) else float("nan")

    everyone = np.arange(len(given))
    return {
        "samples": len(given),
        "subjects": len(np.unique(held_out.subjects)),
        "coverage": coverage(everyone),
        "coverage_interval": subject_interval(coverage, held_out.subjects),
        "accuracy": accuracy(everyone),
        "accuracy_interval": subject_interval(accuracy, held_out.subjects),
        "accuracy_of_all": float(correct.mean()),
        "ece": expected_calibration_error(held_out.probabilities, held_out.labels),
        "curve": coverage_curve(held_out.confidence, correct),
    }


def describe(figures: Mapping[str, Any], threshold: float, target: float, how: str) -> str:
    """The section of a model card, without the command.

    Args:
        figures: What `selective_figures` returned.
        threshold: The threshold that ships.
        target: Accuracy that it was chosen for.
        how: A sentence on where it was chosen and judged.

    Returns:
        Markdown.
    """
    verdict = (
        f"An event whose most probable class has a probability below {threshold:.3f} is `unsure`; "
        f"its probabilities are given all the same. The threshold is the lowest at which "
        f"{100 * target:.0f} % of the answers are right."
        if threshold
        else f"No event is `unsure`: {100 * target:.0f} % of the answers are right when all are "
        "given."
    )
    coverage = bounded(figures["coverage"], figures["coverage_interval"])
    accuracy = bounded(figures["accuracy"], figures["accuracy_interval"])
    found = (
        f"Answered: {coverage} of {figures['samples']} expressions of {figures['subjects']} "
        f"subjects, {accuracy} of them right ({figures['accuracy_of_all']:.2f} if all are "
        f"answered). Expected calibration error (10 bins): {figures['ece']:.3f}."
    )
    return "\n\n".join(
        (
            fill(f"{verdict} {how}", 100),
            fill(found, 100),
            "The most probable answers first:",
            describe_coverage(figures["curve"]) + "\n",
        )
    )


# -- the command -----------------------------------------------------------------------------


def answers_in(path: Path) -> HeldOut:
    """Held-out probabilities of a file, as `python -m engines.evaluation recognition` reads it.

    Raises:
        UserError: It cannot be read, or holds no probabilities.
    """
    samples = read_samples(path, path)
    if samples.probabilities is None:
        raise UserError(f"{path} holds no probabilities (p_CLASS): make it with the engine's loso.")
    return HeldOut(samples.probabilities, samples.truth, samples.subjects)


def answers_of(engine: str, data: Path, manifest: RecognitionManifest, group: str) -> HeldOut:
    """What an engine says of the true expressions of some identities of its fold.

    Args:
        engine: Name of a shipped recogniser.
        data: The set that it was trained on.
        manifest: Its manifest, which names the identities.
        group: `validation` or `test`.

    Raises:
        UserError: It was trained on other data, or without such a fold.
    """
    from engines.training.sources import open_source  # noqa: PLC0415 - reads whole data sets
    from engines.training.streaming import event_clip  # noqa: PLC0415

    source = open_source(data)
    fold = manifest.training.get("fold")
    if fold is None or manifest.training["data_sha256"] != source.fingerprint:
        raise UserError(f"{engine} was not trained on {data}: give its own data, or --answers.")
    recogniser = create_recognizer(engine, "onnx")
    try:
        shares, labels, subjects = [], [], []
        for clip in source.clips(fold[group]):
            for event in clip.events:
                if event.emotion is not None:
                    found = recogniser.recognize(event_clip(clip, event)).probabilities
                    shares.append([found[name] for name in manifest.classes])
                    labels.append(manifest.classes.index(event.emotion))
                    subjects.append(clip.identity)
    finally:
        recogniser.close()
    if not labels:
        raise UserError(f"The {group} identities show no emotion: use more people.")
    return HeldOut(np.array(shares), np.array(labels), np.array(subjects))


def main(argv: Sequence[str]) -> int:
    """Run the command line; 0 done, 2 a user's mistake."""
    options = _parser().parse_args(argv)
    try:
        # Where the data lie says nothing to who reads the card.
        shown = ["FOLDER" if each == str(options.data) else each for each in argv]
        _run_command(options, f"{PROGRAM} {shlex.join(shown)}")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _run_command(options: argparse.Namespace, command: str) -> None:
    graphs = [path for path in find_graphs(options.engine) if path.parents[1].name == "recognition"]
    if not graphs:
        raise UserError(f"{options.engine} recognises nothing: name a recogniser.")
    path = graphs[0].with_suffix(".json")
    manifest = RecognitionManifest.model_validate_json(path.read_bytes())
    target = options.accuracy
    if options.answers is not None:
        held_out = answers_in(options.answers)
        threshold = choose_unsure_below(held_out.confidence, held_out.correct, target)
        figures = selective_figures(held_out, nested_thresholds(held_out, target))
        how = (
            "It was chosen on all held-out answers; the figures below are of thresholds that were "
            "chosen for each subject on the others."
        )
    else:
        chosen_on = answers_of(options.engine, options.data, manifest, "validation")
        threshold = choose_unsure_below(chosen_on.confidence, chosen_on.correct, target)
        held_out = answers_of(options.engine, options.data, manifest, "test")
        figures = selective_figures(held_out, threshold)
        how = (
            "It was chosen on the expressions of the validation identities; the figures below are "
            "of the test identities."
        )
    section = describe(figures, threshold, target, how)
    print(section)
    if options.save:
        document = json.loads(path.read_text("utf-8"))
        document["unsure_below"] = threshold
        path.write_text(json.dumps(document, indent=2) + "\n", "utf-8", newline="\n")
        card = path.parent / "model_card.md"
        text = insert_section(
            card.read_text("utf-8"), f"{_HEADING}{section}\n```\n{command}\n```\n"
        )
        card.write_text(text, "utf-8", newline="\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", required=True, metavar="NAME", help="a shipped recogniser")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--answers",
        type=Path,
        metavar="CSV",
        help="truth, subject and p_CLASS of every sample, held out",
    )
    source.add_argument(
        "--data", type=Path, metavar="FOLDER", help="the set that the engine was trained on"
    )
    parser.add_argument(
        "--accuracy",
        type=float,
        default=TARGET_ACCURACY,
        metavar="SHARE",
        help="of the answers that are given (default: %(default)s)",
    )
    parser.add_argument(
        "--save", action="store_true", help="write manifest and model card of the engine"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
