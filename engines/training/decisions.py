"""Choosing a causal decision for a network's scores, on validation identities only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from engines.evaluation.spotting import Tally, pool
from engines.spotting.decision import DecisionConfig
from engines.spotting.gating import GateConfig
from engines.spotting.network_spotter import ScoreJudge
from engines.training.streaming import ScoredClip, decide

CANDIDATES: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "min_spread": (0.01, 0.02, 0.04, 0.08, 0.16, 0.32),
        "threshold_factor": (3.0, 4.0, 6.0, 8.0, 12.0),
        "smooth_s": (0.05, 0.1, 0.15, 0.2),
        "fall_to": (0.2, 0.35, 0.5, 0.65),
        "hold_s": (0.05, 0.1),
        "look_ahead_s": (0.1, 0.15),
        "return_share": (0.5, 0.8, 10.0),
        "blink_share": (0.0, 0.5),
    }
)
"""What each constant is chosen from; a return share of 10 asks for no return."""

_START: Mapping[str, Any] = MappingProxyType(
    {"threshold_factor": 4.0, "smooth_s": 0.1, "fall_to": 0.35, "hold_s": 0.1,
     "look_ahead_s": 0.1, "min_spread": 0.04, "return_share": 0.8, "blink_share": 0.5}
)  # fmt: skip
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Chosen:
    """A decision and what it gave where it was chosen.

    Attributes:
        decision: How scores become events.
        gates: Which events are withdrawn.
        validation: What it found on the validation identities.
    """

    decision: DecisionConfig
    gates: GateConfig
    validation: Tally


def choose_decision(
    scored: Sequence[ScoredClip], on_step: Callable[[], object] = lambda: None
) -> Chosen:
    """Choose constants one after the other by the F1 of micro-expressions, twice around.

    Args:
        scored: Clips of the validation identities.
        on_step: Called after every candidate that was tried.

    Returns:
        The best; of equals the one tried first.
    """
    best = dict(_START)
    found = _try(best, scored)
    for _ in range(_ROUNDS):
        before = best
        for name, values in CANDIDATES.items():
            for value in values:
                on_step()
                if value == best[name]:
                    continue
                tried = _try({**best, name: value}, scored)
                if np.nan_to_num(tried.f1) > np.nan_to_num(found.f1):
                    best, found = {**best, name: value}, tried
        if best is before:
            break
    return Chosen(*_configs(best), found)


def steps() -> int:
    """How often `choose_decision` calls `on_step`."""
    return _ROUNDS * sum(map(len, CANDIDATES.values()))


def _configs(values: Mapping[str, Any]) -> tuple[DecisionConfig, GateConfig]:
    gates = {name: value for name, value in values.items() if name in GateConfig.model_fields}
    decision = {name: value for name, value in values.items() if name not in gates}
    return DecisionConfig(**decision), GateConfig(**gates)


def _try(values: Mapping[str, Any], scored: Sequence[ScoredClip]) -> Tally:
    configs = _configs(values)
    return pool(
        decide(each, ScoreJudge(*configs, fps=each.clip.fps, spotter="")) for each in scored
    )
