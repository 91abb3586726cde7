"""A still face's noise, blinks and sway come back; what is no still face is noticed."""

from __future__ import annotations

import numpy as np
import pytest

from calibration import baseline
from engines.motion.canonical import REGION_NAMES
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.flow_spotter import FlowSpotter
from tests.calibration.scripted_tracks import face_of, motion_of


def measured(motion, face=None) -> baseline.BaselineResult:
    moved = baseline.clear_movements(motion, FlowSpotter(FlowSpotterConfig(), 100.0))
    result = baseline.measure(motion, face or face_of(motion), moved, float(motion.time_s[0]))
    assert result is not None
    return result


@pytest.mark.parametrize("fps", [30.0, 100.0, 200.0])
@pytest.mark.parametrize("noise", [0.0005, 0.002])
def test_region_noise_comes_back_within_a_tenth(fps, noise):
    motion = motion_of(10, fps, noise=noise)
    # What is left of white noise behind the spotter's two poles of 8 ms: a = exp(-dt / 8 ms).
    kept = np.exp(-1 / (fps * 0.008))
    left = noise * np.sqrt((1 - kept) * (1 + kept**2) / (1 + kept) ** 3)
    result = measured(motion)
    assert [region.region for region in result.regions] == list(REGION_NAMES)
    assert result.noise_iod == pytest.approx(left, rel=0.1)
    assert result.still
    assert baseline.findings(result) == ()


@pytest.mark.parametrize("fps", [30.0, 100.0, 200.0])
def test_blinks_are_counted(fps):
    result = measured(motion_of(10, fps, blinks=(1.0, 2.5, 3.1, 6.0, 9.0)))
    assert result.blinks == 5
    assert result.blinks_per_min == pytest.approx(30, rel=0.01)
    assert result.still  # blinks are no expressions


def test_sway_comes_back():
    motion = motion_of(10)
    result = measured(motion, face_of(motion, sway_px=3.0))
    assert result.sway_iod == pytest.approx(0.03 * np.sqrt(2), rel=0.1)


def test_an_expression_during_the_take_is_noticed():
    result = measured(motion_of(10, movements=[(4.0, 0.03), (8.0, 0.03)], start_s=100.0))
    assert result.expressions == ()  # outside of the take's time
    result = measured(motion_of(10, movements=[(104.0, 0.03), (108.0, 0.03)], start_s=100.0))
    assert result.expressions == pytest.approx((4.15, 8.15), abs=0.05)
    assert not result.still
    assert "at 4.1, 8.1 s" in baseline.findings(result)[0].what.replace("4.2", "4.1").replace(
        "8.2", "8.1"
    )


def test_a_face_that_is_found_late_is_still_and_one_that_slips_is_not():
    motion = motion_of(10)
    motion.valid[:30] = False
    motion.restart[:] = False
    motion.restart[30] = True
    assert measured(motion).still
    motion.restart[500] = True
    result = measured(motion)
    assert result.restarts == 1
    assert not result.still


def test_a_short_take_is_said():
    assert "Only 3.0 s" in baseline.findings(measured(motion_of(3)))[0].what
    motion = motion_of(0.5)
    assert baseline.measure(motion, face_of(motion), (), 0.0) is None
    assert baseline.findings(None)[0].severity == "failure"


def test_what_is_left_out_begins_anew():
    motion = motion_of(10)
    quiet = motion.without([(2.0, 3.0), (5.0, 6.0)])
    assert quiet.measured_s == pytest.approx(motion.measured_s - 2.0, abs=0.1)
    assert np.flatnonzero(quiet.restart).tolist() == [0, 200, 399]
    joined = motion.then(motion_of(5, start_s=30.0))
    assert joined.measured_s == pytest.approx(15, abs=0.1)
    assert joined.restart[1000]
