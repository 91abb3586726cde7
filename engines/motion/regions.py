"""Facial regions as weights over the flow field.

Each region is a Gaussian patch around a few Face Mesh landmarks of the followed person, so that a
region's motion is one weighted mean. All regions together are one matrix product.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.motion.canonical import FACE_SIZE, INTER_OCULAR_PX, REGION_NAMES

GRID = 32
"""The flow is averaged to GRID×GRID cells before regions are taken from it."""

_CELL = FACE_SIZE / GRID

# Landmarks of Face Mesh; sides are the subject's. Radius is the patch's sigma as a share of the
# inter-ocular distance.
_REGIONS: dict[str, tuple[tuple[int, ...], float]] = {
    "right_brow_inner": ((55, 107, 65, 66), 0.07),
    "right_brow_outer": ((46, 70, 53, 63), 0.07),
    "left_brow_inner": ((285, 336, 295, 296), 0.07),
    "left_brow_outer": ((276, 300, 283, 293), 0.07),
    "right_eyelid": ((27, 28, 56, 29), 0.05),
    "left_eyelid": ((257, 258, 286, 259), 0.05),
    "right_cheek": ((50, 101, 205), 0.10),
    "left_cheek": ((280, 330, 425), 0.10),
    "right_nose_wing": ((129, 98, 203), 0.06),
    "left_nose_wing": ((358, 327, 423), 0.06),
    "upper_lip": ((0, 37, 267, 164), 0.07),
    "lower_lip": ((17, 84, 314, 18), 0.07),
    "right_mouth_corner": ((61, 57, 186), 0.07),
    "left_mouth_corner": ((291, 287, 410), 0.07),
    "chin": ((199, 175, 200), 0.10),
}
_EYES: tuple[tuple[int, ...], ...] = ((159, 145, 133, 33), (386, 374, 362, 263))
_EYE_SIGMA = 0.06

# Where the skull shows: the nose bridge carries the shift, these together the remaining rotation
# and scale.
_HEAD: tuple[tuple[tuple[int, ...], float], ...] = (
    ((168, 6), 0.06),
    ((197, 195), 0.06),
    ((193, 122), 0.05),
    ((417, 351), 0.05),
)


class RegionWeights:
    """Patches of one person's face.

    Args:
        mesh: (468, 2) float32 canonical landmarks.

    Attributes:
        matrix: (R + 2 + 1, GRID²) float32; rows are the regions in the order of `REGION_NAMES`,
            the subject's right and left eye, and the nose bridge.
        centres: (R, 2) float32 region centres in canonical pixels.
    """

    def __init__(self, mesh: npt.NDArray[np.float32]) -> None:
        centres = [mesh[list(_REGIONS[name][0])].mean(axis=0) for name in REGION_NAMES]
        self.centres = np.array(centres, np.float32)
        rows = [
            _patch(centre, _REGIONS[name][1])
            for name, centre in zip(REGION_NAMES, centres, strict=True)
        ]
        rows += [_patch(mesh[list(eye)].mean(axis=0), _EYE_SIGMA) for eye in _EYES]
        bridge = [_patch(mesh[list(points)].mean(axis=0), sigma) for points, sigma in _HEAD]
        rows.append(np.mean(bridge, axis=0))
        self.matrix: npt.NDArray[np.float32] = np.array(rows, np.float32)


def _patch(centre: npt.NDArray[np.floating], sigma: float) -> npt.NDArray[np.float64]:
    """Normalised Gaussian weights over the grid's cells."""
    at = (np.arange(GRID) + 0.5) * _CELL - 0.5
    spread = 2 * (sigma * INTER_OCULAR_PX) ** 2
    across = np.exp(-((at - centre[0]) ** 2) / spread)
    down = np.exp(-((at - centre[1]) ** 2) / spread)
    weights = np.outer(down, across).ravel()
    # The far tail would be denormal numbers, which cost a hundred times a normal one.
    weights[weights < 1e-4 * weights.max(initial=0.0)] = 0.0
    return np.asarray(weights / max(weights.sum(), 1e-12))
