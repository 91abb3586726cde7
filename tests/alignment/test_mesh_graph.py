"""Face Mesh read from the wire gives what MediaPipe's own solution gives."""

import mediapipe as mp
import numpy as np
import pytest
from mediapipe.framework.formats.landmark_pb2 import NormalizedLandmark, NormalizedLandmarkList

from streamer.alignment.mesh_graph import MeshGraph, coordinates
from tests.alignment.moving_portrait import blank, picture

MOVING = [picture(x=4.0 * step, angle_deg=0.5 * step)[..., ::-1].copy() for step in range(6)]


@pytest.fixture
def graph():
    graph = MeshGraph()
    yield graph
    graph.close()


def as_published(pictures):
    with mp.solutions.face_mesh.FaceMesh(static_image_mode=False, max_num_faces=1) as solution:
        for rgb in pictures:
            faces = solution.process(rgb).multi_face_landmarks
            yield None if not faces else np.array([(p.x, p.y, p.z) for p in faces[0].landmark])


def test_the_landmarks_are_those_of_the_solution(graph):
    for rgb, expected in zip(MOVING, as_published(MOVING), strict=True):
        found = graph.landmarks(rgb)
        assert found.shape == (468, 3)
        np.testing.assert_array_equal(found, expected)


def test_a_face_that_goes_and_comes_back_is_as_in_the_solution(graph):
    pictures = [MOVING[0], blank(), MOVING[3], MOVING[4]]
    expected = list(as_published(pictures))
    found = [graph.landmarks(rgb) for rgb in pictures]
    assert found[1] is expected[1] is None
    for ours, theirs in zip(found[2:], expected[2:], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_after_a_reset_a_face_is_found_as_for_the_first_time(graph):
    first = graph.landmarks(MOVING[0])
    graph.landmarks(MOVING[5])
    graph.reset()
    np.testing.assert_array_equal(graph.landmarks(MOVING[0]), first)


@pytest.mark.parametrize(
    "landmarks",
    [
        [],
        [NormalizedLandmark(x=0.5, y=0.25, z=-0.125)] * 3,
        [NormalizedLandmark(x=0.5, y=0.25, z=-0.125, visibility=1.0)] * 3,
        [NormalizedLandmark(x=0.5, z=-0.125), NormalizedLandmark(x=1, y=2, z=3)],
        # As long as landmarks at fixed places, and none of them.
        [NormalizedLandmark(x=0.5, y=0.25, visibility=0.125)] * 17,
    ],
    ids=["none", "plain", "more fields", "fewer fields", "other fields"],
)
def test_every_layout_is_read(landmarks):
    wire = NormalizedLandmarkList(landmark=landmarks).SerializeToString()
    expected = np.array([(p.x, p.y, p.z) for p in landmarks]).reshape(-1, 3)
    np.testing.assert_array_equal(coordinates(wire), expected)
