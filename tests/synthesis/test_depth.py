"""The animated face's depth camera: geometry, skin that bulges, noise and holes."""

import numpy as np
import pytest

from engines.synthesis import FaceAnimator, FaceState, Portrait, Scenario, ScenarioConfig
from engines.synthesis.depth import DISTANCE_MM, DepthCamera
from engines.synthesis.head import HeadPose

SIZE = (360, 400)


@pytest.fixture(scope="module")
def animator() -> FaceAnimator:
    scenario = Scenario(ScenarioConfig(), 4, 10.0)
    return FaceAnimator(Portrait.astronaut(), scenario, *SIZE[::-1], 100.0)


@pytest.fixture(scope="module")
def camera(animator: FaceAnimator) -> DepthCamera:
    return DepthCamera(Portrait.astronaut(), animator, SIZE, 4)


@pytest.fixture(scope="module")
def places(animator: FaceAnimator) -> np.ndarray:
    return animator.landmarks


def distance(camera: DepthCamera, state: FaceState, at: np.ndarray, reach: int = 6) -> float:
    """Mean distance around a place over enough frames to lose the noise."""
    column, row = np.rint(at).astype(int)
    near = np.s_[row - reach : row + reach + 1, column - reach : column + reach + 1]
    seen = np.stack([camera.picture(state, number)[near] for number in range(32)])
    return float(seen[seen > 0].mean())


def test_a_picture_depends_on_state_and_number_alone(camera: DepthCamera) -> None:
    first = camera.picture(FaceState(), 3)
    camera.picture(FaceState(head=HeadPose(x=0.1)), 9)
    assert first.dtype == np.uint16
    assert first.shape == SIZE
    np.testing.assert_array_equal(camera.picture(FaceState(), 3), first)
    assert (camera.picture(FaceState(), 4) != first).any()


def test_the_nose_is_nearest_and_all_is_where_the_camera_stands(camera, places) -> None:
    nose, ear = (distance(camera, FaceState(), places[mark]) for mark in (1, 234))
    assert 30 < ear - nose < 120
    assert DISTANCE_MM[0] - 120 < nose < DISTANCE_MM[1]


def test_a_head_that_turns_brings_one_side_nearer(camera, animator, places) -> None:
    turned = FaceState(head=HeadPose(yaw=0.05))
    there = animator.positions(turned)
    nearer, away = (
        distance(camera, FaceState(), places[mark]) - distance(camera, turned, there[mark])
        for mark in (50, 280)
    )
    assert nearer > 1 > -1 > away


def test_a_head_that_grows_comes_nearer(camera, places) -> None:
    grown = distance(camera, FaceState(head=HeadPose(scale=1.02)), places[168])
    assert grown == pytest.approx(distance(camera, FaceState(), places[168]) / 1.02, abs=2.5)


def test_cheeks_come_out_over_a_smile_and_nothing_else_does(camera, places) -> None:
    smile = FaceState(action_units=((12, 0.04), (6, 0.03)))
    cheek, nose, brow = (
        distance(camera, FaceState(), at) - distance(camera, smile, at)
        for at in ((places[50] + places[119]) / 2, places[6], places[105])
    )
    assert 0.2 < cheek < 3
    assert max(abs(nose), abs(brow)) < 0.15


def test_holes_are_few_flicker_and_lie_where_light_is_lost(camera, places) -> None:
    pictures = np.stack([camera.picture(FaceState(), number) for number in range(32)])
    low, high = np.rint(places.min(axis=0)).astype(int), np.rint(places.max(axis=0)).astype(int)
    holes = pictures[:, low[1] : high[1], low[0] : high[0]] == 0
    assert 0.003 < holes.mean() < 0.08
    assert not holes.all(axis=0).any()
    eye = np.rint(places[[33, 133]].mean(axis=0)).astype(int) - low
    assert holes[:, eye[1] - 2 : eye[1] + 3, eye[0] - 5 : eye[0] + 6].mean() > 3 * holes.mean()
