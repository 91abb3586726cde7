"""Records takes through the live pipeline: what is measured is what a session would see.

The pipeline's aligner and motion meter are wrapped so that they note what passes through them. A
live source runs on between takes; a file waits, so that the next take is its next stretch.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from calibration.tracks import FaceTrack, Footage, FrameTimes, Looks, MotionTrack, Take
from engines.motion.canonical import FACE_SIZE, INTER_OCULAR_PX
from engines.motion.meter import MotionMeter
from engines.spotting.base import MotionSample
from engines.spotting.flow_spotter import FlowSpotter
from streamer.alignment import landmarks as index_of
from streamer.alignment.base import Aligner, Alignment
from streamer.alignment.face_aligner import FaceAligner
from streamer.alignment.similarity import Similarity, to_points
from streamer.config import GlintConfig
from streamer.frame import Frame, Image
from streamer.pipeline import Pipeline, Stages
from streamer.sources.base import FrameSource, SourceInfo

_BANDS = 24
_LOOK_EVERY_S = 0.4
_LOOK_MARGIN = 0.2  # for the head's sway, in inter-ocular distances
_REACH = 2.2  # of the recorded window around the face, in inter-ocular distances
_FOOTAGE_BYTES = 512 * 1024**2
_POLL_S = 0.1
_OUTLINE = np.array(index_of.OUTLINE)
_MIDDLE = complex(FACE_SIZE / 2, FACE_SIZE / 2)


class Recorder:
    """Opens a source and records takes of it. A context manager.

    Args:
        source: A closed source.
        config: Settings of alignment, motion and spotting.
    """

    def __init__(self, source: FrameSource, config: GlintConfig) -> None:
        self._desk = _Desk()
        stages = Stages(
            aligner=lambda info: _RecordingAligner(
                FaceAligner(config.alignment, wait=not info.live), self._desk, live=info.live
            ),
            meter=lambda info, spotter: _RecordingMeter(config, info, self._desk),
            spotter=lambda info: FlowSpotter(config.flow_spotter, info.fps_nominal),
            recognizer=None,
        )
        self._pipeline = Pipeline(source, stages, [], config)
        self.info: SourceInfo

    def __enter__(self) -> Recorder:
        """Open the source.

        Raises:
            UserError: It cannot be opened.
        """
        self.info = self._pipeline.start().source
        return self

    def __exit__(self, *_: object) -> None:
        self._desk.release()
        self._pipeline.close()

    def record(
        self,
        seconds: float,
        *,
        pictures: bool,
        progress: Callable[[float], None] = lambda seconds: None,
    ) -> Take:
        """Record the next stretch of the source.

        Args:
            seconds: Length in stream time.
            pictures: Keep pictures too, for the steps that look at them.
            progress: Told how many seconds are recorded.

        Returns:
            The take; shorter, and not `complete`, when the source ended.

        Raises:
            UserError: The source failed.
        """
        sheet = _Sheet(seconds, self.info.fps_nominal, pictures=pictures)
        self._desk.begin(sheet)
        while not sheet.done.wait(_POLL_S):
            progress(sheet.recorded_s)
            if self._pipeline.wait(0):
                break
        self._desk.end()
        failure = self._pipeline.failure
        if failure is not None:
            raise failure
        progress(sheet.recorded_s)
        return sheet.take()


class _Desk:
    """Where the stages find the sheet that they write to."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sheet: _Sheet | None = None
        self._released = False

    def begin(self, sheet: _Sheet) -> None:
        with self._changed:
            self._sheet = sheet
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._sheet = None

    def release(self) -> None:
        """Let a stage that waits go on, for good."""
        with self._changed:
            self._released = True
            self._changed.notify_all()

    @property
    def sheet(self) -> _Sheet | None:
        return self._sheet

    def sheet_for(self, time_s: float, *, wait: bool) -> _Sheet | None:
        """The sheet that a frame belongs on; waits until there is one, or until released."""
        with self._changed:
            while True:
                sheet = self._sheet
                if sheet is not None and sheet.takes(time_s):
                    return sheet
                if not wait or self._released:
                    return None
                self._changed.wait()


class _RecordingAligner:
    """An aligner that writes down what it sees."""

    def __init__(self, aligner: Aligner, desk: _Desk, *, live: bool) -> None:
        self._aligner = aligner
        self._desk = desk
        self._wait = not live
        self.name = aligner.name
        self.version = aligner.version

    def open(self) -> None:
        self._aligner.open()

    def align(self, frame: Frame, out: Image) -> Alignment:
        sheet = self._desk.sheet_for(frame.time_s, wait=self._wait)
        alignment = self._aligner.align(frame, out)
        if sheet is not None:
            sheet.write_picture(frame, alignment)
        return alignment

    def close(self) -> None:
        self._aligner.close()


class _RecordingMeter(MotionMeter):
    """A motion meter that writes down what it measures."""

    def __init__(self, config: GlintConfig, info: SourceInfo, desk: _Desk) -> None:
        super().__init__(config.motion, info.fps_nominal)
        self._desk = desk

    def measure(self, *args: Any, **kwargs: Any) -> MotionSample:
        sample = super().measure(*args, **kwargs)
        sheet = self._desk.sheet
        if sheet is not None:
            sheet.write_motion(sample)
        return sample


@dataclass(slots=True)
class _Window:
    """The part of the picture around the face that a take keeps."""

    left: int
    top: int
    right: int
    bottom: int
    shrink: int

    @classmethod
    def around(cls, frame: Frame, alignment: Alignment) -> _Window:
        height, width = frame.image.shape[:2]
        shrink = max(1, int(alignment.inter_ocular_px / INTER_OCULAR_PX))
        middle = to_picture(alignment).at(_MIDDLE)
        reach = _REACH * alignment.inter_ocular_px
        left, top = (max(0, int(c - reach)) for c in (middle.real, middle.imag))
        right, bottom = (
            min(size, int(c + reach)) for size, c in ((width, middle.real), (height, middle.imag))
        )
        right -= (right - left) % shrink
        bottom -= (bottom - top) % shrink
        return cls(left, top, right, bottom, shrink)

    def of(self, picture: Image) -> Image:
        return picture[self.top : self.bottom, self.left : self.right]


@dataclass(slots=True)
class _Sheet:
    """One take while it is written. Two threads write, each to lists of its own."""

    seconds: float
    fps: float
    pictures: bool
    done: threading.Event = field(default_factory=threading.Event)
    recorded_s: float = 0.0
    _start_s: float | None = None
    _last_index: int = -1
    _measured_index: int = -1
    _full: bool = False
    _frames: list[tuple[int, float, float, float]] = field(default_factory=list)
    _lost: Counter[str] = field(default_factory=Counter)
    _faces: list[tuple[Any, ...]] = field(default_factory=list)
    _flags: Counter[str] = field(default_factory=Counter)
    _bands: list[npt.NDArray[np.float64]] = field(default_factory=list)
    _samples: list[MotionSample] = field(default_factory=list)
    _window: _Window | None = None
    _band_rows: npt.NDArray[np.int64] | None = None
    _looks: list[tuple[Image, Image, tuple[float, ...], float]] = field(default_factory=list)
    _look_at: tuple[int, int, int, int] | None = None
    _half_look: Image | None = None
    _next_look_s: float = -math.inf
    _footage: npt.NDArray[np.uint8] | None = None
    _drawn: list[tuple[float, int, Similarity]] = field(default_factory=list)
    _mesh: npt.NDArray[np.float32] | None = None

    def takes(self, time_s: float) -> bool:
        """Whether a frame of this time belongs here. Closes the sheet when it does not."""
        if self._start_s is None:
            return not self._full
        if time_s - self._start_s < self.seconds - 1e-6:
            return not self._full
        self._full = True
        self._finish()
        return False

    # -- the alignment thread ----------------------------------------------------------------

    def write_picture(self, frame: Frame, alignment: Alignment) -> None:
        if self._start_s is None:
            self._start_s = frame.time_s
        elif frame.gap_before:
            self._lost[frame.gap_cause or "unknown"] += frame.gap_before
        device_s = math.nan if frame.device_s is None else frame.device_s
        self._frames.append((frame.index, frame.time_s, device_s, frame.host_s))
        self.recorded_s = frame.time_s - self._start_s
        self._last_index = frame.index
        if alignment.valid and alignment.box is not None:
            self._write_face(frame, alignment)
        else:
            self._half_look = None

    def _write_face(self, frame: Frame, alignment: Alignment) -> None:
        if self._window is None:
            self._window = _Window.around(frame, alignment)
        part = self._window.of(frame.image)
        gray = (
            np.asarray(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY), np.uint8) if part.ndim == 3 else part
        )
        assert alignment.box is not None
        x, y, width, height = alignment.box
        x, y = x - self._window.left, y - self._window.top
        box = (x, y, width, height)
        if self._band_rows is None:
            edges = np.linspace(y + 0.05 * height, y + 0.95 * height, _BANDS + 1)
            self._band_rows = np.clip(np.round(edges).astype(np.int64), 0, gray.shape[0])
        across = gray[:, max(0, int(x + 0.15 * width)) : max(1, int(x + 0.85 * width))]
        face = across[max(0, int(y)) : max(1, int(y + height))]
        rows = cv2.reduce(across, 1, cv2.REDUCE_AVG, dtype=cv2.CV_64F).ravel()
        self._bands.append(_band_means(rows, self._band_rows))
        self._faces.append(
            (
                frame.time_s,
                cv2.mean(face)[0] if face.size else 0.0,
                alignment.inter_ocular_px,
                height,
                (x + self._window.left + width / 2, y + self._window.top + height / 2),
                alignment.pose,
                alignment.head_speed,
            )
        )
        self._flags.update(alignment.flags)
        if self.pictures:
            self._look(frame.time_s, part, box, alignment.inter_ocular_px)
            self._film(frame, gray, alignment)

    def _look(self, time_s: float, part: Image, box: tuple[float, ...], span: float) -> None:
        """Every now and then, keep two pictures in a row."""
        x, y, width, height = box
        if self._look_at is None:
            margin = _LOOK_MARGIN * span
            self._look_at = (
                max(0, int(x - margin)),
                max(0, int(y - margin)),
                int(x + width + margin),
                int(y + height + margin),
            )
        left, top, right, bottom = self._look_at
        seen = part[top:bottom, left:right]
        if self._half_look is not None:
            face = (x - left, y - top, width, height)
            self._looks.append((self._half_look, seen.copy(), face, span))
            self._half_look = None
        elif time_s >= self._next_look_s:
            self._half_look = seen.copy()
            self._next_look_s = time_s + _LOOK_EVERY_S

    def _film(self, frame: Frame, gray: Image, alignment: Alignment) -> None:
        assert self._window is not None
        k = self._window.shrink
        if k > 1:
            size = (gray.shape[1] // k, gray.shape[0] // k)
            gray = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)
        if self._footage is None:
            room = min(math.ceil(self.seconds * self.fps * 1.1) + 2, _FOOTAGE_BYTES // gray.size)
            self._footage = np.empty((room, *gray.shape), np.uint8)
        if len(self._drawn) >= len(self._footage):
            return
        self._footage[len(self._drawn)] = gray
        # Pixel centres: the middle of the first shrunk pixel is (k - 1) / 2 in the picture.
        corner = complex(self._window.left, self._window.top) + complex(1, 1) * (k - 1) / 2
        to_footage = Similarity(1 / k, -corner / k).after(to_picture(alignment))
        gap = 0 if not self._drawn else frame.gap_before
        self._drawn.append((frame.time_s, gap, to_footage))
        self._mesh = alignment.mesh

    # -- the analysis thread -----------------------------------------------------------------

    def write_motion(self, sample: MotionSample) -> None:
        if self._start_s is None or sample.time_s < self._start_s:
            return
        if sample.time_s - self._start_s < self.seconds - 1e-6:
            self._samples.append(
                replace(
                    sample,
                    motion=sample.motion.copy(),
                    velocity=sample.velocity.copy(),
                    strain=None if sample.strain is None else sample.strain.copy(),
                    eyes=sample.eyes.copy(),
                    face=None,
                )
            )
        self._measured_index = sample.index
        self._finish()

    def _finish(self) -> None:
        """Both threads ask: whichever comes last finds the take done."""
        if self._full and self._measured_index >= self._last_index:
            self.done.set()

    # -- the recorder ------------------------------------------------------------------------

    def take(self) -> Take:
        frames = np.array(self._frames, np.float64).reshape(-1, 4)
        return Take(
            times=FrameTimes(
                index=frames[:, 0].astype(np.int64),
                time_s=frames[:, 1],
                device_s=frames[:, 2],
                host_s=frames[:, 3],
                lost=dict(self._lost),
            ),
            face=self._face_track(),
            motion=MotionTrack.of(self._samples),
            looks=self._gathered_looks(),
            footage=self._gathered_footage(),
            complete=self.done.is_set(),
        )

    def _face_track(self) -> FaceTrack:
        columns = list(zip(*self._faces, strict=True)) or [()] * 7
        time_s, luminance, span, height, centre, pose, speed = (
            np.array(c, np.float64) for c in columns
        )
        rows = self._band_rows if self._band_rows is not None else np.zeros(_BANDS + 1, np.int64)
        top = self._window.top if self._window is not None else 0
        return FaceTrack(
            time_s=time_s,
            luminance=luminance,
            bands=np.array(self._bands).reshape(-1, _BANDS),
            band_rows=top + (rows[1:] + rows[:-1] - 1) / 2,
            inter_ocular_px=span,
            height_px=height,
            centre_px=centre.reshape(-1, 2),
            pose=pose.reshape(-1, 3),
            head_speed=speed,
            flags=dict(self._flags),
        )

    def _gathered_looks(self) -> Looks | None:
        if not self._looks:
            return None
        before, after, boxes, spans = zip(*self._looks, strict=True)
        return Looks(
            pairs=np.stack([np.array(before), np.array(after)], axis=1),
            boxes=np.array(boxes),
            inter_ocular_px=np.array(spans),
        )

    def _gathered_footage(self) -> Footage | None:
        if self._footage is None or self._mesh is None or self._window is None:
            return None
        times, gaps, transforms = zip(*self._drawn, strict=True)
        return Footage(
            pictures=self._footage[: len(times)],
            time_s=np.array(times),
            gap_before=np.array(gaps, np.int64),
            to_picture=tuple(transforms),
            mesh=self._mesh.copy(),
        )


def to_picture(alignment: Alignment) -> Similarity:
    """Return the transform from the canonical face to the picture.

    Alignment tells it by the outline, which it gives in both.
    """
    assert alignment.mesh is not None
    assert alignment.landmarks is not None
    canonical = to_points(alignment.mesh[_OUTLINE])
    return Similarity.fit(canonical, to_points(alignment.landmarks), np.ones(len(_OUTLINE)))


def _band_means(rows: cv2.typing.MatLike, edges: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    cumulated = np.concatenate([[0.0], np.cumsum(rows)])
    heights = np.maximum(np.diff(edges), 1)
    means: npt.NDArray[np.float64] = np.diff(cumulated[edges]) / heights
    return means
