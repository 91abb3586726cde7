"""Spot-then-recognise against scikit-learn and by hand, and the quirks that it does not have."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from engines.evaluation.spotting import Interval, Recording
from engines.evaluation.strs import UNNAMED, spot_then_recognise
from engines.events import EventKind


def at(second: float, emotion: str | None = None) -> Interval:
    return Interval(second, second + 0.4, EventKind.MICRO, emotion=emotion)


emotions = st.sampled_from("abc")


@given(st.lists(st.tuples(emotions, emotions), min_size=1, max_size=20), st.integers(0, 5))
def test_it_is_the_product_of_two_f1(pairs, false_alarms):
    truths = [at(k, truth) for k, (truth, _) in enumerate(pairs)]
    found = [at(k, guess) for k, (_, guess) in enumerate(pairs)]
    found += [at(100 + k, pairs[0][0]) for k in range(false_alarms)]
    scored = spot_then_recognise([Recording(truths, found, 200)])
    precision, recall, f1, _ = precision_recall_fscore_support(
        [t for t, _ in pairs],
        [p for _, p in pairs],
        labels=sorted({each for pair in pairs for each in pair}),
        average="macro",
        zero_division=0,
    )
    analysis = 2 * precision * recall / (precision + recall) if precision + recall else 0
    spotting = 2 * len(pairs) / (2 * len(pairs) + false_alarms)
    assert scored.analysis_precision == pytest.approx(precision)
    assert scored.analysis_recall == pytest.approx(recall)
    assert scored.uf1 == pytest.approx(f1)
    assert scored.strs == pytest.approx(spotting * analysis)
    assert scored.confusion.sum() == len(pairs)


def test_every_recording_counts_and_no_detection_counts_twice():
    twice = Recording([at(1, "a"), at(1.05, "a")], [at(1, "a")], 60, "x")
    quiet = Recording([], [at(5, "a")], 60, "y")
    scored = spot_then_recognise([twice, quiet])
    assert (scored.spotting.tp, scored.spotting.fp, scored.spotting.fn) == (1, 1, 1)
    assert scored.strs == pytest.approx(0.5)


def test_a_detection_without_a_name_is_a_wrong_answer_and_no_class():
    scored = spot_then_recognise([Recording([at(1, "a"), at(3, "a")], [at(1, "a"), at(3)], 60)])
    assert scored.classes == ("a", UNNAMED)
    assert (scored.analysis_precision, scored.analysis_recall) == (1.0, 0.5)
    np.testing.assert_array_equal(scored.confusion, [[1, 1], [0, 0]])


def test_a_truth_without_a_name_counts_in_spotting_only():
    scored = spot_then_recognise([Recording([at(1), at(3, "a")], [at(1, "b"), at(3, "a")], 60)])
    assert (scored.spotting.tp, scored.confusion.sum()) == (2, 1)


def test_nothing_spotted_is_worth_nothing():
    scored = spot_then_recognise([Recording([at(1, "a")], [], 60)])
    assert scored.strs == 0
    assert math.isnan(scored.uf1)
