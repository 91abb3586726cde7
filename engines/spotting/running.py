"""Causal running statistics in stream time: what replaces whole-video thresholds and filters.

Every one of them is fed with times in seconds and gives the same answer at every frame rate, up
to the density of the samples.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

_MAD_TO_SIGMA = 1.4826


class LowPass:
    """Two one-pole low-passes in series, exact for any frame interval.

    Args:
        shape: Shape of a sample.
        tau_s: Time constant of each pole in seconds.
    """

    def __init__(self, shape: tuple[int, ...], tau_s: float) -> None:
        self._tau_s = tau_s
        self._first = np.zeros(shape, np.float32)
        self.value: Array = np.zeros(shape, np.float32)
        self._time_s: float | None = None

    @property
    def delay_s(self) -> float:
        """Group delay at low frequencies, in seconds."""
        return 2 * self._tau_s

    def reset(self) -> None:
        """Start anew with the next sample."""
        self._time_s = None

    def push(self, time_s: float, sample: Array) -> Array:
        """Take a sample; returns the filtered one, a view that the next push overwrites."""
        if self._time_s is None:
            self._first[:] = sample
            self.value[:] = sample
        else:
            gain = -math.expm1(-(time_s - self._time_s) / self._tau_s)
            self._first += gain * (sample - self._first)
            self.value += gain * (self._first - self.value)
        self._time_s = time_s
        return self.value


class BoxMean:
    """Mean of the last seconds of a curve that is sampled at any rate.

    Between samples the curve is straight, so that the mean belongs to the curve and not to its
    sampling. A pulse keeps its width at half its height.

    Args:
        window_s: Length of the window in seconds.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._samples: deque[tuple[float, float, float]] = deque()  # time, value, area before it

    @property
    def delay_s(self) -> float:
        """By how much a movement seems late, in seconds."""
        return self._window_s / 2

    def reset(self) -> None:
        """Start anew with the next sample."""
        self._samples.clear()

    def push(self, time_s: float, value: float) -> float:
        """Take a sample; returns the mean of the window, or of what there is of it."""
        samples, area = self._samples, 0.0
        if samples:
            last_s, last, area = samples[-1]
            area += (time_s - last_s) * (value + last) / 2
        samples.append((time_s, value, area))
        start_s = time_s - self._window_s
        while len(samples) > 2 and samples[1][0] <= start_s:
            samples.popleft()
        first_s, first, before = samples[0]
        if start_s > first_s:
            next_s, following, _ = samples[1]
            at_start = first + (following - first) * (start_s - first_s) / (next_s - first_s)
            before += (start_s - first_s) * (first + at_start) / 2
        else:
            start_s = first_s
        return (area - before) / (time_s - start_s) if time_s > start_s else value


class RunningMedian:
    """Median of the last seconds, sampled and refreshed at fixed rates in stream time.

    Args:
        shape: Shape of a sample.
        window_s: Length of the window in seconds.
        rate_hz: Samples kept a second.
        refresh_s: Interval at which the median is computed anew.
        prior: What the window holds at the start, half of it a spread lower and half of it a
            spread higher; it makes room as samples come. None starts with an empty window.
        prior_spread: See `prior`.
        prior_s: How many seconds' worth of the prior there are.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        window_s: float,
        rate_hz: float,
        refresh_s: float,
        prior: float | None = None,
        prior_spread: float = 0.0,
        prior_s: float = 0.0,
    ) -> None:
        self._kept = np.zeros((max(2, round(window_s * rate_hz)), *shape), np.float32)
        self._rate_hz = rate_hz
        self._refresh_s = refresh_s
        self._prior = prior
        self._prior_spread = prior_spread
        self._prior_n = min(len(self._kept), round(prior_s * rate_hz)) if prior is not None else 0
        self.median: Array = np.zeros(shape, np.float32)
        self.mad: Array = np.zeros(shape, np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget every sample."""
        self._count = self._prior_n
        self.median[...] = 0
        self.mad[...] = 0
        if self._prior is not None:
            self._kept[0::2] = self._prior - self._prior_spread
            self._kept[1::2] = self._prior + self._prior_spread
            self.median[...] = self._prior
            self.mad[...] = _MAD_TO_SIGMA * self._prior_spread
        self._next_s = -math.inf
        self._refreshed_s = -math.inf

    def fill(self, sample: Array) -> None:
        """Forget every sample and believe this one."""
        self._kept[:] = sample
        self._count = len(self._kept)
        self.median[...] = sample
        self.mad[...] = 0

    def push(self, time_s: float, sample: Array | float) -> bool:
        """Take a sample; returns True when the median was computed anew."""
        if time_s < self._next_s - 1e-6:
            return False
        self._next_s = max(self._next_s, time_s - 1 / self._rate_hz) + 1 / self._rate_hz
        self._kept[self._count % len(self._kept)] = sample
        self._count += 1
        if time_s < self._refreshed_s + self._refresh_s - 1e-6:
            return False
        self._refreshed_s = time_s
        known = self._kept[: min(self._count, len(self._kept))]
        self.median[...] = np.median(known, axis=0)
        return True

    def refresh_mad(self) -> Array:
        """Compute and return the median absolute deviation, as a standard deviation."""
        known = self._kept[: min(self._count, len(self._kept))]
        self.mad[...] = _MAD_TO_SIGMA * np.median(np.abs(known - self.median), axis=0)
        return self.mad


class History:
    """The last seconds of samples with their times.

    Args:
        shape: Shape of a sample.
        window_s: Length in seconds.
        fps: Highest frame rate that the window must hold.
    """

    def __init__(self, shape: tuple[int, ...], window_s: float, fps: float) -> None:
        self._n = math.ceil(window_s * fps) + 2
        # Every sample is written twice, n apart, so that a window is always one slice.
        self._samples = np.zeros((2 * self._n, *shape), np.float32)
        self._times = np.zeros(2 * self._n)
        self._indices = np.zeros(2 * self._n, np.int64)
        self._count = 0

    def reset(self) -> None:
        """Forget every sample."""
        self._count = 0

    def push(self, time_s: float, index: int, sample: Array | float) -> None:
        """Take a sample."""
        slot = self._count % self._n
        for at in (slot, slot + self._n):
            self._samples[at] = sample
            self._times[at] = time_s
            self._indices[at] = index
        self._count += 1

    def since(self, time_s: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], Array]:
        """Return times (N,), frame indices (N,) and samples (N, ...) from `time_s` on, as views."""
        stop = (self._count - 1) % self._n + self._n + 1
        start = stop - min(self._count, self._n)
        start += int(np.searchsorted(self._times[start:stop], time_s - 1e-9))
        return self._times[start:stop], self._indices[start:stop], self._samples[start:stop]

    def index_at(self, time_s: float) -> int:
        """Index of the frame nearest to a time; there is at least one frame."""
        times, indices, _ = self.since(-math.inf)
        after = min(int(np.searchsorted(times, time_s)), len(times) - 1)
        if after and time_s - times[after - 1] < times[after] - time_s:
            after -= 1
        return int(indices[after])


def crossing(before: float, after: float, level: float) -> float:
    """Where between two values a level is crossed, 0 to 1."""
    if before == after:
        return 1.0
    return min(1.0, max(0.0, (before - level) / (before - after)))
