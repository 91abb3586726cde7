"""Spotting by area of the face: in time, and in the right place."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.evaluation.regions import (
    AREAS,
    AreaTally,
    Located,
    area_tallies,
    areas_of_regions,
    areas_of_units,
    pool_areas,
)
from engines.evaluation.spotting import Interval
from engines.events import EventKind
from engines.motion.canonical import REGION_NAMES
from engines.spotting.ltp_ml.patches import PATCH_NAMES


def located(onset: float, *areas: str) -> Located:
    return Located(Interval(onset, onset + 0.3, EventKind.MICRO), frozenset(areas))


def test_found_in_time_and_place():
    tallies = area_tallies([located(1.0, "mouth")], [located(1.05, "mouth")])
    assert tallies["mouth"] == AreaTally(tp=1)
    assert tallies["brows"] == AreaTally()


def test_found_in_time_elsewhere_is_a_miss_here_and_a_false_positive_there():
    tallies = area_tallies([located(1.0, "mouth", "eyes")], [located(1.0, "mouth", "brows")])
    assert tallies["mouth"] == AreaTally(tp=1)
    assert tallies["eyes"] == AreaTally(fn=1)
    assert tallies["brows"] == AreaTally(fp=1)


def test_the_right_place_at_another_time_is_both():
    assert area_tallies([located(1.0, "mouth")], [located(2.0, "mouth")])["mouth"] == AreaTally(
        fp=1, fn=1
    )


def test_a_truth_answers_for_one_detection():
    tallies = area_tallies([located(1.0, "mouth")], [located(1.0, "mouth"), located(1.01, "mouth")])
    assert tallies["mouth"] == AreaTally(tp=1, fp=1)


@given(
    st.lists(st.tuples(st.floats(0, 9), st.sets(st.sampled_from(AREAS))), max_size=6),
    st.lists(st.tuples(st.floats(0, 9), st.sets(st.sampled_from(AREAS))), max_size=6),
)
def test_every_area_of_every_truth_and_detection_is_counted_once(truths, detections):
    there = [located(onset, *areas) for onset, areas in truths]
    found = [located(onset, *areas) for onset, areas in detections]
    total = pool_areas([area_tallies(there, found)])["all"]
    assert total.tp + total.fn == sum(len(areas) for _, areas in truths)
    assert total.tp + total.fp == sum(len(areas) for _, areas in detections)
    assert area_tallies(there, there)["mouth"].fp == 0


@pytest.mark.parametrize(
    ("units", "areas"),
    [((1, 4), {"brows"}), ((6, 12), {"eyes", "mouth"}), ((9,), {"nose"}), ((51, 57), set())],
)
def test_action_units_have_areas(units, areas):
    assert areas_of_units(units) == areas


def test_every_region_of_every_engine_has_an_area():
    for name in (*REGION_NAMES, *PATCH_NAMES):
        assert len(areas_of_regions([name])) == 1, name
    assert areas_of_regions(["left_brow_inner", "chin", "ear"]) == {"brows", "mouth"}


def test_nothing_is_no_figure():
    assert pool_areas([]) == {}
    assert math.isnan(AreaTally().f1)
    assert AreaTally(1, 1, 0).f1 == pytest.approx(2 / 3)
