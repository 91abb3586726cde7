"""Classes of samples and what a recogniser said of them, from files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.evaluation.reading import cell, records
from engines.evaluation.spotting import EvaluationError
from engines.events import most_probable

_TRUTH = ("truth", "true", "label", "emotion", "class")
_PREDICTED = ("predicted", "prediction", "label", "emotion", "class")

Key = tuple[str, str, str]
"""Data set, subject and name of a sample."""


@dataclass(frozen=True, slots=True)
class Samples:
    """N samples, their classes and their predictions.

    Attributes:
        classes: Names of the C classes.
        truth: (N,) int64 class indices.
        predicted: (N,) int64 class indices.
        subjects: (N,) whom a sample shows, unique over the data sets.
        datasets: (N,) where it comes from, empty where the file does not say.
        left_out: Samples whose truth is none of the classes that were asked for.
        probabilities: (N, C) float64 of every class; None where not every prediction has them.
    """

    classes: tuple[str, ...]
    truth: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    subjects: npt.NDArray[np.str_]
    datasets: npt.NDArray[np.str_]
    left_out: int
    probabilities: npt.NDArray[np.float64] | None = None


def read_samples(truth: Path, predicted: Path, classes: Mapping[str, str] | None = None) -> Samples:
    """Read two files and set each prediction beside its truth.

    A line has the sample's name (`sample`, `name`, `video` …), where the files have them `subject`
    and `dataset`, and a class: `truth`, `label` or `emotion` in the one, `predicted`, `label` or
    `emotion` in the other. Both may be one file. A prediction with `probabilities` (an object), or
    with columns `p_CLASS`, is its most probable class, so that an answer that was withheld
    (`unsure`) counts as it would have been given.

    Args:
        truth: .csv or .jsonl.
        predicted: .csv or .jsonl with a line for every sample.
        classes: Emotion to class, for both; None takes the words as they are.

    Raises:
        EvaluationError: A file cannot be read, or a sample lacks its prediction.
    """
    true, guessed = _answers(truth, _TRUTH), _answers(predicted, _PREDICTED)
    # A name is enough where one file does not tell subject or data set.
    told = [all(key[at] for key in (*true, *guessed)) for at in range(3)]
    told[2] = True

    def short(key: Key) -> tuple[str, ...]:
        return tuple(part for part, known in zip(key, told, strict=True) if known)

    answers = {short(key): answer for key, answer in guessed.items()}
    if len(answers) < len(guessed) or len({short(key) for key in true}) < len(true):
        raise EvaluationError(
            f"Several samples of {truth} or {predicted} share a name; give subject and dataset "
            "in both files."
        )
    missing = [key for key in true if short(key) not in answers]
    if missing:
        raise EvaluationError(
            f"{predicted} lacks {len(missing)} of the {len(true)} samples of {truth}, "
            f"{'/'.join(filter(None, missing[0]))} first; every sample counts, predict them all."
        )
    rows = [(key, label.name, answers[short(key)]) for key, label in true.items()]
    if classes is not None:
        rows = [(k, classes.get(t, ""), answer.mapped(classes)) for k, t, answer in rows]
        rows = [row for row in rows if row[1]]
    if not rows:
        raise EvaluationError(f"{truth} holds no sample of these classes; choose other classes.")
    names = tuple(
        sorted({name for _, label, answer in rows for name in (label, answer.best, *answer.shares)})
    )
    place = {name: at for at, name in enumerate(names)}
    return Samples(
        classes=names,
        truth=np.array([place[label] for _, label, _ in rows], np.int64),
        predicted=np.array([place[answer.best] for *_, answer in rows], np.int64),
        subjects=np.array([f"{key[0]}/{key[1] or key[2]}" for key, *_ in rows]),
        datasets=np.array([key[0] for key, *_ in rows]),
        left_out=len(true) - len(rows),
        probabilities=(
            np.array([[answer.shares.get(name, 0.0) for name in names] for *_, answer in rows])
            if all(answer.shares for *_, answer in rows)
            else None
        ),
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """A class, and where they are known the probabilities of all classes."""

    name: str
    shares: Mapping[str, float]

    @property
    def best(self) -> str:
        return most_probable(self.shares) if self.shares else self.name

    def mapped(self, classes: Mapping[str, str]) -> _Answer:
        """The same with pooled classes; what belongs to none keeps its name."""
        pooled: dict[str, float] = {}
        for name, share in self.shares.items():
            known = classes.get(name, name)
            pooled[known] = pooled.get(known, 0.0) + share
        return _Answer(classes.get(self.name, self.name), pooled)


def _answers(path: Path, columns: tuple[str, ...]) -> dict[Key, _Answer]:
    """(data set, subject, name) to the word in the first of the columns that there is."""
    answers: dict[Key, _Answer] = {}
    for number, record in records(path):
        name = cell(record, "name")
        label: Any = next((record[c] for c in columns if record.get(c) not in (None, "")), None)
        if name is None or label is None:
            raise EvaluationError(
                f"{path}, line {number} lacks {'a name' if name is None else 'a class'}; give "
                f"`sample` and one of: {', '.join(columns)}."
            )
        subject = str(cell(record, "subject") or "").strip()
        key = (str(record.get("dataset") or "").strip(), subject, str(name).strip())
        if key in answers:
            raise EvaluationError(f"{path}, line {number} names {name} again; keep one line.")
        try:
            shares = _shares(record)
        except (TypeError, ValueError) as error:
            raise EvaluationError(
                f"{path}, line {number} has a probability that is no number ({error}); correct it."
            ) from error
        answers[key] = _Answer(str(label).strip().casefold(), shares)
    return answers


def _shares(record: Mapping[str, Any]) -> dict[str, float]:
    """Class to probability; empty where the line has none."""
    found = record.get("probabilities")
    if not isinstance(found, Mapping):
        found = {
            name.removeprefix("p_"): value
            for name, value in record.items()
            if name.startswith("p_") and value not in (None, "")
        }
    return {str(name).strip().casefold(): float(value) for name, value in found.items()}
