"""The face that is animated: a photograph with its landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

RIGHT_EYE_OUTER = 33
LEFT_EYE_OUTER = 263
FOREHEAD = 10
CHIN = 152
NOSE_TIP = 1

# Face Mesh finds a small face less exactly than one that fills its input.
_CLOSE_UP = 3.0
_CLOSE_UP_MARGIN = 0.8


@dataclass(frozen=True, slots=True)
class Portrait:
    """A photograph of one face.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        landmarks: (468, 3) float64 Face Mesh landmarks x, y and depth in pixels of `image`;
            pixel centres have whole coordinates, smaller depth is nearer to the camera.
    """

    image: npt.NDArray[np.uint8]
    landmarks: npt.NDArray[np.float64]

    @property
    def inter_ocular_px(self) -> float:
        """Distance between the outer eye corners in pixels."""
        span = self.landmarks[LEFT_EYE_OUTER, :2] - self.landmarks[RIGHT_EYE_OUTER, :2]
        return float(np.hypot(*span))

    @property
    def eye_axis(self) -> npt.NDArray[np.float64]:
        """(2,) unit vector from the subject's right to the left outer eye corner."""
        span = self.landmarks[LEFT_EYE_OUTER, :2] - self.landmarks[RIGHT_EYE_OUTER, :2]
        axis: npt.NDArray[np.float64] = span / np.hypot(*span)
        return axis

    @classmethod
    def from_image(cls, image: npt.NDArray[np.uint8]) -> Portrait:
        """Find the landmarks of the largest face with Face Mesh.

        Args:
            image: (H, W, 3) uint8 BGR.

        Raises:
            ValueError: There is no face in the picture.
        """
        from mediapipe.python.solutions.face_mesh import FaceMesh  # noqa: PLC0415 - slow to import

        with FaceMesh(static_image_mode=True, max_num_faces=1) as mesh:
            coarse = _landmarks(mesh, image)
            low, high = coarse[:, :2].min(axis=0), coarse[:, :2].max(axis=0)
            margin = _CLOSE_UP_MARGIN * (high - low)
            left, top = np.maximum(low - margin, 0).astype(int)
            right, bottom = (high + margin).astype(int) + 1
            close_up = cv2.resize(
                image[top:bottom, left:right],
                None,
                fx=_CLOSE_UP,
                fy=_CLOSE_UP,
                interpolation=cv2.INTER_CUBIC,
            )
            landmarks = _landmarks(mesh, np.asarray(close_up, np.uint8)) / _CLOSE_UP
        # Landmarks are measured from the picture's edge, half a pixel before the first centre.
        landmarks += (left - 0.5, top - 0.5, 0.0)
        return cls(image, landmarks)

    @classmethod
    @cache
    def astronaut(cls) -> Portrait:
        """Return the public-domain portrait that scikit-image ships (NASA, Eileen Collins)."""
        from skimage.data import astronaut  # noqa: PLC0415 - needed here alone

        portrait = cls.from_image(np.ascontiguousarray(astronaut()[..., ::-1]))
        portrait.image.setflags(write=False)
        portrait.landmarks.setflags(write=False)
        return portrait


def _landmarks(mesh: object, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """(468, 3) landmarks in pixels from the picture's edge."""
    found = mesh.process(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).multi_face_landmarks  # type: ignore[attr-defined]
    if not found:
        raise ValueError("there is no face in the portrait")
    height, width = image.shape[:2]
    points = np.array([(p.x, p.y, p.z) for p in found[0].landmark][:468], np.float64)
    scaled: npt.NDArray[np.float64] = points * (width, height, width)
    return scaled
