"""Average precision: by hand, and what it must not depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.evaluation.ranking import precision_recall
from engines.evaluation.spotting import Interval, Recording
from engines.events import EventKind


def found(second: float, score: float | None) -> Interval:
    return Interval(second, second + 0.4, EventKind.MICRO, score=score)


def recording(scores_right: list[float], scores_wrong: list[float], truths: int) -> Recording:
    right = [found(k, score) for k, score in enumerate(scores_right)]
    wrong = [found(100 + k, score) for k, score in enumerate(scores_wrong)]
    return Recording([found(k, None) for k in range(truths)], right + wrong, 600)


def test_by_hand():
    curve = precision_recall([recording([9, 7, 5], [8, 1], truths=4)])
    assert curve.score.tolist() == [9, 8, 7, 5, 1]
    assert curve.precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 3 / 4, 3 / 5])
    assert curve.recall.tolist() == pytest.approx([1 / 4, 1 / 4, 2 / 4, 3 / 4, 3 / 4])
    # Highest precision at each recall or beyond: 1, then 3/4, 3/4.
    assert curve.average_precision == pytest.approx((1 + 3 / 4 + 3 / 4) / 4)


def test_the_stronger_of_two_detections_takes_the_truth():
    both = Recording([found(1, None)], [found(1.0, 3.0), found(1.05, 5.0)], 60)
    assert precision_recall([both]).precision.tolist() == [1, 0.5]


def test_without_a_score_or_a_truth_there_is_no_area():
    assert math.isnan(precision_recall([recording([1], [], 0)]).average_precision)
    unscored = Recording([found(1, None)], [found(1, None)], 60)
    assert math.isnan(precision_recall([unscored]).average_precision)
    assert precision_recall([recording([], [], 2)]).average_precision == 0


numbers = st.lists(st.integers(0, 6).map(float), max_size=8)


@given(numbers, numbers, st.integers(0, 4))
def test_only_the_order_of_scores_matters(right, wrong, missed):
    truths = len(right) + missed
    one = precision_recall([recording(right, wrong, truths)]).average_precision
    split = [recording(right, [], truths), recording([], wrong, 0)]
    assert precision_recall(split).average_precision == pytest.approx(one, nan_ok=True)
    warped = [[math.exp(score) - 5 for score in each] for each in (right, wrong)]
    other = precision_recall([recording(*warped, truths)]).average_precision
    assert other == pytest.approx(one, nan_ok=True)
    assert math.isnan(one) or 0 <= one <= 1


def test_ties_stand_or_fall_together():
    """In whatever order, three equals of which one is right have a precision of one third."""
    area = precision_recall([recording([4], [4, 4], truths=1)]).average_precision
    assert area == pytest.approx(1 / 3)
    np.testing.assert_allclose(
        precision_recall([recording([4, 9], [4, 4], truths=2)]).average_precision,
        (1 + 2 / 4) / 2,
    )
