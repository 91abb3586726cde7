"""Head motion: sway, drift and turning as sums of slow sinusoids."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_SWAY_HZ = (0.1, 0.8)
_DRIFT_HZ = (0.008, 0.03)


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Position of the head relative to the portrait.

    Attributes:
        x: Shift to the image's right in inter-ocular distances.
        y: Shift down in inter-ocular distances.
        roll: Rotation in the picture in radians, clockwise as seen.
        scale: Magnification.
        yaw: Shift of the nose tip to the right against the face's outline, in inter-ocular
            distances.
        pitch: Shift of the nose tip down against the face's outline.
    """

    x: float = 0.0
    y: float = 0.0
    roll: float = 0.0
    scale: float = 1.0
    yaw: float = 0.0
    pitch: float = 0.0


AT_REST = HeadPose()
"""The head as in the portrait."""


@dataclass(frozen=True, slots=True)
class HeadRange:
    """Largest excursions, reached when all sinusoids meet.

    Attributes:
        sway: Sway in x and y, in inter-ocular distances.
        drift: Slow drift in x and y, in inter-ocular distances.
        roll: Radians.
        zoom: Change of scale.
        turn: Shift of the nose tip against the outline, in inter-ocular distances.
    """

    sway: float = 0.07
    drift: float = 0.03
    roll: float = 0.025
    zoom: float = 0.012
    turn: float = 0.01


class HeadMotion:
    """A head that is held as still as people hold it.

    Args:
        rng: Where frequencies and phases come from.
        limits: Largest excursions.
    """

    def __init__(self, rng: np.random.Generator, limits: HeadRange) -> None:
        sway = (limits.sway, 0.6 * limits.sway, limits.roll, limits.zoom, limits.turn, limits.turn)
        drift = (limits.drift, limits.drift, 0.0, 0.0, 0.0, 0.0)
        slow_hz = _log_uniform(rng, _SWAY_HZ, 4)
        drift_hz = _log_uniform(rng, _DRIFT_HZ, 2)
        # Slow sways are wide, quick ones small: equal speeds.
        shares = 1.0 / slow_hz
        shares /= shares.sum(axis=1, keepdims=True)
        amplitudes = [shares * np.array(sway)[:, None], np.outer(drift, [0.5, 0.5])]
        self._amplitude = np.concatenate(amplitudes, axis=1)
        self._omega = 2 * np.pi * np.concatenate([slow_hz, drift_hz], axis=1)
        self._phase = rng.uniform(0, 2 * np.pi, size=self._omega.shape)

    def at(self, time_s: float) -> HeadPose:
        """Return the pose at a time."""
        waves = self._amplitude * np.sin(self._omega * time_s + self._phase)
        x, y, roll, zoom, yaw, pitch = waves.sum(axis=1).tolist()
        return HeadPose(x, y, roll, 1.0 + zoom, yaw, pitch)


def _log_uniform(
    rng: np.random.Generator, span: tuple[float, float], waves: int
) -> npt.NDArray[np.float64]:
    """Frequencies of the waves of each of the six degrees of freedom."""
    low, high = math.log(span[0]), math.log(span[1])
    frequencies: npt.NDArray[np.float64] = np.exp(rng.uniform(low, high, size=(6, waves)))
    return frequencies
