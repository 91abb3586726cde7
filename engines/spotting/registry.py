"""Spotting engines by name."""

from __future__ import annotations

from engines.errors import EngineError
from engines.spotting.base import Spotter
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.flow_spotter import FlowSpotter

SPOTTERS = ("flow",)


def create_spotter(name: str, flow: FlowSpotterConfig, fps: float) -> Spotter:
    """Build a spotting engine.

    Args:
        name: One of `SPOTTERS`.
        flow: Settings of the training-free spotter.
        fps: Nominal frame rate, for sizing.

    Raises:
        EngineError: There is no engine of this name.
    """
    if name == "flow":
        return FlowSpotter(flow, fps)
    raise EngineError(
        f"There is no spotting engine named {name!r}; choose one of: {', '.join(SPOTTERS)}."
    )
