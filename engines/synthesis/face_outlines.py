"""Parts of a face as outlines of Face Mesh landmarks, and as soft masks."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from engines.synthesis.portrait import Portrait

Plane = npt.NDArray[np.float32]

OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
EYES = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
BROWS = (
    (46, 53, 52, 65, 55, 107, 66, 105, 63, 70),
    (276, 283, 282, 295, 285, 336, 296, 334, 293, 300),
)
LIPS = (
    *(61, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(291, 375, 321, 405, 314, 17, 84, 181, 91, 146),
)
INNER_LIPS = (
    *(78, 191, 80, 81, 82, 13, 312, 311, 310, 415),
    *(308, 324, 318, 402, 317, 14, 87, 178, 88, 95),
)


def soft_mask(portrait: Portrait, outline: tuple[int, ...], softness: float) -> Plane:
    """Return where a part of the face is.

    Args:
        portrait: The face.
        outline: Landmarks of the part; all but `OVAL` are taken as their convex hull.
        softness: Sigma of the edge in inter-ocular distances.

    Returns:
        (H, W) float32, 1 inside and 0 outside.
    """
    mask = np.zeros(portrait.image.shape[:2], np.float32)
    corners = np.rint(portrait.landmarks[list(outline), :2]).astype(np.int32)
    hull = corners if outline is OVAL else np.asarray(cv2.convexHull(corners))
    cv2.fillPoly(mask, [hull], (1.0,))
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), softness * portrait.inter_ocular_px))
