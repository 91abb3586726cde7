"""What a run measures about itself: latency, rates, losses, use of the machine.

Memory is bounded whatever the length of the run, and recording is cheap enough for every frame.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

_LOWEST_S = 1e-6
_HIGHEST_S = 100.0
_STEPS_PER_E = 50.0  # a bucket spans a factor of e^(1/50): its middle is within 1.01 %
_BUCKETS = math.ceil(math.log(_HIGHEST_S / _LOWEST_S) * _STEPS_PER_E)
_PACKAGES = ("opencv-contrib-python", "numpy", "mediapipe", "onnxruntime")


class LatencyHistogram:
    """Counts of durations in logarithmic buckets; one thread writes, any thread reads.

    Percentiles are within 1.1 % from 1 µs to 100 s and the maximum is exact. Durations outside
    that range count in the outermost buckets.
    """

    __slots__ = ("_counts", "_max_s")

    def __init__(self) -> None:
        self._counts = [0] * (_BUCKETS + 2)
        self._max_s = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration, in seconds."""
        self._max_s = max(self._max_s, seconds)
        if seconds < _LOWEST_S:
            bucket = 0
        elif seconds >= _HIGHEST_S:
            bucket = _BUCKETS + 1
        else:
            bucket = int(math.log(seconds / _LOWEST_S) * _STEPS_PER_E) + 1
        self._counts[bucket] += 1

    @property
    def count(self) -> int:
        """Number of durations recorded."""
        return sum(self._counts)

    @property
    def max_s(self) -> float:
        """Longest duration recorded, in seconds; 0 before the first."""
        return self._max_s

    def percentiles(self, *percents: float) -> tuple[float, ...]:
        """Return the durations, in seconds, that so many percent of the recorded do not exceed.

        Nearest rank, as numpy's `inverted_cdf`. All are of one moment; 0 before the first record.

        Args:
            percents: Percentages between 0 and 100.
        """
        counts = self._counts.copy()  # one step of the interpreter: no record falls within
        longest = self._max_s
        total = sum(counts)
        return tuple(_nearest_rank(counts, total, longest, percent) for percent in percents)

    def summary_ms(self) -> dict[str, float]:
        """Return `p50`, `p95`, `p99` and `max` in milliseconds."""
        p50, p95, p99 = self.percentiles(50, 95, 99)
        return {"p50": p50 * 1e3, "p95": p95 * 1e3, "p99": p99 * 1e3, "max": self._max_s * 1e3}


def _nearest_rank(counts: list[int], total: int, longest: float, percent: float) -> float:
    if not total:
        return 0.0
    rank = max(math.ceil(percent * total / 100), 1)
    if rank == total:
        return longest
    seen = bucket = 0
    for bucket, count in enumerate(counts):  # noqa: B007 - the bucket in which it stops is meant
        seen += count
        if seen >= rank:
            break
    if bucket > _BUCKETS:
        return longest
    return min(_LOWEST_S * math.exp((bucket - 0.5) / _STEPS_PER_E), longest)


class StageClocks:
    """The latency histogram of every stage, by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._histograms: dict[str, LatencyHistogram] = {}

    def stage(self, name: str) -> LatencyHistogram:
        """Return the histogram of a stage, made on first use; only one thread may write to it."""
        with self._lock:
            return self._histograms.setdefault(name, LatencyHistogram())

    def summary_ms(self) -> dict[str, dict[str, float]]:
        """Return stage → `p50`, `p95`, `p99`, `max` in milliseconds; idle stages are left out."""
        with self._lock:
            histograms = dict(self._histograms)
        return {name: each.summary_ms() for name, each in histograms.items() if each.count}


class LossLedger:
    """Lost frames by cause; every thread may write and read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def add(self, cause: str, frames: int = 1) -> None:
        """Count lost frames; nothing is entered for 0.

        Raises:
            ValueError: The number is negative, or there is no cause.
        """
        if frames < 0 or not cause:
            raise ValueError(f"{frames} frames cannot be lost by {cause!r}")
        if frames:
            with self._lock:
                self._counts[cause] = self._counts.get(cause, 0) + frames

    @property
    def total(self) -> int:
        """Number of lost frames, whatever the cause."""
        return sum(self.counts().values())

    def counts(self) -> dict[str, int]:
        """Return cause → lost frames, sorted by cause; a copy."""
        with self._lock:
            return dict(sorted(self._counts.items()))


class RateMeter:
    """Frame rate over stream time; one thread writes, any thread reads.

    Frames that are known to be missing count as produced: a loss is reported as a loss and does
    not also pass for a slower camera.
    """

    def __init__(self) -> None:
        self._first_s = 0.0
        self._state = (0, 0.0)  # frames produced, time of the last: replaced as one

    def frame(self, time_s: float, gap_before: int = 0) -> None:
        """Count one frame.

        Args:
            time_s: Its stream time in seconds.
            gap_before: Frames known to be missing right before it.
        """
        produced = self._state[0]
        if not produced:
            self._first_s = time_s
            gap_before = 0  # what was missing before the first frame took no measured time
        self._state = (produced + 1 + gap_before, time_s)

    @property
    def fps(self) -> float | None:
        """Frames a second; None before two frames at different times."""
        produced, last_s = self._state
        if produced < 2 or last_s <= self._first_s:
            return None
        return (produced - 1) / (last_s - self._first_s)


class ProcessUsage:
    """Use of processor and memory by this process since the object was made."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._started_s = time.perf_counter()
        self._cpu_before_s = self._cpu_s()

    @property
    def cores(self) -> float:
        """Processor seconds per wall second."""
        elapsed_s = time.perf_counter() - self._started_s
        return (self._cpu_s() - self._cpu_before_s) / elapsed_s if elapsed_s > 0 else 0.0

    @property
    def memory_mb(self) -> float:
        """Resident memory now, in MB (10^6 bytes)."""
        return float(self._process.memory_info().rss) / 1e6

    @property
    def peak_memory_mb(self) -> float:
        """Largest resident memory of the process so far, in MB (10^6 bytes)."""
        return _peak_memory_bytes(self._process) / 1e6

    def _cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


def _peak_memory_bytes(process: psutil.Process) -> float:
    if sys.platform == "win32":
        return float(process.memory_info().peak_wset)
    if sys.platform == "linux":
        # Not getrusage: there a process starts with the peak of the one that launched it.
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    import resource  # noqa: PLC0415 - POSIX only

    peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else peak * 1024


def describe_machine() -> dict[str, Any]:
    """Return what a measurement must be read with: processor, memory, system, versions."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else (os.cpu_count() or 1),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _cpu_model() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
