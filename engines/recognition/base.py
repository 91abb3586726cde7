"""The recognition seam: the faces of one event in, an emotion with probabilities out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from engines.events import UNSURE, Explanation, most_probable

STEADY_S = 0.012
"""Frames this near to the onset (or the apex) are averaged with it against sensor noise."""


@dataclass(frozen=True, slots=True)
class EventClip:
    """The aligned faces of an event, from its onset to the frame that confirmed it.

    Attributes:
        faces: (N, 128, 128) uint8 aligned gray faces (see `engines.motion.canonical`).
        times_s: (N,) float64 stream times.
        onset: Position of the onset (the neutral reference of the movement) in `faces`.
        apex: Position of the apex in `faces`.
        mesh: (468, 3) float32 canonical landmarks at the onset; None where they are not known.
        depths: (N, 64, 64) float32 depth maps of the faces (`engines.motion.depth`); None without a
            depth camera.
    """

    faces: npt.NDArray[np.uint8]
    times_s: npt.NDArray[np.float64]
    onset: int
    apex: int
    mesh: npt.NDArray[np.float32] | None = None
    depths: npt.NDArray[np.float32] | None = None


def steady_face(clip: EventClip, position: int) -> npt.NDArray[np.float32]:
    """Average the faces around a position of a clip against sensor noise.

    Args:
        clip: An event's faces.
        position: Position in the clip.

    Returns:
        (128, 128) float32, the mean over the frames within `STEADY_S`.
    """
    near = np.abs(clip.times_s - clip.times_s[position]) <= STEADY_S
    mean: npt.NDArray[np.float32] = clip.faces[near].mean(axis=0, dtype=np.float32)
    return mean


@dataclass(frozen=True, slots=True)
class Recognition:
    """Emotion of one event.

    Attributes:
        emotion: Most probable class, or `engines.events.UNSURE`.
        probabilities: Class to calibrated probability; sums to 1.
        action_units: As in `engines.events.Event`; None from an engine that does not measure
            them.
        unit_probabilities: As in `engines.events.Event`.
    """

    emotion: str
    probabilities: Mapping[str, float]
    action_units: Mapping[str, float] | None = None
    unit_probabilities: Mapping[str, float] | None = None

    @property
    def most_probable(self) -> str:
        """The class of the highest probability, named or not."""
        return most_probable(self.probabilities)


def name_emotion(
    classes: Sequence[str], shares: npt.NDArray[np.floating[Any]], unsure_below: float
) -> Recognition:
    """Name the most probable class, unless it is not probable enough.

    Args:
        classes: Names of the classes.
        shares: (C,) calibrated probabilities, of a sum that is 1 but for rounding.
        unsure_below: Probability below which the answer is `UNSURE`; 0 never says so.

    Returns:
        The answer, with all probabilities either way.
    """
    exact = shares.astype(np.float64)
    exact /= exact.sum()
    probabilities = dict(zip(classes, exact.tolist(), strict=True))
    best = most_probable(probabilities)
    return Recognition(best if probabilities[best] >= unsure_below else UNSURE, probabilities)


@runtime_checkable
class Explains(Protocol):
    """A recogniser that can tell what carried an answer."""

    def explain(self, clip: EventClip, answer: Recognition) -> Explanation:
        """Tell what carried the answer to a clip; cheapest right after `recognize`."""
        ...


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
