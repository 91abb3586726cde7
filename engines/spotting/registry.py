"""Spotting engines by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import EngineError
from engines.spotting.base import Spotter
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.flow_spotter import FlowSpotter

if TYPE_CHECKING:
    from engines.spotting.proposal_spotter import OfflineProposalSpotter

_ENGINES = Path(__file__).parent

_MADE_HERE = tuple(
    name for name in ("lssnet-i3d", "lgsnet-i3d") if (_ENGINES / name / f"{name}.onnx").exists()
)

OFFLINE_SPOTTERS = ("lssnet", "lgsnet", *_MADE_HERE)
"""Spotters that can also decide on a recording when it is over (`python -m streamer.offline`).

Those on I3D are there only where somebody has trained them.
"""

DEPTH_SPOTTERS = ("sfamnet-depth",)
"""Spotters with a network that need a depth camera beside the other."""

LEARNED_SPOTTERS = ("mean", "sfamnet", "mc-wes", *OFFLINE_SPOTTERS)
"""Spotters with a network, whose files lie in folders of these names."""

SPOTTERS = ("flow", "ltp-ml", *LEARNED_SPOTTERS)
"""All that need nothing but pictures; `flow` is the training-free one."""


def create_spotter(
    name: str, flow: FlowSpotterConfig, fps: float, backend: str = "auto"
) -> Spotter:
    """Build a spotting engine.

    Args:
        name: One of `SPOTTERS` or `DEPTH_SPOTTERS`, or two that must agree (`flow+mean`).
        flow: Settings of the training-free spotter.
        fps: Nominal frame rate, for sizing.
        backend: What runs a network, one of `engines.runtime.BACKENDS`.

    Raises:
        EngineError: There is no engine of this name, or its files are missing or corrupt.
    """
    if "+" in name:
        from engines.spotting.ensemble import EnsembleSpotter  # noqa: PLC0415

        first, second = (create_spotter(part, flow, fps, backend) for part in name.split("+", 1))
        return EnsembleSpotter(first, second)
    if name == "flow":
        return FlowSpotter(flow, fps)
    if name == "ltp-ml":
        from engines.spotting.ltp_ml.spotter import LtpMlSpotter  # noqa: PLC0415

        return LtpMlSpotter(fps)
    if name == "mc-wes":
        from engines.spotting.mc_wes_spotter import McWesSpotter  # noqa: PLC0415

        return McWesSpotter(fps, backend)
    if name in OFFLINE_SPOTTERS:
        from engines.spotting.proposal_spotter import ProposalSpotter  # noqa: PLC0415

        return ProposalSpotter(_ENGINES / name, fps, backend)
    if name in LEARNED_SPOTTERS:
        from engines.spotting.network_spotter import NetworkSpotter  # noqa: PLC0415

        return NetworkSpotter(_ENGINES / name, fps, backend)
    if name in DEPTH_SPOTTERS:
        from engines.spotting.network_spotter import DepthSpotter  # noqa: PLC0415

        return DepthSpotter(_ENGINES / name, fps, backend)
    known = ", ".join((*SPOTTERS, *DEPTH_SPOTTERS))
    raise EngineError(f"There is no spotting engine named {name!r}; choose one of: {known}.")


def create_offline_spotter(name: str, backend: str = "auto") -> OfflineProposalSpotter:
    """Build an engine that decides when a recording is over.

    Args:
        name: One of `OFFLINE_SPOTTERS`.
        backend: What runs the networks, one of `engines.runtime.BACKENDS`.

    Raises:
        EngineError: There is no such engine, or its files are missing or corrupt.
    """
    if name not in OFFLINE_SPOTTERS:
        raise EngineError(
            f"The spotter {name!r} does not decide on whole recordings; choose one of: "
            f"{', '.join(OFFLINE_SPOTTERS)}."
        )
    from engines.spotting.proposal_spotter import OfflineProposalSpotter  # noqa: PLC0415

    return OfflineProposalSpotter(_ENGINES / name, backend)
