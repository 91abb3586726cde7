"""Flow pictures of animated expressions, drawn without rendering a face.

The displacement of every action unit is known in closed form (`engines.synthesis.action_units`), so
the onset→apex flow of an expression is a sum of fields in the geometry of the training crop.
Synthetic: nobody showed these expressions.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

from engines.motion.canonical import LEFT_EYE_OUTER as CANONICAL_LEFT
from engines.motion.canonical import RIGHT_EYE_OUTER as CANONICAL_RIGHT
from engines.motion.strain import optical_strain
from engines.recognition.ststnet.representation import CROP_X, CROP_Y, PICTURE_SIZE
from engines.synthesis.action_units import ACTION_UNITS, displacement_field
from engines.synthesis.expressions import PROTOTYPES
from engines.synthesis.identities import Identity, Setting, make_portrait
from engines.synthesis.portrait import LEFT_EYE_OUTER, RIGHT_EYE_OUTER, Portrait

FACES = 6
"""Faces of different shape in one draw."""

_ASYMMETRY = 0.35
_STRENGTH_SPREAD = 0.4
_NOISE = (0.03, 0.15)
_NOISE_CELLS = 2.0
_SHIFT_CELLS = 2.0
_STRETCH = 0.1

Fields = Mapping[tuple[int, int], npt.NDArray[np.float32]]
Picture = npt.NDArray[np.float32]


def draw_pictures(count: int, seed: int, faces: int = FACES) -> npt.NDArray[np.float32]:
    """Draw expressions of many faces, each stronger on one side, shifted, stretched and noisy.

    Args:
        count: Number of pictures; every emotion prototype occurs equally often.
        seed: Seed of faces and expressions.
        faces: Faces among which the pictures are divided.

    Returns:
        (count, 28, 28, 3) float32 u, v and strain as `flow_picture` gives them, in any unit.
    """
    rng = np.random.default_rng(seed)
    fields = [_fields(_face(seed, number)) for number in range(faces)]
    return np.stack([_expression(fields[i % faces], i, rng) for i in range(count)])


def mean_landmarks(seed: int = 0, faces: int = FACES) -> npt.NDArray[np.float32]:
    """(468, 3) canonical landmarks of an average face.

    Args:
        seed: Seed of the faces.
        faces: How many are averaged.
    """
    every = [_face(seed, number).landmarks for number in range(faces)]
    return np.asarray(np.mean(every, axis=0), np.float32)


def _face(seed: int, number: int) -> Portrait:
    """The landmarks of a person who does not exist, in canonical coordinates; no picture."""
    setting = Setting.draw(seed + number)
    landmarks = make_portrait(Identity.draw(seed, number), setting).landmarks
    right, left = landmarks[RIGHT_EYE_OUTER, :2], landmarks[LEFT_EYE_OUTER, :2]
    across = complex(*(left - right))
    turn = complex(*np.subtract(CANONICAL_LEFT, CANONICAL_RIGHT)) / across
    moved = (landmarks[:, 0] - right[0] + 1j * (landmarks[:, 1] - right[1])) * turn
    canonical = np.stack(
        [
            moved.real + CANONICAL_RIGHT[0],
            moved.imag + CANONICAL_RIGHT[1],
            landmarks[:, 2] * abs(turn),
        ],
        axis=1,
    )
    return Portrait(np.zeros((1, 1, 3), np.uint8), canonical)


def _fields(face: Portrait) -> Fields:
    """(28, 28, 2) displacement of the crop's cells by the two sides of every action unit."""
    columns = np.linspace(*CROP_X, PICTURE_SIZE, endpoint=False)
    rows = np.linspace(*CROP_Y, PICTURE_SIZE, endpoint=False)
    cell = np.array([columns[1] - columns[0], rows[1] - rows[0]])
    centres = np.stack(np.meshgrid(columns, rows), axis=-1) + (cell - 1) / 2
    return {
        (unit, side): displacement_field(unit, face, centres, gain)
        for unit in ACTION_UNITS
        for side, gain in enumerate([(1.0, 0.0), (0.0, 1.0)])
    }


def _expression(fields: Fields, number: int, rng: np.random.Generator) -> Picture:
    prototype = PROTOTYPES[number % len(PROTOTYPES)]
    lean = np.exp(rng.normal(0, _ASYMMETRY) * np.array([1, -1]))
    flow = np.zeros((PICTURE_SIZE, PICTURE_SIZE, 2), np.float32)
    for unit, strength in prototype.strengths:
        shown = strength * np.exp(rng.normal(0, _STRENGTH_SPREAD))
        for side in (0, 1):
            flow += np.float32(shown * lean[side]) * fields[unit, side]
    grain = cv2.GaussianBlur(rng.normal(size=flow.shape), (0, 0), _NOISE_CELLS)
    flow += (rng.uniform(*_NOISE) * np.abs(flow).max() / grain.std() * grain).astype(np.float32)
    stretch, shift = rng.uniform(-_STRETCH, _STRETCH, 2), rng.uniform(-1, 1, 2) * _SHIFT_CELLS
    placed = cv2.warpAffine(
        flow,
        np.column_stack([np.diag(1 + stretch), shift - stretch * PICTURE_SIZE / 2]),
        (PICTURE_SIZE, PICTURE_SIZE),
        borderMode=cv2.BORDER_REPLICATE,
    )
    moved = np.asarray(placed, np.float32)
    return np.dstack([moved, optical_strain(moved)])
