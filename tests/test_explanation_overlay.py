"""Heat on the face, where an answer came from."""

from __future__ import annotations

import numpy as np
import pytest

from engines.events import Explanation
from streamer.explanation import explanation_overlay


@pytest.mark.parametrize("shape", [(128, 128), (128, 128, 3), (256, 256, 3)])
def test_heat_lies_on_the_named_region(shape) -> None:
    face = np.full(shape, 100, np.uint8)
    picture = explanation_overlay(face, Explanation({"left_mouth_corner": 0.8, "chin": 0.1}))
    assert picture.shape == (*shape[:2], 3)
    changed = np.abs(picture.astype(int) - 100).sum(axis=2)
    row, column = np.unravel_index(changed.argmax(), changed.shape)
    scale = shape[0] / 128
    assert (column / scale, row / scale) == pytest.approx((85.8, 86.9), abs=1.5)
    assert changed[: int(40 * scale)].max() < 0.2 * changed.max()
    assert (face == 100).all()


def test_nothing_named_leaves_the_face_alone() -> None:
    face = np.arange(128 * 128, dtype=np.uint32).astype(np.uint8).reshape(128, 128)
    picture = explanation_overlay(face, Explanation({}))
    np.testing.assert_array_equal(picture, np.repeat(face[..., None], 3, axis=2))
