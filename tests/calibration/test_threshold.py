"""Thresholds for budgets of false alarms: known tails come back, and promises are kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration import threshold
from calibration.threshold import FACTORS, HIGHEST, choose_factor
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.flow_spotter import FlowSpotter
from tests.calibration.scripted_tracks import motion_of

FPS = 30.0


def spotter(factor: float) -> FlowSpotter:
    return FlowSpotter(FlowSpotterConfig(threshold_factor=factor), FPS)


def pareto(share: float, shape: float, scale: float) -> float:
    return scale * (share**-shape - 1) / shape


def counted(rng, minutes: float, rate: float, shape: float, scale: float) -> list[int]:
    """Alarms at each factor for candidates whose heights follow a generalised Pareto."""
    shares = rng.uniform(size=rng.poisson(rate * minutes))
    heights = FACTORS[0] + pareto(shares, shape, scale)
    return [int((heights > factor).sum()) for factor in FACTORS]


@pytest.mark.parametrize(("minutes", "budget"), [(0.5, 1.0), (2.0, 5.0), (10.0, 0.2)])
def test_intervals_hold_the_true_factor_as_often_as_they_say(minutes, budget):
    rng = np.random.default_rng(1)
    rate, shape, scale = 20.0, 0.1, 1.0
    true = FACTORS[0] + pareto(budget / rate, shape, scale)
    chosen = [
        choose_factor(FACTORS, counted(rng, minutes, rate, shape, scale), 60 * minutes, budget)
        for _ in range(60)
    ]
    inside = sum(low <= true <= high for low, _, high in chosen)
    assert inside >= 46  # of 60 at 90 %: fewer than 47 happen once in a thousand times


@pytest.mark.parametrize(("minutes", "budget"), [(0.5, 5.0), (0.5, 0.2), (2.0, 1.0)])
def test_on_average_the_budget_is_kept(minutes, budget):
    rng = np.random.default_rng(3)
    rate, shape, scale = 20.0, 0.1, 1.0
    real = []
    for _ in range(60):
        alarms = counted(rng, minutes, rate, shape, scale)
        _, factor, _ = choose_factor(FACTORS, alarms, 60 * minutes, budget)
        real.append(rate * (1 + shape * (factor - FACTORS[0]) / scale) ** (-1 / shape))
    assert np.mean(real) == pytest.approx(budget, rel=0.3)


def test_longer_takes_give_narrower_answers():
    widths = []
    for minutes in (0.5, 2.0, 8.0):
        rng = np.random.default_rng(2)
        spans = [
            choose_factor(FACTORS, counted(rng, minutes, 20, 0.1, 1.0), 60 * minutes, 1.0)
            for _ in range(20)
        ]
        widths.append(np.mean([high - low for low, _, high in spans]))
    assert widths[0] > 1.3 * widths[1] > 1.3 * 1.3 * widths[2]


@given(
    heights=st.lists(st.floats(3, 20), max_size=40),
    seconds=st.floats(5, 600),
    budget=st.floats(0.05, 10),
)
@settings(max_examples=25, deadline=None)
def test_a_larger_budget_never_asks_for_a_higher_factor(heights, seconds, budget):
    alarms = [sum(height > factor for height in heights) for factor in FACTORS]
    low, factor, high = choose_factor(FACTORS, alarms, seconds, budget)
    assert FACTORS[0] <= low <= factor <= high <= HIGHEST
    assert choose_factor(FACTORS, alarms, seconds, 2 * budget)[1] <= factor
    more = [n + 3 for n in alarms]
    assert choose_factor(FACTORS, more, seconds, budget)[1] >= factor - 1e-9


def test_the_chosen_factor_keeps_its_budget_on_other_footage():
    blinks = tuple(np.arange(2.0, 28.0, 4.0))
    result = threshold.measure(
        motion_of(30, FPS, blinks=blinks, seed=1),
        motion_of(45, FPS, start_s=30.0, seed=2),
        spotter,
        2.0,
    )
    assert result is not None
    assert result.reached
    assert not result.contradicted
    assert result.held_out_s == pytest.approx(45, abs=0.1)
    assert result.alarms == tuple(sorted(result.alarms, reverse=True)) or max(result.alarms) < 5


def test_a_take_that_is_too_short_for_its_budget_says_so():
    result = threshold.measure(motion_of(10, FPS), motion_of(10, FPS, start_s=10.0), spotter, 0.5)
    assert result is not None
    # No alarm in a Poisson rate of 0.5 a minute: the 97.5 % bound of zero is 3.69.
    assert result.needed_s == pytest.approx(60 * 3.689 / 0.5, rel=1e-3)
    assert not result.proven
    what = " ".join(finding.what + finding.advice for finding in threshold.findings(result))
    assert "too short" in what
    assert "443 s" in what


def test_a_budget_that_footage_contradicts_fails():
    quiet = motion_of(10, FPS)
    lively = motion_of(
        30, FPS, start_s=10.0, movements=[(11.0 + 2 * k, 0.02) for k in range(14)], seed=3
    )
    result = threshold.measure(quiet, lively, spotter, 1.0)
    assert result is not None
    assert result.held_out_alarms is not None
    assert result.held_out_alarms > 10
    assert result.contradicted
    assert threshold.findings(result)[0].severity == "failure"


def test_nothing_to_learn_from_fails():
    empty = motion_of(0, FPS)
    assert threshold.measure(empty, empty, spotter, 1.0) is None
    assert threshold.findings(None)[0].severity == "failure"


def test_what_was_left_out_is_told():
    result = threshold.measure(motion_of(5, FPS), motion_of(5, FPS, start_s=5.0), spotter, 5.0)
    assert result is not None
    assert any("left out" in f.what for f in threshold.findings(result, left_out_s=3.0))
    assert not any("left out" in f.what for f in threshold.findings(result, left_out_s=0.5))
