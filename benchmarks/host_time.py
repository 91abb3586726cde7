"""What the host of a virtual machine takes, second by second, and latency while it takes nothing.

On a shared host the tail of latencies is the host's as much as the program's. Where the system
tells what was taken (Linux), the seconds in which nothing was are looked at by themselves.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
import psutil

from engines.events import Event
from engines.motion.flow import DisFlow
from streamer.sinks.base import FrameRecord, SessionInfo, SessionMetrics

_STEP_S = 1.0
_ROUNDS = 8


@dataclass(slots=True)
class HostTime:
    """Share of the processors that was given to other machines, step by step.

    Attributes:
        ends_s: `time.perf_counter()` at the end of each step.
        taken: Share in that step, 0 to 1; NaN where the system does not tell.
    """

    ends_s: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """Share over all steps."""
        return float(np.mean(self.taken)) if self.taken else float("nan")


@contextmanager
def watched_host() -> Iterator[HostTime]:
    """Watch what the host takes while the body runs."""
    seen, before = HostTime(), _times()

    def step() -> None:
        nonlocal before
        now = _times()
        taken, whole = (b - a for a, b in zip(before, now, strict=True))
        if whole > 0:
            seen.ends_s.append(time.perf_counter())
            seen.taken.append(taken / whole)
        before = now

    with repeated(step, _STEP_S, "benchmark-host"):
        yield seen


@contextmanager
def repeated(work: Callable[[], None], interval_s: float, name: str) -> Iterator[None]:
    """Do something every so many seconds while the body runs, and once at its end.

    Args:
        work: What to do.
        interval_s: Seconds between two times.
        name: Of the thread that does it.
    """
    done = threading.Event()

    def run() -> None:
        while not done.wait(interval_s):
            work()
        work()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class FrameAges:
    """A sink that keeps how old each frame was when its score was known."""

    name = "frame ages"

    def __init__(self) -> None:
        self.scored_s, self.age_s = array("d"), array("d")  # small, for runs that watch memory

    def open(self, session: SessionInfo) -> None:
        """Nothing to open."""

    def on_frame(self, record: FrameRecord) -> None:
        """Keep the age."""
        self.scored_s.append(record.scored_s)
        self.age_s.append(record.scored_s - record.host_s)

    def on_event(self, event: Event) -> None:
        """Events have latencies of their own."""

    def close(self, metrics: SessionMetrics) -> None:
        """Nothing to close."""

    def between(self, first_s: float, last_s: float) -> dict[str, float]:
        """Percentiles in milliseconds of the frames that scored between two host times."""
        scored = np.array(self.scored_s)
        return _percentiles(np.array(self.age_s)[(scored >= first_s) & (scored < last_s)])

    def undisturbed(self, host: HostTime) -> dict[str, float]:
        """Seconds in which the host took nothing, and percentiles of the frames in them."""
        if not host.ends_s:
            return {"seconds": 0.0}
        ends, calm = np.array(host.ends_s), np.array(host.taken) == 0.0
        scored, ages = np.array(self.scored_s), np.array(self.age_s)
        inside = scored < ends[-1]
        chosen = calm[np.searchsorted(ends, scored[inside], side="right")]
        seconds = np.diff(ends, prepend=ends[0] - _STEP_S)[calm].sum()
        return {"seconds": float(seconds), **_percentiles(ages[inside][chosen])}


def _percentiles(ages_s: npt.NDArray[np.float64]) -> dict[str, float]:
    if not len(ages_s):
        return {}
    found = np.percentile(ages_s, (50, 95, 99, 100)) * 1e3
    return dict(zip(("p50", "p95", "p99", "max"), map(float, found), strict=True))


def _times() -> tuple[float, float]:
    """Seconds of all processors: given to other machines (Linux tells), and in all."""
    times = psutil.cpu_times()
    return getattr(times, "steal", float("nan")), sum(times)


def parallel_gain(seconds: float = 4.0) -> float:
    """How many times the work of one core two of them do at once, on optical flow.

    Two for two cores of their own; little more than one for the two threads of one core, as
    virtual machines often have them.
    """
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(_flows, [seconds / 4] * 4, chunksize=1)  # both have started
        # The best of some rounds: whatever else the machine or its host does only takes away.
        rounds = [
            [sum(pool.map(_flows, [seconds / _ROUNDS] * n, chunksize=1)) for n in (1, 2)]
            for _ in range(_ROUNDS)
        ]
        alone, together = np.max(rounds, axis=0)
        return float(together / alone)


def _flows(seconds: float) -> int:
    """Flows that are computed in this time."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    before, after = (
        cv2.GaussianBlur(rng.integers(0, 255, (128, 128)).astype(np.uint8), (0, 0), 2.0)
        for _ in range(2)
    )
    flow, count, until_s = DisFlow(), 0, time.perf_counter() + seconds
    while time.perf_counter() < until_s:
        flow(before, after)
        count += 1
    return count
