"""Action units as FACS coders write them: `4+L7`, `12+17`, `R12 + R15`, `R14A`, `T28+14`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

_SEPARATORS = re.compile(r"[+,;&]")
_CODE = re.compile(r"(?:AU)?([LRTBA])?(?:AU)?(\d{1,2})([A-E])?([LR])?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ActionUnit:
    """One action unit of the Facial Action Coding System (Ekman, Friesen and Hager, 2002).

    Attributes:
        number: Number of the action unit, from 1.
        side: `L` or `R` for one side of the face only, `T` or `B` for the top or bottom lip
            only, `A` for both sides but not alike; None for the whole of it.
        intensity: `A` (a trace) to `E`; None when it was not coded.
    """

    number: int
    side: str | None = None
    intensity: str | None = None

    def __str__(self) -> str:
        return f"{self.side or ''}{self.number}{self.intensity or ''}"


def parse_action_units(text: str) -> tuple[tuple[ActionUnit, ...], tuple[str, ...]]:
    """Read a cell of FACS codes.

    Full-width characters are understood, and a side may stand before or behind the number. What a
    coder left open (`12 or R14`, `4?`) is not decided here but returned as unreadable.

    Args:
        text: The cell; may be empty.

    Returns:
        The action units, and the parts that could not be read.
    """
    units: list[ActionUnit] = []
    unreadable: list[str] = []
    for part in _SEPARATORS.split(unicodedata.normalize("NFKC", text)):
        code = re.sub(r"\s+", "", part)
        if not code:
            continue
        found = _CODE.fullmatch(code)
        if found is None or int(found[2]) == 0 or (found[1] and found[4]):
            unreadable.append(part.strip())
            continue
        side, intensity = found[1] or found[4], found[3]
        units.append(
            ActionUnit(
                int(found[2]),
                side.upper() if side else None,
                intensity.upper() if intensity else None,
            )
        )
    return tuple(units), tuple(unreadable)


class Coded(Protocol):
    """Something with action units."""

    @property
    def action_units(self) -> tuple[ActionUnit, ...]:
        """Its action units."""
        ...


def action_unit_numbers(events: Iterable[Coded]) -> tuple[int, ...]:
    """Numbers of the action units that occur, ascending."""
    return tuple(sorted({unit.number for event in events for unit in event.action_units}))


def co_occurrence(events: Iterable[Coded], numbers: Sequence[int]) -> npt.NDArray[np.int64]:
    """How often action units occur together, sides and intensities disregarded.

    Dividing each row by its diagonal gives P(column | row), the adjacency that graph networks are
    built on (AUW-GCN: Yin et al., ICME 2023). Take the events of the training subjects only.

    Args:
        events: Annotated events.
        numbers: The A action units of rows and columns; others are left out.

    Returns:
        (A, A) int64, symmetric; the diagonal counts the events in which a unit occurs.
    """
    coded = [{unit.number for unit in event.action_units} for event in events]
    present = np.array([[n in units for n in numbers] for units in coded], dtype=np.int64)
    present = present.reshape(len(coded), len(numbers))
    counts: npt.NDArray[np.int64] = present.T @ present
    return counts
