"""Typical inputs without people: textures that move as faces do, for comparing backends."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from engines.motion.canonical import FACE_SIZE
from engines.recognition.sequences import FRAMES, GRAY_UNIT

_COUNT = 2
_GRAIN_PX = 4.0
_STEP_PX = 0.3
_GRAY_LEVEL = np.float32(1 / GRAY_UNIT)


def golden_faces() -> npt.NDArray[np.float32]:
    """Sequences of smooth noise, part of which moves a little: (2, 8, 128, 128) float32.

    In whole levels of gray, as pictures are: the file that keeps them stays small.
    """
    rng = np.random.default_rng(0)
    columns, rows = np.meshgrid(*[np.arange(FACE_SIZE, dtype=np.float32)] * 2)
    centre = FACE_SIZE / 2
    inside = np.hypot(columns - centre, rows - centre) < 0.45 * FACE_SIZE
    sequences = np.empty((_COUNT, FRAMES, FACE_SIZE, FACE_SIZE), np.float32)
    for sequence in sequences:
        texture = cv2.GaussianBlur(rng.normal(size=(FACE_SIZE, FACE_SIZE)), (0, 0), _GRAIN_PX)
        texture = (0.5 * inside * texture / texture.std()).astype(np.float32)
        x, y = rng.uniform(0.25, 0.75, 2) * FACE_SIZE
        near = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 400).astype(np.float32)
        across, down = rng.normal(0, _STEP_PX, 2).astype(np.float32)
        for step, face in enumerate(sequence):
            moved = columns - step * across * near, rows - step * down * near
            face[:] = cv2.remap(texture, *moved, cv2.INTER_LINEAR)
    levels: npt.NDArray[np.float32] = np.rint(sequences / _GRAY_LEVEL) * _GRAY_LEVEL
    return levels
