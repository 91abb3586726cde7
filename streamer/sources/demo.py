"""The demo: a camera that is not there, in front of a face whose every movement is known."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import numpy as np

from engines.synthesis import FaceAnimator, Portrait, Scenario, ScenarioConfig
from streamer.errors import SourceError, SourceInterrupted
from streamer.frame import Frame, Image
from streamer.ring import FrameRing, Overflow, RingReader, ring_capacity
from streamer.scheduling import give_way
from streamer.sources.base import SourceInfo, SourceOptions, SourceState

DEFAULT_FPS = 200.0
DEFAULT_SIZE = (640, 480)
DEFAULT_DURATION_S = 60.0

_FPS_LIMIT = 10_000.0
_SIZE_LIMITS = (64, 8192)
_FIRST_PICTURE_S = 0.01  # time to draw it before the clock starts
_LONGEST_SLEEP_S = 0.1
_DRAWN_LATE_S = 0.1  # drawing that falls further behind leaves pictures out, and stays live
_AHEAD_S = 0.25
_AHEAD_BYTES = 64 * 2**20
_DRAWING_NICE = 5  # further back, a busy machine would draw too few pictures
_JOIN_S = 5.0


class DemoSource:
    """Animates a photograph with scripted expressions.

    In real time it behaves as a lab camera does: a frame is there when its time has come, a reader
    that is late finds what was drawn by then, as in a driver's buffers, and what is lost beyond
    that is told (cause `demo_late`). The time of capture is when the frame was due, so that being
    late counts as latency. A camera costs its host nothing, so pictures are drawn ahead, on a
    thread that gives way to the session (`glint-demo`). Otherwise it waits for its reader, and
    every frame comes.

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
        self._interrupted = threading.Event()
        self._next = 0
        self._started_s = math.inf
        self._render_cpu_s = 0.0
        self._drawn: FrameRing[None] | None = None
        self._to_show: RingReader[None] | None = None
        self._drawing: threading.Thread | None = None
        self._failure: BaseException | None = None

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
        """CPU time that has been spent on drawing, in seconds."""
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
        self._started_s = math.inf
        self._render_cpu_s = 0.0
        self._interrupted.clear()
        self._state = SourceState.LIVE
        if self._options.realtime:
            self._draw_ahead((height, width, 3))
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
        """Copy or draw the next frame into `out`; in real time, return when its time has come.

        Raises:
            SourceError: The source is not open.
            SourceInterrupted: `interrupt` was called.
        """
        if self._interrupted.is_set():
            raise SourceInterrupted
        if self._animator is None:
            raise SourceError("The demo is not open: open it before reading.")
        index = self._show(out) if self._options.realtime else self._draw_next(out)
        if index is None:
            self._state = SourceState.ENDED
            return None
        gap = index - self._next
        self._next = index + 1
        time_s = index / self._fps
        live = self._options.realtime
        return Frame(
            index=index,
            time_s=time_s,
            device_s=time_s,
            host_s=self._started_s + time_s if live else time.perf_counter(),
            gap_before=gap,
            gap_cause="demo_late" if gap else "",
            image=out,
        )

    def interrupt(self) -> None:
        """Make `read` raise `SourceInterrupted`; callable from any thread."""
        self._interrupted.set()
        if self._drawn is not None:
            self._drawn.close()

    def close(self) -> None:
        """Release the buffers; may be called more than once. The truth stays known."""
        if self._drawing is not None and self._drawn is not None:
            self._drawn.close()
            self._drawing.join(_JOIN_S)
        self._drawing = self._drawn = self._to_show = self._animator = None
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

    # -- drawing -----------------------------------------------------------------------------

    def _draw(self, index: int, out: Image) -> None:
        assert self._animator is not None
        before = time.thread_time()
        self._animator.render(index / self._fps, out, index)
        self._render_cpu_s += time.thread_time() - before

    def _draw_next(self, out: Image) -> int | None:
        """Draw the next picture; its index, or None when there are no more."""
        if self._next >= self._frames:
            return None
        self._draw(self._next, out)
        return self._next

    def _draw_ahead(self, shape: tuple[int, int, int]) -> None:
        """Start the thread that draws, and the ring that it draws into."""
        capacity = ring_capacity(self._fps, _AHEAD_S, margin=1.0)
        capacity = max(4, min(capacity, _AHEAD_BYTES // math.prod(shape)))
        ring: FrameRing[None] = FrameRing(capacity, shape, Overflow.WAIT, "drawn pictures")
        self._drawn, self._to_show, self._failure = ring, ring.reader("demo"), None
        self._drawing = threading.Thread(
            target=self._fill, args=(ring,), name="glint-demo", daemon=True
        )
        self._drawing.start()

    def _fill(self, ring: FrameRing[None]) -> None:
        give_way(_DRAWING_NICE)
        index = 0
        try:
            while index < self._frames and (picture := ring.claim()) is not None:
                index = max(index, self._kept_from(_DRAWN_LATE_S))
                self._draw(index, picture)
                time_s = index / self._fps
                ring.publish(Frame(index, time_s, time_s, 0.0, 0, "", picture), None)
                index += 1
        except Exception as error:
            self._failure = error
        finally:
            ring.close()

    def _show(self, out: Image) -> int | None:
        """Copy the next picture that is not too old when its time has come; its index."""
        assert self._to_show is not None
        if self._next == 0:
            self._started_s = time.perf_counter() + _FIRST_PICTURE_S
        while (slot := self._to_show.next()) is not None:
            if slot.frame.index >= self._kept_from(self._options.camera.buffer_s):
                np.copyto(out, slot.frame.image)
                self._wait_until(self._started_s + slot.frame.time_s)
                return slot.frame.index
        if self._interrupted.is_set():
            raise SourceInterrupted
        if self._failure is not None:
            raise self._failure
        return None

    def _kept_from(self, keep_s: float) -> int:
        """The oldest picture when none is kept longer than this; the last one never goes."""
        late_s = time.perf_counter() - self._started_s - keep_s
        return max(0, min(math.floor(late_s * self._fps), self._frames - 1)) if late_s > 0 else 0

    def _wait_until(self, deadline_s: float) -> None:
        while (remaining := deadline_s - time.perf_counter()) > 0:
            if self._interrupted.is_set():
                raise SourceInterrupted
            time.sleep(min(remaining, _LONGEST_SLEEP_S))
