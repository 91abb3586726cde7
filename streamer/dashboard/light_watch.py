"""Watches the light on the face while a session runs: too dark, too bright, flicker."""

from __future__ import annotations

import math
import threading
import time
from collections import deque

import numpy as np

from streamer.sinks.base import FrameRecord

_SPAN_S = 4.0
_MOST = 4096
_AGAIN_S = 10.0  # the fit takes some 10 ms, and lamps change rarely
_DARK, _BRIGHT = 40.0, 225.0  # mean grey level of the face, of 255
_PICTURE_FLAGS = ("black", "saturated", "frozen")


class LightWatch:
    """Keeps the luminance of the face over the last seconds, and judges it when asked.

    `see` is called for every frame; `warnings` may take some 10 ms, on a thread that can wait.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held for a moment by each frame
        self._measuring = threading.Lock()
        self.restart()

    def restart(self) -> None:
        """Forget everything: a new session begins."""
        self._seen: deque[tuple[float, float, tuple[str, ...]]] = deque(maxlen=_MOST)
        self._flicker: tuple[str, ...] = ()
        self._due_s = 0.0

    def see(self, record: FrameRecord) -> None:
        """Take a frame."""
        with self._lock:
            self._seen.append((record.time_s, record.luminance, record.flags))

    @property
    def luminance(self) -> float | None:
        """Mean grey level of the face over the last second, of 255; None without a face."""
        recent = self._recent(1.0)
        levels = [level for _, level, _ in recent if math.isfinite(level)]
        return float(np.mean(levels)) if levels else None

    def warnings(self) -> tuple[str, ...]:
        """Return what is wrong with the light now, in sentences."""
        found = []
        level = self.luminance
        if level is not None and level < _DARK:
            found.append(
                f"The face is dark (mean grey {level:.0f} of 255): add light or expose longer."
            )
        if level is not None and level > _BRIGHT:
            found.append(
                f"The face is nearly white (mean grey {level:.0f} of 255): expose shorter."
            )
        recent = self._recent(1.0)
        for flag in _PICTURE_FLAGS:
            share = sum(flag in flags for _, _, flags in recent) / max(len(recent), 1)
            if share > 0.1:
                found.append(f"{share:.0%} of the last second's pictures are {flag}.")
        with self._measuring:
            if time.monotonic() >= self._due_s:
                self._due_s = time.monotonic() + _AGAIN_S
                self._flicker = self._measure_flicker()
        return (*found, *self._flicker)

    def _recent(self, seconds: float) -> list[tuple[float, float, tuple[str, ...]]]:
        with self._lock:
            seen = list(self._seen)
        return [each for each in seen if each[0] > seen[-1][0] - seconds]

    def _measure_flicker(self) -> tuple[str, ...]:
        """Measure flicker as calibration does, where the face was there throughout."""
        # Imported here: statistics take long to load.
        from calibration import light  # noqa: PLC0415

        recent = self._recent(_SPAN_S)
        times = np.array([time_s for time_s, _, _ in recent])
        levels = np.array([level for _, level, _ in recent])
        if not len(levels) or not np.isfinite(levels).all():
            return ()
        # The face as one strip: bands of a rolling shutter need calibration's own take.
        strips = np.column_stack([levels, levels])
        result = light.measure(times, levels, strips, np.array([0.0, 1.0]))
        if result is None:
            return ()
        return tuple(f"{finding.what} {finding.advice}" for finding in light.findings(result))
