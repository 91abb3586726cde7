"""From frames of any rate to pictures at a fixed one."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from engines.features.grid import MAX_GAP_S, TICK_S
from engines.features.views import REGION_VALUES, View, region_values
from engines.spotting.base import MotionSample

_EPSILON = 1e-6


class TickSampler:
    """Takes the frame nearest to each tick, and the mean of the region motion since the last one.

    A tick is due as soon as no later frame can be nearer to it, judged by the mean time between
    frames: a clock that trembles by up to a sixth of its interval loses and doubles no picture (one
    that trembles more may double the second of a stretch, before a mean is known). A camera that is
    slower than the grid shows some pictures twice. Ticks count from the first frame of a stretch in
    which a face is followed without interruption and the flow over the last 0.1 s is known.

    Args:
        view: What is seen of a frame.

    Attributes:
        pictures: What is seen at the newest tick; overwritten by the next.
        regions: (49,) float32 motion of the regions, mean over the time since the tick before.
        time_s: Time of the newest tick.
        starts: Whether the newest tick is the first of a stretch.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self.pictures = {name: np.zeros(shape, np.float32) for name, shape in view.shapes.items()}
        self.regions: npt.NDArray[np.float32] = np.zeros(REGION_VALUES, np.float32)
        self._seen = np.zeros(REGION_VALUES, np.float32)
        self._sum = np.zeros(REGION_VALUES, np.float32)
        self.reset()

    def reset(self) -> None:
        """The next frame starts a stretch."""
        self._start_s = math.nan
        self._last_s = -math.inf
        self._ticks = 0  # since the start of the stretch
        self._due = 0  # of them, not yet taken
        self._frames = 0  # since the start of the stretch
        self._sum[:] = 0
        self._summed = 0
        self.time_s = math.nan
        self.starts = False

    @property
    def going_on(self) -> bool:
        """Whether a stretch is going on."""
        return math.isfinite(self._start_s)

    def push(self, sample: MotionSample) -> None:
        """Take the next frame; then call `take` until it says no."""
        interval = sample.time_s - self._last_s
        if not sample.valid or sample.restart or interval > MAX_GAP_S + _EPSILON:
            self.reset()
        if not sample.valid or sample.flow_delta is None:
            if self.going_on:
                self.reset()
            return
        if not self.going_on:
            self._start_s = sample.time_s
        self._last_s = sample.time_s
        region_values(sample, self._seen)
        self._sum += self._seen
        self._summed += 1
        into_s = sample.time_s - self._start_s
        half_s = min(TICK_S, into_s / max(self._frames, 1)) / 2
        self._frames += 1
        self._due = math.floor((into_s + half_s) / TICK_S + _EPSILON) + 1 - self._ticks
        if self._due > 0:
            self._view.write(sample, self.pictures)
            np.multiply(self._sum, np.float32(1 / self._summed), out=self.regions)
            self._sum[:] = 0
            self._summed = 0

    def take(self) -> bool:
        """Go to the next tick that is due; False when there is none."""
        if self._due <= 0:
            return False
        self.starts = self._ticks == 0
        self.time_s = self._start_s + self._ticks * TICK_S
        self._ticks += 1
        self._due -= 1
        return True
