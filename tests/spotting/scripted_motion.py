"""Region motion as alignment and flow would deliver it, from a script of smooth movements."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from engines.motion.canonical import REGION_NAMES
from engines.spotting.base import MotionSample

R = len(REGION_NAMES)


@dataclass(frozen=True)
class Movement:
    """A raised-cosine movement of some regions, in inter-ocular distances."""

    onset_s: float
    duration_s: float
    amplitude: float = 0.02
    regions: tuple[str, ...] = ("left_mouth_corner", "right_mouth_corner", "left_cheek")

    def at(self, time_s: float) -> float:
        phase = (time_s - self.onset_s) / self.duration_s
        return 0.5 - 0.5 * np.cos(2 * np.pi * phase) if 0 < phase < 1 else 0.0


@dataclass(frozen=True)
class Blink:
    onset_s: float
    duration_s: float = 0.25


def samples(
    fps: float,
    duration_s: float,
    movements: Sequence[Movement] = (),
    blinks: Sequence[Blink] = (),
    noise: float = 0.0008,
    seed: int = 0,
    invalid: Sequence[tuple[float, float]] = (),
) -> Iterator[MotionSample]:
    """Yield samples; noise is white at 200 fps and of equal power density at other rates."""
    random = np.random.default_rng(seed)
    was_valid = False
    for index in range(round(duration_s * fps)):
        time_s = index / fps
        motion = random.normal(0, noise, (R, 2)).astype(np.float32)
        eyes = random.normal(0, noise, (2, 2)).astype(np.float32)
        for movement in movements:
            for name in movement.regions:
                motion[REGION_NAMES.index(name), 1] -= movement.amplitude * movement.at(time_s)
        for blink in blinks:
            lid = Movement(blink.onset_s, blink.duration_s, 0.1).at(time_s)
            eyes[:, 1] += lid
            for name in ("left_eyelid", "right_eyelid", "left_brow_outer", "right_brow_inner"):
                motion[REGION_NAMES.index(name), 1] += 0.3 * lid
        valid = not any(start <= time_s < end for start, end in invalid)
        if not valid:
            motion[:] = 0
            eyes[:] = 0
        yield MotionSample(
            index=index,
            time_s=time_s,
            gap_before=0,
            valid=valid,
            restart=valid and not was_valid,
            motion=motion,
            velocity=np.zeros((R, 2), np.float32),
            strain=np.zeros(R, np.float32),
            eyes=eyes,
            head_speed=0.0,
            delta_s=0.1,
        )
        was_valid = valid
