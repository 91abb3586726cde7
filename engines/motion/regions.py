"""Facial regions as weights over the flow field.

Each region is a Gaussian patch around a few Face Mesh landmarks of the followed person, so that a
region's motion is one weighted mean. All regions together are one matrix product.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engines.motion.canonical import FACE_SIZE, INTER_OCULAR_PX, REGION_NAMES

GRID = 32
"""The flow is averaged to GRID by GRID cells before regions are taken from it."""

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

# Where the skull shows through: the nose, and the skin beside the eyes. Foreheads and cheeks move
# with the brows and the mouth.
_HEAD: tuple[tuple[tuple[int, ...], float], ...] = (
    ((168, 6), 0.05),
    ((197, 195), 0.05),
    ((5, 4), 0.05),
    ((193, 122), 0.05),
    ((417, 351), 0.05),
    ((143, 35, 34), 0.07),
    ((372, 265, 264), 0.07),
)
_HEAD_TRUST = np.array([2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0])
_TURN_RIDGE = 0.02


class RegionWeights:
    """Patches of one person's face, and the head's part in their motion.

    Alignment removes the head's shift, tilt and distance. What is left of the head's motion is
    small but much larger than a micro-expression: nodding and turning shift near points (the
    nose) against far ones (beside the eyes). Six motions of a rigid head (shift x and y, tilt,
    distance, turn, nod; the last two in proportion to depth) are fitted to the nose and the skin
    beside the eyes by least squares and subtracted everywhere.

    Args:
        mesh: (468, 3) float32 canonical landmarks; the third is depth, smaller is nearer.

    Attributes:
        matrix: (R + 2, GRID * GRID) float32; rows are the regions in the order of `REGION_NAMES`
            and the subject's right and left eye. Weights of region motion before head motion is
            removed.
        head: (2 * (R + 2), 2 * H) float32, from the motion of the H head patches to what the
            head's motion does to the regions; x and y interleaved.
        all_rows: (R + 2 + H, GRID * GRID) float32, `matrix` with the head patches below it.
        centres: (R, 2) float32 region centres in canonical pixels.
    """

    def __init__(self, mesh: npt.NDArray[np.float32]) -> None:
        regions = [mesh[list(_REGIONS[name][0])].mean(axis=0) for name in REGION_NAMES]
        eyes = [mesh[list(eye)].mean(axis=0) for eye in _EYES]
        heads = [mesh[list(points)].mean(axis=0) for points, _ in _HEAD]
        sigmas = [_REGIONS[name][1] for name in REGION_NAMES] + [_EYE_SIGMA] * len(_EYES)
        sigmas += [sigma for _, sigma in _HEAD]
        places = np.array([*regions, *eyes, *heads])
        rows = [_patch(place, sigma) for place, sigma in zip(places, sigmas, strict=True)]
        self.all_rows: npt.NDArray[np.float32] = np.array(rows, np.float32)
        measured = len(regions) + len(eyes)
        self.matrix = self.all_rows[:measured]
        self.centres = np.array(regions, np.float32)[:, :2]
        self.head = _head_operator(places[:measured], places[measured:])


def _head_operator(
    measured: npt.NDArray[np.float64], heads: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """The least-squares operator of `RegionWeights.head`."""
    origin = heads.mean(axis=0)

    def basis(places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(2 N, 6): what each of the six motions does to N places."""
        x, y, depth = ((places - origin) / INTER_OCULAR_PX).T
        one, none = np.ones_like(x), np.zeros_like(x)
        across = [one, none, -y, x, depth, none]
        down = [none, one, x, y, none, depth]
        motions: npt.NDArray[np.float64] = np.stack([np.array(across), np.array(down)], axis=-1)
        return motions.transpose(1, 2, 0).reshape(-1, 6)

    trust = np.repeat(_HEAD_TRUST, 2)
    fitted = basis(heads)
    weighted = fitted.T * trust
    # Without depth in the mesh, turn and nod cannot be told from shift: then they are none.
    ridge = np.diag([0.0, 0.0, 1e-3, 1e-3, _TURN_RIDGE, _TURN_RIDGE])
    solve = np.linalg.solve(weighted @ fitted + ridge, weighted)
    operator: npt.NDArray[np.float32] = (basis(measured) @ solve).astype(np.float32)
    return operator


def _patch(centre: npt.NDArray[np.floating[Any]], sigma: float) -> npt.NDArray[np.float64]:
    """Normalised Gaussian weights over the grid's cells."""
    at = (np.arange(GRID) + 0.5) * _CELL - 0.5
    spread = 2 * (sigma * INTER_OCULAR_PX) ** 2
    across = np.exp(-((at - centre[0]) ** 2) / spread)
    down = np.exp(-((at - centre[1]) ** 2) / spread)
    weights = np.outer(down, across).ravel()
    # The far tail would be denormal numbers, which cost a hundred times a normal one.
    weights[weights < 1e-4 * weights.max(initial=0.0)] = 0.0
    return np.asarray(weights / max(weights.sum(), 1e-12))
