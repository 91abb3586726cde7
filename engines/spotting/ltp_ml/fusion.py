"""Late fusion: from twelve local answers to one answer for the face.

The rules of the authors' code, each with what it becomes when nothing can be looked up later:

=====================================================  =====================================
published                                              here
=====================================================  =====================================
a region whose CN is above the mean is dropped         the same, of the regions of this moment
patterns that rise too little are dropped              the machine sees their size as CN
a nose region within a ninth of a window ends all      it mutes the face for that long, and an
                                                       event that it began in is withdrawn
half of the regions or more are a head that moves      the same
enough regions around eyes or mouth make a frame       `regions` of them, and how clearly they
                                                       do is the score
gaps are merged, short stretches dropped               an event is held over `hold_s`, and
                                                       withdrawn below `min_event_s`
=====================================================  =====================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from engines.spotting.ltp_ml.patches import EYE_PATCHES, MOUTH_PATCHES, NOSE_PATCHES
from engines.spotting.ltp_ml.patterns import PATTERN_S

Array = npt.NDArray[np.float32]

_EYES, _NOSE, _MOUTH = (
    slice(group[0], group[-1] + 1) for group in (EYE_PATCHES, NOSE_PATCHES, MOUTH_PATCHES)
)
_NEVER = np.float32(-math.inf)
_NOSE_S = PATTERN_S / 9


class FusionConfig(BaseModel):
    """How local answers become one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: float = Field(0.0, description="Answer of a region, or of the face, that counts.")
    regions: int = Field(
        2, ge=1, le=4, description="Regions around the eyes, or the mouth, that must answer."
    )
    nose_threshold: float = Field(
        0.5, description="Answer of a nose region from which the head, not the face, moves."
    )
    head_regions: int = Field(
        9, ge=2, le=13, description="So many regions at once are a head that moves."
    )


@dataclass(frozen=True, slots=True)
class Fused:
    """The answer for the face at one moment.

    Attributes:
        score: Weakest answer of the regions that are needed, of the clearer half of the face.
        head: Whether the head moves; then `score` says nothing.
        regions: Which regions answer, clearest first, as positions in `PATCH_NAMES`.
    """

    score: float
    head: bool
    regions: tuple[int, ...]


class LateFusion:
    """Fuses the answers of the regions moment by moment.

    Args:
        config: Thresholds.
    """

    def __init__(self, config: FusionConfig) -> None:
        self.config = config
        self.threshold = config.threshold
        self.reset()

    def reset(self) -> None:
        """Measurement starts anew."""
        self._nose_s = -math.inf

    def push(self, time_s: float, answers: Array, cn: Array) -> Fused:
        """Fuse one moment.

        Args:
            time_s: Stream time in seconds.
            answers: (12,) what the machine says of each region.
            cn: (12,) CN of each region's pattern.
        """
        clear, score = face_answers(answers, cn, self.config.regions)
        return self.fuse(time_s, answers, clear, float(score))

    def fuse(self, time_s: float, answers: Array, clear: Array, score: float) -> Fused:
        """The same from what `face_answers` gave for the moment."""
        nose = float(answers[_NOSE].max())
        if nose > self.config.nose_threshold:
            self._nose_s = time_s
        head = time_s - self._nose_s <= _NOSE_S + 1e-6
        if score <= self.threshold:
            return Fused(score, head, ())
        firing = np.flatnonzero(clear > self.threshold)
        order = firing[np.argsort(-clear[firing], kind="stable")].tolist()
        regions = tuple(region for region in order if region not in NOSE_PATCHES)
        moving = np.count_nonzero(answers > self.threshold)
        return Fused(score, head or moving >= self.config.head_regions, regions)


def face_answers(answers: Array, cn: Array, regions: int) -> tuple[Array, Array]:
    """What the regions that move say together, at one moment or at many.

    Args:
        answers: (..., 12) what the machine says of each region.
        cn: (..., 12) CN of each region's pattern.
        regions: How many regions around the eyes, or the mouth, must answer.

    Returns:
        (..., 12) answers of the regions that move more than the mean, and of no other; (...) what
        `regions` of them say at least, around the eyes or around the mouth.
    """
    clear = np.where(cn <= cn.mean(axis=-1, keepdims=True), answers, _NEVER)
    eyes = np.sort(clear[..., _EYES], axis=-1)[..., -regions]
    mouth = np.sort(clear[..., _MOUTH], axis=-1)[..., -regions]
    # Where too few regions move at all, the face answers as its stillest region does.
    score: Array = np.maximum(np.maximum(eyes, mouth), answers.min(axis=-1))
    return clear, score
