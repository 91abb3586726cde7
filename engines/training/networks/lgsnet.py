"""LGSNet, the spotter with background modelling.

Yu et al., "LGSNet: a two-stream network for micro- and macro-expression spotting with background
modeling" (TAFFC 2023). Its modelling of the background is a way of training
(`engines.training.proposal_windows`). The published code lets two tensors of the local window share
one memory; here as in the paper.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from engines.training.networks.attention import Attention, Refinement
from engines.training.networks.proposals import CHANNELS, POSITIONS, Mish, ProposalNetwork

FUSED_AT = 16
"""Length of the level that is fused with what the trunk gives."""

ENHANCED_AT = 16
"""Length of the level with local attention that gates global attention."""

_GROUPS = 8


class TimeExcitation(nn.Module):
    """Squeeze and excitation over time: which moments count, by the mean over the channels.

    Args:
        channels: Number of channels C.
        length: Number of positions L that are looked at.
        outputs: Number of positions that are weighed.
    """

    def __init__(self, channels: int, length: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, channels)
        self.weigh = nn.Linear(length, outputs)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, L) to (N, 1, outputs) weights between 0 and 1."""
        return torch.sigmoid(self.weigh(self.norm(maps).mean(dim=1, keepdim=True)))


class ReceptiveFields(nn.Module):
    """A convolution over three positions beside one over a single one, weighed over time.

    Args:
        channels: Number of channels.
        length: Number of positions L.
        halve: Whether the result has half as many.
    """

    def __init__(self, channels: int, length: int, halve: bool = False) -> None:
        super().__init__()
        self._halve = halve
        self.wide = nn.Sequential(
            nn.Conv1d(channels, channels, 3, 2 if halve else 1, padding=1),
            nn.GroupNorm(_GROUPS, channels),
        )
        self.narrow = nn.Sequential(
            nn.Conv1d(channels, channels, 1), nn.GroupNorm(_GROUPS, channels)
        )
        self.excite = TimeExcitation(channels, length, length // 2 if halve else length)
        self.activate = Mish()

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, L) to (N, C, L), or (N, C, L / 2)."""
        if self._halve:
            joined = self.wide(maps) + self.narrow(functional.max_pool1d(maps, 2))
            weighed = self.excite(maps) * joined
        else:
            weighed = self.wide(maps) + self.narrow(maps) + self.excite(maps) * maps
        activated: torch.Tensor = self.activate(weighed)
        return activated


class ReceptiveFieldFusion(nn.Module):
    """TMRF³M, temporal multi-receptive-field feature fusion: a level, and the trunk at its rate.

    Args:
        channels: Number of channels C.
        length: Number of positions L of the level; the trunk has twice as many.
    """

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.level = nn.Sequential(
            ReceptiveFields(channels, length), nn.GroupNorm(_GROUPS, channels)
        )
        self.base = nn.Sequential(
            ReceptiveFields(channels, 2 * length),
            ReceptiveFields(channels, 2 * length, halve=True),
            nn.GroupNorm(_GROUPS, channels),
        )
        both = 2 * channels
        self.wide = nn.Sequential(
            nn.Conv1d(both, channels, 3, padding=1), nn.GroupNorm(_GROUPS, channels)
        )
        self.narrow = nn.Sequential(nn.Conv1d(both, channels, 1), nn.GroupNorm(_GROUPS, channels))
        self.excite = TimeExcitation(both, length, length)
        self.activate = Mish()

    def forward(self, level: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        """(N, C, L) and (N, C, 2 L) to (N, C, L)."""
        joined = torch.cat([self.base(base), self.level(level)], dim=1)
        last = joined[..., -1:]
        peaks = torch.maximum(joined, torch.cat([joined[..., 1:], last], dim=-1))
        fused = self.wide(joined) + self.narrow(peaks)
        activated: torch.Tensor = self.activate(self.excite(joined) * fused)
        return activated


class LocalGateGlobalAttention(nn.Module):
    """LSGEM: attention over a quarter of the window says where attention over all of it counts.

    Args:
        channels: Number of channels C.
        length: Number of positions L.
    """

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.query = nn.Conv1d(channels, channels, 1)
        self.key = nn.Conv1d(channels, channels, 1)
        self.value = nn.Conv1d(channels, channels, 1)
        self.local = Attention(channels, length, length // 4, 0.1)
        self.whole = Attention(channels, length, None, 0.1)
        self.gate = nn.Conv1d(1, 1, 1)
        self.mix = nn.Conv1d(channels, channels, 1)
        for conv in (self.gate, self.mix):  # begins as if it were not there
            nn.init.zeros_(conv.weight)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        self.refine = Refinement(channels, 0.2)

    def forward(self, level: torch.Tensor) -> torch.Tensor:
        """(N, C, L) to (N, C, L)."""
        looked = self.query(level), self.key(level), self.value(level)
        gate = torch.sigmoid(self.gate(self.local(*looked).mean(dim=1, keepdim=True)))
        enhanced: torch.Tensor = self.refine(gate * self.mix(self.whole(*looked)), level)
        return enhanced


class LgsNet(ProposalNetwork):
    """Trunk, pyramid with fusion over receptive fields, gated attention on one level, and heads.

    Args:
        features: Number of features F of a step.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.fuse = ReceptiveFieldFusion(CHANNELS, FUSED_AT)
        self.enhance = LocalGateGlobalAttention(CHANNELS, ENHANCED_AT)

    def pyramid(self, base: torch.Tensor) -> list[torch.Tensor]:
        """The levels; see `ProposalNetwork.pyramid`."""
        levels, maps = [], base
        for length, conv, reduce in zip(POSITIONS, self.levels, self.reduce, strict=True):
            maps = conv(maps)
            level = reduce(self.fuse(maps, base) if length == FUSED_AT else maps)
            levels.append(self.enhance(level) if length == ENHANCED_AT else level)
        return levels
