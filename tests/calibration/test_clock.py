"""Emulated rates, jitter, lost frames and drifting clocks come back as they were made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration import clock
from calibration.tracks import FrameTimes


def times_of(
    fps: float = 200.0,
    seconds: float = 10.0,
    *,
    jitter_s: float = 0.0,
    lost: tuple[int, ...] = (),
    drift_ppm: float = 0.0,
    delay_s: float = 0.0,
    offset_s: float = 1000.0,
    seed: int = 0,
) -> FrameTimes:
    """A camera whose frames arrive late by an exponential delay, on a clock that drifts."""
    rng = np.random.default_rng(seed)
    index = np.setdiff1d(np.arange(round(fps * seconds)), lost)
    device = index / fps + rng.normal(0, jitter_s, len(index))
    host = offset_s + device * (1 + drift_ppm * 1e-6) + rng.exponential(delay_s, len(index))
    causes = {"source_timestamp_gap": len(lost)} if lost else {}
    return FrameTimes(index, device, device, host, causes)


def measured(times: FrameTimes, fps: float = 200.0, asked: float | None = None):
    result = clock.measure(times, fps_asked=asked, fps_nominal=fps, live=True)
    assert result is not None
    return result


@pytest.mark.parametrize("fps", [30.0, 59.94, 200.0, 400.0])
def test_a_steady_camera_is_fit(fps):
    result = measured(times_of(fps), fps, asked=fps)
    assert result.fps_delivered == pytest.approx(fps, rel=1e-6)
    assert result.jitter_ms.max < 1e-6
    assert clock.findings(result) == ()


@pytest.mark.parametrize("jitter_ms", [0.1, 0.5, 1.0])
def test_jitter_comes_back_within_a_tenth(jitter_ms):
    result = measured(times_of(jitter_s=jitter_ms * 1e-3, seconds=20))
    # The interval between two jittered stamps: a folded normal of sqrt(2) sigma.
    sigma = np.sqrt(2) * jitter_ms
    assert result.jitter_ms.p50 == pytest.approx(0.6745 * sigma, rel=0.1)
    assert result.jitter_ms.p99 == pytest.approx(2.576 * sigma, rel=0.1)


@given(lost=st.sets(st.integers(1, 1998), max_size=60))
@settings(max_examples=30, deadline=None)
def test_every_missing_frame_is_counted_and_makes_no_slower_camera(lost):
    result = measured(times_of(lost=tuple(lost)))
    assert result.fps_produced == pytest.approx(200.0, rel=1e-6)
    assert result.frames + sum(result.lost.values()) == 2000
    assert result.fps_delivered == pytest.approx(200.0 * (1999 - len(lost)) / 1999, rel=1e-3)


@given(drift_ppm=st.floats(-800, 800), seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_drift_comes_back_within_40_ppm_through_a_millisecond_of_delay(drift_ppm, seed):
    times = times_of(seconds=30, drift_ppm=drift_ppm, delay_s=1e-3, seed=seed)
    fit = measured(times).host
    assert fit is not None
    assert fit.slope_ppm == pytest.approx(drift_ppm, abs=40)
    assert fit.slope_low_ppm <= fit.slope_ppm <= fit.slope_high_ppm
    assert fit.offset_s == pytest.approx(1000.0, abs=1e-3)
    assert fit.delay_ms.p50 == pytest.approx(np.log(2), abs=0.15)


def test_a_host_that_stalls_does_not_tilt_the_clock():
    times = times_of(seconds=30, drift_ppm=100, delay_s=2e-4)
    late = times.host_s.copy()
    late[4000:4400] += 0.5 * np.linspace(1, 0, 400)  # a stall of half a second that is caught up
    fit = clock.fit_clocks(times.device_s, late)
    assert fit is not None
    assert fit.slope_ppm == pytest.approx(100, abs=40)
    assert fit.delay_ms.max == pytest.approx(500, rel=0.01)


def test_the_interval_of_the_drift_is_honest():
    inside = 0
    for seed in range(40):
        fit = measured(times_of(seconds=20, drift_ppm=50, delay_s=1e-3, seed=seed)).host
        assert fit is not None
        inside += fit.slope_low_ppm <= 50 <= fit.slope_high_ppm
    assert inside >= 34


def test_a_file_has_no_host_clock():
    result = clock.measure(times_of(), fps_asked=None, fps_nominal=200, live=False)
    assert result is not None
    assert result.host is None


def test_two_frames_are_too_few():
    assert clock.measure(times_of(seconds=0.01), fps_asked=None, fps_nominal=200, live=True) is None
    assert clock.findings(None)[0].severity == "failure"


def failure(times: FrameTimes, nominal: float, asked: float) -> str:
    (found, *_) = clock.findings(measured(times, nominal, asked))
    assert found.severity == "failure"
    return found.what


def test_below_95_per_cent_fails_and_at_96_does_not():
    assert clock.findings(measured(times_of(192), 200, 200)) == ()
    assert failure(times_of(189), 200, 200)


def test_the_likely_cause_is_named():
    assert "exposure" in failure(times_of(150), 200, 200)
    assert "driver grants 60" in failure(times_of(60), 60, 200)
    assert "irregularly" in failure(times_of(150, jitter_s=3e-3), 200, 200)
    every_fifth = tuple(range(4, 1996, 5))
    assert "on the way from the camera" in failure(times_of(lost=every_fifth), 200, 200)
    slow = times_of(lost=every_fifth)
    slow.lost.clear()
    slow.lost["alignment_overrun"] = len(every_fifth)
    assert "computer is too slow" in failure(slow, 200, 200)


def test_few_losses_jitter_and_drift_are_warnings():
    for times in (
        times_of(lost=(100, 500, 900)),
        times_of(jitter_s=1.5e-3),
        times_of(drift_ppm=900, delay_s=1e-4),
    ):
        assert [f.severity for f in clock.findings(measured(times, asked=200))] == ["warning"]
