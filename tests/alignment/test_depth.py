"""Depth pictures on the canonical face: by the picture's own similarity, holes left out."""

import cmath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.alignment.depth import canonical_depth
from streamer.alignment.face_aligner import FaceAligner
from streamer.alignment.similarity import Similarity
from streamer.config import AlignmentConfig
from tests.alignment.moving_portrait import frame, picture

HEIGHT, WIDTH = 480, 640
COLUMNS, ROWS = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
CELLS = 2 * np.arange(64) + 0.5  # where cells have their middle, in canonical pixels


def slope(columns, rows):
    """A surface that is exact in whole millimetres."""
    return 3000 + 4 * columns - 3 * rows


DEPTH = slope(COLUMNS, ROWS).astype(np.uint16)


def placed(tilt: float = 0.0, size: float = 2.0) -> Similarity:
    """A face in the middle of the picture, `size` pixels for a canonical one."""
    a = cmath.rect(1 / size, tilt)
    return Similarity(a, 64 + 64j - a * complex(WIDTH / 2, HEIGHT / 2))


@given(st.floats(-0.3, 0.3), st.floats(0.7, 3.0))
@settings(max_examples=20)
def test_a_cell_is_as_far_as_its_middle_in_the_picture(tilt, size) -> None:
    alignment = placed(tilt, size)
    x, y = np.meshgrid(CELLS, CELLS)
    there = alignment.inverse()(x + 1j * y)
    found = canonical_depth(DEPTH, alignment)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, slope(there.real, there.imag), rtol=1e-3)


def test_holes_have_no_part_in_a_mean() -> None:
    alignment = placed()
    holes = np.random.default_rng(0).random(DEPTH.shape) < 0.1
    found = canonical_depth(np.where(holes, 0, DEPTH).astype(np.uint16), alignment)
    seen = found > 0
    assert seen.mean() > 0.98
    np.testing.assert_allclose(found[seen], canonical_depth(DEPTH, alignment)[seen], atol=12)


def test_what_was_not_seen_is_missing() -> None:
    depth = DEPTH.copy()
    depth[:, WIDTH // 2 :] = 0
    found = canonical_depth(depth, placed())
    assert np.all(found[:, :31] > 0)
    assert not found[:, 33:].any()
    beside = Similarity(1 + 0j, 5000 + 0j)
    assert not canonical_depth(DEPTH, beside).any()


def test_the_aligner_carries_depth_along_with_the_face() -> None:
    image = picture()
    height, width = image.shape[:2]
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    depth = slope(columns, rows).astype(np.uint16)
    aligner = FaceAligner(AlignmentConfig(), wait=True)
    aligner.open()
    try:
        for index in range(12):
            shot = frame(index, 30.0, image, depth if index % 2 else None)
            found = aligner.align(shot, np.empty((128, 128), np.uint8))
    finally:
        aligner.close()
    assert found.valid
    x, y, w, h = found.box
    assert found.depth.shape == (64, 64)
    assert found.depth[32, 32] == pytest.approx(slope(x + w / 2, y + h / 2), rel=0.03)
