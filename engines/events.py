"""The event: what spotting finds, recognition names, and sinks write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

UNSURE = "unsure"
"""Emotion of an event whose most probable class is not probable enough to be named."""


class EventState(str, Enum):
    """Life of an event. A tentative or confirmed event either closes or is withdrawn."""

    TENTATIVE = "tentative"
    """The score has crossed the threshold; the apex is not certain yet."""
    CONFIRMED = "confirmed"
    """The apex has passed (the declared look-ahead is over); recognition starts here."""
    CLOSED = "closed"
    """The offset is known; kind, times and emotion are final."""
    WITHDRAWN = "withdrawn"
    """Not an expression after all; `Event.quality` says why (blink, head_motion, gap …)."""


class EventKind(str, Enum):
    """Expression class by duration from onset to offset."""

    MICRO = "micro"
    """At most 0.5 s."""
    MACRO = "macro"
    """More than 0.5 s, at most 4 s."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What carried a recogniser's answer; see `engines.recognition.explanation`.

    Attributes:
        regions: Facial region to its share of the answer, the largest first; small ones are left
            out, so the sum is at most 1.
        frames: (stream time in seconds, share) of the moments that carried it, in order; empty
            where the engine sees onset and apex alone.
        movements: Landmarks where the network itself saw them at the end, and how far it saw each
            move since the first face: x, y, dx, dy in canonical pixels. Empty from a network that
            was exported without such heads.
    """

    regions: Mapping[str, float]
    frames: tuple[tuple[float, float], ...] = ()
    movements: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One facial expression, as known at one moment of its life.

    Times are stream time in seconds (the same base as `Frame.time_s`); frames are
    `Frame.index` values. Later states of an event carry the same `id`.

    Attributes:
        id: Number of the event in its session, from 1.
        state: Where in its life the event is.
        onset_s: Start of the movement.
        apex_s: Largest displacement.
        offset_s: Return to (a fraction above) neutral; None until closed.
        onset_frame: Frame index at the onset.
        apex_frame: Frame index at the apex.
        offset_frame: Frame index at the offset; None until closed.
        score: Peak of the spotting score, in the spotter's own units.
        regions: Facial regions that carried the movement, strongest first.
        kind: Micro or macro; None until closed.
        decided_s: Stream time at which the event was closed; `decided_s - offset_s` is the
            decision latency.
        quality: Flags that a reader should know of (`truncated`, `gap`, `head_motion` …).
        spotter: Name and version of the spotting engine.
        recognizer: Name and version of the recognition engine; None when none ran.
        emotion: Most probable class, or `UNSURE`; None when recognition did not run.
        probabilities: Class to calibrated probability; None when recognition did not run.
        action_units: Action unit (`AU12`) to its intensity in 0…1, where 1 is a movement of 3 %
            of the inter-ocular distance or more; what there is no evidence for is left out. None
            when they were not measured.
        unit_probabilities: Action unit to the probability, in 0…1, with which the recogniser's
            network sees it; None from a network that does not tell.
        explanation: What carried the answer; None from an engine that does not tell.
    """

    id: int
    state: EventState
    onset_s: float
    apex_s: float
    offset_s: float | None
    onset_frame: int
    apex_frame: int
    offset_frame: int | None
    score: float
    regions: tuple[str, ...]
    kind: EventKind | None = None
    decided_s: float | None = None
    quality: tuple[str, ...] = ()
    spotter: str = ""
    recognizer: str | None = None
    emotion: str | None = None
    probabilities: Mapping[str, float] | None = None
    action_units: Mapping[str, float] | None = None
    unit_probabilities: Mapping[str, float] | None = None
    explanation: Explanation | None = None

    @property
    def most_probable(self) -> str | None:
        """The emotion behind an `UNSURE` one; otherwise the emotion itself."""
        if self.emotion == UNSURE and self.probabilities:
            return most_probable(self.probabilities)
        return self.emotion


def most_probable(probabilities: Mapping[str, float]) -> str:
    """The class of the highest probability, the first one of equals."""
    return max(probabilities, key=probabilities.__getitem__)
