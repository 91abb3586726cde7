"""Emulated exposure, defocus and noise come back in size, on the demo's portrait."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibration import image
from calibration.tracks import FaceTrack, Looks
from engines.synthesis import FaceAnimator, Portrait, Scenario, ScenarioConfig

FPS = 100.0
PAIRS = 3


@pytest.fixture(scope="module")
def still() -> tuple[np.ndarray, tuple[float, float, float, float], float]:
    """The portrait at rest without noise, the face's box in it, and its inter-ocular distance."""
    config = ScenarioConfig(
        expressions=False, head_motion=False, blinks=False, gaze=False, ripple=False, noise=False
    )
    animator = FaceAnimator(Portrait.astronaut(), Scenario(config, 0, 1.0), 640, 480)
    picture = np.empty((480, 640, 3), np.uint8)
    animator.render(0.0, picture, 0)
    low, high = animator.landmarks.min(axis=0), animator.landmarks.max(axis=0)
    box = (float(low[0]), float(low[1]), *(high - low).tolist())
    return picture, box, animator.inter_ocular_px


def looks_of(still, *, gain=1.0, blur=0.0, noise=0.0, seed=0) -> Looks:
    picture, box, span = still
    rng = np.random.default_rng(seed)
    values = picture.astype(np.float32) * gain
    if blur:
        values = cv2.GaussianBlur(values, (0, 0), blur)
    grain = rng.normal(0, 1, (PAIRS, 2, *picture.shape[:2], 1)) * noise
    pairs = np.clip(np.rint(values + grain), 0, 255).astype(np.uint8)
    return Looks(pairs, np.tile(box, (PAIRS, 1)), np.full(PAIRS, span))


def face_of(still, **changes) -> FaceTrack:
    _, box, span = still
    n = 50
    track = FaceTrack(
        time_s=np.arange(n) / FPS,
        luminance=np.full(n, 120.0),
        bands=np.full((n, 24), 120.0),
        band_rows=np.arange(24.0),
        inter_ocular_px=np.full(n, span),
        height_px=np.full(n, box[3]),
        centre_px=np.zeros((n, 2)),
        pose=np.zeros((n, 3)),
        head_speed=np.zeros(n),
        flags={},
    )
    return replace(track, **changes)


def measured(still, **emulated) -> image.ImageResult:
    result = image.measure(face_of(still), looks_of(still, **emulated), FPS)
    assert result is not None
    return result


def complaints(result: image.ImageResult) -> str:
    return " ".join(finding.what for finding in image.findings(result))


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0, 4.0])
def test_noise_comes_back_within_a_tenth(still, noise):
    # Rounding to whole grey levels adds a twelfth of a level squared.
    expected = np.hypot(noise, np.sqrt(1 / 12))
    assert measured(still, noise=noise).noise == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("blur", [1.0, 1.5, 2.0, 3.0, 4.0])
def test_defocus_comes_back_within_a_fifth(still, blur):
    sharp = measured(still, noise=1.0).blur_px
    soft = measured(still, blur=blur, noise=1.0)
    assert np.sqrt(soft.blur_px**2 - sharp**2) == pytest.approx(blur, rel=0.2)
    assert soft.blur_canonical == pytest.approx(soft.blur_px * 64 / soft.inter_ocular_px)


def test_focus_falls_with_blur_and_hardly_with_noise(still):
    sharp, noisy = measured(still).focus, measured(still, noise=2.0).focus
    assert noisy == pytest.approx(sharp, rel=0.1)
    falling = [measured(still, blur=b, noise=1.0).focus for b in (0.0, 1.0, 2.0)]
    assert falling == sorted(falling, reverse=True)
    assert falling[1] < 0.6 * falling[0]


def test_defocus_is_complained_of(still):
    assert "out of focus" not in complaints(measured(still, noise=1.0))
    assert "out of focus" in complaints(measured(still, blur=4.0, noise=1.0))


@pytest.mark.parametrize("gain", [0.2, 0.4, 0.7])
def test_under_exposure_comes_back_within_two_per_cent(still, gain):
    full = measured(still)
    dark = measured(still, gain=gain)
    assert dark.mean == pytest.approx(gain * full.mean, rel=0.02)
    assert ("under-exposed" in complaints(dark)) == (gain < 0.5)


def test_over_exposure_saturates(still):
    result = measured(still, gain=1.6)
    picture, (x, y, width, height), _ = still
    face = picture[
        round(y + 0.1 * height) : round(y + 0.95 * height),
        round(x + 0.1 * width) : round(x + 0.9 * width),
    ]
    expected = (np.rint(face * 1.6) >= 252).any(axis=-1).mean()
    assert result.bright_share == pytest.approx(expected, abs=0.01)
    assert "saturated" in complaints(result)


def test_gray_pictures_do_as_well(still):
    coloured = looks_of(still, noise=1.0)
    gray = np.array(
        [[cv2.cvtColor(p, cv2.COLOR_BGR2GRAY) for p in pair] for pair in coloured.pairs]
    )
    result = image.measure(face_of(still), replace(coloured, pairs=gray), FPS)
    assert result is not None
    assert result.blur_px == pytest.approx(measured(still, noise=1.0).blur_px)


def test_size_attitude_and_speed_are_told(still):
    looks = looks_of(still)
    turned = np.tile([0.0, np.radians(20), 0.0], (50, 1))
    track = face_of(still, height_px=np.full(50, 150.0), pose=turned, head_speed=np.full(50, 2.0))
    result = image.measure(replace(track, flags={"several_faces": 25}), looks, FPS)
    assert result is not None
    assert result.motion_blur_px == pytest.approx(2.0 * still[2] / FPS)
    assert result.pose_deg[1] == pytest.approx(20)
    text = complaints(result)
    for part in ("150 pixels tall", "turned by 20", "within a frame", "50 % of the frames"):
        assert part in text


def test_no_face_fails(still):
    assert image.measure(face_of(still), None, FPS) is None
    assert image.findings(None)[0].severity == "failure"
