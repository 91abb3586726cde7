"""The live flow is brought to the representation of the training flow."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.motion.strain import optical_strain
from engines.motion.tvl1 import TvL1Flow
from engines.recognition.ststnet.representation import (
    CROP_X,
    CROP_Y,
    WINDOW,
    flow_picture,
    mirror,
    standardise,
)

SIZE = 128


def smooth_flow(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(SIZE, SIZE, 2)).astype(np.float32)
    return 20 * cv2.GaussianBlur(noise, (0, 0), 9)


def as_published(picture: np.ndarray) -> np.ndarray:
    """The training data's own scaling: every channel from its minimum and maximum to 0…255."""
    low, high = picture.min((0, 1)), picture.max((0, 1))
    return np.round(255 * (picture - low) / (high - low)).astype(np.uint8)


seeds = st.integers(0, 10_000)


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_a_live_picture_and_its_published_form_are_the_same_input(seed: int) -> None:
    picture = flow_picture(smooth_flow(seed)[WINDOW])
    live, published = standardise(picture[None]), standardise(as_published(picture)[None])
    assert np.abs(live - published).max() < 0.05  # 8 bits: half a grey level of ~ 30 a deviation


@given(seeds, st.floats(0.05, 20), st.floats(-3, 3), st.floats(-3, 3))
@settings(max_examples=25, deadline=None)
def test_amplitude_and_head_shift_do_not_matter(
    seed: int, amplitude: float, dx: float, dy: float
) -> None:
    flow = smooth_flow(seed)
    changed = (flow * np.float32(amplitude) + np.float32([dx, dy])).astype(np.float32)
    np.testing.assert_allclose(
        standardise(flow_picture(changed[WINDOW])[None]),
        standardise(flow_picture(flow[WINDOW])[None]),
        atol=2e-2,
    )


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_a_mirrored_flow_gives_the_mirrored_picture(seed: int) -> None:
    flow = smooth_flow(seed)
    mirrored = np.ascontiguousarray(flow[:, ::-1] * np.float32([-1, 1]))
    planes = standardise(flow_picture(flow[WINDOW])[None])
    np.testing.assert_allclose(
        standardise(flow_picture(mirrored[WINDOW])[None]), mirror(planes), atol=1e-4
    )


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_mirroring_twice_changes_nothing(seed: int) -> None:
    planes = standardise(flow_picture(smooth_flow(seed)[WINDOW])[None])
    np.testing.assert_array_equal(mirror(mirror(planes)), planes)


def test_the_crop_is_symmetrical_and_inside_the_face() -> None:
    assert sum(CROP_X) == SIZE
    assert min(CROP_X + CROP_Y) >= 0
    assert max(CROP_X + CROP_Y) <= SIZE


def test_every_channel_has_median_zero_and_deviation_one() -> None:
    planes = standardise(np.stack([flow_picture(smooth_flow(seed)[WINDOW]) for seed in range(4)]))
    np.testing.assert_allclose(np.median(planes, (2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(planes.std((2, 3)), 1, atol=1e-4)


def test_no_motion_is_all_zeros() -> None:
    planes = standardise(flow_picture(np.zeros((SIZE, SIZE, 2), np.float32)[WINDOW])[None])
    assert not planes.any()


def test_one_picture_does_not_touch_another() -> None:
    pictures = np.stack([flow_picture(smooth_flow(seed)[WINDOW]) for seed in range(3)])
    alone = [standardise(picture[None])[0] for picture in pictures]
    np.testing.assert_array_equal(standardise(pictures), alone)


@given(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2))
@settings(max_examples=25, deadline=None)
def test_strain_of_a_stretch_is_its_norm(stretch_x: float, stretch_y: float) -> None:
    rows, columns = np.mgrid[:16, :16]
    flow = np.dstack([stretch_x * columns, stretch_y * rows]).astype(np.float32)
    np.testing.assert_allclose(optical_strain(flow), np.hypot(stretch_x, stretch_y), atol=1e-5)


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(-0.02, 0.02))
@settings(max_examples=25, deadline=None)
def test_rigid_motion_has_no_strain(dx: float, dy: float, turn: float) -> None:
    rows, columns = np.mgrid[:16, :16]
    flow = np.dstack([dx - turn * rows, dy + turn * columns]).astype(np.float32)
    np.testing.assert_allclose(optical_strain(flow), 0, atol=1e-5)


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    data = pytest.importorskip("skimage.data")
    gray = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)
    return cv2.resize(gray[60:200, 155:295], (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def displaced(face: np.ndarray, flow: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    return cv2.remap(
        face,
        columns - flow[..., 0],
        rows - flow[..., 1],
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )


def corner_lift(amplitude: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    weight = np.exp(-((columns - 46) ** 2 + (rows - 94) ** 2) / 200)
    return np.dstack([-0.6 * weight, -weight]).astype(np.float32) * amplitude


def test_a_mirrored_face_gives_the_mirrored_picture(face: np.ndarray) -> None:
    flow, apex = TvL1Flow(), displaced(face, corner_lift(1.5))
    planes = standardise(flow_picture(flow(face, apex)[WINDOW])[None])
    mirrored = standardise(
        flow_picture(flow(face[:, ::-1].copy(), apex[:, ::-1].copy())[WINDOW])[None]
    )
    for channel in range(3):
        correlation = np.corrcoef(mirror(planes)[0, channel].ravel(), mirrored[0, channel].ravel())
        assert correlation[0, 1] > 0.95


def test_tvl1_finds_where_and_whither_the_skin_moved(face: np.ndarray) -> None:
    true = corner_lift(1.5)
    found = TvL1Flow()(face, displaced(face, true))
    moving = np.hypot(true[..., 0], true[..., 1]) > 0.7
    assert found[moving].mean(axis=0) == pytest.approx(true[moving].mean(axis=0), abs=0.35)
    assert np.abs(np.median(found, axis=(0, 1))).max() < 0.1


def test_tvl1_does_not_take_a_brighter_lamp_for_motion(face: np.ndarray) -> None:
    brighter = np.clip(face * 1.08, 0, 255).astype(np.uint8)
    assert np.abs(np.median(TvL1Flow()(face, brighter), axis=(0, 1))).max() < 0.1
