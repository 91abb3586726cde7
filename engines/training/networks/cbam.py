"""The convolutional block attention module (Woo et al., ECCV 2018)."""

from __future__ import annotations

import torch
from torch import nn


class ChannelAttention(nn.Module):
    """Weighs channels by what their mean and their peak say of them.

    Args:
        channels: Number of channels.
        reduction: Factor by which the hidden layer is smaller; it has at least one unit.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1, bias=False),
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same shape."""
        mean = self.weigh(maps.mean(dim=(2, 3), keepdim=True))
        peak = self.weigh(maps.amax(dim=(2, 3), keepdim=True))
        return maps * torch.sigmoid(mean + peak)


class SpatialAttention(nn.Module):
    """Weighs places by the mean and the peak over the channels.

    Args:
        kernel: Side of the convolution, odd.
    """

    def __init__(self, kernel: int = 7) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same shape."""
        seen = torch.cat([maps.mean(dim=1, keepdim=True), maps.amax(dim=1, keepdim=True)], dim=1)
        return maps * torch.sigmoid(self.weigh(seen))


class Cbam(nn.Sequential):
    """Channel attention, then spatial attention.

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(ChannelAttention(channels), SpatialAttention())
