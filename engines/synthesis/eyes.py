"""Eyelids and gaze: movements too large and too sharp for the fields of `action_units`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.synthesis.portrait import Portrait

Field = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

RIGHT_EYE = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133),
    (33, 7, 163, 144, 145, 153, 154, 155, 133),
)
LEFT_EYE = (
    (362, 398, 384, 385, 386, 387, 388, 466, 263),
    (362, 382, 381, 380, 374, 373, 390, 249, 263),
)

LID_HEIGHT = 0.20
"""Skin above the upper lid's margin that is stretched when the eye closes, in inter-ocular
distances."""

_IRIS = 0.12
_MAX_CLOSURE = 0.94


class Eye:
    """One eye: the upper lid that slides over it and the iris that turns in it.

    Args:
        portrait: The face.
        lids: Landmarks of the upper and the lower lid's margin, from the left of the picture to
            the right (`RIGHT_EYE` or `LEFT_EYE`).
        points: (H, W, 2) positions of the patch in pixels of the portrait.
    """

    def __init__(
        self, portrait: Portrait, lids: tuple[tuple[int, ...], tuple[int, ...]], points: Points
    ) -> None:
        span = portrait.inter_ocular_px
        along = portrait.eye_axis
        self._down = np.array([-along[1], along[0]], np.float32)
        self._along = along.astype(np.float32)
        upper, lower = (portrait.landmarks[list(lid), :2] / span for lid in lids)
        across, down = points @ along / span, points @ self._down / span
        top = np.interp(across, upper @ along, upper @ self._down)
        bottom = np.interp(across, lower @ along, lower @ self._down)
        self._y = down.astype(np.float32)
        self._upper = top.astype(np.float32)
        self._lower = bottom.astype(np.float32)
        self._opening = np.maximum(bottom - top, 0.0).astype(np.float32)
        self._start = self._upper - np.float32(LID_HEIGHT)
        self._iris = self._iris_weight(upper, lower, across, along)

    def _iris_weight(
        self, upper: Points, lower: Points, across: Points, along: npt.NDArray[np.float64]
    ) -> Field:
        """1 on the iris, 0 outside the opening."""
        middle = (upper[len(upper) // 2] + lower[len(lower) // 2]) / 2
        sideways = np.exp(-(((across - middle @ along) / _IRIS) ** 4))
        inside = np.minimum(self._y - self._upper, self._lower - self._y) / 0.02
        weight: Field = (sideways * np.clip(inside, 0.0, 1.0)).astype(np.float32)
        return weight

    def source_shift(self, closure: float, gaze: tuple[float, float]) -> Field:
        """Return where the picture comes from, relative to each point of the patch.

        Args:
            closure: 0 for the eye as in the portrait, 1 for closed.
            gaze: Shift of the iris along the eye and downwards, in inter-ocular distances.

        Returns:
            (H, W, 2) float32 shifts in inter-ocular distances.
        """
        shift = np.zeros((*self._y.shape, 2), np.float32)
        if closure > 0:
            shift += self._lid_shift(min(closure, 1.0) * _MAX_CLOSURE)[..., None] * self._down
        if gaze != (0.0, 0.0):
            turn = np.float32(gaze[0]) * self._along + np.float32(gaze[1]) * self._down
            shift -= (self._iris * np.float32(1.0 - closure))[..., None] * turn
        return shift

    def _lid_shift(self, closure: float) -> Field:
        """Stretch the lid's skin down to its margin; squeeze the opening below it."""
        travel = self._opening * np.float32(closure)
        stretch = LID_HEIGHT / (LID_HEIGHT + travel)
        skin = self._start + (self._y - self._start) * stretch
        squeeze = np.float32(1.0 / (1.0 - closure))
        opening = self._lower - (self._lower - self._y) * squeeze
        source = np.where(self._y < self._upper + travel, skin, opening)
        moved = (self._y > self._start) & (self._y < self._lower) & (self._opening > 0)
        shift: Field = np.where(moved, source - self._y, np.float32(0.0))
        return shift
