"""LSSNet, the spotter that suppresses locations.

Yu, Jiang and Li, "LSSNet: a two-stream convolutional neural network for spotting macro- and
micro-expression in long videos" (ACM MM 2021). The published code slides its neighbourhood over
channels where the paper has time, and lets two tensors share one memory; here as in the paper.
"""

from __future__ import annotations

import torch
from torch import nn

from engines.spotting.proposal_spotter import STEPS
from engines.training.networks.attention import Attention, Refinement
from engines.training.networks.proposals import CHANNELS, POSITIONS, ProposalNetwork

SUPPRESSED_BELOW = 0.45
"""Responses below this are no location of an expression, and set to zero."""

SUPPRESSED_AT = (16, 2)
"""Lengths of the levels on which locations are suppressed."""

_DROPOUT = 0.3


class LocationSuppression(nn.Module):
    """Each position gathers the clear responses of its neighbourhood; the weak ones are set to 0.

    Args:
        channels: Number of channels C, even.
        length: Number of positions L of the level; its neighbourhood spans as many steps of the
            window as lie between two positions.
    """

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        half = channels // 2
        self.down = nn.Conv1d(channels, half, 1)
        self.query = nn.Conv1d(half, half, 1)
        self.key = nn.Conv1d(half, half, 1)
        self.value = nn.Conv1d(half, half, 1)
        self.attend = Attention(half, length, STEPS // length, _DROPOUT)
        self.mix = nn.Conv1d(half, half, 1)
        self.refine = Refinement(half, _DROPOUT)
        self.up = nn.Conv1d(half, channels, 1)

    def forward(self, level: torch.Tensor) -> torch.Tensor:
        """(N, C, L) to (N, C, L)."""
        given = self.down(level)
        responses = self.value(given)
        clear = responses * (responses >= SUPPRESSED_BELOW).to(responses.dtype)
        found = self.mix(self.attend(self.query(given), self.key(given), clear))
        suppressed: torch.Tensor = self.up(self.refine(found, given))
        return suppressed


class LssNet(ProposalNetwork):
    """Trunk, pyramid, location suppression on two of its levels, and heads.

    Args:
        features: Number of features F of a step.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.suppress = nn.ModuleDict(
            {str(length): LocationSuppression(CHANNELS, length) for length in SUPPRESSED_AT}
        )

    def pyramid(self, base: torch.Tensor) -> list[torch.Tensor]:
        """The levels; see `ProposalNetwork.pyramid`."""
        levels, maps = [], base
        for length, conv, reduce in zip(POSITIONS, self.levels, self.reduce, strict=True):
            maps = conv(maps)
            level = reduce(maps)
            if length in SUPPRESSED_AT:
                level = self.suppress[str(length)](level)
            levels.append(level)
        return levels
