"""The planes of the learned engines: scale, geometry, and the strain that the field defines."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.motion.canonical import FACE_SIZE, INTER_OCULAR_PX, LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from engines.motion.planes import (
    CELL_PX,
    EYE_ROWS,
    LIMIT,
    MOUTH_ROWS,
    PLANES_SIZE,
    STRIP_X,
    UNIT_IOD,
    UNIT_STRAIN,
    composite_planes,
)

HALF = PLANES_SIZE // 2


def field(u=0.0, v=0.0) -> np.ndarray:
    flow = np.empty((FACE_SIZE, FACE_SIZE, 2), np.float32)
    flow[..., 0], flow[..., 1] = u, v
    return flow


def test_a_shift_is_its_size_in_inter_ocular_distances_and_has_no_strain():
    planes = composite_planes(field(0.01 * INTER_OCULAR_PX, -0.02 * INTER_OCULAR_PX), 0.1)
    assert planes.shape == (3, PLANES_SIZE, PLANES_SIZE)
    assert planes.dtype == np.float32
    np.testing.assert_allclose(planes[0], 0.01 / UNIT_IOD, rtol=1e-5)
    np.testing.assert_allclose(planes[1], -0.02 / UNIT_IOD, rtol=1e-5)
    np.testing.assert_allclose(planes[2], 0, atol=1e-5)


@given(st.floats(0.02, 0.19))
def test_a_steady_movement_gives_the_same_planes_over_any_span(delta_s):
    columns = np.arange(FACE_SIZE, dtype=np.float32)
    speed = field(3 + 0.1 * columns, -2.0)  # pixels a second
    expected = composite_planes(speed * np.float32(0.1), 0.1)
    found = composite_planes(speed * np.float32(delta_s), delta_s)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stretch", [0.01, -0.04])
def test_strain_is_the_norm_of_the_tensor(stretch):
    columns, rows = np.meshgrid(*[np.arange(FACE_SIZE, dtype=np.float32)] * 2)
    across = composite_planes(field(stretch * columns), 0.1)[2]
    np.testing.assert_allclose(across, abs(stretch) / UNIT_STRAIN, rtol=1e-3)
    shear = composite_planes(field(stretch * rows), 0.1)[2]
    np.testing.assert_allclose(shear, abs(stretch) * np.sqrt(0.5) / UNIT_STRAIN, rtol=1e-3)


def test_the_seam_between_the_strips_is_no_strain():
    flow = field()
    flow[MOUTH_ROWS[0] - CELL_PX :] = 1.0
    planes = composite_planes(flow, 0.1)
    np.testing.assert_array_equal(planes[2], 0)
    assert planes[0, HALF - 1].max() == 0 < planes[0, HALF].min()


@settings(max_examples=20)
@given(st.integers(0, PLANES_SIZE - 1), st.integers(0, HALF - 1), st.booleans())
def test_every_cell_is_the_mean_of_its_pixels(column, row, mouth):
    flow = np.random.default_rng(0).normal(0, 0.3, (FACE_SIZE, FACE_SIZE, 2)).astype(np.float32)
    top = (MOUTH_ROWS if mouth else EYE_ROWS)[0] + CELL_PX * row
    left = STRIP_X[0] + CELL_PX * column
    mean = flow[top : top + CELL_PX, left : left + CELL_PX].mean(axis=(0, 1))
    found = composite_planes(flow, 0.1)[:2, row + mouth * HALF, column]
    np.testing.assert_allclose(found, mean / (INTER_OCULAR_PX * UNIT_IOD), rtol=1e-4, atol=1e-5)


def test_absurd_flow_is_limited_and_the_strips_hold_the_eyes():
    assert composite_planes(field(1e4, -1e4), 0.1).max() == LIMIT
    assert composite_planes(field(1e4, -1e4), 0.1).min() == -LIMIT
    for x, y in (RIGHT_EYE_OUTER, LEFT_EYE_OUTER):
        assert STRIP_X[0] < x < STRIP_X[1]
        assert EYE_ROWS[0] < y < EYE_ROWS[1]


def test_writes_where_it_is_told_to():
    out = np.empty((3, PLANES_SIZE, PLANES_SIZE), np.float32)
    flow = field(0.3, 0.1)
    assert composite_planes(flow, 0.1, out) is out
    np.testing.assert_array_equal(out, composite_planes(flow, 0.1))
