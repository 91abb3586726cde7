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


def test_a_worked_example_gives_what_the_published_formula_gives():
    """Liong, See and Chan: STRS = F1 of spotting x F1 of analysis, worked out by hand.

    Two recordings with six truths and seven detections of 0.4 s. Spotted (IoU >= 0.5): four. A
    detection 0.1 s late has IoU 0.3/0.5 = 0.6 and counts, one 0.2 s late has 0.2/0.6 and does not.
    So TP 4, FP 3, FN 2; precision 4/7, recall 4/6, F1 = 2*4 / (2*4 + 3 + 2) = 8/13.

    Among the four, truth -> answer: a->a, a->b, b->b, c->b. By class, precision and recall:
    a: 1/1 and 1/2; b: 1/3 and 1/1; c: 0 (never answered) and 0/1.
    Means: precision (1 + 1/3 + 0) / 3 = 4/9, recall (1/2 + 1 + 0) / 3 = 1/2.
    F1 of analysis = 2 * 4/9 * 1/2 / (4/9 + 1/2) = 8/17. STRS = 8/13 * 8/17 = 64/221.
    """
    one = Recording(
        [at(1, "a"), at(3, "a"), at(5, "b"), at(7, "c")],
        [at(1, "a"), at(3.1, "b"), at(5, "b"), at(7.2, "c"), at(9, "a")],
        60,
        "one",
    )
    two = Recording([at(2, "c"), at(4, "a")], [at(2.05, "b"), at(8, "b")], 60, "two")
    scored = spot_then_recognise([one, two])
    assert (scored.spotting.tp, scored.spotting.fp, scored.spotting.fn) == (4, 3, 2)
    assert scored.spotting.f1 == pytest.approx(8 / 13)
    assert scored.analysis_precision == pytest.approx(4 / 9)
    assert scored.analysis_recall == scored.uar == pytest.approx(1 / 2)
    assert scored.analysis_f1 == pytest.approx(8 / 17)
    assert scored.strs == pytest.approx(64 / 221)


def test_the_counts_of_the_published_example_give_its_figures():
    """genbing99/STRS-Metric ships truth and detections of CASME II, one of each in 244 videos.

    159 are spotted; what was answered to them is this table, truth in rows. Its script prints
    STRS 0.3862, precision 0.5983, recall 0.5872, F1 0.5927 of the analysis, and UF1 0.5766.
    """
    names = ("disgust", "happiness", "others", "repression", "surprise")
    table = [
        [18, 2, 23, 0, 0],
        [0, 8, 3, 1, 0],
        [8, 6, 49, 4, 1],
        [2, 3, 8, 4, 0],
        [0, 0, 1, 1, 17],
    ]
    pairs = [(t, p) for t in range(5) for p in range(5) for _ in range(table[t][p])]
    truths = [at(k, names[t]) for k, (t, _) in enumerate(pairs)] + [at(500 + k) for k in range(85)]
    found = [at(k, names[p]) for k, (_, p) in enumerate(pairs)] + [at(900 + k) for k in range(85)]
    scored = spot_then_recognise([Recording(truths, found, 2000)], classes=names)
    assert (scored.spotting.tp, scored.spotting.fp, scored.spotting.fn) == (159, 85, 85)
    printed = (scored.strs, scored.analysis_precision, scored.analysis_recall, scored.analysis_f1)
    assert printed == pytest.approx((0.3862, 0.5983, 0.5872, 0.5927), abs=5e-5)
    assert scored.uf1 == pytest.approx(0.5766, abs=5e-5)


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
