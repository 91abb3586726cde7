"""Running statistics against their plain definitions, at any frame rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.spotting.running import BoxMean, History, LowPass, RunningMedian

values = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=80)


@given(values, st.integers(2, 12))
def test_the_median_is_that_of_the_window(samples, window):
    running = RunningMedian((), window, rate_hz=1.0, refresh_s=1.0)
    for time_s, value in enumerate(samples):
        assert running.push(float(time_s), np.float32(value))
    kept = np.array(samples[-window:], np.float32)
    assert running.median == pytest.approx(np.median(kept), abs=1e-4)
    expected = 1.4826 * np.median(np.abs(kept - np.float32(np.median(kept))))
    assert running.refresh_mad() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@given(st.sampled_from([30.0, 60.0, 120.0, 200.0]))
def test_samples_are_taken_at_a_rate_of_stream_time(fps):
    running = RunningMedian((), 2.0, rate_hz=10.0, refresh_s=0.1)
    taken = sum(running.push(k / fps, np.float32(k)) for k in range(round(4 * fps)))
    assert abs(taken - 40) <= 2


def test_a_prior_makes_room_for_samples():
    running = RunningMedian((), 10.0, 10.0, 0.1, prior=5.0, prior_spread=1.0, prior_s=2.0)
    assert running.median == 5.0
    assert running.mad == pytest.approx(1.4826)
    for k in range(41):
        running.push(k / 10, np.float32(1.0))
    assert running.median == 1.0  # twice as much evidence as prior
    running.reset()
    assert running.median == 5.0


@given(st.floats(0.002, 0.05), st.sampled_from([50.0, 100.0, 400.0]))
def test_the_low_pass_settles_alike_at_every_rate(tau_s, fps):
    """A step has reached 1 - (1 + t/tau) exp(-t/tau) after t, up to one frame of delay."""
    low_pass = LowPass((1,), tau_s)
    low_pass.push(0.0, np.zeros(1, np.float32))
    settle_s = 10 * tau_s
    frames = int(np.ceil(settle_s * fps))
    out = 0.0
    for k in range(1, frames + 1):
        out = float(low_pass.push(k / fps, np.ones(1, np.float32))[0])
    assert out == pytest.approx(1.0, abs=0.01)
    low_pass.reset()
    assert low_pass.push(99.0, np.full(1, 7.0, np.float32))[0] == 7.0


@given(st.lists(st.tuples(st.floats(0.001, 0.4), st.floats(-9, 9)), min_size=1, max_size=30))
def test_the_box_mean_is_that_of_the_straight_lines_between_samples(steps):
    times = np.cumsum([step for step, _ in steps])
    values = np.array([value for _, value in steps])
    box = BoxMean(0.3)
    found = [box.push(float(t), float(v)) for t, v in zip(times, values, strict=True)]
    start = max(times[-1] - 0.3, times[0])
    at = np.union1d(times[(times > start)], np.linspace(start, times[-1], 50))
    curve = np.interp(at, times, values)
    mean = np.trapezoid(curve, at) if hasattr(np, "trapezoid") else np.trapz(curve, at)
    expected = mean / (times[-1] - start) if len(times) > 1 else values[0]
    assert found[-1] == pytest.approx(expected, abs=1e-6)
    box.reset()
    assert box.push(7.0, 3.0) == 3.0


@given(st.integers(1, 200), st.floats(0.0, 3.0))
def test_history_is_the_end_of_the_list(count, back_s):
    history = History((2,), 1.0, 50.0)
    for k in range(count):
        history.push(k / 50, k, np.full(2, k, np.float32))
    times, indices, samples = history.since((count - 1) / 50 - back_s)
    kept = [
        k for k in range(max(0, count - 52), count) if k / 50 >= (count - 1) / 50 - back_s - 1e-9
    ]
    assert list(indices) == kept
    np.testing.assert_allclose(times, [k / 50 for k in kept])
    np.testing.assert_array_equal(samples[:, 0], kept)
