"""The shape of a face: smooth warps along few modes, a closed mouth, a turned head.

After the idea of low-rank shape models (Cootes, Taylor, Cooper and Graham, "Active shape models",
CVIU 61(1), 1995): each mode moves one thing in which faces differ. Lengths are inter-ocular
distances.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from engines.synthesis.face_outlines import BROWS, EYES, INNER_LIPS, LIPS, soft_mask
from engines.synthesis.portrait import NOSE_TIP, Portrait
from engines.synthesis.renderer import relief

Field = npt.NDArray[np.float64]
Points = npt.NDArray[np.float64]

_GRID_STEP = 4
_INVERSION_STEPS = 40
_STEEPEST = 0.55
_MOUTH_STEEPEST = 0.97  # nothing but teeth is squeezed there
_MOUTH_REACH = 0.22
_LIP_MARGINS = (
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
)
_NO_SECOND_MAP = np.empty(0, np.float32)


@dataclass(frozen=True, slots=True)
class _Frame:
    """A face in its own axes: origin between the eyes, x to the right, y down, lengths in IOD."""

    portrait: Portrait
    points: Points

    def at(self, *landmarks: int) -> Points:
        """Mean place of landmarks."""
        origin = self.portrait.landmarks[[33, 263], :2].mean(axis=0)
        place: Points = self.portrait.landmarks[list(landmarks), :2].mean(axis=0) - origin
        return place / self.portrait.inter_ocular_px

    def near(self, centre: Points, across: float, down: float) -> Field:
        """Gaussian weight around a place."""
        gap = (self.points - centre) / (across, down)
        weight: Field = np.exp(-0.5 * np.square(gap).sum(axis=-1))
        return weight

    def below(self, y: float, width: float) -> Field:
        """0 above a height, 1 below it."""
        share: Field = 1 / (1 + np.exp(-(self.points[..., 1] - y) / width))
        return share


def _face_width(f: _Frame) -> Field:
    return _field(0.10 * f.points[..., 0], 0.0)


def _face_length(f: _Frame) -> Field:
    return _field(0.0, 0.06 * (f.points[..., 1] - 0.4))


def _jaw_width(f: _Frame) -> Field:
    mouth = f.at(*LIPS)
    jaw = mouth + np.array([0.0, 0.1])
    return _field(0.10 * f.points[..., 0] * f.near(jaw, 1.4, 0.45), 0.0)


def _chin(f: _Frame) -> Field:
    return _field(0.0, 0.06 * f.below(float(f.at(17)[1]) + 0.1, 0.08))


def _eye_distance(f: _Frame) -> Field:
    left, right = (f.near(f.at(*eye), 0.28, 0.28) for eye in EYES)
    return _field(0.025 * (right - left), 0.0)


def _eye_size(f: _Frame) -> Field:
    total = np.zeros_like(f.points)
    for eye in EYES:
        centre = f.at(*eye)
        total += 0.10 * (f.points - centre) * f.near(centre, 0.25, 0.2)[..., None]
    return total


def _eye_slant(f: _Frame) -> Field:
    left, right = (f.at(*eye) for eye in EYES)
    slope = (f.points[..., 0] - left[0]) * f.near(left, 0.25, 0.2)
    slope -= (f.points[..., 0] - right[0]) * f.near(right, 0.25, 0.2)
    return _field(0.0, 0.09 * slope)


def _brow_height(f: _Frame) -> Field:
    weight = sum(f.near(f.at(*brow), 0.3, 0.13) for brow in BROWS)
    return _field(0.0, 0.03 * np.asarray(weight))


def _brow_tilt(f: _Frame) -> Field:
    outer = f.near(f.at(46, 70), 0.18, 0.15) + f.near(f.at(276, 300), 0.18, 0.15)
    inner = f.near(f.at(55, 107), 0.15, 0.13) + f.near(f.at(285, 336), 0.15, 0.13)
    return _field(0.0, 0.022 * (outer - inner))


def _nose_width(f: _Frame) -> Field:
    centre = f.at(1, 2, 98, 327)
    return _field(0.16 * f.points[..., 0] * f.near(centre, 0.25, 0.2), 0.0)


def _nose_length(f: _Frame) -> Field:
    return _field(0.0, 0.04 * f.near(f.at(1, 2, 98, 327), 0.3, 0.2))


def _mouth_width(f: _Frame) -> Field:
    centre = f.at(*LIPS)
    return _field(0.12 * (f.points[..., 0] - centre[0]) * f.near(centre, 0.4, 0.2), 0.0)


def _mouth_height(f: _Frame) -> Field:
    return _field(0.0, 0.035 * f.near(f.at(*LIPS), 0.5, 0.2))


def _lips(f: _Frame) -> Field:
    centre = f.at(*LIPS)
    return _field(0.0, 0.16 * (f.points[..., 1] - centre[1]) * f.near(centre, 0.35, 0.14))


def _smile(f: _Frame) -> Field:
    corners = f.near(f.at(61), 0.14, 0.14) + f.near(f.at(291), 0.14, 0.14)
    return _field(0.0, 0.03 * corners)


def _cheeks(f: _Frame) -> Field:
    right, left = f.near(f.at(50, 205), 0.25, 0.3), f.near(f.at(280, 425), 0.25, 0.3)
    return _field(0.03 * (left - right), 0.0)


def _lopsided(f: _Frame) -> Field:
    return _field(0.03 * f.below(0.5, 0.3), 0.02 * f.points[..., 0] * f.near(f.at(*LIPS), 1, 0.5))


MODES: tuple[Callable[[_Frame], Field], ...] = (
    _face_width,
    _face_length,
    _jaw_width,
    _chin,
    _eye_distance,
    _eye_size,
    _eye_slant,
    _brow_height,
    _brow_tilt,
    _nose_width,
    _nose_length,
    _mouth_width,
    _mouth_height,
    _lips,
    _smile,
    _cheeks,
    _lopsided,
)
"""Displacement of points by each mode at strength 1, in inter-ocular distances."""


def shape_displacement(portrait: Portrait, shape: tuple[float, ...], points: Points) -> Points:
    """Return by how much the modes move points of a portrait.

    Args:
        portrait: An upright face.
        shape: Strength of each mode of `MODES`.
        points: (..., 2) positions in pixels of the portrait.

    Returns:
        (..., 2) displacements in pixels.
    """
    origin = portrait.landmarks[[33, 263], :2].mean(axis=0)
    frame = _Frame(portrait, (points - origin) / portrait.inter_ocular_px)
    total = np.zeros_like(frame.points)
    for mode, strength in zip(MODES, shape, strict=True):
        total += strength * mode(frame)
    return total * portrait.inter_ocular_px


def _field(x: Field | float, y: Field | float) -> Field:
    return np.stack(np.broadcast_arrays(x, y), axis=-1)


def pose_displacement(
    portrait: Portrait, turn: tuple[float, float], roll: float, points: Points
) -> Points:
    """Return by how much a head that is turned a little, then tilted, moves points of a portrait.

    Args:
        portrait: The face.
        turn: Shift of the nose tip to the right and down, in inter-ocular distances; what is
            nearer to the outline shifts less.
        roll: Tilt in radians.
        points: (..., 2) positions in pixels of the portrait.

    Returns:
        (..., 2) displacements in pixels.
    """
    height = relief(portrait, points)[..., None] * portrait.inter_ocular_px
    turned = height * turn
    centre = portrait.landmarks[NOSE_TIP, :2]
    cosine, sine = math.cos(roll), math.sin(roll)
    rotation = np.array([[cosine - 1, -sine], [sine, cosine - 1]])
    return np.asarray(turned + (points + turned - centre) @ rotation.T)


def with_closed_mouth(portrait: Portrait, amount: float) -> Portrait:
    """Bring the lips of a smile together: they slide over the teeth, the corners fall.

    Args:
        portrait: A face that shows its teeth.
        amount: 0 leaves it as it is, 1 closes the mouth.
    """
    span = portrait.inter_ocular_px
    upper, lower = (portrait.landmarks[list(line), :2] for line in _LIP_MARGINS)
    corners = portrait.landmarks[[61, 291], :2]
    middle = (upper[len(upper) // 2] + lower[len(lower) // 2]) / 2

    def displacement(points: Points) -> Points:
        x, y = points[..., 0], points[..., 1]
        top = np.interp(x, upper[:, 0], upper[:, 1])
        bottom = np.interp(x, lower[:, 0], lower[:, 1])
        travel = 0.46 * amount * np.maximum(bottom - top, 0.0)
        between = np.clip((y - top) / np.maximum(bottom - top, 1e-6), 0.0, 1.0)
        far = np.maximum(np.maximum(top - y, y - bottom), 0.0) / (_MOUTH_REACH * span)
        down = travel * (1 - 2 * between) * np.exp(-0.5 * far**2)
        across = np.zeros_like(x)
        for corner in corners:
            gap = (points - corner) / (0.16 * span)
            near = np.exp(-0.5 * np.square(gap).sum(axis=-1))
            down += 0.055 * amount * span * near
            across += 0.05 * amount * np.sign(middle[0] - corner[0]) * span * near
        return np.stack([across, down], axis=-1)

    closed = warped(portrait, displacement, steepest=_MOUTH_STEEPEST)
    inside = soft_mask(closed, INNER_LIPS, 0.008)
    flesh = closed.landmarks[[(17, 14), (84, 87), (314, 317)], :2].mean(axis=1)
    column, row = np.rint(flesh).astype(int).T
    colour = np.median(closed.image[row, column], axis=0)
    cover = (amount * np.clip(1.6 * inside, 0, 1))[..., None]
    image = closed.image + cover * (0.6 * colour - closed.image)
    return Portrait(np.asarray(np.rint(image), np.uint8), closed.landmarks)


def warped(
    portrait: Portrait,
    displacement: Callable[[Points], Points],
    steepest: float = _STEEPEST,
) -> Portrait:
    """Move a face by a smooth field: landmarks forwards, the picture by its inverse.

    Args:
        portrait: The face.
        displacement: From (..., 2) positions in pixels to their displacements.
        steepest: Limit of the field's gradient, below 1; a steeper field is weakened, because
            skin is stretched and never folded.
    """
    rows, columns = portrait.image.shape[:2]
    x = np.arange(0, columns + _GRID_STEP, _GRID_STEP, dtype=np.float64)
    y = np.arange(0, rows + _GRID_STEP, _GRID_STEP, dtype=np.float64)
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    forwards = displacement(grid)
    forwards *= _safe_strength(forwards, steepest)
    moved = forwards.astype(np.float32)

    def sampled(points: Points) -> Points:
        at = (points / _GRID_STEP).astype(np.float32)
        sample = cv2.remap(
            moved, at, _NO_SECOND_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(sample, np.float64)

    sources = grid.copy()
    for _ in range(_INVERSION_STEPS):
        sources = grid - sampled(sources)
    size = (grid.shape[1] * _GRID_STEP, grid.shape[0] * _GRID_STEP)
    enlarge = np.array([[_GRID_STEP, 0, 0], [0, _GRID_STEP, 0]], np.float64)
    fine = cv2.warpAffine(
        sources.astype(np.float32),
        enlarge,
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )[:rows, :columns]
    image = cv2.remap(
        portrait.image,
        np.ascontiguousarray(fine),
        _NO_SECOND_MAP,
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    landmarks = portrait.landmarks.copy()
    landmarks[:, :2] += sampled(landmarks[None, :, :2])[0]
    return Portrait(np.asarray(image, np.uint8), landmarks)


def _safe_strength(field: Points, limit: float) -> float:
    """Share of a field at which its gradient stays below a limit."""
    along_x = np.gradient(field, _GRID_STEP, axis=1)
    along_y = np.gradient(field, _GRID_STEP, axis=0)
    jacobian = np.stack([along_x, along_y], axis=-1)
    steepest = float(np.linalg.norm(jacobian, axis=(-2, -1)).max())
    return min(1.0, limit / max(steepest, 1e-9))
