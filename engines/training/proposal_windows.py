"""Windows of clip features with the expressions in them, drawn anew for every epoch.

Published networks learn from the windows that hold a whole expression. LGSNet adds its modelling of
the background: windows without any, in which pseudo-labelled clips at random places, as long as
expressions are, count as a class of their own, 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from engines.events import EventKind
from engines.features.grid import CHUNK_S, STEP_S
from engines.spotting.proposal_spotter import STEPS
from engines.spotting.proposals import window_of
from engines.training.clip_features import FeatureClip

MICRO, MACRO, BACKGROUND, UNTOLD, NOTHING = 0, 1, 2, 3, 4
"""What is said of an interval: its kind; pseudo-labelled background; too little of it is inside to
call it an expression and too much to call it none; and what fills up the rows of a batch."""

WHOLE_SHARE = 0.9
"""Share of an expression that a window must hold for it to be one there (LGSNet)."""

PART_SHARE = 0.6
"""Share of it below which it is background."""

_EACH = 3  # windows of an expression in an epoch
_SOON_S = 0.6  # half of them end this soon after it, as windows do live
_PSEUDO = (1, 4)  # pseudo-labelled clips of a window, from and below


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows and what is in them.

    Attributes:
        windows: (N, 64, F + 1) float32, as `ProposalNetwork.forward` takes them.
        intervals: (N, G, 2) float32 onset and offset in steps from the window's start.
        labels: (N, G) int64, one of `MICRO` … `NOTHING`.
    """

    windows: torch.Tensor
    intervals: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Window:
    clip: int
    stop: int  # the step after its last one
    mirrored: bool
    pseudo: tuple[tuple[float, float], ...] = ()


class Windows:
    """All windows of some clips.

    Args:
        clips: Clips with their features, and those of the mirrored faces if windows are mirrored.
        background: Windows without an expression for each one with it; None leaves them out.
    """

    def __init__(self, clips: Sequence[FeatureClip], background: float | None) -> None:
        self._clips = clips
        self._background = background
        self._lengths = [e.offset_s - e.onset_s for clip in clips for e in clip.clip.events]

    def all_values(self) -> npt.NDArray[np.float32]:
        """(S, F) features of all steps."""
        return np.concatenate([clip.values for clip in self._clips])

    def draw(self, rng: np.random.Generator, size: int, *, mirror: bool = True) -> list[Batch]:
        """Draw the windows of an epoch.

        Args:
            rng: Source of every choice.
            size: Windows of a batch.
            mirror: Mirror half of them.
        """
        drawn = [
            _Window(number, self._stop(clip, event.offset_s, event.onset_s, rng),
                    mirror and bool(rng.random() < 0.5))
            for number, clip in enumerate(self._clips)
            for event in clip.clip.events
            for _ in range(_EACH)
            if len(clip.times)
        ]  # fmt: skip
        if self._background is not None:
            drawn += self._without(rng, round(self._background * len(drawn)), mirror)
        order = rng.permutation(len(drawn))
        return [
            self._batch([drawn[at] for at in order[first : first + size]])
            for first in range(0, len(drawn), size)
        ]

    def _stop(
        self, clip: FeatureClip, offset_s: float, onset_s: float, rng: np.random.Generator
    ) -> int:
        longest = max(STEPS * STEP_S - (offset_s - onset_s), _SOON_S)
        end_s = offset_s + rng.uniform(0, _SOON_S if rng.random() < 0.5 else longest)
        return 1 + min(int(np.searchsorted(clip.times, end_s)), len(clip.times) - 1)

    def _without(self, rng: np.random.Generator, count: int, mirror: bool) -> list[_Window]:
        """Windows that hold nothing of an expression, with pseudo-labelled clips in them."""
        found: list[_Window] = []
        for _ in range(20 * count):
            number = int(rng.integers(len(self._clips)))
            clip = self._clips[number]
            if len(found) == count or not len(clip.times):
                break
            stop = int(rng.integers(1, len(clip.times) + 1))
            end_s = float(clip.times[stop - 1])
            start_s = end_s - STEPS * STEP_S
            if any(e.offset_s > start_s and e.onset_s < end_s for e in clip.clip.events):
                continue
            pseudo = []
            for _ in range(rng.integers(*_PSEUDO)):
                length = rng.choice(self._lengths) * rng.uniform(0.8, 1.25) / STEP_S
                onset = rng.uniform(0, max(STEPS - length, 1))
                pseudo.append((float(onset), float(onset + length)))
            mirrored = mirror and bool(rng.random() < 0.5)
            found.append(_Window(number, stop, mirrored, tuple(pseudo)))
        return found

    def _batch(self, windows: Sequence[_Window]) -> Batch:
        told = [self._told(window) for window in windows]
        most = max(1, *(len(labels) for _, labels in told))
        intervals = np.zeros((len(windows), most, 2), np.float32)
        labels = np.full((len(windows), most), NOTHING)
        for row, (there, said) in enumerate(told):
            intervals[row, : len(said)] = np.reshape(there, (-1, 2))
            labels[row, : len(said)] = said
        values = np.stack([self._values(window) for window in windows])
        return Batch(*map(torch.from_numpy, (values, intervals, labels)))

    def _values(self, window: _Window) -> npt.NDArray[np.float32]:
        clip = self._clips[window.clip]
        values = clip.mirrored if window.mirrored else clip.values
        assert values is not None
        return window_of(values, self._first(window), window.stop, STEPS)

    def _first(self, window: _Window) -> int:
        """First step of the stretch that a window ends in."""
        return int(np.flatnonzero(self._clips[window.clip].starts[: window.stop])[-1])

    def _told(self, window: _Window) -> tuple[list[tuple[float, float]], list[int]]:
        """Intervals in steps from the window's start, and what is said of them."""
        clip = self._clips[window.clip]
        end_s = float(clip.times[window.stop - 1])
        start_s = end_s - STEPS * STEP_S
        seen_s = max(start_s, float(clip.times[self._first(window)]) - CHUNK_S)
        intervals, labels = list(window.pseudo), [BACKGROUND] * len(window.pseudo)
        for event in clip.clip.events:
            inside = min(event.offset_s, end_s) - max(event.onset_s, seen_s)
            share = inside / max(event.offset_s - event.onset_s, 1e-6)
            if share < PART_SHARE:
                continue
            intervals.append(
                ((event.onset_s - start_s) / STEP_S, (event.offset_s - start_s) / STEP_S)
            )
            kind = MICRO if event.kind is EventKind.MICRO else MACRO
            labels.append(kind if share >= WHOLE_SHARE else UNTOLD)
        return intervals, labels
