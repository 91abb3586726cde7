"""Movements of known size, drawn into recorded pictures of a still face, and what is made of them.

The recorded faces are warped by the displacement fields that animate the demo (one action unit
each), a fraction of a pixel or more; everything else in the pictures, noise, light and the head's
own motion, stays as it was recorded. Then alignment, motion measurement and spotting run on them as
in a session.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from calibration.tracks import Footage, MotionTrack
from engines.events import Event, EventState
from engines.motion.canonical import FACE_SIZE, INTER_OCULAR_PX, REGION_NAMES
from engines.motion.config import MotionConfig
from engines.motion.meter import MotionMeter
from engines.motion.regions import GRID, RegionWeights
from engines.spotting.base import MotionSample, Spotter
from engines.synthesis.action_units import displacement_field
from engines.synthesis.portrait import Portrait
from streamer.alignment.face_aligner import FaceAligner
from streamer.alignment.similarity import Similarity
from streamer.config import AlignmentConfig
from streamer.frame import Frame

UNITS = (1, 4, 9, 12, 15, 17)
"""Action units that are injected: brows up and down, nose, mouth corners up and down, chin."""

DURATION_S = 0.3
"""Length of an injected movement; its course is a raised cosine."""

_MARGIN = 32  # of the fields around the canonical face
_R = len(REGION_NAMES)

Field = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Trial:
    """One movement.

    Attributes:
        start_s: Stream time at which it begins.
        unit: Action unit.
        amplitude: Displacement of the skin that moves most, at the apex, in inter-ocular distances.
    """

    start_s: float
    unit: int
    amplitude: float

    @property
    def end_s(self) -> float:
        """Stream time at which nothing is displaced any more."""
        return self.start_s + DURATION_S

    def at(self, time_s: float) -> float:
        """Return the displacement at a time, in inter-ocular distances."""
        phase = (time_s - self.start_s) / DURATION_S
        return self.amplitude * 0.5 * (1 - math.cos(2 * math.pi * phase)) if 0 < phase < 1 else 0.0


def unit_fields(mesh: npt.NDArray[np.float32]) -> dict[int, Field]:
    """Return the displacement fields of `UNITS` on this face, the longest displacement being 1.

    Args:
        mesh: (468, 3) landmarks in the canonical face.

    Returns:
        Action unit to (192, 192, 2) field over the canonical face and 32 pixels around it.
    """
    portrait = Portrait(np.empty((0, 0, 3), np.uint8), mesh.astype(np.float64))
    axis = np.arange(-_MARGIN, FACE_SIZE + _MARGIN, dtype=np.float64)
    points = np.stack(np.meshgrid(axis, axis), axis=-1)
    fields = {}
    for unit in UNITS:
        field = displacement_field(unit, portrait, points)
        fields[unit] = field / np.float32(np.hypot(field[..., 0], field[..., 1]).max())
    return fields


def region_response(mesh: npt.NDArray[np.float32], field: Field) -> npt.NDArray[np.float64]:
    """Return how far each region seems to move when a field's longest displacement is 1.

    Regions are averages over a patch and the head's part is taken out, so that a region moves
    less than the skin at its middle.

    Args:
        mesh: (468, 3) landmarks in the canonical face.
        field: A field of `unit_fields`.

    Returns:
        (R,) lengths.
    """
    weights = RegionWeights(mesh)
    inner = np.ascontiguousarray(field[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN])
    cells = np.asarray(cv2.resize(inner, (GRID, GRID), interpolation=cv2.INTER_AREA))
    means = weights.all_rows @ cells.reshape(-1, 2)
    head = (weights.head @ means[_R + 2 :].ravel()).reshape(-1, 2)
    moved = (means[: _R + 2] - head)[:_R]
    lengths: npt.NDArray[np.float64] = np.hypot(moved[:, 0], moved[:, 1]).astype(np.float64)
    return lengths


def displace(picture: Picture, field: Field, amplitude: float, to_picture: Similarity) -> Picture:
    """Return a picture in which the skin is displaced.

    Args:
        picture: (h, w) gray picture.
        field: A field of `unit_fields`.
        amplitude: Longest displacement in inter-ocular distances.
        to_picture: Transform from the canonical face to the picture.
    """
    height, width = picture.shape
    origin = Similarity(1, complex(-_MARGIN, -_MARGIN))
    placed = cv2.warpAffine(field, to_picture.after(origin).matrix(), (width, height))
    turn = amplitude * INTER_OCULAR_PX * to_picture.a
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x -= np.float32(turn.real) * placed[..., 0] - np.float32(turn.imag) * placed[..., 1]
    y -= np.float32(turn.imag) * placed[..., 0] + np.float32(turn.real) * placed[..., 1]
    # Not linear: that would soften the face where it moves, and softening looks like motion.
    return np.asarray(
        cv2.remap(picture, x, y, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


class Injector:
    """Runs alignment, measurement and spotting over footage with movements in it.

    Args:
        footage: Pictures of a still face.
        alignment: Settings of alignment.
        motion: Settings of motion measurement.
        fps: Frame rate of the footage.
    """

    def __init__(
        self, footage: Footage, alignment: AlignmentConfig, motion: MotionConfig, fps: float
    ) -> None:
        self._footage = footage
        self._alignment = alignment
        self._motion = motion
        self._fps = fps
        self._fields = unit_fields(footage.mesh)

    @property
    def start_s(self) -> float:
        """Stream time of the first picture."""
        return float(self._footage.time_s[0])

    @property
    def seconds(self) -> float:
        """Length of the footage."""
        return float(self._footage.time_s[-1] - self._footage.time_s[0])

    @property
    def mesh(self) -> npt.NDArray[np.float32]:
        """(468, 3) landmarks in the canonical face."""
        return self._footage.mesh

    def motion(self, trials: Sequence[Trial]) -> Iterable[MotionSample]:
        """Yield the motion of the footage with movements drawn in.

        Args:
            trials: Movements in order of time; they do not overlap.
        """
        footage = self._footage
        meter = MotionMeter(self._motion, self._fps)
        aligner = FaceAligner(self._alignment, wait=True)
        face = np.empty((FACE_SIZE, FACE_SIZE), np.uint8)
        index = -1
        aligner.open()
        try:
            for position, time_s in enumerate(footage.time_s.tolist()):
                gap = int(footage.gap_before[position])
                index += 1 + gap
                picture = self._drawn(position, time_s, trials)
                frame = Frame(index, time_s, None, 0.0, gap, "injected" if gap else "", picture)
                alignment = aligner.align(frame, face)
                yield meter.measure(
                    index,
                    time_s,
                    gap,
                    face if alignment.valid else None,
                    epoch=alignment.epoch,
                    mesh=alignment.mesh,
                    head_speed=alignment.head_speed,
                )
        finally:
            aligner.close()

    def found(
        self, trials: Sequence[Trial], spotter: Spotter, rest: MotionTrack
    ) -> tuple[bool, ...]:
        """Return which movements the spotter finds.

        Args:
            trials: Movements in order of time.
            spotter: A fresh spotter; it is shown `rest` first, as what came before.
            rest: Motion of the same face at rest.
        """
        if len(rest):
            shift = self._footage.time_s[0] - rest.time_s[-1] - 1 / self._fps
            for sample in rest:
                spotter.push(replace(sample, time_s=sample.time_s + shift))
        closed: list[Event] = []
        for sample in self.motion(trials):
            closed += spotter.push(sample).events
        closed += spotter.finish()
        apexes = [event.apex_s for event in closed if event.state is EventState.CLOSED]
        return tuple(any(t.start_s <= apex <= t.end_s for apex in apexes) for t in trials)

    def _drawn(self, position: int, time_s: float, trials: Sequence[Trial]) -> Picture:
        picture: Picture = self._footage.pictures[position]
        for trial in trials:
            amplitude = trial.at(time_s)
            if amplitude > 0:
                field = self._fields[trial.unit]
                return displace(picture, field, amplitude, self._footage.to_picture[position])
        return picture

    @property
    def fields(self) -> Mapping[int, Field]:
        """The fields of `UNITS` on this face."""
        return self._fields
