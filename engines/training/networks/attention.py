"""Attention along time, over a neighbourhood or over the whole window."""

from __future__ import annotations

import torch
from torch import nn

from engines.training.networks.proposals import Mish


def band(length: int, width: int) -> torch.Tensor:
    """Which positions each one sees: `width` of them around it, itself among them.

    Args:
        length: Number of positions.
        width: Of the neighbourhood; an even one reaches one position farther back than ahead.

    Returns:
        (length, length) bool, rows for those who look.
    """
    ahead = torch.arange(length)[None, :] - torch.arange(length)[:, None]
    return (ahead >= -(width // 2)) & (ahead <= (width - 1) // 2)


class Attention(nn.Module):
    """What each position gathers from those that it sees, by how well query and key agree.

    Args:
        channels: Number of channels C.
        length: Number of positions L.
        width: Of the neighbourhood; None sees the whole window.
        dropout: Share of the weights that a training step leaves out.
    """

    def __init__(self, channels: int, length: int, width: int | None, dropout: float) -> None:
        super().__init__()
        seen = torch.ones(length, length) if width is None else band(length, width).float()
        # Finite, so that half precision stays a number.
        self.register_buffer("unseen", (1 - seen) * -1e4)
        self.unseen: torch.Tensor
        self._scale = channels**-0.5
        self._dropout = nn.Dropout(dropout)

    def forward(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """Weighted means of values.

        Args:
            queries: (N, C, L).
            keys: (N, C, L).
            values: (N, D, L).

        Returns:
            (N, D, L).
        """
        agreement = queries.transpose(1, 2) @ keys * self._scale + self.unseen
        weights = self._dropout(torch.softmax(agreement, dim=-1))
        gathered: torch.Tensor = values @ weights.transpose(1, 2)
        return gathered


class Refinement(nn.Module):
    """A block's end in both papers: added to what came in, normalised, and a wide layer beside it.

    Args:
        channels: Number of channels C.
        dropout: Share of the values that a training step leaves out.
    """

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self._dropout = nn.Dropout(dropout)
        self.first = nn.LayerNorm(channels)
        self.wide = nn.Sequential(
            nn.Linear(channels, 4 * channels),
            Mish(),
            nn.Dropout(dropout),
            nn.Linear(4 * channels, channels),
            nn.Dropout(dropout),
        )
        self.second = nn.LayerNorm(channels)

    def forward(self, found: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        """(N, C, L) of what was found and what was given, to (N, C, L)."""
        joined = self.first((self._dropout(found) + given).transpose(1, 2))
        refined: torch.Tensor = self.second(self.wide(joined) + joined)
        return refined.transpose(1, 2)
