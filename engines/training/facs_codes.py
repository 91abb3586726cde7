"""Which action units FACS coders saw in the clips of the composite data set.

The flow pictures come without codes. Those of CASME II and SAMM stand in the coding tables that
these data sets come with; SMIC was not coded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.datasets.base import Problem
from engines.datasets.facs import parse_action_units
from engines.datasets.tables import Column, find_table, read_sheets
from engines.errors import UserError
from engines.evaluation.tables import bounded, number, table
from engines.training.action_units import PRESENT_FROM, Measured, f1, figures
from engines.training.composite3 import Composite3
from engines.training.networks.unit_graph import UNITS

_COLUMNS = {
    "subject": Column(("Subject",), expected=False),
    "clip": Column(("Filename",), required=True),
    "units": Column(("Action Units",), required=True),
}

_LIMITS = np.round(np.arange(0.05, 0.96, 0.05), 2)
"""Probabilities, from one of which on a unit is taken to be there."""


@dataclass(frozen=True, slots=True)
class FacsCodes:
    """Codes of the N clips of the composite data set.

    Attributes:
        presence: (N, A) bool, of `UNITS`.
        known: (N,) bool; whether a clip was coded, and nothing of its codes was left open.
        left_open: How many clips are not known because a coder left something open.
        sha256: Hash of the tables.
    """

    presence: npt.NDArray[np.bool_]
    known: npt.NDArray[np.bool_]
    left_open: int
    sha256: str


def read_codes(tables: Sequence[Path], data: Composite3) -> FacsCodes:
    """Read coding tables and find the clips of the composite data set in them.

    Args:
        tables: Workbooks or `.csv` files with columns `Filename` and `Action Units`, and `Subject`
            where the file name does not begin with it.
        data: The data set.

    Raises:
        UserError: A table cannot be read, or codes no clip of the data set.
    """
    codes: dict[str, str] = {}
    contents = hashlib.sha256()
    for file in tables:
        problems: list[Problem] = []
        found = {
            f"{_subject(record.text('subject'), clip)}_{clip}": record.text("units")
            for record in find_table(read_sheets(file), _COLUMNS, problems)
            for clip in (record.text("clip"),)
        }
        if not found.keys() & set(data.names.tolist()):
            raise UserError(f"{file} codes no clip of the composite: give the coding of its sets.")
        codes |= found
        contents.update(file.read_bytes())
    presence = np.zeros((len(data.names), len(UNITS)), np.bool_)
    known, left_open = np.zeros(len(data.names), np.bool_), 0
    for row, name in enumerate(data.names):
        if name not in codes:
            continue
        units, unreadable = parse_action_units(codes[name])
        left_open += bool(unreadable)
        known[row] = not unreadable
        presence[row] = np.isin(UNITS, [unit.number for unit in units])
    return FacsCodes(presence, known, left_open, contents.hexdigest())


def judged_by(codes: FacsCodes, subjects: npt.NDArray[np.str_]) -> Measured:
    """The known clips as `engines.training.action_units.figures` takes them."""
    present = codes.presence[codes.known]
    return Measured(
        features=np.empty((len(present), 0)),
        present=present,
        displacement=np.full(present.shape, np.nan),
        identities=subjects[codes.known],
    )


def unit_figures(
    codes: FacsCodes, probabilities: npt.NDArray[np.floating[Any]], subjects: npt.NDArray[np.str_]
) -> dict[str, Any]:
    """How well units are told on people who were not learned from.

    Args:
        codes: What coders saw.
        probabilities: (N, A) of a network that did not see the sample's subject.
        subjects: (N,) whom each sample shows.

    Returns:
        `fixed`, with a unit there from `PRESENT_FROM` on, and `nested`, where each subject's limit
        was chosen on the others: each as `engines.training.action_units.figures` gives them.
    """
    found = np.asarray(probabilities[codes.known], np.float64)
    judged = judged_by(codes, subjects)
    limits = _nested_limits(judged, found)
    return {
        "left_open": codes.left_open,
        "fixed": figures(judged, found, found >= PRESENT_FROM, UNITS),
        "nested": figures(judged, found, found >= limits[:, None], UNITS),
    }


def describe_people(report: Mapping[str, Any]) -> str:
    """What `unit_figures` returned, as Markdown."""
    nested, fixed = report["nested"], report["fixed"]
    whole = (
        f"On {nested['expressions']} clips of {nested['identities']} people of CASME II and SAMM, "
        f"by what was trained without them ({report['left_open']} clips are left out because "
        f"their coders left something open): F1 over all units "
        f"{bounded(nested['f1'], nested['f1_interval'])} (precision {nested['precision']:.2f}, "
        f"recall {nested['recall']:.2f}), with the probability from which on a unit is given "
        f"chosen for each person on the others, one for all units; "
        f"{bounded(fixed['f1'], fixed['f1_interval'])} from {PRESENT_FROM} on. Area under the ROC "
        f"curve {nested['auc']:.2f}."
    )
    return f"{fill(whole, 100)}\n\n{unit_table(nested)}"


def unit_table(report: Mapping[str, Any]) -> str:
    """Figures of single units, as `engines.training.action_units.figures` gives them."""
    rows = [
        [
            f"AU{row['unit']}",
            row["present"],
            row["shown"],
            bounded(row["f1"], row["f1_interval"]),
            number(row["auc"]),
        ]
        for row in report["units"]
    ]
    return table(["unit", "present", "given", "F1 [95 %]", "AUC"], rows)


def _nested_limits(judged: Measured, found: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N,) the limit, one for all units, under which the others' units have the highest F1."""
    limits = np.empty(len(found))
    for subject in np.unique(judged.identities):
        own = judged.identities == subject
        scores = [f1(judged.present[~own], found[~own] >= limit) for limit in _LIMITS]
        limits[own] = _LIMITS[int(np.argmax(scores))]
    return limits


def _subject(given: str, clip: str) -> str:
    """As the composite data set writes it: `sub01` of CASME II, `006` of SAMM."""
    first = clip.partition("_")[0]
    return first if first.isdigit() else f"sub{given.zfill(2)}"
