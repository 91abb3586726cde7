"""What is recorded of a take: plain arrays, one row a frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.spotting.base import MotionSample
from streamer.alignment.similarity import Similarity

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """When frames came, and what was missing between them.

    Attributes:
        index: (N,) int64 frame indices; lost frames count.
        time_s: (N,) stream time in seconds.
        device_s: (N,) timestamps of the device, NaN where there is none.
        host_s: (N,) host's monotonic clock at arrival.
        lost: Cause to number of frames that are missing between the first and the last.
    """

    index: npt.NDArray[np.int64]
    time_s: Floats
    device_s: Floats
    host_s: Floats
    lost: dict[str, int]


@dataclass(frozen=True, slots=True)
class FaceTrack:
    """The followed face in the picture, at the frames in which it was followed.

    Attributes:
        time_s: (N,) stream time in seconds.
        luminance: (N,) mean grey level of the face's box.
        bands: (N, B) mean grey levels of B strips of picture rows that stay where they are.
        band_rows: (B,) middle row of each strip, in picture pixels.
        inter_ocular_px: (N,) distance of the outer eye corners in picture pixels.
        height_px: (N,) height of the face, forehead to chin, in picture pixels.
        centre_px: (N, 2) centre of the face in picture pixels.
        pose: (N, 3) head rotation in radians: nod, turn, tilt.
        head_speed: (N,) inter-ocular distances a second.
        flags: Quality flags that alignment raised, and at how many frames.
    """

    time_s: Floats
    luminance: Floats
    bands: Floats
    band_rows: Floats
    inter_ocular_px: Floats
    height_px: Floats
    centre_px: Floats
    pose: Floats
    head_speed: Floats
    flags: dict[str, int]

    def __len__(self) -> int:
        return len(self.time_s)


@dataclass(frozen=True, slots=True)
class MotionTrack:
    """Motion samples without pictures, as the spotter is given them; see `MotionSample`."""

    index: npt.NDArray[np.int64]
    time_s: Floats
    gap_before: npt.NDArray[np.int64]
    valid: npt.NDArray[np.bool_]
    restart: npt.NDArray[np.bool_]
    motion: npt.NDArray[np.float32]
    velocity: npt.NDArray[np.float32]
    strain: npt.NDArray[np.float32]
    eyes: npt.NDArray[np.float32]
    head_speed: Floats
    delta_s: Floats

    @classmethod
    def of(cls, samples: list[MotionSample]) -> MotionTrack:
        """Gather samples whose arrays are their own."""
        return cls(
            **{
                field.name: np.array([getattr(sample, field.name) for sample in samples])
                for field in fields(cls)
            }
        )

    def __len__(self) -> int:
        return len(self.time_s)

    def __iter__(self) -> Iterator[MotionSample]:
        names = [field.name for field in fields(self)]
        columns = [getattr(self, name) for name in names]
        lists = [column if column.ndim > 1 else column.tolist() for column in columns]
        for values in zip(*lists, strict=True):
            yield MotionSample(**dict(zip(names, values, strict=True)))

    def between(self, start: int, stop: int | None = None) -> MotionTrack:
        """Return the samples at positions `start` to `stop`, as views."""
        return MotionTrack(
            **{field.name: getattr(self, field.name)[start:stop] for field in fields(self)}
        )

    def without(self, spans: Sequence[tuple[float, float]]) -> MotionTrack:
        """Return the samples outside spans of time; measurement begins anew after each."""
        kept = np.ones(len(self), bool)
        for start, end in spans:
            kept &= (self.time_s < start) | (self.time_s > end)
        columns = {field.name: getattr(self, field.name)[kept] for field in fields(self)}
        cut = np.r_[False, np.diff(np.flatnonzero(kept)) > 1]
        columns["restart"] = columns["restart"] | cut[: int(kept.sum())]
        return MotionTrack(**columns)

    def then(self, later: MotionTrack) -> MotionTrack:
        """Return these samples and later ones; measurement begins anew between them."""
        if not len(later):
            return self
        columns = {
            field.name: np.concatenate([getattr(self, field.name), getattr(later, field.name)])
            for field in fields(self)
        }
        columns["restart"][len(self)] = True
        return MotionTrack(**columns)

    @property
    def measured_s(self) -> float:
        """Stream time that was measured, in seconds: the intervals between valid samples."""
        if len(self) < 2:
            return 0.0
        step = np.diff(self.time_s)
        return float(step[self.valid[1:] & self.valid[:-1] & (step < 1.0)].sum())


@dataclass(frozen=True, slots=True)
class Looks:
    """Pairs of successive pictures of the face, a few a second, in full resolution.

    Attributes:
        pairs: (K, 2, h, w) or (K, 2, h, w, 3) uint8, the same part of the picture every time.
        boxes: (K, 4) face in that part: x, y, width, height.
        inter_ocular_px: (K,) distance of the outer eye corners in picture pixels.
    """

    pairs: npt.NDArray[np.uint8]
    boxes: Floats
    inter_ocular_px: Floats

    def __len__(self) -> int:
        return len(self.pairs)


@dataclass(frozen=True, slots=True)
class Footage:
    """Pictures of the head in which movements can be drawn afterwards.

    Attributes:
        pictures: (N, h, w) uint8 gray, shrunk as alignment shrinks large faces.
        time_s: (N,) stream time in seconds.
        gap_before: (N,) frames missing right before each.
        to_picture: N transforms from the canonical face to `pictures`.
        mesh: (468, 3) landmarks in the canonical face.
    """

    pictures: npt.NDArray[np.uint8]
    time_s: Floats
    gap_before: npt.NDArray[np.int64]
    to_picture: tuple[Similarity, ...]
    mesh: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.pictures)


@dataclass(frozen=True, slots=True)
class Take:
    """One recorded stretch of a source.

    Attributes:
        times: All frames.
        face: Frames with a face.
        motion: Frames that reached the spotter.
        looks: Pictures of the face; None when there was none, or none were asked for.
        footage: Pictures for injection; as `looks`.
        complete: Whether the source lasted as long as the take was to be.
    """

    times: FrameTimes
    face: FaceTrack
    motion: MotionTrack
    looks: Looks | None
    footage: Footage | None
    complete: bool
