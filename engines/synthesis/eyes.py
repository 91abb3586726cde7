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

LID_HEIGHT = 0.16
"""Skin above the upper lid's margin that is stretched when the eye closes, in inter-ocular
distances."""

_MAX_TRAVEL = 0.9 * LID_HEIGHT  # skin is stretched, never folded
_LID_SHADE = 0.02  # the iris slides under the lids over this width
_IRIS = 0.12


class Eye:
    """One eye: the upper lid that slides over it and the iris that turns in it.

    Args:
        portrait: The face.
        lids: Landmarks of the upper and the lower lid's margin, from the left of the picture to
            the right (`RIGHT_EYE` or `LEFT_EYE`).
        points: (H, W, 2) positions of the patch in pixels of the portrait.

    Attributes:
        shape: (H, W, 3) float32 description of the patch for `source_shift`, smooth enough to be
            warped: distance below the upper lid's margin and opening between the lids, both in
            inter-ocular distances, and weight of the iris.
    """

    def __init__(
        self, portrait: Portrait, lids: tuple[tuple[int, ...], tuple[int, ...]], points: Points
    ) -> None:
        span = portrait.inter_ocular_px
        along = portrait.eye_axis
        down = np.array([-along[1], along[0]])
        self._axes = (along.astype(np.float32), down.astype(np.float32))
        upper, lower = (portrait.landmarks[list(lid), :2] / span for lid in lids)
        x, y = points @ along / span, points @ down / span
        margin = np.interp(x, upper @ along, upper @ down)
        bottom = np.interp(x, lower @ along, lower @ down)
        opening = np.maximum(bottom - margin, 0.0)

        middle = (upper[len(upper) // 2] + lower[len(lower) // 2]) / 2
        inside = np.minimum(y - margin, bottom - y) / _LID_SHADE
        iris = np.exp(-(((x - middle @ along) / _IRIS) ** 4)) * np.clip(inside, 0.0, 1.0)
        self.shape: Field = np.stack([y - margin, opening, iris], axis=-1).astype(np.float32)

    def source_shift(self, shape: Field, closure: float, gaze: tuple[float, float]) -> Field:
        """Return where the picture comes from, relative to each point of a patch.

        Args:
            shape: (H, W, 3) float32, `self.shape` or a warped version of it; zeros outside.
            closure: 0 for the eye as in the portrait, 1 for closed.
            gaze: Shift of the iris along the eye and downwards, in inter-ocular distances.

        Returns:
            (H, W, 2) float32 shifts in inter-ocular distances.
        """
        along, down = self._axes
        turn = (gaze[0] * along + gaze[1] * down) * np.float32(1.0 - closure)
        shift: Field = shape[..., 2:] * -turn
        if closure > 0:
            shift += self._lid_shift(shape[..., 0], shape[..., 1], closure)[..., None] * down
        return shift

    @staticmethod
    def _lid_shift(y: Field, opening: Field, closure: float) -> Field:
        """The lid's skin follows its margin; the eyeball below stays where it is."""
        travel = np.minimum(opening * np.float32(closure), np.float32(_MAX_TRAVEL))
        share = np.clip((y + LID_HEIGHT) / (LID_HEIGHT + travel), 0.0, 1.0)
        shift: Field = np.where(y < travel, -travel * share * share, np.float32(0.0))
        return shift
