"""Textured faces whose patches move, with the few landmarks that LTP-ML looks at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from engines.motion.canonical import FACE_SIZE, REGION_NAMES
from engines.spotting.base import MotionSample
from tests.spotting.scripted_motion import Movement

PLACES = {
    "right_brow_outer": ((70, 63, 105), (34, 30)),
    "right_brow_inner": ((107, 55, 65), (52, 30)),
    "left_brow_inner": ((336, 285, 295), (76, 30)),
    "left_brow_outer": ((300, 293, 334), (94, 30)),
    "right_eye_corner": ((33, 130), (32, 48)),
    "left_eye_corner": ((263, 359), (96, 48)),
    "nose_root": ((6, 197), (64, 52)),
    "nose_tip": ((4, 1), (64, 74)),
    "right_mouth_corner": ((61,), (46, 94)),
    "left_mouth_corner": ((291,), (82, 94)),
    "upper_lip": ((0,), (64, 90)),
    "lower_lip": ((17,), (64, 102)),
}
_INNER_EYES = {133: (52, 48), 362: (76, 48)}
MOUTH = ("right_mouth_corner", "left_mouth_corner", "upper_lip", "lower_lip")


def mesh() -> np.ndarray:
    """(468, 3) landmarks; those that are not looked at lie at the origin."""
    landmarks = np.zeros((468, 3), np.float32)
    for points, place in PLACES.values():
        landmarks[list(points), :2] = place
    for point, place in _INNER_EYES.items():
        landmarks[point, :2] = place
    return landmarks


def texture(seed: int, contrast: float = 40.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(rng.normal(size=(FACE_SIZE, FACE_SIZE)), (0, 0), 2.5)
    return (120 + contrast * smooth / smooth.std()).astype(np.float32)


def moved(face: np.ndarray, shifts: dict[str, tuple[float, float]]) -> np.ndarray:
    """A face whose skin around some patches is shifted by (right, down) pixels."""
    columns, rows = np.meshgrid(*[np.arange(FACE_SIZE, dtype=np.float32)] * 2)
    right, down = np.zeros_like(columns), np.zeros_like(rows)
    for name, (dx, dy) in shifts.items():
        x, y = PLACES[name][1]
        near = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 5.0**2))
        right += dx * near
        down += dy * near
    return cv2.remap(
        face, columns - right, rows - down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def face_samples(
    fps: float,
    duration_s: float,
    movements: Sequence[Movement] = (),
    seed: int = 0,
    noise: float = 1.0,
    invalid: Sequence[tuple[float, float]] = (),
) -> Iterator[MotionSample]:
    """Faces with movements; amplitudes in pixels, upwards, regions are patches."""
    rng = np.random.default_rng(seed)
    face, landmarks, was_valid = texture(seed), mesh(), False
    for index in range(round(duration_s * fps)):
        time_s = index / fps
        shifts: dict[str, tuple[float, float]] = {}
        for movement in movements:
            height = movement.amplitude * float(movement.at(time_s))
            if height:
                shifts.update({name: (0.0, -height) for name in movement.regions})
        seen = moved(face, shifts) if shifts else face
        picture = np.clip(np.rint(seen + rng.normal(0, noise, seen.shape)), 0, 255)
        valid = not any(start <= time_s < end for start, end in invalid)
        yield MotionSample(
            index=index,
            time_s=time_s,
            gap_before=0,
            valid=valid,
            restart=valid and not was_valid,
            motion=np.zeros((len(REGION_NAMES), 2), np.float32),
            velocity=np.zeros((len(REGION_NAMES), 2), np.float32),
            strain=np.zeros(len(REGION_NAMES), np.float32),
            eyes=np.zeros((2, 2), np.float32),
            head_speed=0.0,
            delta_s=0.1,
            face=picture.astype(np.uint8) if valid else None,
            mesh=landmarks if valid else None,
        )
        was_valid = valid
