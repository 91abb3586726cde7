"""MediaPipe's Face Mesh, its landmarks read from the wire.

`FaceMesh.process` makes a class and 468 messages at every call. All of that happens in Python, and
holds up every stage of the pipeline meanwhile.
"""

from __future__ import annotations

import mediapipe as mp
import numpy as np
import numpy.typing as npt
from mediapipe.framework.formats.landmark_pb2 import NormalizedLandmarkList
from mediapipe.python._framework_bindings import _packet_getter

_INPUT, _OUTPUT = "image", "multi_face_landmarks"
_STEP_US = 33_333  # what MediaPipe's own solutions let pass between two pictures

# One landmark on the wire: tag and length, then x, y and z, each a tag and four bytes.
_LANDMARK = np.dtype([("head", "u1", 2), ("xyz", [("tag", "u1"), ("value", "<f4")], 3)])
_TAGS = {0: b"\x0a", 1: b"\x0f", 2: b"\x0d", 7: b"\x15", 12: b"\x1d"}


class MeshGraph:
    """Face Mesh for one face, in pictures that follow each other.

    MediaPipe's solution makes the graph and keeps its time; what the pinned release does between
    a picture and its landmarks is done here.
    """

    def __init__(self) -> None:
        self._solution = mp.solutions.face_mesh.FaceMesh(static_image_mode=False, max_num_faces=1)

    def landmarks(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64] | None:
        """Find the face's landmarks.

        Args:
            rgb: (H, W, 3) uint8.

        Returns:
            (468, 3) x, y and depth as shares of the picture's width (height for y); None when
            there is no face.
        """
        solution = self._solution
        solution._graph_outputs.clear()
        solution._simulated_timestamp += _STEP_US
        picture = mp.packet_creator.create_image(rgb, image_format=mp.ImageFormat.SRGB)
        solution._graph.add_packet_to_input_stream(
            stream=_INPUT, packet=picture.at(solution._simulated_timestamp)
        )
        solution._graph.wait_until_idle()
        found = solution._graph_outputs.get(_OUTPUT)
        if found is None or found.is_empty():
            return None
        faces: list[bytes] = _packet_getter._get_serialized_proto_list(found)
        return coordinates(faces[0]) if faces else None

    def reset(self) -> None:
        """Forget the face that was followed."""
        self._solution.reset()

    def close(self) -> None:
        """End the graph."""
        self._solution.close()


def coordinates(wire: bytes) -> npt.NDArray[np.float64]:
    """Read a serialised `NormalizedLandmarkList`.

    Args:
        wire: What MediaPipe sends.

    Returns:
        (N, 3) x, y and z.
    """
    size = _LANDMARK.itemsize
    count, rest = divmod(len(wire), size)
    # Landmarks without anything more (visibility, presence) lie at fixed places.
    if not rest and all(wire[at::size] == tag * count for at, tag in _TAGS.items()):
        values: npt.NDArray[np.float64] = np.frombuffer(wire, _LANDMARK)["xyz"]["value"].astype(
            np.float64
        )
        return values
    landmarks = NormalizedLandmarkList.FromString(wire).landmark
    return np.array([(p.x, p.y, p.z) for p in landmarks], np.float64).reshape(-1, 3)
