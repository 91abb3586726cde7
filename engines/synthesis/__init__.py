"""Synthetic faces with known truth: an animated portrait, scripted in continuous time."""

from engines.synthesis.portrait import Portrait
from engines.synthesis.renderer import FaceAnimator
from engines.synthesis.scenario import FaceState, Scenario, ScenarioConfig, ScriptedExpression

__all__ = [
    "FaceAnimator",
    "FaceState",
    "Portrait",
    "Scenario",
    "ScenarioConfig",
    "ScriptedExpression",
]
