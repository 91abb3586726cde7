"""Emulated lamps come back with their frequency, depth, bands and row time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from calibration import light
from calibration.light import LightResult, Ripple, alias_hz

ROWS = np.linspace(100, 340, 24)


def under_lamp(
    fps: float,
    lamp_hz: float,
    depth: float,
    *,
    seconds: float = 10.0,
    phase: float = 1.0,
    row_s: float = 0.0,
    jitter_s: float = 0.0,
    noise: float = 0.3,
    drift: float = 0.02,
    seed: int = 0,
) -> LightResult:
    rng = np.random.default_rng(seed)
    n = round(seconds * fps)
    time_s = np.arange(n) / fps + rng.normal(0, jitter_s, n)
    at = time_s[:, None] + ROWS * row_s
    slow = 1 + drift * np.sin(2 * np.pi * 0.3 * time_s)
    bands = 110 * slow[:, None] * (1 + depth * np.sin(2 * np.pi * lamp_hz * at + phase))
    bands += rng.normal(0, noise, bands.shape)
    result = light.measure(time_s, bands.mean(axis=1), bands, ROWS)
    assert result is not None
    return result


def lamp(result: LightResult, hz: float) -> Ripple:
    return min(result.ripples, key=lambda ripple: abs(ripple.lamp_hz - hz))


@pytest.mark.parametrize(
    ("fps", "at_50_hz_mains", "at_60_hz_mains"),
    [(25, 0, 5), (30, 10, 0), (60, 20, 0), (90, 10, 30), (120, 20, 0), (200, 100, 80)],
)
def test_aliases(fps, at_50_hz_mains, at_60_hz_mains):
    assert alias_hz(100, fps) == pytest.approx(at_50_hz_mains)
    assert alias_hz(120, fps) == pytest.approx(at_60_hz_mains)


@given(
    fps=st.sampled_from([30.0, 60.0, 90.0, 120.0, 200.0, 240.0]),
    mains=st.sampled_from([100.0, 120.0]),
    deviation=st.floats(-0.3, 0.3),
    depth=st.floats(0.005, 0.2),
    phase=st.floats(0, 6.28),
    jitter_share=st.floats(0, 0.05),
)
@settings(max_examples=40, deadline=None)
def test_depth_comes_back_within_5_per_cent(fps, mains, deviation, depth, phase, jitter_share):
    hz = mains + deviation
    alias = alias_hz(hz, fps)
    # Slower than 1 Hz is exposure; within 0.1 Hz of half the rate only one phase is seen in 10 s.
    assume(alias > 1.2)
    assume(abs(alias - fps / 2) > 0.1)
    result = under_lamp(fps, hz, depth, phase=phase, jitter_s=min(jitter_share / fps, 4e-4))
    ripple = lamp(result, hz)
    assert ripple.found
    assert not ripple.at_least
    assert ripple.depth == pytest.approx(depth, rel=0.05)
    assert ripple.lamp_hz == pytest.approx(hz, abs=0.02) or jitter_share < 0.01


@pytest.mark.parametrize("row_us", [5, 15, 30])
@pytest.mark.parametrize("fps", [30, 60, 200])
def test_a_rolling_shutter_is_told_by_its_row_time(fps, row_us):
    hz = 120.03 if fps == 200 else 99.96
    ripple = lamp(under_lamp(fps, hz, 0.03, row_s=row_us * 1e-6), hz)
    assert ripple.line_time_us == pytest.approx(row_us, rel=0.05)
    # What brightness normalisation leaves: the deviation of every strip from the common ripple.
    phases = np.exp(2j * np.pi * hz * ROWS * row_us * 1e-6)
    left = 0.03 * np.sqrt(np.mean(np.abs(phases - phases.mean()) ** 2))
    assert ripple.banding == pytest.approx(left, rel=0.1, abs=2e-4)


def test_a_global_shutter_has_no_bands():
    ripple = lamp(under_lamp(60, 99.96, 0.05), 100)
    assert ripple.line_time_us is None
    assert ripple.banding is not None
    assert ripple.banding < 5e-4


@given(phase=st.floats(0, 6.28), depth=st.floats(0.01, 0.1))
@settings(max_examples=20, deadline=None)
def test_at_half_the_frame_rate_it_never_says_more_than_there_is(phase, depth):
    ripple = lamp(under_lamp(200, 100.004, depth, phase=phase), 100)
    assert ripple.at_least
    assert ripple.depth <= 1.05 * depth + 2e-4


@pytest.mark.parametrize("fps", [30, 60, 200])
@pytest.mark.parametrize("seed", range(5))
def test_steady_light_is_no_ripple(fps, seed):
    result = under_lamp(fps, 100, 0.0, seed=seed)
    assert not any(ripple.found for ripple in result.ripples)
    assert not any("flickers" in finding.what for finding in light.findings(result))


def test_what_a_frame_rate_hides_is_said():
    result = under_lamp(25, 100, 0.05)
    assert not lamp(result, 100).visible
    assert any("cannot be measured" in finding.what for finding in light.findings(result))


def test_slow_changes_are_told():
    result = under_lamp(60, 100, 0.0, drift=0.2)
    assert result.drift == pytest.approx(0.2 / np.sqrt(2), rel=0.05)
    assert any("wanders" in finding.what for finding in light.findings(result))


def test_strong_flicker_among_movements_fails_and_beyond_them_warns():
    severities = {
        fps: light.findings(under_lamp(fps, 99.96, 0.1))[0].severity for fps in (30.0, 240.0)
    }
    assert severities == {30.0: "failure", 240.0: "warning"}


def test_too_short_is_said():
    assert light.measure(np.arange(30) / 30, np.ones(30), np.ones((30, 24)), ROWS) is None
    assert "not measured" in light.findings(None)[0].what
