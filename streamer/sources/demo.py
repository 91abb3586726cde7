"""The demo: a camera that is not there, in front of a face whose every movement is known."""

from __future__ import annotations

import math
import time
from threading import Event
from typing import Any

from engines.synthesis import FaceAnimator, Portrait, Scenario, ScenarioConfig
from streamer.errors import SourceError, SourceInterrupted
from streamer.frame import Frame, Image
from streamer.sources.base import SourceInfo, SourceOptions, SourceState

DEFAULT_FPS = 200.0
DEFAULT_SIZE = (640, 480)
DEFAULT_DURATION_S = 60.0

_FPS_LIMIT = 10_000.0
_SIZE_LIMITS = (64, 8192)
_FIRST_PICTURE_S = 0.01  # time to draw it before the clock starts
_BUFFERED_S = 0.1  # a reader that is so late still finds every picture, as with a lab camera
_LONGEST_SLEEP_S = 0.1


class DemoSource:
    """Animates a photograph with scripted expressions.

    In real time it behaves as a camera does: a frame is there when its time has come, a reader
    that is a few frames late still finds them, and what is lost beyond that is told (cause
    `demo_late`). Otherwise it waits
    for its reader, and every frame comes.

    Args:
        spec: `demo`.
        options: Rate, size, duration, seed and pace.
        scenario: What happens in the session; None for everything.
    """

    def __init__(
        self, spec: str, options: SourceOptions, scenario: ScenarioConfig | None = None
    ) -> None:
        self._spec = spec
        self._options = options
        self._config = scenario or ScenarioConfig()
        self._fps = DEFAULT_FPS if options.fps is None else options.fps
        self._frames = 0
        self._scenario: Scenario | None = None
        self._animator: FaceAnimator | None = None
        self._state = SourceState.CLOSED
        self._interrupted = Event()
        self._next = 0
        self._started_s = 0.0
        self._render_cpu_s = 0.0

    @staticmethod
    def matches(spec: str) -> bool:
        """Whether `--source spec` means the demo."""
        return spec == "demo"

    @property
    def state(self) -> SourceState:
        """What the source is doing now."""
        return self._state

    @property
    def render_cpu_s(self) -> float:
        """CPU time that the reading thread has spent on drawing, in seconds."""
        return self._render_cpu_s

    def truth(self) -> tuple[dict[str, Any], ...]:
        """Return the scripted expressions, JSON-ready; empty before `open`."""
        return self._scenario.truth() if self._scenario else ()

    def open(self) -> SourceInfo:
        """Write the script and prepare the portrait.

        Raises:
            SourceError: Rate, size or duration make no sense.
        """
        fps = self._fps
        if not 0 < fps <= _FPS_LIMIT:
            raise SourceError(
                f"The demo cannot run at {fps:g} frames a second: "
                f"choose a rate above 0 and up to {_FPS_LIMIT:g}."
            )
        duration_s = (
            DEFAULT_DURATION_S if self._options.duration_s is None else self._options.duration_s
        )
        if not 0 < duration_s < math.inf:
            raise SourceError(
                f"The demo cannot last {duration_s:g} s: choose a duration above 0 s."
            )
        width, height = self._size()
        self._frames = max(1, round(duration_s * fps))
        self._scenario = Scenario(self._config, self._options.seed, duration_s)
        self._animator = FaceAnimator(Portrait.astronaut(), self._scenario, width, height)
        self._next = 0
        self._render_cpu_s = 0.0
        self._interrupted.clear()
        self._state = SourceState.LIVE
        return SourceInfo(
            name="demo",
            kind="demo",
            width=width,
            height=height,
            channels=3,
            fps_asked=self._options.fps,
            fps_nominal=fps,
            live=self._options.realtime,
            frames=self._frames,
            device_clock=True,
        )

    def read(self, out: Image) -> Frame | None:
        """Draw the next frame into `out`; in real time, return when its time has come.

        Raises:
            SourceError: The source is not open.
            SourceInterrupted: `interrupt` was called.
        """
        if self._interrupted.is_set():
            raise SourceInterrupted
        if self._animator is None:
            raise SourceError("The demo is not open: open it before reading.")
        if self._next >= self._frames:
            self._state = SourceState.ENDED
            return None
        gap = self._missed() if self._options.realtime else 0
        index = self._next + gap
        self._next = index + 1
        time_s = index / self._fps

        before = time.thread_time()
        self._animator.render(time_s, out, index)
        self._render_cpu_s += time.thread_time() - before

        if self._options.realtime:
            self._wait_until(self._started_s + time_s)
        return Frame(
            index=index,
            time_s=time_s,
            device_s=time_s,
            host_s=time.perf_counter(),
            gap_before=gap,
            gap_cause="demo_late" if gap else "",
            image=out,
        )

    def interrupt(self) -> None:
        """Make `read` raise `SourceInterrupted`; callable from any thread."""
        self._interrupted.set()

    def close(self) -> None:
        """Release the buffers; may be called more than once. The truth stays known."""
        self._animator = None
        self._state = SourceState.CLOSED

    def _size(self) -> tuple[int, int]:
        width, height = self._options.width, self._options.height
        ratio = DEFAULT_SIZE[0] / DEFAULT_SIZE[1]
        if width is None:
            width = DEFAULT_SIZE[0] if height is None else round(height * ratio)
        if height is None:
            height = round(width / ratio)
        low, high = _SIZE_LIMITS
        if not (low <= width <= high and low <= height <= high):
            raise SourceError(
                f"The demo cannot be drawn at {width} by {height}: "
                f"choose a width and height from {low} to {high} pixels."
            )
        return width, height

    def _missed(self) -> int:
        """Number of pictures whose time has passed while nobody read."""
        now = time.perf_counter()
        if self._next == 0:
            self._started_s = now + _FIRST_PICTURE_S
            return 0
        kept_from = math.floor((now - self._started_s - _BUFFERED_S) * self._fps)
        return max(min(kept_from, self._frames - 1) - self._next, 0)

    def _wait_until(self, deadline_s: float) -> None:
        while (remaining := deadline_s - time.perf_counter()) > 0:
            if self._interrupted.is_set():
                raise SourceInterrupted
            time.sleep(min(remaining, _LONGEST_SLEEP_S))
