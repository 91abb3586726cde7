import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.synthesis.aumr import measured_matrix, reencode


def measured(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    _, intensity, presence = measured_matrix(rng, {1: 1.0, 2: 0.7}, (9, 12), rows=50)
    return intensity, presence


def test_units_that_are_mostly_absent_are_dropped() -> None:
    intensity = np.full((10, 3), 0.5)
    presence = np.zeros((10, 3), bool)
    presence[:5, 0] = True  # half of the frames
    presence[:4, 1] = True
    matrix, _ = reencode(intensity, presence)
    assert matrix[:, 0].any()
    assert not matrix[:, 1:].any()


@given(st.integers(0, 10_000))
def test_kept_units_rise_and_fall_in_straight_lines(seed: int) -> None:
    intensity, presence = measured(seed)
    matrix, apex = reencode(intensity, presence)
    bends = np.abs(np.diff(matrix, 2, axis=0)).max(axis=1)
    assert np.delete(bends, apex - 1).max() < 1e-12  # straight but for the apex
    for column in np.flatnonzero(matrix.any(axis=0)):
        np.testing.assert_allclose(
            matrix[[0, apex, -1], column], intensity[[0, apex, -1], column], atol=1e-12
        )


@given(st.integers(0, 10_000))
def test_strays_go_and_the_expression_stays(seed: int) -> None:
    matrix, apex = reencode(*measured(seed))
    assert (matrix[apex, :2] > 0).all()
    assert not matrix[:, 2:].any()
    assert 0 < apex < len(matrix) - 1


@pytest.mark.parametrize("shapes", [((10, 2), (10, 3)), ((2, 2), (2, 2))])
def test_matrices_that_make_no_sense_are_refused(shapes: tuple) -> None:
    with pytest.raises(ValueError, match="three rows"):
        reencode(np.zeros(shapes[0]), np.zeros(shapes[1], bool))
