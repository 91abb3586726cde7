"""What calibration says of the smallest visible movement, on emulated rigs of known noise.

The movements that are tried here are drawn by the demo before the sensor's noise, in a film that
the calibration has never seen; `python -m benchmarks.visibility` tries many more.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.visibility import Rig, RigSource, calibrated, found, movements
from calibration.file import Calibration
from calibration.guide import Plan

PLAN = Plan(still_s=6, neutral_s=12, passes=3, checks=0)
MOVEMENTS = 10


@pytest.fixture(scope="module")
def quiet() -> Calibration:
    return calibrated(Rig(2.0), PLAN, seed=0)


@pytest.fixture(scope="module")
def noisy() -> Calibration:
    return calibrated(Rig(10.0), PLAN, seed=0)


@pytest.mark.parametrize("sigma", [0.0, 5.0])
def test_a_rig_has_the_noise_that_it_says(sigma):
    source = RigSource(Rig(sigma), 1.0, seed=0)
    pictures = np.empty((2, *source.open().shape), np.uint8)
    for picture in pictures:
        source.read(picture)
    background = pictures[:, :40, :40].astype(float)
    assert np.diff(background, axis=0).std() / np.sqrt(2) == pytest.approx(sigma, rel=0.1, abs=0.3)


def test_noise_makes_the_smallest_visible_movement_larger(quiet, noisy):
    for rig, sigma in ((quiet, 2.0), (noisy, 10.0)):
        assert rig.image.noise == pytest.approx(sigma, rel=0.15)
    assert noisy.visibility.expected_px > 2 * quiet.visibility.expected_px
    assert noisy.visibility.amplitude_px > 1.5 * quiet.visibility.amplitude_px


def test_movements_of_that_size_are_found_and_of_half_of_it_fewer(quiet):
    """Nine in ten are promised: with those, fewer than six of ten is a chance of 0.0016."""
    rig = Rig(2.0)
    stated = quiet.visibility.amplitude_px / rig.inter_ocular_px
    trials = movements([stated / 2, stated], MOVEMENTS, np.random.default_rng(1))
    hits = found(rig, quiet, trials, seed=1000)
    half, full = (
        sum(hit for hit, trial in zip(hits, trials, strict=True) if trial.amplitude == size)
        for size in (stated / 2, stated)
    )
    assert full >= 6
    assert half < full
