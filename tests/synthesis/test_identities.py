import numpy as np
import pytest

from engines.synthesis.face_shape import MODES, shape_displacement
from engines.synthesis.identities import (
    CLOSE_UP_INTER_OCULAR_PX,
    Identity,
    Setting,
    close_up,
    make_portrait,
)
from engines.synthesis.portrait import CHIN, FOREHEAD, Portrait

FRONTAL = Setting(
    light=(0.0, 0.0, 1.0),
    shading=0.0,
    gradient=(0.0, 0.0),
    exposure=0.5,
    contrast=1.0,
    yaw=0.0,
    pitch=0.0,
    roll=0.0,
    blur=0.0,
)


@pytest.fixture(scope="module")
def people() -> list[Portrait]:
    return [make_portrait(Identity.draw(5, n), Setting.draw(n)) for n in range(3)]


def test_the_same_numbers_are_the_same_person(people: list[Portrait]) -> None:
    again = make_portrait(Identity.draw(5, 0), Setting.draw(0))
    np.testing.assert_array_equal(again.image, people[0].image)
    np.testing.assert_array_equal(again.landmarks, people[0].landmarks)


def test_other_numbers_are_other_people() -> None:
    assert len({Identity.draw(5, n) for n in range(30)} | {Identity.draw(6, 0)}) == 31


def test_landmarks_go_where_the_picture_goes(people: list[Portrait]) -> None:
    """Face Mesh, which did not see the photograph's landmarks move, finds them there."""
    for portrait in people:
        found = Portrait.from_image(portrait.image)
        away = np.hypot(*(found.landmarks - portrait.landmarks)[:, :2].T)
        assert np.median(away) < 0.05 * portrait.inter_ocular_px
        assert away.max() < 0.3 * portrait.inter_ocular_px


def test_people_differ_in_proportion(people: list[Portrait]) -> None:
    lengths = [
        np.hypot(*(p.landmarks[CHIN] - p.landmarks[FOREHEAD])[:2]) / p.inter_ocular_px
        for p in people
    ]
    assert np.ptp(lengths) > 0.05


def test_the_face_is_exposed_alike_whatever_the_light(people: list[Portrait]) -> None:
    for portrait in people:
        x, y = portrait.landmarks[[50, 280, 9, 4], :2].mean(axis=0).astype(int)
        patch = portrait.image[y - 20 : y + 20, x - 20 : x + 20]
        assert 60 < patch.mean() < 190


@pytest.mark.parametrize("strength", [-2.0, 2.0])
@pytest.mark.parametrize("mode", range(len(MODES)))
def test_no_mode_folds_the_skin(mode: int, strength: float) -> None:
    base = close_up(False)
    span = CLOSE_UP_INTER_OCULAR_PX
    x, y = np.arange(80, 560, 4.0), np.arange(100, 640, 4.0)
    points = np.stack(np.meshgrid(x, y), axis=-1)
    shape = [0.0] * len(MODES)
    shape[mode] = strength
    moved = points + shape_displacement(base, tuple(shape), points)
    along_x, along_y = np.diff(moved, axis=1)[:-1] / 4, np.diff(moved, axis=0)[:, :-1] / 4
    area = along_x[..., 0] * along_y[..., 1] - along_x[..., 1] * along_y[..., 0]
    assert area.min() > 0.2
    assert np.abs(moved - points).max() < 0.6 * span


def test_the_mirrored_face_is_the_mirrored_photograph() -> None:
    plain, mirrored = close_up(False), close_up(True)
    assert plain.inter_ocular_px == pytest.approx(CLOSE_UP_INTER_OCULAR_PX)
    assert mirrored.inter_ocular_px == pytest.approx(CLOSE_UP_INTER_OCULAR_PX)
    face = (slice(200, 480), slice(200, 440))
    difference = np.abs(
        plain.image[face].astype(float) - mirrored.image[:, ::-1][face].astype(float)
    )
    assert difference.mean() < 25


def test_a_person_keeps_the_face_in_another_setting(people: list[Portrait]) -> None:
    frontal = make_portrait(Identity.draw(5, 1), FRONTAL)

    def proportions(portrait: Portrait) -> np.ndarray:
        pairs = [(FOREHEAD, CHIN), (61, 291), (133, 362), (1, 0), (107, 159), (172, 397)]
        spans = [portrait.landmarks[a, :2] - portrait.landmarks[b, :2] for a, b in pairs]
        return np.hypot(*np.array(spans).T) / portrait.inter_ocular_px

    same = np.abs(proportions(frontal) - proportions(people[1])).mean()
    assert same < np.abs(proportions(frontal) - proportions(people[2])).mean()
