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

_TRUTH = ("truth", "true", "label", "emotion", "class")
_PREDICTED = ("predicted", "prediction", "label", "emotion", "class")


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
    """

    classes: tuple[str, ...]
    truth: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    subjects: npt.NDArray[np.str_]
    datasets: npt.NDArray[np.str_]
    left_out: int


def read_samples(truth: Path, predicted: Path, classes: Mapping[str, str] | None = None) -> Samples:
    """Read two files and set each prediction beside its truth.

    A line has the sample's name (`sample`, `name`, `video` …), where the files have them `subject`
    and `dataset`, and a class: `truth`, `label` or `emotion` in the one, `predicted`, `label` or
    `emotion` in the other. Both may be one file.

    Args:
        truth: .csv or .jsonl.
        predicted: .csv or .jsonl with a line for every sample.
        classes: Emotion to class, for both; None takes the words as they are.

    Raises:
        EvaluationError: A file cannot be read, or a sample lacks its prediction.
    """
    true, guessed = _labels(truth, _TRUTH), _labels(predicted, _PREDICTED)
    # A name is enough where one file does not tell subject or data set.
    told = [all(key[at] for key in (*true, *guessed)) for at in range(3)]
    told[2] = True

    def short(key: tuple[str, str, str]) -> tuple[str, ...]:
        return tuple(part for part, known in zip(key, told, strict=True) if known)

    answers = {short(key): label for key, label in guessed.items()}
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
    rows = [(key, label, answers[short(key)]) for key, label in true.items()]
    if classes is not None:
        rows = [(k, classes.get(t, ""), classes.get(p, p)) for k, t, p in rows]
        rows = [row for row in rows if row[1]]
    if not rows:
        raise EvaluationError(f"{truth} holds no sample of these classes; choose other classes.")
    names = tuple(sorted({label for _, *labels in rows for label in labels}))
    place = {name: at for at, name in enumerate(names)}
    return Samples(
        classes=names,
        truth=np.array([place[t] for _, t, _ in rows], np.int64),
        predicted=np.array([place[p] for *_, p in rows], np.int64),
        subjects=np.array([f"{key[0]}/{key[1] or key[2]}" for key, *_ in rows]),
        datasets=np.array([key[0] for key, *_ in rows]),
        left_out=len(true) - len(rows),
    )


def _labels(path: Path, columns: tuple[str, ...]) -> dict[tuple[str, str, str], str]:
    """(data set, subject, name) to the word in the first of the columns that there is."""
    labels: dict[tuple[str, str, str], str] = {}
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
        if key in labels:
            raise EvaluationError(f"{path}, line {number} names {name} again; keep one line.")
        labels[key] = str(label).strip().casefold()
    return labels
