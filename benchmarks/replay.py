"""Record the motion of a session once, then try spotter settings on it in seconds.

Rendering, alignment and optical flow take nearly all the time of a session, and none of them
depends on the spotter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import engines.motion
import engines.synthesis
import streamer.alignment
import streamer.sources.demo
from benchmarks.headless import FrameCurves
from engines.errors import UserError
from engines.events import Event
from engines.motion.canonical import FACE_SIZE
from engines.motion.meter import MotionMeter
from engines.spotting.base import MotionSample, Spotter
from engines.spotting.flow_spotter import FlowSpotter
from streamer.alignment.face_aligner import FaceAligner
from streamer.config import GlintConfig
from streamer.sources.base import FrameSource

_FIELDS = (
    "index",
    "time_s",
    "gap_before",
    "valid",
    "restart",
    "motion",
    "velocity",
    "strain",
    "eyes",
    "head_speed",
    "delta_s",
)


class RecordedMotion:
    """The motion samples of a session, without pictures and flow fields.

    Args:
        arrays: Field of `MotionSample` to its values, (N, …).
        fps: Nominal frame rate.
    """

    def __init__(self, arrays: dict[str, npt.NDArray[Any]], fps: float) -> None:
        self._arrays = arrays
        self.fps = fps

    def __len__(self) -> int:
        return len(self._arrays["time_s"])

    def __iter__(self) -> Iterator[MotionSample]:
        columns = [
            column if column.ndim > 1 else column.tolist()
            for column in (self._arrays[name] for name in _FIELDS)
        ]
        for values in zip(*columns, strict=True):
            yield MotionSample(*values)

    def save(self, path: Path) -> None:
        """Write as .npz."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # Through a file of another name, so that a run that is cut off leaves no half a session.
        part = path.with_suffix(".part.npz")
        np.savez(part, fps=self.fps, **self._arrays)
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> RecordedMotion:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            return cls({name: stored[name] for name in _FIELDS}, float(stored["fps"]))


def record_motion(config: GlintConfig, source: FrameSource) -> RecordedMotion:
    """Align and measure a session that can wait, frame by frame, as the pipeline does."""
    aligner = FaceAligner(config.alignment, wait=True)
    columns: dict[str, list[object]] = {name: [] for name in _FIELDS}
    try:
        info = source.open()
        aligner.open()
        meter = MotionMeter(config.motion, info.fps_nominal)
        picture = np.empty(info.shape, np.uint8)
        face = np.empty((FACE_SIZE, FACE_SIZE), np.uint8)
        while (frame := source.read(picture)) is not None:
            alignment = aligner.align(frame, face)
            sample = meter.measure(
                frame.index,
                frame.time_s,
                frame.gap_before,
                face if alignment.valid else None,
                epoch=alignment.epoch,
                mesh=alignment.mesh,
                head_speed=alignment.head_speed,
            )
            for name in _FIELDS:
                value = getattr(sample, name)
                columns[name].append(value.copy() if isinstance(value, np.ndarray) else value)
    finally:
        source.close()
        aligner.close()
    return RecordedMotion(
        {name: np.array(values) for name, values in columns.items()}, info.fps_nominal
    )


def replay(motion: RecordedMotion, spotter: Spotter) -> tuple[tuple[Event, ...], FrameCurves]:
    """Spot on recorded motion; events in their last state, in order of their numbers.

    Raises:
        UserError: The spotter reads pictures or flow fields, which are not recorded.
    """
    if not isinstance(spotter, FlowSpotter):
        raise UserError(
            f"Recorded motion holds no pictures and flow fields, which {spotter.name} reads: run "
            "it without --replay."
        )
    last: dict[int, Event] = {}
    samples = list(motion)
    scores = np.zeros((len(samples), 2))
    for position, sample in enumerate(samples):
        output = spotter.push(sample)
        scores[position] = output.score, output.threshold
        last.update((event.id, event) for event in output.events)
    last.update((event.id, event) for event in spotter.finish())
    frames = FrameCurves(
        time_s=np.array([s.time_s for s in samples]),
        score=scores[:, 0],
        threshold=scores[:, 1],
        success=np.array([s.valid for s in samples], dtype=bool),
        motion=np.array([s.motion for s in samples], dtype=np.float32),
    )
    return tuple(last[number] for number in sorted(last)), frames


def fingerprint(config: GlintConfig, description: str) -> str:
    """Name of a recording: changes with whatever its motion depends on, code included."""
    digest = hashlib.sha256(description.encode())
    digest.update(config.alignment.model_dump_json().encode())
    digest.update(config.motion.model_dump_json().encode())
    for package in (streamer.alignment, engines.motion, engines.synthesis):
        for folder in package.__path__:
            for path in sorted(Path(folder).glob("*.py")):
                digest.update(path.read_bytes())
    digest.update(Path(streamer.sources.demo.__file__).read_bytes())
    return digest.hexdigest()[:16]
