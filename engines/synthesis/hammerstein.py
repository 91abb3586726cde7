"""Muscle as a Hammerstein system: a static non-linearity, then a second-order linear response.

The model is the classical one of isometric muscle (Hunt, Munih, Donaldson and Barr, "Investigation
of the Hammerstein hypothesis in the modeling of electrically stimulated muscle", IEEE Transactions
on Biomedical Engineering 45(8), 1998): recruitment is not proportional to activation, and the
tissue follows with the inertia of a damped second-order system.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Course = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Hammerstein:
    """Activation of a muscle → displacement of the skin.

    Attributes:
        exponent: Recruitment is `activation ** exponent`; above 1 weak activations move little.
        frequency: Natural frequency of the tissue in radians per unit of time.
        damping: Damping ratio; at least 1, so that skin never overshoots its rest.
    """

    exponent: float = 1.5
    frequency: float = 40.0
    damping: float = 1.0

    def __post_init__(self) -> None:
        if self.exponent <= 0 or self.frequency <= 0 or self.damping < 1:
            raise ValueError("exponent and frequency must be positive, damping at least 1")

    def response(self, activation: Course, step: float) -> Course:
        """Return the displacement that an activation causes, starting from rest.

        Args:
            activation: (..., N) activation from 0 to 1, held constant over each step.
            step: Time between two values, in the unit of `frequency`.

        Returns:
            (..., N) displacement; a lasting activation of 1 settles at 1.
        """
        from scipy.signal import lfilter  # noqa: PLC0415 - slow to import

        # With real poles a second-order system is two first-order lags in a row.
        spread = math.sqrt(self.damping**2 - 1)
        displacement: Course = np.clip(activation, 0.0, 1.0) ** self.exponent
        for rate in (self.damping - spread, self.damping + spread):
            kept = math.exp(-self.frequency * rate * step)
            displacement = lfilter([1 - kept], [1.0, -kept], displacement)
        return displacement


def trapezoid(times: Course, attack: float, hold: float, release: float) -> Course:
    """Return an activation that rises from time 0, holds, and is let go, linearly.

    Args:
        times: (..., N) times.
        attack: Time from 0 to full activation.
        hold: Time at full activation.
        release: Time from full activation to 0.
    """
    corners = np.cumsum([0.0, attack, hold, release])
    activation: Course = np.interp(times, corners, [0.0, 1.0, 1.0, 0.0])
    return activation


def visible_interval(course: Course, share: float = 0.1) -> tuple[int, int, int]:
    """Return positions of onset, apex and offset of a course.

    Onset and offset are the first and last value of at least `share` of the peak.
    """
    apex = int(np.argmax(course))
    visible = np.flatnonzero(course >= share * course[apex])
    return int(visible[0]), apex, int(visible[-1])
