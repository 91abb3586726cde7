"""The real annotation files; no picture of these data sets is needed or at hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from engines.datasets import Dataset, ProblemKind
from engines.datasets.facs import action_unit_numbers, co_occurrence
from engines.datasets.registry import find_adapter
from engines.events import EventKind

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "annotations"

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not SHARED.is_dir(), reason=f"no data in {SHARED}"),
]


def read(name: str) -> Dataset:
    return find_adapter(name).read(SHARED)


def counts(found: Dataset) -> tuple[int, int]:
    kinds = Counter(event.kind for _, event in found.samples())
    return kinds[EventKind.MACRO], kinds[EventKind.MICRO]


def test_cas_me_2_has_the_300_and_57_expressions_of_its_paper() -> None:
    found = read("cas_me_2")
    assert counts(found) == (300, 57)
    assert len(found.subjects) == 22
    assert len(found.recordings) == 95
    assert {problem.kind for problem in found.problems} == {ProblemKind.MISSING_FRAMES}
    first = found.recordings[0]
    assert (first.subject, first.name, first.duration_s) == ("s15", "15_0101", 2052 / 30)
    assert (first.events[0].onset_frame, first.events[0].onset_s) == (1195, 1194 / 30)


def test_samm_lv_expressions_that_began_before_the_video() -> None:
    found = read("samm_lv")
    assert counts(found) == (340, 159)
    assert len(found.subjects) == 30
    cut = [p for p in found.problems if p.kind is ProblemKind.OUTSIDE_RECORDING]
    assert len(cut) == 10
    assert all("frames 0 to" in problem.message for problem in cut)
    assert sum(problem.lost_events for problem in found.problems) == 0


def test_cas_me_3_micro_expressions_with_emotions_and_action_units() -> None:
    found = read("cas_me_3")
    assert counts(found) == (0, 860)
    assert len(found.subjects) == 94
    labels = Counter(found.label(event, 7) for _, event in found.samples())
    assert labels == {
        "disgust": 250, "surprise": 187, "others": 161, "fear": 86, "anger": 64, "sadness": 57,
        "happiness": 55,
    }  # fmt: skip
    assert Counter(problem.kind for problem in found.problems) == {
        ProblemKind.IMPLAUSIBLE_DURATION: 21,
        ProblemKind.NO_APEX: 1,
        ProblemKind.OUTSIDE_RECORDING: 1,
        ProblemKind.MISSING_FRAMES: 1,
    }
    (problem,) = [p for p in found.problems if p.kind is ProblemKind.NO_APEX]
    assert problem.row == 752
    events = [event for _, event in found.samples()]
    assert all(event.action_units for event in events)
    numbers = action_unit_numbers(events)
    matrix = co_occurrence(events, numbers)
    assert matrix[numbers.index(1), numbers.index(2)] == 111
    assert matrix.diagonal()[numbers.index(4)] == 274
