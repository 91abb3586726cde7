"""The recognition seam: the faces of one event in, an emotion with probabilities out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class EventClip:
    """The aligned faces of an event, from its onset to the frame that confirmed it.

    Attributes:
        faces: (N, 128, 128) uint8 aligned gray faces (see `engines.motion.canonical`).
        times_s: (N,) float64 stream times.
        onset: Position of the onset (the neutral reference of the movement) in `faces`.
        apex: Position of the apex in `faces`.
    """

    faces: npt.NDArray[np.uint8]
    times_s: npt.NDArray[np.float64]
    onset: int
    apex: int


@dataclass(frozen=True, slots=True)
class Recognition:
    """Emotion of one event.

    Attributes:
        emotion: Most probable class.
        probabilities: Class to calibrated probability; sums to 1.
    """

    emotion: str
    probabilities: Mapping[str, float]


@runtime_checkable
class Recognizer(Protocol):
    """Names the emotion of an event. Called from one background thread, once per event.

    An engine with a network also has `backend` and `fallback`, those of its `GraphRunner`.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    model_sha256: str | None
    """Hash of the model file; None for an engine without one."""

    def recognize(self, clip: EventClip) -> Recognition:
        """Recognise the emotion of one event; deterministic in `clip`."""
        ...

    def close(self) -> None:
        """Release what the engine holds; may be called more than once."""
        ...
