"""What carried a recogniser's answer, as heat on the face."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from engines.events import Explanation
from engines.motion.canonical import FACE_SIZE, REGION_NAMES
from engines.motion.regions import RegionWeights
from engines.recognition.explanation import MEAN_CENTRES, region_masks

_STRONGEST = 0.65  # of the heat over the face, where the share is largest


def explanation_overlay(
    face: npt.NDArray[np.uint8],
    explanation: Explanation,
    mesh: npt.NDArray[np.float32] | None = None,
    margin: float = 0.0,
) -> npt.NDArray[np.uint8]:
    """Lay the regions that carried an answer over the face at the apex.

    Args:
        face: (S, S) or (S, S, 3) uint8 canonical face, gray or BGR, at any size.
        explanation: Of the event.
        mesh: (468, 3) canonical landmarks of the face; None places regions as on an average one.
        margin: How far the picture reaches beyond the canonical face, in canonical pixels.

    Returns:
        (S, S, 3) uint8 BGR; the face alone where no region is named.
    """
    size = face.shape[0]
    picture = cv2.cvtColor(face, cv2.COLOR_GRAY2BGR) if face.ndim == 2 else face
    centres = np.array(MEAN_CENTRES, np.float32) if mesh is None else RegionWeights(mesh).centres
    places = (np.arange(size) + 0.5) * (FACE_SIZE + 2 * margin) / size - 0.5 - margin
    shares = np.array([explanation.regions.get(name, 0.0) for name in REGION_NAMES], np.float32)
    heat = np.tensordot(shares, region_masks(centres, places, places), axes=1)
    strongest = float(heat.max())
    if strongest <= 0:
        return np.array(picture, np.uint8)
    heat /= strongest
    colours = cv2.applyColorMap(np.rint(255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)
    cover = (_STRONGEST * heat)[..., np.newaxis]
    return np.asarray(np.rint((1 - cover) * picture + cover * colours), np.uint8)
