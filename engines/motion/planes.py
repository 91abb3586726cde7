"""The planes that MEAN and SFAMNet see: u, v and a third of eye strip and mouth.

Both networks read the flow from t - 0.1 s to t (Liong et al., "Spot-then-recognize: a
micro-expression analysis network for seamless evaluation of long videos", Signal Processing: Image
Communication 2023; "SFAMNet: a scene flow attention-based micro-expression network",
Neurocomputing 2024). There the flow is mapped per picture from its minimum and maximum to 0…1,
which makes a still face as loud as a moving one. Here its scale is fixed, in inter-ocular
distances per 0.1 s, whatever time the flow really spans. The third plane is optical strain, or
depth change where a depth camera looks on. Training and live analysis share this file.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from engines.motion.canonical import FACE_SIZE, INTER_OCULAR_PX
from engines.motion.depth import (
    DEPTH_CELLS,
    EDGE_IOD,
    MM_PER_IOD,
    SMOOTH_CELLS,
    DepthMap,
    depth_change,
)
from engines.motion.flow import create_flow
from engines.motion.meter import DELTA_WINDOW

PLANES_SIZE = 42
"""Side of the composite in cells; its upper half is the eye strip, its lower half the mouth."""

SPAN_S = 0.1
"""Time that the flow of the planes stands for, in seconds."""

CELL_PX = 2
"""Side of a cell in canonical pixels."""

STRIP_X = (22, 106)
"""Columns of the canonical face that both strips cover."""

EYE_ROWS = (18, 60)
"""Rows of the eye strip: brows to lower lids."""

MOUTH_ROWS = (80, 122)
"""Rows of the mouth strip: nose wings to chin."""

UNIT_IOD = 0.004
"""Displacement in inter-ocular distances that is 1.0 in u, v and depth change."""

UNIT_STRAIN = 0.02
"""Optical strain (pixels per pixel) that is 1.0 in the third plane."""

LIMIT = 8.0
"""What exceeds this is cut off: no expression moves so fast."""

COLUMNS = np.arange(*STRIP_X, CELL_PX) + (CELL_PX - 1) / 2
"""Canonical x of the columns of the composite, at the middle of the cells."""

ROWS = (
    np.concatenate([np.arange(*rows, CELL_PX) for rows in (EYE_ROWS, MOUTH_ROWS)])
    + (CELL_PX - 1) / 2
)
"""Canonical y of its rows."""

PREPROCESSING: dict[str, object] = {
    "flow": "DIS, t - 0.1 s to t",
    "channels": ["u", "v", "strain"],
    "size": PLANES_SIZE,
    "span_s": SPAN_S,
    "window": [[side.start, side.stop] for side in DELTA_WINDOW],
    "strip_x": list(STRIP_X),
    "eye_rows": list(EYE_ROWS),
    "mouth_rows": list(MOUTH_ROWS),
    "unit_iod": UNIT_IOD,
    "unit_strain": UNIT_STRAIN,
    "limit": LIMIT,
}
"""What a network must have been trained on to be fed by this file; kept in its manifest."""

DEPTH_PREPROCESSING: dict[str, object] = {
    **{name: value for name, value in PREPROCESSING.items() if name != "unit_strain"},
    "channels": ["u", "v", "depth change"],
    "mm_per_iod": MM_PER_IOD,
    "depth_edge_iod": EDGE_IOD,
    "depth_smooth_cells": SMOOTH_CELLS,
}
"""The same of networks whose third plane is depth change."""

_STRIPS = tuple(
    (
        slice(rows[0] - CELL_PX, rows[1] + CELL_PX),
        slice(STRIP_X[0] - CELL_PX, STRIP_X[1] + CELL_PX),
    )
    for rows in (EYE_ROWS, MOUTH_ROWS)
)
_ROWS, _COLUMNS = PLANES_SIZE // 2, PLANES_SIZE
_STRAIN_OF_UNITS = UNIT_IOD * INTER_OCULAR_PX / (2 * CELL_PX * UNIT_STRAIN)
_PADDED = (_COLUMNS + 2, _ROWS + 2)  # (width, height): a cell around each strip, for its gradient
_DEPTH_PX = FACE_SIZE // DEPTH_CELLS
_DEPTH_ROWS = np.r_[tuple(slice(*rows) for rows in (EYE_ROWS, MOUTH_ROWS))][::CELL_PX] // _DEPTH_PX
_DEPTH_COLUMNS = slice(STRIP_X[0] // _DEPTH_PX, STRIP_X[1] // _DEPTH_PX)


def preprocessing_of(depth: bool) -> dict[str, object]:
    """What a network must have been trained on, with depth change or with strain."""
    return DEPTH_PREPROCESSING if depth else PREPROCESSING


def composite_planes(
    flow_delta: npt.NDArray[np.float32],
    delta_s: float,
    out: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Bring the flow of a canonical face to what the networks see.

    Cells are means of 2×2 pixels, the resolution at which the flow is measured. Strain is taken
    within each strip, so that the seam between the two is no deformation.

    Args:
        flow_delta: (128, 128, 2) float32 flow over the last `delta_s`, in canonical pixels.
        delta_s: The time that it spans in seconds, above 0 (`MotionSample.delta_s`).
        out: (3, 42, 42) float32 to write to; None for a new array.

    Returns:
        (3, 42, 42) float32: u, v, strain; 1.0 is `UNIT_IOD` or `UNIT_STRAIN` in 0.1 s.
    """
    if out is None:
        out = np.empty((3, PLANES_SIZE, PLANES_SIZE), np.float32)
    planes, cells = _begin_planes(flow_delta, delta_s, out)
    # The norm of Shreve et al. (FG 2011), as in engines.motion.strain, by central differences.
    dx = cells[:, :, 1:-1, 2:] - cells[:, :, 1:-1, :-2]
    dy = cells[:, :, 2:, 1:-1] - cells[:, :, :-2, 1:-1]
    shear = dy[0] + dx[1]
    squares = np.square(dx[0])
    squares += np.square(dy[1])
    squares += np.float32(0.5) * np.square(shear)
    np.sqrt(squares, out=planes[2])
    planes[2] *= np.float32(_STRAIN_OF_UNITS)
    return np.clip(out, -LIMIT, LIMIT, out=out)


def scene_planes(
    flow_delta: npt.NDArray[np.float32],
    change: npt.NDArray[np.float32],
    delta_s: float,
    out: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Bring the scene flow of a canonical face to what a network with depth sees.

    Args:
        flow_delta: As in `composite_planes`.
        change: (64, 64) float32 as `engines.motion.depth.depth_change` gives it.
        delta_s: The time that both span in seconds, above 0.
        out: (3, 42, 42) float32 to write to; None for a new array.

    Returns:
        (3, 42, 42) float32: u, v, depth change (outwards positive); 1.0 is `UNIT_IOD` in 0.1 s.
    """
    if out is None:
        out = np.empty((3, PLANES_SIZE, PLANES_SIZE), np.float32)
    _begin_planes(flow_delta, delta_s, out)
    to_unit = np.float32(SPAN_S / (delta_s * UNIT_IOD))
    np.multiply(change[_DEPTH_ROWS, _DEPTH_COLUMNS], to_unit, out=out[2])
    return np.clip(out, -LIMIT, LIMIT, out=out)


def _begin_planes(
    flow_delta: npt.NDArray[np.float32], delta_s: float, out: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Write u and v; returns the planes by strip, and u and v with a cell around each strip."""
    strips = [cv2.resize(flow_delta[s], _PADDED, interpolation=cv2.INTER_AREA) for s in _STRIPS]
    to_unit = SPAN_S / (delta_s * UNIT_IOD * INTER_OCULAR_PX)
    cells = np.empty((2, 2, _ROWS + 2, _COLUMNS + 2), np.float32)  # u and v, eyes and mouth
    for strip, field in enumerate(strips):
        np.multiply(field.transpose(2, 0, 1), np.float32(to_unit), out=cells[:, strip])
    planes = out.reshape(3, 2, _ROWS, _COLUMNS)
    planes[:2] = cells[:, :, 1:-1, 1:-1]
    return planes, cells


class PairPlanes:
    """Planes of the flow between two faces, measured as `MotionMeter` measures it.

    For training and for recognition, which have the faces of a clip and no live meter. One instance
    serves one thread.
    """

    def __init__(self) -> None:
        self._flow = create_flow("dis")
        self._field = np.zeros((FACE_SIZE, FACE_SIZE, 2), np.float32)

    def __call__(
        self,
        before: npt.NDArray[np.uint8],
        after: npt.NDArray[np.uint8],
        span_s: float,
        out: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Measure one pair.

        Args:
            before: (128, 128) uint8 canonical face.
            after: (128, 128) uint8 canonical face.
            span_s: Time between them in seconds, above 0.
            out: (3, 42, 42) float32 to write to; None for a new array.

        Returns:
            (3, 42, 42) float32 as `composite_planes`.
        """
        return composite_planes(self._measure(before, after), span_s, out)

    def scene(
        self,
        before: npt.NDArray[np.uint8],
        after: npt.NDArray[np.uint8],
        depths: tuple[DepthMap, DepthMap],
        span_s: float,
        out: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32] | None:
        """Measure one pair with the depth maps of both faces.

        Args:
            before: As in a call.
            after: As in a call.
            depths: (64, 64) float32 depth map of either face.
            span_s: Time between them in seconds, above 0.
            out: (3, 42, 42) float32 to write to; None for a new array.

        Returns:
            (3, 42, 42) float32 as `scene_planes`; None where the depth maps show too little.
        """
        field = self._measure(before, after)
        change = depth_change(*depths, field)
        return None if change is None else scene_planes(field, change, span_s, out)

    def _measure(
        self, before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.float32]:
        first, second = (np.ascontiguousarray(face[DELTA_WINDOW]) for face in (before, after))
        self._field[DELTA_WINDOW] = self._flow(first, second)
        return self._field
