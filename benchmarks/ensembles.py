"""Would recognisers do better together? Asked of the answers that each gave on people it never saw.

    python -m engines.training.ststnet loso --data COMPOSITE3 --groups 10 --report runs/ststnet.json
    python -m engines.training.parts loso --data COMPOSITE3 --report runs/parts.json
    python -m benchmarks.ensembles runs/ststnet.csv runs/parts.csv

Nothing is trained. *Equal weights* is the mean of the probabilities. *Weights chosen* gives each
subject the weights that score best (UF1 + UAR) on the answers to all other subjects. *Stacked* fits
a logistic regression on the logarithms of the probabilities, likewise without the subject. The
others' answers come from engines that had seen the subject, so the last two still flatter a little.
*One is right* counts a sample if any engine answers it right: no weighting can do better.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from benchmarks.results import bounded, save, table
from engines.errors import UserError
from engines.evaluation.recognition import scores, subject_interval
from engines.evaluation.samples import Samples, read_samples

STEPS = 5
"""Weights are chosen in steps of one part in so many."""

Shares = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]


def read(paths: Sequence[Path]) -> tuple[Samples, Shares]:
    """Samples, and the (E, N, C) probabilities that each of E engines gave them.

    Raises:
        UserError: A file has no probabilities, or other samples than the first.
    """
    found = [read_samples(path, path) for path in paths]
    for path, each in zip(paths, found, strict=True):
        if each.probabilities is None or not np.array_equal(each.truth, found[0].truth):
            raise UserError(
                f"{path} has no probabilities, or other samples than {paths[0]}: make both with "
                "the loso commands."
            )
    return found[0], np.array([each.probabilities for each in found])


def chosen_weights(samples: Samples, shares: Shares) -> Classes:
    """Answers under the weights that are best on all subjects but the sample's own."""
    steps = product(range(STEPS + 1), repeat=len(shares))
    weights = [np.array(each) / STEPS for each in steps if sum(each) == STEPS]
    answers = np.array([np.tensordot(w, shares, 1).argmax(axis=1) for w in weights])

    def best(others: npt.NDArray[np.bool_]) -> int:
        return max(range(len(weights)), key=lambda k: _merit(samples, answers[k], others))

    return _left_out(samples, lambda others: answers[best(others)])


def stacked(samples: Samples, shares: Shares) -> Classes:
    """Answers of a logistic regression that was fitted on all subjects but the sample's own."""
    features = np.log(np.maximum(np.concatenate(list(shares), axis=1), 1e-6))

    def fitted(others: npt.NDArray[np.bool_]) -> Classes:
        model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=500)
        model.fit(features[others], samples.truth[others])
        return np.asarray(model.predict(features), np.int64)

    return _left_out(samples, fitted)


def _left_out(samples: Samples, answer: Callable[[npt.NDArray[np.bool_]], Classes]) -> Classes:
    found = np.empty_like(samples.truth)
    for subject in np.unique(samples.subjects):
        own = samples.subjects == subject
        found[own] = answer(~own)[own]
    return found


def _merit(samples: Samples, answers: Classes, kept: npt.NDArray[np.bool_]) -> float:
    found = scores(samples.truth[kept], answers[kept], len(samples.classes))
    return found.uf1 + found.uar


def compare(names: Sequence[str], samples: Samples, shares: Shares) -> list[list[object]]:
    """Rows: what answers, UF1 and UAR with 95 % intervals over subjects, accuracy."""
    alone = shares.argmax(axis=2)
    right = (alone == samples.truth).any(axis=0)
    answers = dict(zip(names, alone, strict=True)) | {
        "equal weights": shares.mean(axis=0).argmax(axis=1),
        "weights chosen": chosen_weights(samples, shares),
        "stacked": stacked(samples, shares),
        "one is right": np.where(right, samples.truth, alone[0]),
    }
    rows: list[list[object]] = []
    for name, given in answers.items():
        whole = scores(samples.truth, given, len(samples.classes))
        cells = [name]
        for figure in ("uf1", "uar"):

            def of(
                drawn: npt.NDArray[np.intp], figure: str = figure, given: Classes = given
            ) -> float:
                found = scores(samples.truth[drawn], given[drawn], len(samples.classes))
                return float(getattr(found, figure))

            cells.append(bounded(getattr(whole, figure), subject_interval(of, samples.subjects), 3))
        rows.append([*cells, f"{whole.accuracy:.3f}"])
    return rows


def main(argv: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ensembles",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("answers", type=Path, nargs="+", metavar="ANSWERS.csv")
    parser.add_argument("--json", type=Path, help="where the result goes")
    options = parser.parse_args(argv)
    try:
        samples, shares = read(options.answers)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    rows = compare([path.stem for path in options.answers], samples, shares)
    report = table(["who answers", "UF1 [95 %]", "UAR [95 %]", "accuracy"], rows)
    print(report)
    print(f"\n{save('ensembles', {'rows': rows}, report, options.json)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
