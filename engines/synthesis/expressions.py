"""Emotions as combinations of action units, in the three classes of composite databases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.synthesis.action_units import ACTION_UNITS

EMOTIONS = ("negative", "positive", "surprise")


@dataclass(frozen=True, slots=True)
class Prototype:
    """One way to show an emotion.

    Attributes:
        emotion: One of `EMOTIONS`.
        strengths: Action unit to its strength, the strongest being 1.
    """

    emotion: str
    strengths: tuple[tuple[int, float], ...]

    @property
    def action_units(self) -> tuple[int, ...]:
        """Numbers of the action units."""
        return tuple(unit for unit, _ in self.strengths)


PROTOTYPES = (
    Prototype("negative", ((4, 1.0), (7, 0.6))),  # anger
    Prototype("negative", ((4, 1.0), (24, 0.7))),  # controlled anger
    Prototype("negative", ((9, 1.0), (10, 0.7))),  # disgust
    Prototype("negative", ((10, 1.0), (4, 0.5))),  # disgust
    Prototype("negative", ((15, 1.0), (17, 0.8))),  # sadness
    Prototype("negative", ((1, 0.8), (4, 0.7), (15, 1.0))),  # sadness
    Prototype("negative", ((20, 1.0), (4, 0.6), (1, 0.6))),  # fear
    Prototype("negative", ((14, 1.0),)),  # contempt, repression
    Prototype("positive", ((12, 1.0), (6, 0.7))),
    Prototype("positive", ((12, 1.0),)),
    Prototype("positive", ((6, 0.8), (12, 1.0), (26, 0.4))),
    Prototype("surprise", ((1, 1.0), (2, 1.0))),
    Prototype("surprise", ((1, 1.0), (2, 0.9), (5, 0.7))),
    Prototype("surprise", ((1, 0.9), (2, 0.9), (5, 0.6), (26, 1.0))),
    Prototype("surprise", ((2, 0.8), (5, 0.6), (26, 1.0))),
)


def emotion_matrix() -> npt.NDArray[np.float64]:
    """Return the (len(PROTOTYPES), len(ACTION_UNITS)) strengths of all prototypes."""
    matrix = np.zeros((len(PROTOTYPES), len(ACTION_UNITS)))
    for row, prototype in enumerate(PROTOTYPES):
        for unit, strength in prototype.strengths:
            matrix[row, ACTION_UNITS.index(unit)] = strength
    return matrix


def prototypes_of(emotion: str) -> tuple[Prototype, ...]:
    """Return the ways to show an emotion."""
    return tuple(prototype for prototype in PROTOTYPES if prototype.emotion == emotion)
