"""Typical inputs without people: textures that move as faces do, for comparing backends."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from engines.motion.canonical import FACE_SIZE
from engines.recognition.sequences import FRAMES

_COUNT = 4
_GRAIN_PX = 2.5
_STEP_PX = 0.3


def golden_faces() -> npt.NDArray[np.float32]:
    """Sequences of smooth noise, part of which moves a little: (4, 8, 128, 128) float32."""
    rng = np.random.default_rng(0)
    columns, rows = np.meshgrid(*[np.arange(FACE_SIZE, dtype=np.float32)] * 2)
    sequences = np.empty((_COUNT, FRAMES, FACE_SIZE, FACE_SIZE), np.float32)
    for sequence in sequences:
        texture = cv2.GaussianBlur(rng.normal(size=(FACE_SIZE, FACE_SIZE)), (0, 0), _GRAIN_PX)
        texture = (0.8 * texture / texture.std()).astype(np.float32)
        x, y = rng.uniform(0.25, 0.75, 2) * FACE_SIZE
        near = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 400).astype(np.float32)
        across, down = rng.normal(0, _STEP_PX, 2)
        for step, face in enumerate(sequence):
            moved_x, moved_y = columns - step * across * near, rows - step * down * near
            face[:] = cv2.remap(
                texture,
                moved_x.astype(np.float32),
                moved_y.astype(np.float32),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
    return sequences.astype(np.float16).astype(np.float32)
