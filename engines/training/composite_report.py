"""Figures of a recogniser on the composite data set, and the text its model card shares."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from calibration.temperature import (
    expected_calibration_error,
    fit_temperature,
    probabilities,
)
from engines.errors import UserError
from engines.evaluation.recognition import RecognitionScores, scores, subject_interval
from engines.training.composite3 import CLASSES, Composite3

DATASETS = ("composite", "smic", "casme2", "samm")

Logits = npt.NDArray[np.floating[Any]]

DATA = """\
## Data
The composite of MEGC 2019 as flow pictures: SMIC, CASME II and SAMM, {samples} samples of
{subjects} subjects, spontaneous micro-expressions of seated adults in three laboratories
(Finland, China and the United Kingdom), filmed frontally at 100 or 200 fps in even light.
*Negative* pools disgust, repression, anger, contempt, fear and sadness. The pictures come from
the HTNet repository, which states no licence: they are used for training and evaluation only and
are not part of Glint; only weights derived from them are.
"""

CONFUSION = """\
Confusion of the composite (truth in rows):

| | {columns} |
|---|---|---|---|
{confusion}

Expected calibration error (10 bins): {ece_uncalibrated:.3f} before temperature scaling,
{ece_calibrated:.3f} after, each subject scaled by a temperature fitted on the others. The shipped
temperature is fitted on all out-of-fold logits.
"""

LIMITS = """\
## Limits
- The probabilities hold for the mix of classes in the data (57 % negative). A laboratory with
  another mix must reweight them.
- There is no class "none of these" and no neutral class: a movement that is no expression (speech,
  chewing, a blink that was not rejected) also gets an emotion.
- The faces are of a few ethnic groups and ages; no figure exists for others.
- Onset and apex were annotated by hand. With spotted ones, accuracy is lower by an unknown amount.
- An observed movement is not a felt emotion. Not to be used to judge truthfulness, suitability,
  health or intent of a person, nor for any decision about a person; EU law forbids inferring
  emotions at work and in education.
"""


def summarise(runs: Sequence[Logits], seeds: Sequence[int], data: Composite3) -> dict[str, Any]:
    """Scores of an ensemble and of its members from their out-of-fold logits.

    The temperature under which a subject's calibration error is measured is fitted on the other
    subjects' logits.

    Args:
        runs: (N, C) logits of every member.
        seeds: Seed of every member.
        data: The data set.

    Returns:
        Figures, ready to be written as JSON.
    """
    ensemble = np.mean(runs, axis=0)
    uncalibrated = probabilities(ensemble, 1.0)
    calibrated = _nested_probabilities(ensemble, data)
    return {
        "data_sha256": data.sha256,
        "samples": len(data.labels),
        "subjects": len(np.unique(data.subjects)),
        "seeds": list(seeds),
        "answers": ensemble.argmax(axis=1).tolist(),
        "ensemble": figures(ensemble.argmax(axis=1), data),
        "single": [
            {"seed": seed, **_row(scores(data.labels, run.argmax(1), len(CLASSES)))}
            for seed, run in zip(seeds, runs, strict=True)
        ],
        "temperature": fit_temperature(ensemble, data.labels),
        "ece_uncalibrated": expected_calibration_error(uncalibrated, data.labels),
        "ece_calibrated": expected_calibration_error(calibrated, data.labels),
        "probabilities": calibrated.round(6).tolist(),
    }


def figures(
    predicted: npt.NDArray[np.intp], data: Composite3, names: Sequence[str] = DATASETS
) -> dict[str, dict[str, Any]]:
    """Scores with intervals over subjects, of the composite and of each data set.

    Args:
        predicted: (N,) class indices.
        data: The data set.
        names: Which of `DATASETS`.

    Returns:
        Name to figures, ready to be written as JSON.
    """
    result = {}
    for name in names:
        chosen = np.flatnonzero((data.datasets == name) | (name == "composite"))
        truth, guess, subjects = data.labels[chosen], predicted[chosen], data.subjects[chosen]
        found = scores(truth, guess, len(CLASSES))
        intervals = {
            f"{key}_interval": subject_interval(_measure(key, truth, guess), subjects)
            for key in ("uf1", "uar", "accuracy")
        }
        result[name] = {
            "samples": len(chosen),
            "subjects": len(np.unique(subjects)),
            **_row(found),
            **intervals,
            "confusion": found.confusion.tolist(),
        }
    return result


def card_values(report: dict[str, Any]) -> dict[str, Any]:
    """What the templates of a model card are filled with.

    Args:
        report: What `summarise` returned.

    Returns:
        Its plain values, and tables as Markdown.
    """
    confusion = report["ensemble"]["composite"]["confusion"]
    singles = [(row["uf1"], row["uar"]) for row in report["single"]]
    (uf1, uar), (uf1_sd, uar_sd) = np.mean(singles, axis=0), np.std(singles, axis=0)
    return {
        "rows": "\n".join(figure_row(name, f) for name, f in report["ensemble"].items()),
        "confusion": "\n".join(
            f"| {name} | " + " | ".join(str(count) for count in counts) + " |"
            for name, counts in zip(CLASSES, confusion, strict=True)
        ),
        "columns": " | ".join(CLASSES),
        "single": f"UF1 {uf1:.3f} ± {uf1_sd:.3f}, UAR {uar:.3f} ± {uar_sd:.3f}",
        "seed_list": ", ".join(str(seed) for seed in report["seeds"]),
        "members": len(report["seeds"]),
        "recipe_list": ", ".join(f"{key} {value}" for key, value in report["recipe"].items()),
        **{
            key: report[key]
            for key in ("samples", "subjects", "temperature", "ece_uncalibrated", "ece_calibrated")
        },
    }


def figure_row(name: str, found: dict[str, Any]) -> str:
    """A row of a table of `figures`: counts, UF1, UAR and accuracy with their intervals."""
    values = (
        f"{found[key]:.3f} [{found[key + '_interval'][0]:.3f}, {found[key + '_interval'][1]:.3f}]"
        for key in ("uf1", "uar", "accuracy")
    )
    return f"| {name} | {found['samples']} | {found['subjects']} | {' | '.join(values)} |"


def read_report(path: Path, program: str) -> dict[str, Any]:
    """Read what a program's `loso` wrote.

    Raises:
        UserError: There is no such file, or it is no report.
    """
    try:
        report: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read {path}: make it with {program} loso.") from error
    return report


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, and its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8", newline="\n")


def write_answers(path: Path, report: dict[str, Any], data: Composite3) -> None:
    """Write truth and answer of every sample, as `python -m engines.evaluation recognition` reads.

    Args:
        path: The `.csv` file.
        report: Has the `answers`, (N,) class indices, and their calibrated `probabilities`,
            (N, C), where these are known.
        data: The data set.
    """
    shares = report.get("probabilities")
    columns = [] if shares is None else [f"p_{name}" for name in CLASSES]
    rows = zip(data.subjects, data.datasets, data.labels, report["answers"], strict=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("sample", "subject", "dataset", "truth", "predicted", *columns))
        for number, (subject, dataset, truth, answer) in enumerate(rows):
            own = () if shares is None else shares[number]
            table.writerow((number, subject, dataset, CLASSES[truth], CLASSES[answer], *own))


def _nested_probabilities(logits: Logits, data: Composite3) -> npt.NDArray[np.float64]:
    """Probabilities of each subject under the temperature of all the others."""
    scaled = np.empty(logits.shape)
    for subject in np.unique(data.subjects):
        own = data.subjects == subject
        scaled[own] = probabilities(logits[own], fit_temperature(logits[~own], data.labels[~own]))
    return scaled


def _measure(
    key: str, truth: npt.NDArray[np.int64], guess: npt.NDArray[np.intp]
) -> Callable[[npt.NDArray[np.intp]], float]:
    return lambda drawn: float(getattr(scores(truth[drawn], guess[drawn], len(CLASSES)), key))


def _row(found: RecognitionScores) -> dict[str, float]:
    return {"uf1": found.uf1, "uar": found.uar, "accuracy": found.accuracy}
