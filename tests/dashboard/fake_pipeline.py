"""A pipeline without engines: the astronaut sways, a scripted score rises, events live and die."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from skimage import data

from engines.events import Event, EventKind, EventState
from engines.motion.canonical import REGION_NAMES
from streamer.alignment.landmarks import OUTLINE
from streamer.errors import SourceError
from streamer.frame import Image
from streamer.sinks.base import FrameRecord, SessionInfo, SessionMetrics, Sink
from streamer.sources.base import SourceInfo

PERIOD_S = 3.0
"""One event begins every so many seconds; every third is a macro-expression."""

EMOTIONS = ("negative", "positive", "surprise")
FACE = np.array([(225.0, 115.0)])  # roughly the middle of the astronaut's face


@functools.cache
def astronaut() -> Image:
    picture = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    return cv2.copyMakeBorder(picture[:480], 0, 0, 64, 64, cv2.BORDER_REPLICATE)


def face_outline(shift: tuple[float, float]) -> np.ndarray:
    """An oval with eyes, brows, nose and mouth; good enough to see where things are drawn."""
    ovals = ((36, 0, 0, 52, 68), (16, -20, -14, 9, 4), (16, 20, -14, 9, 4))
    parts = [_ellipse(*oval) for oval in ovals]
    parts += [_ellipse(10, -20, -26, 12, 3), _ellipse(10, 20, -26, 12, 3)]
    parts += [_ellipse(12, 0, 4, 5, 18), _ellipse(40, 0, 32, 18, 7)]
    points = np.concatenate(parts)[: len(OUTLINE)] + np.array(shift) + np.array([288, 120])
    # The eye corners carry the direction and the scale of every arrow.
    points[OUTLINE.index(33)] = (258 + shift[0], 106 + shift[1])
    points[OUTLINE.index(263)] = (318 + shift[0], 106 + shift[1])
    return points.astype(np.float32)


def _ellipse(count: int, x: float, y: float, across: float, down: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([x + across * np.cos(angle), y + down * np.sin(angle)], axis=1)


def scripted(number: int) -> Event:
    """The `number`-th event as it will be known in the end."""
    onset = PERIOD_S * number + 1.0
    kind = EventKind.MACRO if number % 3 == 2 else EventKind.MICRO
    duration = 1.2 if kind is EventKind.MACRO else 0.24
    emotion = EMOTIONS[number % 3]
    rest = {other: 0.14 for other in EMOTIONS if other != emotion}
    return Event(
        id=number + 1,
        state=EventState.CLOSED,
        onset_s=onset,
        apex_s=onset + duration / 2,
        offset_s=onset + duration,
        onset_frame=round(onset * 200),
        apex_frame=round((onset + duration / 2) * 200),
        offset_frame=round((onset + duration) * 200),
        score=0.9,
        regions=("left_brow_inner", "right_brow_inner", "left_mouth_corner", "chin"),
        kind=kind,
        decided_s=onset + duration + 0.1,
        spotter="scripted 1.0",
        recognizer="scripted 1.0",
        emotion=emotion,
        probabilities={emotion: 0.72, **rest},
    )


class FakePipeline:
    """Behaves as the real pipeline towards a `LiveSession`.

    `speed` runs stream time faster, and of every `stride` frames one is there.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        fps: float = 200.0,
        speed: float = 1.0,
        frames: int | None = None,
        refusal: str | None = None,
        folder: Path | None = None,
        configuration: Mapping[str, Any] | None = None,
        live: bool = False,
        stride: int = 1,
    ) -> None:
        self.fps = fps
        self.threshold_factor = 6.0
        self.closed = 0
        self.neutral_taken = 0
        self.failure: BaseException | None = None
        self._sinks = sinks
        self._speed = speed
        self._frames = frames
        self._refusal = refusal
        self._folder = folder
        self._configuration = configuration or {}
        self._live = live
        self._stride = stride
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._index = -stride
        self._pictures: deque[tuple[int, tuple[float, float]]] = deque(maxlen=200)

    def start(self) -> SessionInfo:
        if self._refusal:
            raise SourceError(self._refusal)
        truth = [scripted(n) for n in range(400)]
        info = SessionInfo(
            version="0.1.0",
            source=SourceInfo(
                "Scripted astronaut",
                "demo",
                640,
                480,
                3,
                self.fps,
                self.fps,
                self._live,
                None,
                True,
            ),
            started_utc="2026-01-01T00:00:00+00:00",
            configuration=self._configuration,
            folder=self._folder,
            engines={
                "aligner": {"name": "scripted", "version": "1.0", "sha256": None},
                "spotter": {"name": "scripted", "version": "1.0", "sha256": None},
                "recognizer": {"name": "scripted", "version": "1.0", "sha256": None},
            },
            region_names=REGION_NAMES,
            truth=tuple(
                {
                    "kind": event.kind.value if event.kind else "",
                    "onset_s": event.onset_s + 0.01,
                    "apex_s": event.apex_s,
                    "offset_s": (event.offset_s or 0.0) + 0.02,
                    "emotion": event.emotion,
                    "action_units": ["AU1", "AU4"],
                }
                for event in truth
            ),
        )
        self.info = info
        for sink in self._sinks:
            sink.open(info)
        self._thread = threading.Thread(target=self._run, name="fake-pipeline", daemon=True)
        self._thread.start()
        return info

    def wait(self, timeout: float | None = None) -> bool:
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(5)

    def close(self) -> None:
        self.stop()
        self.closed += 1

    def set_threshold_factor(self, factor: float) -> None:
        self.threshold_factor = factor

    def take_neutral(self) -> None:
        self.neutral_taken += 1

    def frame_image(self, index: int) -> Image | None:
        shift = dict(self._pictures).get(index)
        if shift is None:
            return None
        across, down = round(shift[0]), round(shift[1])
        return np.roll(astronaut(), (down, across), (0, 1))

    def face_image(self, index: int) -> Image | None:
        return None

    def metrics(self) -> SessionMetrics:
        running = self._thread is not None and self._thread.is_alive()
        done = max(self._index + 1, 0)
        return SessionMetrics(
            captured=done,
            analysed=done,
            lost={"ring_full": 3} if done > 2000 else {},
            fps_asked=self.fps,
            fps_measured=self.fps * 0.998,
            latency_ms={"capture_to_score": {"p50": 1.6, "p95": 3.1, "p99": 4.5, "max": 9.0}},
            cores=0.42,
            peak_memory_mb=412.0,
            source_state="live" if running else "closed",
            end_state="running" if running else "interrupted",
            notes=("The scripted engines find what they were told to find.",),
        )

    def _run(self) -> None:
        begin = time.perf_counter()
        number, reached = 0, 0
        while self._frames is None or self._index + 1 < self._frames:
            due = begin + (self._index + self._stride) / self.fps / self._speed
            if self._stopping.wait(max(0.0, due - time.perf_counter())):
                break
            self._index += self._stride
            now = self._index / self.fps
            self._frame(now)
            final = scripted(number)
            stages = (
                (final.onset_s + 0.04, EventState.TENTATIVE),
                (final.apex_s + 0.05, EventState.CONFIRMED),
                (final.decided_s or 0.0, EventState.CLOSED),
            )
            if now >= stages[reached][0]:
                self._tell(final, stages[reached][1])
                reached += 1
            if reached == len(stages):
                number, reached = number + 1, 0
        for sink in self._sinks:
            sink.close(self.metrics())

    def _tell(self, final: Event, state: EventState) -> None:
        event = final
        if state is not EventState.CLOSED:
            event = replace(
                final, state=state, offset_s=None, offset_frame=None, kind=None, decided_s=None
            )
        if state is EventState.TENTATIVE:
            event = replace(event, emotion=None, probabilities=None)
        for sink in self._sinks:
            sink.on_event(event)

    def _frame(self, now: float) -> None:
        shift = (8 * math.sin(now), 5 * math.sin(1.7 * now))
        self._pictures.append((self._index, shift))
        event = scripted(max(0, int((now - 1.0) // PERIOD_S)))
        assert event.offset_s is not None
        middle, half = event.apex_s, (event.offset_s - event.onset_s) / 2
        rise = max(0.0, 1 - ((now - middle) / (half * 1.4)) ** 2)
        motion = np.zeros((len(REGION_NAMES), 2), np.float32)
        motion[:4, 1] = -0.06 * rise
        motion[12:14] = (0.03 * rise, -0.04 * rise)
        blind = 20 < now % 40 < 21.5
        outline = face_outline(shift)
        record = FrameRecord(
            index=self._index,
            time_s=now,
            host_s=time.perf_counter(),
            gap_before=3 if self._index == 2000 else 0,
            face_id=-1 if blind else 0,
            confidence=0.0 if blind else 0.97,
            success=not blind,
            pose=(0.0, 0.0, 0.0),
            box=None if blind else (236 + shift[0], 52 + shift[1], 104, 136),
            landmarks=None if blind else outline,
            state="searching" if blind else "following",
            flags=(),
            score=0.0 if blind else 0.12 + 0.03 * math.sin(9 * now) + 0.8 * rise,
            threshold=0.34 + 0.02 * math.sin(0.4 * now),
            motion=motion,
        )
        for sink in self._sinks:
            sink.on_frame(record)
