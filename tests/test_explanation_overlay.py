"""Heat on the face, where an answer came from."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from engines.events import Explanation
from streamer.explanation import MAGNIFIED, explanation_overlay
from streamer.review import report
from tests.sinks.session_records import EVENT


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


def test_a_margin_around_the_face_is_counted_in() -> None:
    picture = explanation_overlay(
        np.full((192, 192), 100, np.uint8), Explanation({"chin": 1.0}), margin=24
    )
    changed = np.abs(picture.astype(int) - 100).sum(axis=2)
    row, column = np.unravel_index(changed.argmax(), changed.shape)
    scale = 192 / 176
    assert (column, row) == pytest.approx((scale * (63.6 + 24), scale * (113.7 + 24)), abs=2)


@pytest.mark.parametrize("margin", [0, 24])
def test_movements_are_drawn_from_their_landmarks_magnified(margin: int) -> None:
    size = 2 * (128 + 2 * margin)
    seen = Explanation({}, movements=((40.0, 90.0, 2.0, -1.0),))
    picture = explanation_overlay(np.zeros((size, size), np.uint8), seen, margin=margin)
    rows, columns = np.nonzero(picture.any(axis=2))
    corner = (columns.min() / 2 - margin, rows.max() / 2 - margin)
    tip = (columns.max() / 2 - margin, rows.min() / 2 - margin)
    assert corner == pytest.approx((40, 90), abs=1.5)
    assert tip == pytest.approx((40 + MAGNIFIED * 2, 90 - MAGNIFIED), abs=2)


def test_nothing_named_leaves_the_face_alone() -> None:
    face = np.arange(128 * 128, dtype=np.uint32).astype(np.uint8).reshape(128, 128)
    picture = explanation_overlay(face, Explanation({}))
    np.testing.assert_array_equal(picture, np.repeat(face[..., None], 3, axis=2))


def test_the_report_shows_the_heat_beside_the_apex() -> None:
    face = cv2.imencode(".jpg", np.full((192, 192, 3), 120, np.uint8))[1].tobytes()
    event = replace(EVENT, explanation=Explanation({"chin": 1.0}))
    ((name, time, uri),) = report._heat(event, face)
    assert (name, time) == ("apex, with what carried the answer", "1.100")
    assert uri is not None
    assert uri.startswith("data:image/jpeg;base64,")
    seen = Explanation({"chin": 1.0}, movements=((40.0, 90.0, 2.0, -1.0),))
    ((name, _, moved),) = report._heat(replace(event, explanation=seen), face)
    assert "the movement that the network saw, 8 times as long" in name
    assert moved != uri
    assert report._heat(replace(event, explanation=None), face) == []
    assert report._heat(event, None) == []
