"""Depth pictures on the grid of the canonical face."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from engines.motion.canonical import FACE_SIZE
from engines.motion.depth import DEPTH_CELLS
from streamer.alignment.similarity import Similarity
from streamer.frame import Depth

_CENTRE = complex(FACE_SIZE / 2, FACE_SIZE / 2)
_REACH = 0.8 * FACE_SIZE  # the canonical square's half diagonal, and a margin
_LEAST_SEEN = 0.5


def canonical_depth(depth: Depth, alignment: Similarity) -> npt.NDArray[np.float32]:
    """Bring a depth picture to the canonical face, by the similarity that draws the face.

    Pixels that the camera did not see have no part in a cell's mean; a cell of which less than
    half was seen is missing.

    Args:
        depth: (H, W) uint16 millimetres, 0 where nothing was seen.
        alignment: From the picture to the canonical face.

    Returns:
        (64, 64) float32 millimetres, means of cells of 2x2 canonical pixels; 0 where missing.
    """
    back = alignment.inverse()
    centre, reach = back.at(_CENTRE), _REACH * abs(back.a)
    height, width = depth.shape
    x0, x1 = (min(width, max(0, round(centre.real + side * reach))) for side in (-1, 1))
    y0, y1 = (min(height, max(0, round(centre.imag + side * reach))) for side in (-1, 1))
    if x0 == x1 or y0 == y1:
        return np.zeros((DEPTH_CELLS, DEPTH_CELLS), np.float32)
    part = depth[y0:y1, x0:x1]
    layers = np.empty((*part.shape, 2), np.float32)
    layers[..., 0] = part
    np.greater(part, 0, out=layers[..., 1], casting="unsafe")
    warped = cv2.warpAffine(
        layers,
        alignment.after(Similarity(1 + 0j, complex(x0, y0))).matrix(),
        (FACE_SIZE, FACE_SIZE),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    cells = cv2.resize(warped, (DEPTH_CELLS, DEPTH_CELLS), interpolation=cv2.INTER_AREA)
    total, seen = cells[..., 0], cells[..., 1]
    found: npt.NDArray[np.float32] = np.where(
        seen >= _LEAST_SEEN, total / np.maximum(seen, _LEAST_SEEN), np.float32(0)
    )
    return found
