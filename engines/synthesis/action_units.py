"""Action units as displacement fields around the landmarks of a face.

Each action unit (Ekman, Friesen and Hager, "Facial Action Coding System", 2002) is a sum of few
strokes: a polyline of landmarks that moves in one direction and takes the skin around it along,
less and less with distance (a Gaussian). All lengths are inter-ocular distances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from engines.synthesis.portrait import Portrait

Field = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stroke:
    """Skin along a polyline of landmarks that moves in one direction, on both sides of the face.

    Attributes:
        right: Landmarks on the subject's right side (or of both sides, when `left` is empty).
        left: The same landmarks on the left side.
        out: Movement away from the midline; ignored without a left side.
        up: Movement towards the forehead.
        reach: Sigma of the Gaussian that takes skin along, in inter-ocular distances.
        slides: Whether the skin slides above the eyes and the nose bridge, which stay.
    """

    right: tuple[int, ...]
    left: tuple[int, ...]
    out: float
    up: float
    reach: float
    slides: bool = False


_FIXED = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7, 33),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249, 263),
    (168, 6, 197, 195),
)
_FIXED_REACH = 0.07
_BROW_INNER = ((55, 107, 66, 65), (285, 336, 296, 295))
_BROW_OUTER = ((46, 70, 63, 105, 53), (276, 300, 293, 334, 283))
_BROW = ((46, 53, 52, 65, 55, 107, 66, 105, 63), (276, 283, 282, 295, 285, 336, 296, 334, 293))
_UPPER_LID = ((160, 159, 158), (387, 386, 385))
_LOWER_LID = ((163, 144, 145, 153), (390, 373, 374, 380))
_EYE_CORNER = ((33, 130), (263, 359))
_CHEEK = ((101, 50, 118), (330, 280, 347))
_NOSE_WING = ((129, 98, 64), (358, 327, 294))
_NOSE_SIDE = ((198, 126, 217), (420, 355, 437))
_NASOLABIAL = ((203, 206, 216), (423, 426, 436))
_UPPER_LIP = ((40, 39, 37, 0, 267, 269, 270), ())
_UPPER_LIP_SIDE = ((40, 39, 37), (270, 269, 267))
_LOWER_LIP = ((91, 181, 84, 17, 314, 405, 321), ())
_CORNER = ((61, 185, 146), (291, 409, 375))
_CHIN = ((201, 200, 421, 208, 199, 428), ())
_JAW = ((176, 148, 152, 377, 400, 171, 175, 396), ())

STROKES: dict[int, tuple[Stroke, ...]] = {
    1: (Stroke(*_BROW_INNER, out=-0.15, up=1.0, reach=0.11, slides=True),),
    2: (Stroke(*_BROW_OUTER, out=0.05, up=1.0, reach=0.11, slides=True),),
    4: (
        Stroke(*_BROW, out=-0.1, up=-0.5, reach=0.12, slides=True),
        Stroke(*_BROW_INNER, out=-0.6, up=-0.6, reach=0.10, slides=True),
    ),
    5: (Stroke(*_UPPER_LID, out=0.0, up=1.0, reach=0.06),),
    6: (
        Stroke(*_CHEEK, out=0.0, up=1.0, reach=0.11),
        Stroke(*_LOWER_LID, out=0.0, up=0.3, reach=0.07),
        Stroke(*_EYE_CORNER, out=-0.4, up=-0.1, reach=0.08),
    ),
    7: (
        Stroke(*_LOWER_LID, out=-0.1, up=0.9, reach=0.07),
        Stroke(*_UPPER_LID, out=0.0, up=-0.5, reach=0.06),
    ),
    9: (
        Stroke(*_NOSE_WING, out=0.1, up=1.0, reach=0.09),
        Stroke(*_NOSE_SIDE, out=-0.1, up=0.5, reach=0.08),
        Stroke(*_BROW_INNER, out=-0.2, up=-0.5, reach=0.10, slides=True),
        Stroke(*_UPPER_LIP_SIDE, out=0.0, up=0.4, reach=0.09),
    ),
    10: (
        Stroke(*_UPPER_LIP_SIDE, out=0.1, up=1.0, reach=0.08),
        Stroke(*_NOSE_WING, out=0.2, up=0.4, reach=0.08),
        Stroke(*_NASOLABIAL, out=0.1, up=0.4, reach=0.10),
    ),
    12: (
        Stroke(*_CORNER, out=0.75, up=0.8, reach=0.12),
        Stroke(*_NASOLABIAL, out=0.3, up=0.35, reach=0.12),
        Stroke(*_CHEEK, out=0.1, up=0.3, reach=0.15),
    ),
    14: (Stroke(*_CORNER, out=0.95, up=0.1, reach=0.08),),
    15: (
        Stroke(*_CORNER, out=0.1, up=-1.0, reach=0.11),
        Stroke(*_CHIN, out=0.0, up=-0.1, reach=0.15),
    ),
    17: (
        Stroke(*_CHIN, out=0.0, up=1.0, reach=0.14),
        Stroke(*_LOWER_LIP, out=0.0, up=0.4, reach=0.08),
    ),
    20: (
        Stroke(*_CORNER, out=1.0, up=-0.2, reach=0.12),
        Stroke(*_NASOLABIAL, out=0.3, up=-0.05, reach=0.12),
    ),
    24: (
        Stroke(*_UPPER_LIP, out=0.0, up=-0.5, reach=0.07),
        Stroke(*_LOWER_LIP, out=0.0, up=0.9, reach=0.07),
        Stroke(*_CORNER, out=-0.4, up=0.0, reach=0.08),
    ),
    26: (
        Stroke(*_JAW, out=0.0, up=-1.0, reach=0.20),
        Stroke(*_CHIN, out=0.0, up=-0.5, reach=0.15),
        Stroke(*_LOWER_LIP, out=0.0, up=-0.5, reach=0.08),
    ),
}
"""Action unit to its strokes. AU 43 and blinks are lids, see `engines.synthesis.eyes`."""

ACTION_UNITS = tuple(sorted(STROKES))


def displacement_field(
    unit: int,
    portrait: Portrait,
    points: Points,
    side_gain: tuple[float, float] = (1.0, 1.0),
) -> Field:
    """Return how an action unit of unit strength displaces points of a face.

    Args:
        unit: Number of the action unit.
        portrait: The face.
        points: (..., 2) positions in pixels of the portrait.
        side_gain: Strength on the subject's right and left side, for a face that is not
            symmetric.

    Returns:
        (..., 2) float32 displacements in inter-ocular distances, x to the image's right, y down;
        on a symmetric face the longest is 1.

    Raises:
        ValueError: The action unit is not one of `ACTION_UNITS`.
    """
    if unit not in STROKES:
        raise ValueError(f"AU {unit} is not animated; choose one of {ACTION_UNITS}")
    symmetric = np.zeros((*points.shape[:-1], 2))
    field = np.zeros_like(symmetric)
    for stroke in STROKES[unit]:
        for side, displacement in enumerate(_sides(stroke, portrait, points)):
            symmetric += displacement
            field += displacement * (side_gain[side] if stroke.left else sum(side_gain) / 2)
    peak = float(np.hypot(symmetric[..., 0], symmetric[..., 1]).max())
    return np.asarray(field / peak if peak > 0 else field, np.float32)


def _sides(stroke: Stroke, portrait: Portrait, points: Points) -> list[Points]:
    """Displacement by the right and, where there is one, the left half of a stroke."""
    outwards = portrait.eye_axis  # towards the subject's left; the right side goes the other way
    upwards = np.array([outwards[1], -outwards[0]])
    reach = stroke.reach * portrait.inter_ocular_px
    freedom = _away_from_skull(portrait, points) if stroke.slides else 1.0
    halves: list[Points] = []
    for line, sign in ((stroke.right, -1.0), (stroke.left, 1.0)):
        if line:
            across = stroke.out * sign * outwards if stroke.left else 0.0
            distance = distance_to_polyline(points, portrait.landmarks[list(line), :2])
            falloff = freedom * np.exp(-0.5 * (distance / reach) ** 2)
            halves.append(falloff[..., None] * (across + stroke.up * upwards))
    return halves


def _away_from_skull(portrait: Portrait, points: Points) -> npt.NDArray[np.float64]:
    """0 on the eyes and the nose bridge, 1 away from them."""
    distance = np.min(
        [distance_to_polyline(points, portrait.landmarks[list(line), :2]) for line in _FIXED],
        axis=0,
    )
    away: npt.NDArray[np.float64] = 1 - np.exp(
        -0.5 * (distance / (_FIXED_REACH * portrait.inter_ocular_px)) ** 2
    )
    return away


def distance_to_polyline(
    points: Points, corners: Points | Sequence[Sequence[float]]
) -> npt.NDArray[np.float64]:
    """Return the (...) distances of (..., 2) points to the line through (K, 2) corners."""
    line = np.asarray(corners, np.float64)
    nearest = np.full(points.shape[:-1], np.inf)
    for start, end in pairwise(line):
        along = end - start
        share = np.clip((points - start) @ along / max(float(along @ along), 1e-12), 0.0, 1.0)
        gap = points - start - share[..., None] * along
        nearest = np.minimum(nearest, np.hypot(gap[..., 0], gap[..., 1]))
    return nearest
