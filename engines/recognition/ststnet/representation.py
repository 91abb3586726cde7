"""The picture of a movement that STSTNet sees; training and live recognition share this file.

The training data (the composite set of MEGC 2019) are onset→apex flows in 28×28 cells with the
channels u, v and strain, each mapped per picture from its own minimum and maximum to 0…255. The
scale and the zero of a channel are lost by that. `standardise` therefore undoes every such
mapping: it returns the same numbers for x and for a·x + b (a > 0), and so brings the published
pictures and a live flow in pixels to one representation.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from engines.motion.strain import optical_strain

PICTURE_SIZE = 28
"""Side of the flow picture in cells."""

CROP_X = (22, 106)
"""Columns of the canonical face that the training crop covers: 3 pixels a cell."""

CROP_Y = (16, 128)
"""Rows of the canonical face that the training crop covers: 4 pixels a cell."""

PREPROCESSING = {
    "flow": "TV-L1, onset to apex",
    "channels": ["u", "v", "strain"],
    "picture_size": PICTURE_SIZE,
    "crop_x": list(CROP_X),
    "crop_y": list(CROP_Y),
    "standardisation": "per picture and channel: minus median, over standard deviation",
}
"""What a model must have been trained on to be fed by this file; kept in its manifest."""

COLUMNS, ROWS = (
    np.linspace(first, last, PICTURE_SIZE, endpoint=False) + ((last - first) / PICTURE_SIZE - 1) / 2
    for first, last in (CROP_X, CROP_Y)
)
"""Canonical x of the picture's columns and y of its rows, at the middle of the cells."""

WINDOW = (slice(8, 128), slice(14, 114))
"""Rows and columns of the canonical face in which flow is computed: the crop and a margin."""

STILL = 1e-4
"""Standard deviation below which a channel holds no motion (pixels; pixels per pixel)."""


def flow_picture(flow: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Bring the flow of a canonical face to the geometry of the training data.

    Args:
        flow: (120, 100, 2) float32 onset→apex flow of the face's `WINDOW` in canonical pixels.

    Returns:
        (28, 28, 3) float32: u and v in canonical pixels, strain in pixels per pixel.
    """
    fields = np.dstack([flow, optical_strain(flow)])
    rows, columns = (
        slice(first - window.start, last - window.start)
        for (first, last), window in zip((CROP_Y, CROP_X), WINDOW, strict=True)
    )
    crop = np.ascontiguousarray(fields[rows, columns])
    picture = cv2.resize(crop, (PICTURE_SIZE, PICTURE_SIZE), interpolation=cv2.INTER_AREA)
    return picture.astype(np.float32)


def standardise(pictures: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Remove the median of every channel of every picture and divide by its standard deviation.

    Args:
        pictures: (N, 28, 28, 3) flow pictures in any unit, channels u, v, strain.

    Returns:
        (N, 3, 28, 28) float32; a channel without motion is all zeros.
    """
    planes = np.moveaxis(pictures.astype(np.float32), -1, 1)
    planes = planes - np.median(planes, axis=(2, 3), keepdims=True)
    spread = planes.std(axis=(2, 3), keepdims=True)
    moving = spread > STILL
    result: npt.NDArray[np.float32] = np.where(moving, planes, 0) / np.where(moving, spread, 1)
    return np.ascontiguousarray(result, dtype=np.float32)


def mirror(planes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What `standardise` gives for the mirrored face: columns reversed and u negated.

    Args:
        planes: (N, 3, 28, 28) float32 as `standardise` returns them.

    Returns:
        (N, 3, 28, 28) float32.
    """
    return planes[..., ::-1] * np.array([-1, 1, 1], np.float32)[:, None, None]
