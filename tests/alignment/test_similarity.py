"""Similarity transforms: the group laws and the fit."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from streamer.alignment.similarity import Similarity, to_points, to_xy

parts = st.floats(-50, 50, allow_nan=False)
places = st.builds(complex, parts, parts)
scales = st.builds(
    lambda size, angle: complex(size * np.cos(angle), size * np.sin(angle)),
    st.floats(0.2, 5.0),
    st.floats(-3.0, 3.0),
)
similarities = st.builds(Similarity, scales, places)
point_sets = st.lists(places, min_size=3, max_size=20).map(np.array)


@given(similarities, similarities, point_sets)
def test_composition_applies_the_first_first(outer, inner, points):
    np.testing.assert_allclose(outer.after(inner)(points), outer(inner(points)), atol=1e-6)


@given(similarities, point_sets)
def test_inverse_goes_back(transform, points):
    np.testing.assert_allclose(transform.inverse()(transform(points)), points, atol=1e-6)


@given(similarities, point_sets)
def test_fit_finds_the_transform_whatever_the_weights(transform, points):
    assume(np.ptp(points.real) + np.ptp(points.imag) > 1)
    weights = np.linspace(0.5, 2.0, len(points))
    found = Similarity.fit(points, transform(points), weights)
    np.testing.assert_allclose(found(points), transform(points), atol=1e-5)


@given(similarities)
def test_matrix_is_what_opencv_expects(transform):
    x, y = transform.matrix() @ (3.0, 4.0, 1.0)
    assert abs(complex(x, y) - transform.at(3 + 4j)) < 1e-9


@given(places, st.floats(0.9, 1.1), st.floats(-0.2, 0.2), places)
def test_steps_toward_add_up(shift, scale, angle, pivot):
    whole = Similarity(scale * np.exp(1j * angle), shift)
    nothing, everything = whole.toward(0.0, pivot), whole.toward(1.0, pivot)
    assert abs(nothing.at(pivot + 5) - (pivot + 5)) < 1e-9
    assert abs(everything.at(pivot + 5) - whole.at(pivot + 5)) < 1e-6


def test_coordinates_survive_the_round_trip():
    xy = np.array([[1.5, 2.5], [-3.0, 4.0]], np.float32)
    np.testing.assert_array_equal(to_xy(to_points(xy)), xy)
