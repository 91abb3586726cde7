"""Expressions as sequences of faces: what the recognisers that read raw frames learn from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.recognition.sequences import event_sequence, faces_at, instants
from engines.training.clips import ClipEvent, FaceClip
from engines.training.samples import NOT_LEARNED
from engines.training.streaming import event_clip

VIEWS = 4
"""Sequences that training draws from one expression, each with other ends."""

_ONSET_S = (-0.03, 0.03)
_AFTER_APEX_S = (0.04, 0.12)
"""Where a sequence that is drawn begins about the onset, and ends after the apex: the spotter's
onset is not the annotated one, and the confirmation comes as late as its look-ahead says."""


@dataclass(frozen=True, slots=True)
class EventSamples:
    """Sequences of faces and what is known of them.

    Attributes:
        faces: (N, 8, 128, 128) float16 as `engines.recognition.sequences` makes them.
        emotion: (N,) int64 class; `NOT_LEARNED` for an expression of none of the classes.
        events: The expression of each sequence.
        meshes: (N, 468, 3) float32 canonical landmarks of the face at rest.
        identities: Whom each sequence shows.
    """

    faces: npt.NDArray[np.float16]
    emotion: npt.NDArray[np.int64]
    events: tuple[ClipEvent, ...]
    meshes: npt.NDArray[np.float32]
    identities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Sequence:
    faces: npt.NDArray[np.float32]
    event: ClipEvent
    clip: FaceClip


def live_sequences(clips: Iterable[FaceClip], classes: Sequence[str]) -> EventSamples:
    """One sequence for each expression, as a session that spots it at its truth would cut it.

    Args:
        clips: Where from.
        classes: Names of the classes.
    """
    return _gather(
        (
            _Sequence(event_sequence(event_clip(clip, event)), event, clip)
            for clip in clips
            for event in clip.events
            if _followed(clip, event)
        ),
        classes,
    )


def drawn_sequences(clips: Iterable[FaceClip], classes: Sequence[str], seed: int) -> EventSamples:
    """`VIEWS` sequences for each expression, with ends as uncertain as the spotter's.

    Args:
        clips: Where from.
        classes: Names of the classes.
        seed: Seed of the ends.
    """
    rng = np.random.default_rng(seed)

    def draw() -> Iterator[_Sequence]:
        for clip in clips:
            for event in clip.events:
                if not _followed(clip, event):
                    continue
                for _ in range(VIEWS):
                    first = event.onset_s + rng.uniform(*_ONSET_S)
                    last = event.apex_s + rng.uniform(*_AFTER_APEX_S)
                    yield _Sequence(
                        faces_at(clip.faces, clip.times, instants(first, last)), event, clip
                    )

    return _gather(draw(), classes)


def _followed(clip: FaceClip, event: ClipEvent) -> bool:
    """Whether the face was followed without a break from onset to apex."""
    during = (clip.times >= event.onset_s) & (clip.times <= event.apex_s)
    return bool(clip.valid[during].all() and not clip.restart[during].any() and during.any())


def _gather(sequences: Iterable[_Sequence], classes: Sequence[str]) -> EventSamples:
    found = list(sequences)
    return EventSamples(
        np.array([each.faces for each in found], np.float16),
        np.array([_class_of(each.event, classes) for each in found], np.int64),
        tuple(each.event for each in found),
        np.array([each.clip.mesh for each in found], np.float32),
        tuple(each.clip.identity for each in found),
    )


def _class_of(event: ClipEvent, classes: Sequence[str]) -> int:
    return NOT_LEARNED if event.emotion is None else classes.index(event.emotion)
