"""Region motion of a still face as arrays: noise of a known size, blinks and movements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibration.tracks import FaceTrack, MotionTrack
from engines.motion.canonical import REGION_NAMES

R = len(REGION_NAMES)


def bump(time_s: np.ndarray, start_s: float, length_s: float) -> np.ndarray:
    phase = (time_s - start_s) / length_s
    return np.where((phase > 0) & (phase < 1), 0.5 - 0.5 * np.cos(2 * np.pi * phase), 0.0)


def motion_of(
    seconds: float,
    fps: float = 100.0,
    *,
    noise: float = 0.0008,
    blinks: Sequence[float] = (),
    movements: Sequence[tuple[float, float]] = (),
    start_s: float = 0.0,
    seed: int = 0,
) -> MotionTrack:
    """Movements are (start, amplitude) of mouth corners and a cheek, 0.3 s long."""
    rng = np.random.default_rng(seed)
    n = round(seconds * fps)
    time_s = start_s + np.arange(n) / fps
    motion = rng.normal(0, noise, (n, R, 2)).astype(np.float32)
    eyes = rng.normal(0, noise, (n, 2, 2)).astype(np.float32)
    for at, amplitude in movements:
        for name in ("left_mouth_corner", "right_mouth_corner", "left_cheek"):
            motion[:, REGION_NAMES.index(name), 1] -= amplitude * bump(time_s, at, 0.3)
    for at in blinks:
        eyes[:, :, 1] += 0.02 * bump(time_s, at, 0.25)[:, None]
    restart = np.zeros(n, bool)
    restart[:1] = True
    return MotionTrack(
        index=np.arange(n),
        time_s=time_s,
        gap_before=np.zeros(n, np.int64),
        valid=np.ones(n, bool),
        restart=restart,
        motion=motion,
        velocity=np.zeros((n, R, 2), np.float32),
        strain=np.zeros((n, R), np.float32),
        eyes=eyes,
        head_speed=np.zeros(n),
        delta_s=np.full(n, 0.1),
    )


def face_of(motion: MotionTrack, *, sway_px: float = 0.0, seed: int = 0) -> FaceTrack:
    rng = np.random.default_rng(seed)
    n = len(motion)
    return FaceTrack(
        time_s=motion.time_s,
        luminance=np.full(n, 120.0),
        bands=np.full((n, 24), 120.0),
        band_rows=np.arange(24.0),
        inter_ocular_px=np.full(n, 100.0),
        height_px=np.full(n, 220.0),
        centre_px=320 + rng.normal(0, sway_px, (n, 2)),
        pose=np.zeros((n, 3)),
        head_speed=np.zeros(n),
        flags={},
    )
