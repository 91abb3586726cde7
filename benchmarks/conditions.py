"""What the demo face is disturbed by in each condition, and what it really does."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.failures import Activity, Truth
from engines.evaluation.spotting import Interval
from engines.synthesis.scenario import REFERENCE_INTER_OCULAR_PX, Scenario, ScenarioConfig

CONDITIONS: Mapping[str, ScenarioConfig] = {
    "all": ScenarioConfig(),
    "clean": ScenarioConfig(head_motion=False, blinks=False, gaze=False, ripple=False, noise=False),
    "no_head": ScenarioConfig(head_motion=False),
    "no_blinks": ScenarioConfig(blinks=False),
    "no_ripple": ScenarioConfig(ripple=False),
    "no_noise": ScenarioConfig(noise=False),
}
"""Everything on, everything off, and everything but one."""


def scenario_of(condition: str, *, expressions: bool = True) -> ScenarioConfig:
    """The scenario of a condition, with or without anything to be found."""
    return CONDITIONS[condition].model_copy(update={"expressions": expressions})


def truths_of(scenario: Scenario) -> tuple[Truth, ...]:
    """The expressions of a scenario with what a reader of failures wants to know."""
    return tuple(
        Truth(
            interval=Interval(
                expression.onset_s, expression.offset_s, expression.kind, expression.apex_s
            ),
            label=f"{expression.emotion} AU{'+'.join(map(str, expression.action_units))}",
            amplitude_px=float(np.max(expression.courses)) * REFERENCE_INTER_OCULAR_PX,
        )
        for expression in scenario.expressions
    )


def activities_of(scenario: Scenario) -> tuple[Activity, ...]:
    """Blinks and saccades that are switched on, in order of time."""
    happened = []
    if scenario.config.blinks:
        happened += [Activity("blink", blink.start_s, blink.end_s) for blink in scenario.blinks]
    if scenario.config.gaze:
        happened += [
            Activity("saccade", saccade.start_s, saccade.start_s + saccade.duration_s)
            for saccade in scenario.saccades
        ]
    return tuple(sorted(happened, key=lambda activity: activity.start_s))
