"""From timestamps to stream time, and from jumps in them to lost frames."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

_WINDOW = 32
_ENOUGH = 5
_GAP = 1.5


class Cadence:
    """The rhythm of a source, learnt from its last 32 intervals, and what is missing from it.

    A camera or file that loses frames leaves intervals that are whole multiples of its period; a
    file with a variable frame rate does not. So an interval above 1.5 periods counts as lost
    frames only while at least nine in ten recent intervals lie near a multiple of the median.
    A rate that changes for good (longer exposure in the dark) becomes the new rhythm after half
    a window.

    Args:
        intervals_s: Intervals that are known beforehand, in seconds.
    """

    def __init__(self, intervals_s: Iterable[float] = ()) -> None:
        self._recent: deque[float] = deque(intervals_s, maxlen=_WINDOW)
        self._period_s = self._estimate()
        self._unchecked = 0

    @property
    def period_s(self) -> float | None:
        """Seconds between frames; None while too few were seen or they follow no rhythm."""
        return self._period_s

    def missing(self, interval_s: float) -> int:
        """Number of frames lost within the interval, in seconds, which is then learnt."""
        period = self._period_s
        self._recent.append(interval_s)
        self._unchecked += 1
        usual = period is not None and abs(interval_s - period) < 0.1 * period
        if not usual or self._unchecked >= _WINDOW // 2:
            self._period_s = self._estimate()
            self._unchecked = 0
        if period is None or interval_s <= _GAP * period:
            return 0
        return max(round(interval_s / period) - 1, 1)

    def _estimate(self) -> float | None:
        if len(self._recent) < _ENOUGH:
            return None
        ordered = sorted(self._recent)
        median = ordered[len(ordered) // 2]
        # Containers round to 1 ms, which is a quarter of a period at 240 fps.
        tolerance = min(0.2 * median + 0.001, 0.4 * median)
        regular = 0
        total = inliers = 0.0
        for interval in ordered:
            multiple = max(round(interval / median), 1)
            if abs(interval - multiple * median) <= tolerance * multiple:
                regular += 1
            if abs(interval - median) <= tolerance:
                total += interval
                inliers += 1
        # The mean of the undisturbed intervals, because rounded ones have a rounded median.
        return total / inliers if regular >= 0.9 * len(ordered) else None


@dataclass(frozen=True, slots=True)
class Tick:
    """One frame on the stream's time axis.

    Attributes:
        time_s: Stream time in seconds, above that of the frame before.
        missing: Frames lost right before it, as the timestamps tell.
        trusted: False when its timestamp was replaced because it could not be true.
    """

    time_s: float
    missing: int
    trusted: bool


class StreamClock:
    """Turns timestamps into stream time that starts at 0 and always advances.

    Where a timestamp is absent, repeats, goes backwards or runs ahead by more than `leap_s`, the
    elapsed time by another clock takes its place. A single bad one changes nothing for those
    after it; two that advance from each other show that the device's clock was set, and time
    continues from there.

    Args:
        cadence: Rhythm in which lost frames are looked for.
        leap_s: How far timestamps may run ahead of the other clock, in seconds.
    """

    def __init__(self, cadence: Cadence, leap_s: float = math.inf) -> None:
        self.cadence = cadence
        self._leap_s = leap_s
        self._time_s: float | None = None
        self._stamp_s: float | None = None  # the last one that was trusted
        self._suspect_s: float | None = None  # the last one that was not
        self._origin_s = 0.0
        self._since_s = 0.0  # elapsed since the last trusted one …
        self._since_frames = 0  # … and frames delivered since then

    def tick(self, stamp_s: float | None, elapsed_s: float) -> Tick:
        """Place the next frame.

        Args:
            stamp_s: Timestamp of the device or container in seconds; None when it has none.
            elapsed_s: Seconds since the frame before by the other clock (host, nominal rate).
        """
        if self._time_s is None:
            return self._anchor(stamp_s, 0.0)
        by_other_clock = self._time_s + max(elapsed_s, 1e-6)
        self._since_s += elapsed_s
        if stamp_s is None or self._stamp_s is None:
            return self._anchor(stamp_s, by_other_clock)

        advance_s = stamp_s - self._stamp_s
        time_s = self._origin_s + stamp_s
        if time_s > self._time_s and 0.0 < advance_s <= self._since_s + self._leap_s:
            missing = max(self.cadence.missing(advance_s) - self._since_frames, 0)
            self._trust(stamp_s)
            self._time_s = time_s
            return Tick(time_s, missing, trusted=True)
        if self._suspect_s is not None and stamp_s > self._suspect_s:
            return self._anchor(stamp_s, by_other_clock)
        self._suspect_s = stamp_s
        self._since_frames += 1
        self._time_s = by_other_clock
        return Tick(by_other_clock, 0, trusted=False)

    def forget_device(self) -> None:
        """The device starts anew: its next timestamp says nothing about the last one."""
        self._stamp_s = None

    def _anchor(self, stamp_s: float | None, time_s: float) -> Tick:
        """Let this timestamp stand for this stream time from now on."""
        self._trust(stamp_s)
        self._time_s = time_s
        if stamp_s is not None:
            # Added to every later timestamp, instead of adding up intervals and their errors.
            self._origin_s = time_s - stamp_s
        return Tick(time_s, 0, trusted=True)

    def _trust(self, stamp_s: float | None) -> None:
        self._stamp_s, self._suspect_s = stamp_s, None
        self._since_s, self._since_frames = 0.0, 0
