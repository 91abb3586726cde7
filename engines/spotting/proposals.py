"""From proposals to events: live as they come, or once when a recording is over.

LSSNet and LGSNet look at a window of clip features and propose intervals, each with a probability.
Published, windows overlap by half, and when the video is over non-maximum suppression keeps the
best proposal of every place. `keep_best` does that for recordings. Live, a window ends with the
newest step, so that the network sees nothing that has not been; what it proposes is merged as it
comes (`OnlineMerge`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Float = npt.NDArray[np.float64]

TOP_K = 30
"""Proposals of a window that are looked at offline, as published."""


class MergeConfig(BaseModel):
    """How proposals become events. Durations in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: float = Field(0.5, gt=0, lt=1, description="Least probability of an event.")
    overlap: float = Field(
        0.01, gt=0, lt=1, description="Proposals with a larger intersection over union are one."
    )
    hold_s: float = Field(
        0.2, ge=0, le=1, description="Live: so long a better proposal may take the place of one."
    )
    settle_s: float = Field(
        0.0, ge=0, le=1, description="Live: so much of what follows an event must have been seen."
    )
    reach_s: float = Field(
        0.5,
        gt=0,
        le=4,
        description="Live: an event that ended this long before that is not told any more.",
    )
    min_event_s: float = Field(0.04, gt=0, description="Shorter movements are noise.")
    micro_s: float = Field(0.5, gt=0, description="Longest micro-expression.")
    macro_s: float = Field(4.0, gt=0, description="Longest macro-expression.")


@dataclass(frozen=True, slots=True)
class Proposals:
    """Intervals in stream time.

    Attributes:
        score: (M,) probability that the interval is an expression, whatever its kind.
        onset_s: (M,) start.
        offset_s: (M,) end.
    """

    score: Float
    onset_s: Float
    offset_s: Float

    @classmethod
    def of(cls, output: npt.NDArray[np.float32], end_s: float) -> Proposals:
        """What a network proposes for one window.

        Args:
            output: (M, 4) logits of micro and macro; onset and offset in seconds from its end.
            end_s: When the window ends.
        """
        values = output.astype(np.float64)
        score = 1 / (1 + np.exp(-values[:, :2].max(axis=1)))
        return cls(score, end_s + values[:, 2], end_s + values[:, 3])

    @classmethod
    def joined(cls, parts: list[Proposals]) -> Proposals:
        """Those of several windows."""
        empty = [np.empty(0)]
        return cls(
            np.concatenate([part.score for part in parts] or empty),
            np.concatenate([part.onset_s for part in parts] or empty),
            np.concatenate([part.offset_s for part in parts] or empty),
        )

    def only(self, kept: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Proposals:
        """Some of them."""
        return Proposals(self.score[kept], self.onset_s[kept], self.offset_s[kept])

    def believable(self, config: MergeConfig) -> Proposals:
        """Those that are probable enough, and as long as an expression may be."""
        length = self.offset_s - self.onset_s
        kept = (self.score >= config.threshold) & (length >= config.min_event_s)
        return self.only(kept & (length <= config.macro_s))


def overlap(onset_s: float, offset_s: float, others: Proposals) -> Float:
    """(M,) intersection over union of an interval with others."""
    shared = np.minimum(offset_s, others.offset_s) - np.maximum(onset_s, others.onset_s)
    whole = np.maximum(offset_s, others.offset_s) - np.minimum(onset_s, others.onset_s)
    found: Float = np.maximum(shared, 0) / np.maximum(whole, 1e-9)
    return found


def keep_best(proposals: Proposals, limit: float, most: int | None = None) -> Proposals:
    """Non-maximum suppression: the most probable one of every place.

    Args:
        proposals: Any.
        limit: Intersection over union above which the less probable of two is dropped.
        most: At most so many are kept; None keeps all.

    Returns:
        Those kept, most probable first; of equals the earlier one.
    """
    left = proposals.only(np.argsort(-proposals.score, kind="stable"))
    kept: list[Proposals] = []
    while len(left.score) and (most is None or len(kept) < most):
        best = left.only(np.array([0]))
        kept.append(best)
        apart = overlap(best.onset_s[0], best.offset_s[0], left) <= limit
        apart[0] = False
        left = left.only(apart)
    return Proposals.joined(kept)


def newest(proposals: Proposals, now: float, config: MergeConfig) -> Proposals:
    """The best of what a window that ends now proposes to have ended just before."""
    seen = proposals.believable(config)
    latest_s = now - config.settle_s
    past = (seen.offset_s <= latest_s) & (seen.offset_s >= latest_s - config.reach_s)
    return keep_best(seen.only(past), config.overlap)


@dataclass(slots=True)
class Candidate:
    """An event that a better proposal may still replace.

    Attributes:
        id: Number of the event.
        since_s: When it was first proposed.
        score: Its probability.
        onset_s: Start.
        offset_s: End.
    """

    id: int
    since_s: float
    score: float
    onset_s: float
    offset_s: float


class OnlineMerge:
    """Non-maximum suppression as proposals come: each event is told once and never taken back.

    An event is looked at when what follows it has been seen for `settle_s`: at the edge of the
    window, the rise of a long expression looks like a short one. What is proposed then waits for
    `hold_s`, and the most probable proposal of the place in that time is the event. What overlaps
    an event that was told is the same event.

    Args:
        config: Durations and threshold.
    """

    def __init__(self, config: MergeConfig) -> None:
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Forget everything, as if newly built."""
        self._next_id = 1
        self._open: list[Candidate] = []
        self._told: list[Candidate] = []

    def push(
        self, now: float, proposals: Proposals
    ) -> tuple[tuple[Candidate, ...], tuple[Candidate, ...]]:
        """Take what is proposed for the window that ends now.

        Args:
            now: Stream time in seconds, rising.
            proposals: Of that window.

        Returns:
            Events that were proposed for the first time, and events that are decided.
        """
        config = self.config
        best = newest(proposals, now, config)
        new = []
        for score, onset_s, offset_s in zip(
            best.score.tolist(), best.onset_s.tolist(), best.offset_s.tolist(), strict=True
        ):
            if self._same(self._told, onset_s, offset_s):
                continue
            known = self._same(self._open, onset_s, offset_s)
            if not known:
                candidate = Candidate(self._next_id, now, score, onset_s, offset_s)
                self._next_id += 1
                self._open.append(candidate)
                new.append(candidate)
            elif len(known) == 1 and score > known[0].score:
                known[0].score, known[0].onset_s, known[0].offset_s = score, onset_s, offset_s
        return tuple(new), self._decide(now - config.hold_s)

    def finish(self) -> tuple[Candidate, ...]:
        """Decide all that was proposed: nothing more will be seen."""
        return self._decide(np.inf)

    def _decide(self, since_s: float) -> tuple[Candidate, ...]:
        decided = tuple(each for each in self._open if each.since_s <= since_s + 1e-6)
        self._open = [each for each in self._open if each.since_s > since_s + 1e-6]
        self._told += decided
        if decided:
            oldest = max(each.offset_s for each in self._told) - self.config.macro_s
            oldest -= self.config.reach_s + self.config.hold_s
            self._told = [each for each in self._told if each.offset_s >= oldest]
        return decided

    def _same(
        self, candidates: list[Candidate], onset_s: float, offset_s: float
    ) -> list[Candidate]:
        if not candidates:
            return []
        known = Proposals(*(np.array(values) for values in zip(
            *((each.score, each.onset_s, each.offset_s) for each in candidates), strict=True
        )))  # fmt: skip
        same = overlap(onset_s, offset_s, known) > self.config.overlap
        return [each for each, hit in zip(candidates, same, strict=True) if hit]


# -- recordings ------------------------------------------------------------------------------


def window_of(
    values: npt.NDArray[np.float32], first: int, stop: int, steps: int
) -> npt.NDArray[np.float32]:
    """The window that ends before step `stop`, as `FeatureWindow` has it then.

    Args:
        values: (S, F) features of a recording.
        first: First step of the stretch that `stop - 1` is in.
        stop: From `first` + 1 to S.
        steps: Steps T of the window.

    Returns:
        (T, F + 1) float32: features, and 1 where there is a step, else all zeros.
    """
    window = np.zeros((steps, values.shape[1] + 1), np.float32)
    first = max(first, stop - steps)
    window[steps - (stop - first) :, :-1] = values[first:stop]
    window[steps - (stop - first) :, -1] = 1
    return window


def half_overlapping(starts: npt.NDArray[np.bool_], steps: int) -> list[tuple[int, int]]:
    """Windows that overlap by half and reach the end of every stretch.

    Args:
        starts: (S,) whether a step is the first of a stretch.
        steps: Steps of a window.

    Returns:
        First step of the stretch and the step after the last one, of each window.
    """
    bounds = [*np.flatnonzero(starts).tolist(), len(starts)]
    return [
        (first, stop)
        for first, end in pairwise(bounds)
        for stop in [*range(first + steps, end, steps // 2), end]
    ]


def keep_best_of_windows(parts: Iterable[Proposals], config: MergeConfig) -> Proposals:
    """Decide on a recording as published: the best of each window, then of each place.

    Args:
        parts: What is proposed for each window.
        config: Threshold and overlap.

    Returns:
        The events, most probable first.
    """
    best = []
    for part in parts:
        seen = part.believable(config)
        best.append(seen.only(np.argsort(-seen.score, kind="stable")[:TOP_K]))
    return keep_best(Proposals.joined(best), config.overlap)
