"""Depth change: what the skin does counts, what head and camera do does not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.motion.canonical import FACE_SIZE
from engines.motion.config import MotionConfig
from engines.motion.depth import DEPTH_CELLS, MM_PER_IOD, depth_change
from engines.motion.meter import MotionMeter
from engines.motion.planes import (
    EYE_ROWS,
    LIMIT,
    MOUTH_ROWS,
    PLANES_SIZE,
    STRIP_X,
    UNIT_IOD,
    PairPlanes,
    composite_planes,
    scene_planes,
)
from tests.recognition.test_recognizers import textured_face

COLUMNS, ROWS = np.meshgrid(*[np.arange(DEPTH_CELLS, dtype=np.float32)] * 2)
STILL = np.zeros((FACE_SIZE, FACE_SIZE, 2), np.float32)
HALF = PLANES_SIZE // 2


def bump(column: float, row: float, sigma: float = 4.0) -> np.ndarray:
    return np.exp(-((COLUMNS - column) ** 2 + (ROWS - row) ** 2) / (2 * sigma**2))


def face(shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """A nose and two cheeks at 550 mm, shifted by cells."""
    x, y = shift
    relief = 20 * bump(32 + x, 32 + y, 5) + 10 * (bump(16 + x, 40 + y, 8) + bump(48 + x, 40 + y, 8))
    return (550 - relief).astype(np.float32)


def test_a_still_face_does_not_change() -> None:
    np.testing.assert_allclose(depth_change(face(), face(), STILL), 0, atol=1e-5)


@given(st.floats(-20, 20), st.floats(-0.1, 0.1), st.floats(-0.1, 0.1))
@settings(max_examples=30)
def test_a_head_that_comes_nearer_turns_and_nods_does_not(away, turn, nod) -> None:
    now = face() + np.float32(away) + np.float32(turn) * (COLUMNS - 20) + np.float32(nod) * ROWS
    np.testing.assert_allclose(depth_change(face(), now, STILL), 0, atol=1e-4)


def test_skin_that_comes_out_is_measured_in_inter_ocular_distances() -> None:
    change = depth_change(face(), face() - 2 * bump(46, 46).astype(np.float32), STILL)
    # The mean over neighbours lowers a peak as narrow as this one by the two variances.
    assert change[46, 46] == pytest.approx(2 / MM_PER_IOD * 4**2 / (4**2 + 1.5**2), rel=0.05)
    assert abs(change[20, 20]) < 0.02 * change[46, 46]


def test_skin_that_slides_is_followed_by_the_flow() -> None:
    flow = np.full_like(STILL, 0)
    flow[..., 0], flow[..., 1] = 2.0, -1.0  # canonical pixels, two in a cell
    followed = depth_change(face(), face((1.0, -0.5)), flow)
    assert np.abs(followed[12:52, 12:52]).max() < 0.1 / MM_PER_IOD
    assert np.abs(depth_change(face(), face((1.0, -0.5)), STILL)).max() > 1 / MM_PER_IOD


@given(st.integers(0, 10_000), st.floats(0, 0.15))
@settings(max_examples=30)
def test_holes_do_not_look_like_motion(seed, share) -> None:
    rng = np.random.default_rng(seed)
    before, now = (np.where(rng.random(COLUMNS.shape) < share, 0, face()) for _ in range(2))
    change = depth_change(np.float32(before), np.float32(now), STILL)
    assert change is not None
    np.testing.assert_allclose(change, 0, atol=1e-4)


def test_a_hole_gets_what_is_around_it() -> None:
    now = face() - 2 * bump(46, 46).astype(np.float32)
    whole = depth_change(face(), now, STILL)
    now[45:48, 45:48] = 0
    assert depth_change(face(), now, STILL)[46, 46] == pytest.approx(whole[46, 46], rel=0.25)


def test_an_edge_seen_otherwise_is_no_movement() -> None:
    now = face()
    now[44:47, 20:23] += 60
    np.testing.assert_allclose(depth_change(face(), now, STILL), 0, atol=1e-5)


@pytest.mark.parametrize("part", [np.s_[22:36, 29:35], np.s_[9:30, 11:53], np.s_[:]])
def test_without_eyes_and_nose_nothing_is_known(part) -> None:
    now = face()
    now[part] = 0
    assert depth_change(face(), now, STILL) is None
    assert depth_change(now, face(), STILL) is None


def test_the_third_plane_is_in_the_unit_of_the_others_over_any_span() -> None:
    change = np.full((DEPTH_CELLS, DEPTH_CELLS), 2 * UNIT_IOD, np.float32)
    np.testing.assert_allclose(scene_planes(STILL, change, 0.1)[2], 2, rtol=1e-5)
    np.testing.assert_allclose(scene_planes(STILL, change, 0.2)[2], 1, rtol=1e-5)
    assert scene_planes(STILL, 1e3 * change, 0.1).max() == LIMIT


@settings(max_examples=20)
@given(st.integers(0, PLANES_SIZE - 1), st.integers(0, HALF - 1), st.booleans())
def test_depth_lies_where_the_flow_lies(column, row, mouth) -> None:
    top = (MOUTH_ROWS if mouth else EYE_ROWS)[0] + 2 * row
    left = STRIP_X[0] + 2 * column
    flow, change = STILL.copy(), np.zeros((DEPTH_CELLS, DEPTH_CELLS), np.float32)
    flow[top : top + 2, left : left + 2, 0] = 0.1
    change[top // 2, left // 2] = UNIT_IOD
    planes = scene_planes(flow, change, 0.1)
    np.testing.assert_array_equal(planes[0] > 0, planes[2] > 0)
    np.testing.assert_array_equal(planes[:2], composite_planes(flow, 0.1)[:2])


def test_the_meter_gives_what_a_pair_of_faces_gives() -> None:
    picture = textured_face(3)
    depths = [face() - np.float32(0.3 * k) * bump(46, 46).astype(np.float32) for k in range(12)]
    meter = MotionMeter(MotionConfig(), 50.0, delta_flow=True)
    mesh = np.random.default_rng(0).uniform(20, 108, (468, 3)).astype(np.float32)

    def push(index, depth):
        return meter.measure(
            index, index / 50, 0, picture, epoch=0, mesh=mesh, head_speed=0.0, depth=depth
        )

    samples = [push(k, None if k == 8 else depths[k]) for k in range(12)]
    assert [k for k in range(12) if samples[k].depth_change is not None] == [5, 6, 7, 9, 10, 11]
    pair = PairPlanes().scene(picture, picture, (depths[6], depths[11]), 0.1)
    live = scene_planes(samples[11].flow_delta, samples[11].depth_change, samples[11].delta_s)
    np.testing.assert_allclose(live, pair, atol=1e-5)
    assert push(13, depths[0]).depth_change is None  # what is 0.1 s older has no depth
    assert MotionMeter(MotionConfig(), 50.0).measure(
        0, 0.0, 0, picture, epoch=0, mesh=mesh, head_speed=0.0, depth=depths[0]
    ).depth_change is None  # fmt: skip
