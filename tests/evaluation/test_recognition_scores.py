from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score

from engines.evaluation.recognition import (
    bootstrap_measures,
    confusion_matrix,
    scores,
    subject_interval,
)

labels = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


def test_by_hand() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    predicted = np.array([0, 0, 0, 1, 1, 0, 2, 0])
    found = scores(truth, predicted, 3)
    np.testing.assert_array_equal(found.confusion, [[3, 1, 0], [1, 1, 0], [1, 0, 1]])
    # F1: 2·3/(4+5), 2·1/(2+2), 2·1/(2+1); recall: 3/4, 1/2, 1/2.
    assert found.uf1 == pytest.approx((6 / 9 + 2 / 4 + 2 / 3) / 3)
    assert found.uar == pytest.approx((3 / 4 + 1 / 2 + 1 / 2) / 3)
    assert found.accuracy == pytest.approx(5 / 8)


def test_truth_and_prediction_are_not_interchangeable() -> None:
    truth, predicted = np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1])
    assert scores(truth, predicted, 2).uar == pytest.approx((1 / 3 + 1) / 2)
    assert scores(predicted, truth, 2).uar == pytest.approx((1 + 1 / 3) / 2)
    np.testing.assert_array_equal(confusion_matrix(truth, predicted, 2), [[1, 2], [0, 1]])


@given(labels)
def test_agrees_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(pairs).T
    found = scores(truth, predicted, 3)
    assert found.uf1 == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert found.uar == pytest.approx(
        recall_score(truth, predicted, labels=np.unique(truth), average="macro")
    )


def test_interval_draws_subjects_and_not_samples() -> None:
    correct = np.repeat([1.0, 0.0], 50)
    one_each, two_people = np.arange(100), np.repeat(["a", "b"], 50)

    def width(subjects: np.ndarray) -> float:
        low, high = subject_interval(lambda drawn: float(correct[drawn].mean()), subjects)
        return high - low

    assert width(two_people) == pytest.approx(1.0)
    assert width(one_each) < 0.3


@given(labels)
def test_drawing_every_subject_once_gives_the_scores_themselves(pairs):
    truth, predicted = np.array(pairs).T
    found = scores(truth, predicted, 3)
    one_subject = bootstrap_measures(truth, predicted, np.zeros(len(truth)), 3, draws=3)
    expected = [found.uf1, found.uar, found.accuracy]
    np.testing.assert_allclose(one_subject, np.array(expected)[:, None].repeat(3, axis=1))


def test_bootstrap_measures_agree_with_the_plain_way():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(3, size=(2, 120))
    subjects = rng.integers(12, size=120)
    drawn = bootstrap_measures(truth, predicted, subjects, 3, draws=2000)[0]
    plain = subject_interval(
        lambda at: scores(truth[at], predicted[at], 3).uf1, subjects, draws=2000
    )
    np.testing.assert_allclose(np.quantile(drawn, [0.025, 0.975]), plain, atol=0.01)


def test_interval_is_reproducible_and_ordered() -> None:
    values = np.random.default_rng(0).random(40)
    subjects = np.arange(40) // 4
    first = subject_interval(lambda drawn: float(values[drawn].mean()), subjects, draws=200)
    assert first == subject_interval(lambda drawn: float(values[drawn].mean()), subjects, draws=200)
    assert first[0] < values.mean() < first[1]
