from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.temperature import expected_calibration_error, fit_temperature, probabilities


def miscalibrated(seed: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from known probabilities, and their logits multiplied by `factor`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (3000, 3))
    truth = probabilities(logits, 1.0)
    labels = (rng.random((3000, 1)) > truth.cumsum(1)).sum(1)
    return logits * factor, labels


@given(st.integers(0, 1000), st.sampled_from([0.25, 0.5, 2.0, 4.0]))
@settings(max_examples=20, deadline=None)
def test_finds_the_factor_and_mends_the_calibration(seed: int, factor: float) -> None:
    logits, labels = miscalibrated(seed, factor)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(factor, rel=0.15)
    before = expected_calibration_error(probabilities(logits, 1.0), labels)
    after = expected_calibration_error(probabilities(logits, temperature), labels)
    assert after < 0.5 * before


@given(st.integers(0, 1000), st.floats(0.05, 20))
@settings(max_examples=20, deadline=None)
def test_keeps_the_most_probable_class_and_sums_to_one(seed: int, temperature: float) -> None:
    logits = np.random.default_rng(seed).normal(0, 2, (50, 4))
    scaled = probabilities(logits, temperature)
    np.testing.assert_array_equal(scaled.argmax(1), logits.argmax(1))
    np.testing.assert_allclose(scaled.sum(1), 1)


def test_a_higher_temperature_is_less_sure() -> None:
    logits = np.array([[2.0, 0.5, -1.0]])
    confidence = [probabilities(logits, t).max() for t in (0.5, 1.0, 2.0, 20.0)]
    assert confidence == sorted(confidence, reverse=True)


def test_calibration_error_by_hand() -> None:
    predicted = np.array([[0.95, 0.05], [0.95, 0.05], [0.65, 0.35], [0.35, 0.65]])
    labels = np.array([0, 1, 0, 1])
    # 0.9–1.0: sure 0.95, right 0.5, two of four; 0.6–0.7: sure 0.65, right 1, two of four.
    assert expected_calibration_error(predicted, labels) == pytest.approx(0.225 + 0.175)


def test_certain_and_right_has_no_error() -> None:
    assert expected_calibration_error(np.eye(3), np.arange(3)) == 0
