"""Sensor noise that costs one addition a frame and depends on the frame's number alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PEDESTAL = 8
"""Grey level that noise is centred on: it is kept unsigned so that it can be added in one go."""

_SHEETS = 5
_STRIDE = 8
_SHIFTS = 16


class NoiseBank:
    """Sheets of noise; every frame sees one of them through a window of its own.

    Neighbouring frames use different sheets, and windows on one sheet lie at least 8 pixels
    apart, so that noise never moves as a texture would.

    Args:
        seed: Seed of the noise.
        shape: (H, W, 3) of a picture.
        sigma: Standard deviation in grey levels.
    """

    def __init__(self, seed: int, shape: tuple[int, int, int], sigma: float) -> None:
        height, width, channels = shape
        margin = _STRIDE * (_SHIFTS - 1)
        rng = np.random.default_rng([seed, 5])
        size = (_SHEETS, height + margin, width + margin, channels)
        grain = rng.standard_normal(size, np.float32)
        grain *= sigma
        grain += PEDESTAL
        self._sheets = np.clip(np.rint(grain, out=grain), 0, 2 * PEDESTAL).astype(np.uint8)
        self._seed = seed
        self._height, self._width = height, width

    def frame(self, number: int) -> npt.NDArray[np.uint8]:
        """Return the (H, W, 3) noise of a frame around `PEDESTAL`; a view."""
        shift = _mixed(number ^ (self._seed << 32))
        top = _STRIDE * (shift % _SHIFTS)
        left = _STRIDE * (shift // _SHIFTS % _SHIFTS)
        window: npt.NDArray[np.uint8] = self._sheets[
            number % _SHEETS, top : top + self._height, left : left + self._width
        ]
        return window


def _mixed(number: int) -> int:
    """Hash of a number (splitmix64's finaliser; Steele, Lea and Flood, OOPSLA 2014)."""
    mask = (1 << 64) - 1
    number = (number + 0x9E3779B97F4A7C15) & mask
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & mask
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & mask
    return number ^ (number >> 31)
