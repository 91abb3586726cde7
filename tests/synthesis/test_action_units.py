"""Each action unit must look like the action unit: which way its skin goes, and how far."""

import numpy as np
import pytest

from engines.synthesis import FaceAnimator, FaceState, Portrait, Scenario, ScenarioConfig
from engines.synthesis.action_units import ACTION_UNITS, displacement_field
from engines.synthesis.expressions import EMOTIONS, PROTOTYPES, emotion_matrix, prototypes_of

AMPLITUDE = 0.03
RIGHT_CORNER, LEFT_CORNER = 61, 291

# Action unit: landmark on the subject's right, on the left, outwards and upwards sign (0: either).
DIRECTIONS = {
    1: (107, 336, 0, 1),
    2: (105, 334, 0, 1),
    4: (107, 336, -1, -1),
    5: (159, 386, 0, 1),
    6: (50, 280, 0, 1),
    7: (145, 374, 0, 1),
    9: (129, 358, 0, 1),
    10: (39, 269, 0, 1),
    12: (RIGHT_CORNER, LEFT_CORNER, 1, 1),
    14: (RIGHT_CORNER, LEFT_CORNER, 1, 0),
    15: (RIGHT_CORNER, LEFT_CORNER, 0, -1),
    17: (201, 421, 0, 1),
    20: (RIGHT_CORNER, LEFT_CORNER, 1, 0),
    24: (84, 314, 0, 1),
    26: (148, 377, 0, -1),
}


@pytest.fixture(scope="module")
def animator() -> FaceAnimator:
    scenario = Scenario(ScenarioConfig(noise=False), seed=0, duration_s=1.0)
    return FaceAnimator(Portrait.astronaut(), scenario, 640, 480)


def movement(animator: FaceAnimator, *units: int) -> np.ndarray:
    """(468, 2) movement of the landmarks in amplitudes: towards the left, up."""
    state = FaceState(action_units=tuple((unit, AMPLITUDE) for unit in units))
    moved = animator.positions(state) - animator.landmarks
    axis = Portrait.astronaut().eye_axis
    across, up = moved @ axis, moved @ np.array([axis[1], -axis[0]])
    return np.stack([across, up], axis=1) / (AMPLITUDE * animator.inter_ocular_px)


def test_every_action_unit_has_a_direction_to_check() -> None:
    assert set(DIRECTIONS) == set(ACTION_UNITS)


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_an_action_unit_moves_its_skin_the_right_way(animator: FaceAnimator, unit: int) -> None:
    right, left, out, up = DIRECTIONS[unit]
    moved = movement(animator, unit)
    for landmark, outwards in ((right, -1.0), (left, 1.0)):
        across, upwards = moved[landmark]
        assert np.hypot(across, upwards) > 0.45, "it does not move"
        if out:
            assert outwards * across * out > 0.25
        if up:
            assert upwards * up > 0.25


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_the_skull_stays_where_it_is(animator: FaceAnimator, unit: int) -> None:
    moved = np.hypot(*movement(animator, unit).T)
    skull = [168, 10, 127, 356, 234, 454]  # nose bridge, forehead, temples
    assert moved[skull].max() < 0.2


def test_brows_slide_above_the_eyes(animator: FaceAnimator) -> None:
    for unit in (1, 2, 4):
        moved = np.hypot(*movement(animator, unit).T)
        assert moved[[33, 133, 263, 362, 159, 386]].max() < 0.25


def test_upper_and_lower_face_do_not_move_together(animator: FaceAnimator) -> None:
    for brow in (1, 2, 4):
        assert np.abs(movement(animator, brow)[[61, 291, 152]]).max() < 0.01
    for mouth in (12, 15, 17, 20, 26):
        assert np.abs(movement(animator, mouth)[[107, 336, 105, 334]]).max() < 0.01


def test_a_mouth_corner_takes_the_cheek_along(animator: FaceAnimator) -> None:
    moved = np.hypot(*movement(animator, 12).T)
    assert 0.05 < moved[205] < moved[RIGHT_CORNER]


def test_faces_are_slightly_asymmetric_and_differently_so(animator: FaceAnimator) -> None:
    other = FaceAnimator(
        Portrait.astronaut(), Scenario(ScenarioConfig(noise=False), 1, 1.0), 640, 480
    )
    ratios = []
    for one in (animator, other):
        moved = np.hypot(*movement(one, 12).T)
        ratios.append(moved[RIGHT_CORNER] / moved[LEFT_CORNER])
        assert 0.7 < ratios[-1] < 1.4
    assert abs(ratios[0] - ratios[1]) > 0.01


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_fields_are_bounded_and_smooth(unit: int) -> None:
    portrait = Portrait.astronaut()
    x, y = np.meshgrid(np.arange(0.0, 512.0, 2.0), np.arange(0.0, 300.0, 2.0))
    field = displacement_field(unit, portrait, np.stack([x, y], axis=-1))
    length = np.hypot(field[..., 0], field[..., 1])
    assert length.max() == pytest.approx(1.0)
    assert length[:, :40].max() < 1e-3, "the background moves"
    # At a strain of 1 skin would fold, even at the largest amplitude that can be configured.
    steps = [np.abs(np.diff(field, axis=axis)).max() for axis in (0, 1)]
    largest_amplitude_px = 0.06 * portrait.inter_ocular_px
    assert max(steps) / 2.0 * largest_amplitude_px < 0.95


def test_an_unknown_action_unit_is_named() -> None:
    with pytest.raises(ValueError, match="AU 99"):
        displacement_field(99, Portrait.astronaut(), np.zeros((1, 2)))


def test_every_emotion_has_prototypes_of_known_action_units() -> None:
    matrix = emotion_matrix()
    assert matrix.shape == (len(PROTOTYPES), len(ACTION_UNITS))
    assert (matrix.max(axis=1) == 1.0).all()
    assert ((matrix > 0).sum(axis=1) == [len(one.action_units) for one in PROTOTYPES]).all()
    assert (matrix.max(axis=0) > 0).all(), "an action unit is never shown"
    for emotion in EMOTIONS:
        assert prototypes_of(emotion)
    assert any(one.action_units == (12, 6) for one in prototypes_of("positive"))
