"""Depth change of the skin: the third part of scene flow, from the pictures of a depth camera.

SFAMNet (Liong, Liong, Chan and See, "SFAMNet: a scene flow attention-based micro-expression
network", Neurocomputing 2024) reads, beside u and v, how the distance of the skin changes. Here
that is measured on the canonical face between t - 0.1 s and t: where the flow takes each bit of
skin is known, so its distance is looked up before and after. Of a head that moves, the shift along
the camera's axis, turn and nod are taken out; what remains is skin against skull.

**Scale.** Everything else of a face is measured in inter-ocular distances, which a picture gives
without knowing the camera. Depth comes in millimetres, and to compare the two one must know either
the focal length or the size of the face. Folders of pictures ship no focal length, so the face is
taken to be `MM_PER_IOD` wide between the outer eye corners, the mean of adults: men 93.0 mm (s.d.
5.6), women 88.4 mm (3.7) in BioMed Research International 2013, 821428. A person's own face is off
by some 5 %, and depth change with it: far less than its noise.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from engines.motion.canonical import FACE_SIZE

DEPTH_CELLS = 64
"""Side of the canonical depth map; a cell is 2x2 canonical pixels."""

MM_PER_IOD = 90.0
"""Distance between the outer eye corners that every face is taken to have, in millimetres."""

EDGE_IOD = 0.1
"""A change beyond this is no movement: the camera took an edge for something else."""

SMOOTH_CELLS = 1.5
"""Sigma over which changes are averaged, and holes are filled, in cells."""

_CELL_PX = FACE_SIZE // DEPTH_CELLS
_BROWS_AND_EYES = (slice(9, 30), slice(11, 53))
_NOSE_BRIDGE = (slice(22, 36), slice(29, 35))
_LEAST_KNOWN = 0.5
"""Share of both that must have been seen, or the head's part cannot be told."""

_LEAST_SEEN = 0.5  # of the cells that a place lies between
_LEAST_NEAR = 0.05  # weight of known cells around one, of all

_COLUMNS, _ROWS = np.meshgrid(*[np.arange(DEPTH_CELLS, dtype=np.float32)] * 2)
_TILTS = np.stack([np.ones_like(_COLUMNS), _COLUMNS - 31.5, _ROWS - 31.5], axis=-1)

DepthMap = npt.NDArray[np.float32]
"""(64, 64) float32 millimetres on the canonical face; 0 where the camera saw nothing."""


def depth_change(
    before: DepthMap, now: DepthMap, flow: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32] | None:
    """How far the skin has moved towards the camera.

    Cells that were not seen at both times have no part in it: they get the mean of their
    neighbours, and nothing far from any.

    Args:
        before: Depth map of the earlier face.
        now: Depth map of the later face.
        flow: (128, 128, 2) float32 flow from the earlier to the later face, canonical pixels.

    Returns:
        (64, 64) float32 in inter-ocular distances, outwards positive, on the earlier face's grid;
        None when too little of eyes and nose bridge was seen to tell the head's motion.
    """
    cells = cv2.resize(flow, (DEPTH_CELLS, DEPTH_CELLS), interpolation=cv2.INTER_AREA) / _CELL_PX
    later = np.stack([now, np.float32(now > 0)], axis=-1)
    moved = cv2.remap(
        later, _COLUMNS + cells[..., 0], _ROWS + cells[..., 1], cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )  # fmt: skip
    seen = moved[..., 1]
    known = (before > 0) & (seen > _LEAST_SEEN)
    if known[_NOSE_BRIDGE].mean() < _LEAST_KNOWN:
        return None
    change = (before - moved[..., 0] / np.maximum(seen, _LEAST_SEEN)) / np.float32(MM_PER_IOD)
    known &= np.abs(change - np.median(change[_NOSE_BRIDGE][known[_NOSE_BRIDGE]])) < EDGE_IOD
    if known[_BROWS_AND_EYES].mean() < _LEAST_KNOWN:
        return None
    change -= _head(change, known)
    return _filled(change, known)


def _head(change: npt.NDArray[np.float32], known: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """What the head's motion does to each cell.

    Turn and nod are the plane that fits brows and eyes, which move along the skull and not off it;
    the shift is the median over the nose bridge.
    """
    there = known[_BROWS_AND_EYES]
    tilts = _TILTS[_BROWS_AND_EYES][there]
    normal = tilts.T @ tilts
    plane = _TILTS @ np.linalg.solve(normal, tilts.T @ change[_BROWS_AND_EYES][there])
    bridge = (change - plane)[_NOSE_BRIDGE][known[_NOSE_BRIDGE]]
    head: npt.NDArray[np.float32] = plane + np.median(bridge)
    return head


def _filled(
    change: npt.NDArray[np.float32], known: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Weighted mean of the known cells around each one, by a Gaussian."""
    weight = known.astype(np.float32)
    total, share = (
        cv2.GaussianBlur(each, (0, 0), SMOOTH_CELLS, borderType=cv2.BORDER_REPLICATE)
        for each in (change * weight, weight)
    )
    filled: npt.NDArray[np.float32] = np.where(
        share > _LEAST_NEAR, total / np.maximum(share, _LEAST_NEAR), np.float32(0)
    )
    return filled
