"""The alignment seam: pictures in, canonical faces out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from streamer.frame import Frame, Image


class AlignmentState(str, Enum):
    """What alignment is doing with the face."""

    SEARCHING = "searching"
    """No face is followed."""
    FOLLOWING = "following"
    """A face is followed and aligned at every frame."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """What is known of the followed face in one frame.

    Attributes:
        state: Whether a face is followed.
        valid: True when the canonical face of this frame is good for measuring motion.
        epoch: Grows whenever alignment starts anew (face found, tracking slipped): motion across
            two epochs is meaningless.
        face_id: Number of the followed face, from 0; -1 when there is none.
        confidence: Share of the tracked points that agree on the head's motion, 0 to 1.
        pose: Head rotation (Rx, Ry, Rz) in radians: nod, turn, tilt; NaN when unknown.
        box: Face box (x, y, width, height) in picture pixels; None without a face.
        landmarks: (N, 2) float32 outline landmarks in picture pixels; None without a face.
        mesh: (468, 3) float32 Face Mesh landmarks in the canonical face, x, y and depth (smaller
            is nearer) in canonical pixels, averaged over about a second; a new array whenever it
            changes; None without a face.
        inter_ocular_px: Distance of the outer eye corners in picture pixels; 0 without a face.
        head_speed: Motion of the head in inter-ocular distances a second.
        flags: Quality flags: `small_face`, `rotated`, `several_faces`, `out_of_picture`,
            `mesh_late`.
        luminance: Mean gray level of the face's skin in the picture, of 255; NaN when unknown.
        depth: (64, 64) float32 distance of the canonical face's cells in millimetres, 0 where the
            depth camera saw nothing (`engines.motion.depth`); None without a depth picture.
    """

    state: AlignmentState
    valid: bool
    epoch: int
    face_id: int
    confidence: float
    pose: tuple[float, float, float]
    box: tuple[float, float, float, float] | None
    landmarks: npt.NDArray[np.float32] | None
    mesh: npt.NDArray[np.float32] | None
    inter_ocular_px: float
    head_speed: float
    flags: tuple[str, ...]
    luminance: float = math.nan
    depth: npt.NDArray[np.float32] | None = None


@runtime_checkable
class Aligner(Protocol):
    """Follows one face. Used by the alignment thread."""

    name: str
    version: str

    def open(self) -> None:
        """Load models and start helper threads.

        Raises:
            UserError: Something that the aligner needs is missing.
        """
        ...

    def align(self, frame: Frame, out: Image) -> Alignment:
        """Follow the face into `frame` and draw the canonical face into `out`.

        Args:
            frame: The next frame in order of time.
            out: (128, 128) uint8; written when the result is `valid`, zeroed otherwise.
        """
        ...

    def close(self) -> None:
        """Stop helper threads and free models; may be called more than once."""
        ...
