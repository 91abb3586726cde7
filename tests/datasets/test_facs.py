from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.datasets.facs import (
    ActionUnit,
    action_unit_numbers,
    co_occurrence,
    parse_action_units,
)

units = st.builds(
    ActionUnit,
    st.integers(1, 99),
    st.sampled_from([None, "L", "R", "T", "B"]),
    st.sampled_from([None, *"ABCDE"]),
)


@dataclass
class Coded:
    action_units: tuple[ActionUnit, ...]


def coded(*cells: str) -> list[Coded]:
    return [Coded(parse_action_units(cell)[0]) for cell in cells]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("12+17", "12 17"),
        ("4+L7", "4 L7"),
        ("R12 + R15", "R12 R15"),
        ("l14", "L14"),
        ("12L", "L12"),
        ("R14A", "R14A"),
        ("T28+14", "T28 14"),
        ("AU1+AU2", "1 2"),
        ("LAU10", "L10"),
        ("A9E+12", "A9E 12"),
        ("4＋R7", "4 R7"),  # noqa: RUF001 - a full-width plus sign, as Chinese input methods write
        ("1, 2,4", "1 2 4"),
        ("24+14+", "24 14"),
        ("", ""),
    ],
)
def test_codes_as_coders_write_them(cell: str, expected: str) -> None:
    parsed, unreadable = parse_action_units(cell)
    assert " ".join(map(str, parsed)) == expected
    assert unreadable == ()


@pytest.mark.parametrize(
    ("cell", "read", "unreadable"),
    [
        ("4+12 or R14", "4", ("12 or R14",)),
        ("4?", "", ("4?",)),
        ("0", "", ("0",)),
        ("L12R+5", "5", ("L12R",)),
        ("brow+1", "1", ("brow",)),
    ],
)
def test_what_a_coder_left_open_is_not_decided(
    cell: str, read: str, unreadable: tuple[str, ...]
) -> None:
    parsed, left = parse_action_units(cell)
    assert " ".join(map(str, parsed)) == read
    assert left == unreadable


@given(st.lists(units))
def test_written_codes_are_read_back(written: list[ActionUnit]) -> None:
    assert parse_action_units("+".join(map(str, written))) == (tuple(written), ())


@given(st.text())
def test_any_text_is_read_or_returned(text: str) -> None:
    parse_action_units(text)


def test_co_occurrence_counts_events() -> None:
    events = coded("1+2", "1+R2+4", "4", "L1+R1", "")
    np.testing.assert_array_equal(
        co_occurrence(events, (1, 2, 4)), [[3, 2, 1], [2, 2, 1], [1, 1, 2]]
    )
    assert action_unit_numbers(events) == (1, 2, 4)


@given(st.lists(st.builds(Coded, st.lists(units, max_size=4).map(tuple))))
def test_co_occurrence_is_symmetric_and_bounded_by_its_diagonal(events: list[Coded]) -> None:
    numbers = action_unit_numbers(events)
    counts = co_occurrence(events, numbers)
    diagonal = counts.diagonal()
    assert counts.shape == (len(numbers), len(numbers))
    np.testing.assert_array_equal(counts, counts.T)
    assert (counts <= np.minimum.outer(diagonal, diagonal)).all()
    assert (diagonal > 0).all()
