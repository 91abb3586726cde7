"""Choosing how proposals become events, on validation identities only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from engines.evaluation.spotting import Interval, Recording, Tally, pool, tally
from engines.events import EventKind
from engines.spotting.proposal_spotter import STEPS
from engines.spotting.proposals import (
    Candidate,
    MergeConfig,
    OnlineMerge,
    Proposals,
    half_overlapping,
    keep_best_of_windows,
    newest,
    window_of,
)
from engines.training.clip_features import FeatureClip
from engines.training.clips import FaceClip

LIVE_CANDIDATES: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "threshold": (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9),
        "settle_s": (0.0, 0.1, 0.2, 0.3, 0.4),
        "hold_s": (0.0, 0.1, 0.2),
    }
)
"""What each constant of the live decision is chosen from."""

OFFLINE_CANDIDATES: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {"threshold": LIVE_CANDIDATES["threshold"]}
)
"""The same of the offline decision."""

_LEAST = min(LIVE_CANDIDATES["threshold"])
_ROUNDS = 2
_BATCH = 64


@dataclass(frozen=True, slots=True)
class ProposedClip:
    """What a network proposes for a clip: enough to decide anew with other constants.

    Attributes:
        features: The clip.
        live: Settling time to the best that the window ending with each step proposes to have
            ended that long before.
        offline: Proposals of windows that overlap by half.
    """

    features: FeatureClip
    live: Mapping[float, tuple[Proposals, ...]]
    offline: tuple[Proposals, ...]


Run = Callable[[npt.NDArray[np.float32], Sequence[float]], list[Proposals]]
"""From windows (N, 64, F + 1) and the times at their ends to proposals."""


def propose_all(features: FeatureClip, run: Run, config: MergeConfig) -> ProposedClip:
    """Run a network over all windows of a clip.

    Args:
        features: The clip.
        run: The network.
        config: Overlap and durations; no threshold below the lowest candidate comes later.
    """
    times, starts = features.times, features.starts
    first = np.maximum.accumulate(np.where(starts, np.arange(len(starts)), 0))
    loose = config.model_copy(update={"threshold": _LEAST})

    def proposed(windows: Sequence[tuple[int, int]]) -> list[Proposals]:
        found = []
        for at in range(0, len(windows), _BATCH):
            chosen = windows[at : at + _BATCH]
            given = np.stack([window_of(features.values, *each, STEPS) for each in chosen])
            found += run(given, [float(times[stop - 1]) for _, stop in chosen])
        return [each.believable(loose) for each in found]

    every = proposed([(int(began), stop) for stop, began in enumerate(first, start=1)])
    live = {}
    for settle_s in {config.settle_s, *LIVE_CANDIDATES["settle_s"]}:
        settled = loose.model_copy(update={"settle_s": settle_s})
        live[settle_s] = tuple(
            newest(each, now, settled) for each, now in zip(every, times.tolist(), strict=True)
        )
    return ProposedClip(features, live, tuple(proposed(half_overlapping(starts, STEPS))))


def decide_live(
    proposed: ProposedClip, config: MergeConfig, kind: EventKind = EventKind.MICRO
) -> Tally:
    """What the live decision finds in a clip, against the truth.

    The spotter itself decides the same: a head that moves fast is all that it knows more of, and
    that is not known of clips.
    """
    merge = OnlineMerge(config)
    found: list[Interval] = []
    now = 0.0
    live = proposed.live[config.settle_s]
    for now, parts in zip(proposed.features.times.tolist(), live, strict=True):
        found += [_interval(each, now, config) for each in merge.push(now, parts)[1]]
    found += [_interval(each, now, config) for each in merge.finish()]
    return _tallied(proposed.features.clip, found, kind)


def decide_offline(
    proposed: ProposedClip, config: MergeConfig, kind: EventKind = EventKind.MICRO
) -> Tally:
    """The same of the offline decision."""
    kept = keep_best_of_windows(proposed.offline, config)
    rows = zip(kept.score.tolist(), kept.onset_s.tolist(), kept.offset_s.tolist(), strict=True)
    end_s = float(proposed.features.clip.times[-1])
    found = [_interval(Candidate(0, 0.0, *row), end_s, config) for row in rows]
    return _tallied(proposed.features.clip, found, kind)


def _interval(found: Candidate, now: float, config: MergeConfig) -> Interval:
    micro = found.offset_s - found.onset_s <= config.micro_s
    return Interval(
        found.onset_s,
        found.offset_s,
        EventKind.MICRO if micro else EventKind.MACRO,
        decided_s=now,
    )


def _tallied(clip: FaceClip, found: Sequence[Interval], kind: EventKind) -> Tally:
    truths = [event.interval for event in clip.events]
    return tally(Recording(truths, found, clip.duration_s, clip.name), kind)


def choose(
    clips: Sequence[ProposedClip],
    decide: Callable[[ProposedClip, MergeConfig], Tally],
    candidates: Mapping[str, Sequence[float]],
    start: MergeConfig,
) -> tuple[MergeConfig, Tally]:
    """Choose constants one after the other by the F1 of micro-expressions, twice around.

    Args:
        clips: Clips of the validation identities.
        decide: `decide_live` or `decide_offline`.
        candidates: Name of each constant to what it is chosen from.
        start: Where to start.

    Returns:
        The best, of equals the one tried first, and what it gave.
    """
    best, found = start, pool(decide(clip, start) for clip in clips)
    for _ in range(_ROUNDS):
        before = best
        for name, values in candidates.items():
            for value in values:
                if value == getattr(best, name):
                    continue
                tried = best.model_copy(update={name: value})
                given = pool(decide(clip, tried) for clip in clips)
                if np.nan_to_num(given.f1) > np.nan_to_num(found.f1):
                    best, found = tried, given
        if best is before:
            break
    return best, found
