"""Fully-connected convolution: kernels as long as the map, laid around it in a circle.

The local-global half of MOL's F5C block (Shao et al., TPAMI 2025), after the position-aware
circular convolution of ParC-Net (Zhang et al., ECCV 2022): one pass down and one pass across give
every output a view of the whole map at the cost of two depth-wise convolutions.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class CircularConv(nn.Module):
    """Depth-wise convolution along one axis whose kernel is as long as the axis, and wraps around.

    Args:
        channels: Number of channels.
        size: Extent of the axis.
        axis: 2 for down, 3 for across.
    """

    def __init__(self, channels: int, size: int, axis: int) -> None:
        super().__init__()
        self.axis, self.size = axis, size
        extent = (size, 1) if axis == 2 else (1, size)
        self.position = nn.Parameter(torch.randn(1, channels, *extent) * 0.02)
        self.kernel = nn.Parameter(torch.randn(channels, 1, *extent) * size**-0.5)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same shape."""
        return self.around(maps + self.position)

    def around(self, maps: torch.Tensor) -> torch.Tensor:
        """The convolution alone, without positions: equivariant to circular shifts."""
        # The map beside itself lets an ordinary convolution go around.
        again = maps.narrow(self.axis, 0, self.size - 1)
        laid_out = torch.cat([maps, again], dim=self.axis)
        return functional.conv2d(laid_out, self.kernel, self.bias, groups=maps.shape[1])


class FullyConnectedConv(nn.Module):
    """Half of the channels down and then across, the other half across and then down.

    Args:
        channels: Number of channels, even.
        size: Height and width of the maps.
    """

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        half = channels // 2
        self.first = nn.Sequential(CircularConv(half, size, 2), CircularConv(half, size, 3))
        self.second = nn.Sequential(CircularConv(half, size, 3), CircularConv(half, size, 2))
        self.mix = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same shape."""
        first, second = torch.chunk(maps, 2, dim=1)
        mixed: torch.Tensor = self.mix(torch.cat([self.first(first), self.second(second)], dim=1))
        return mixed
