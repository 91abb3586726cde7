"""The light backbone: (2+1)-D convolutions over the cells of eye strip and mouth strip.

Tran et al., "A closer look at spatiotemporal convolutions for action recognition" (CVPR 2018): a
convolution over space and time is one over space, then one over time. With 42×42 cells, a chunk of
8 pictures costs some ten million multiplications a stream, which one core does in milliseconds.
"""

from __future__ import annotations

import torch
from torch import nn

from engines.training.networks.two_stream import TwoStream

FEATURES = 48
"""Features of each stream."""

_CHANNELS = (12, 24, 48)
_SQUEEZED = 16
_CELLS = 6 * 6 * 2  # 42 cells halved thrice, 8 pictures halved twice

_GRAY_LEVELS = 8 / 255
"""Change of gray, of 0…1, that is 1.0 for the network."""


class Factored(nn.Sequential):
    """A (2+1)-D convolution: over space at half the resolution, then over time.

    Args:
        inputs: Channels.
        outputs: Channels.
        kernel: Side of the spatial kernel.
        stride: Of the temporal convolution.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        side = kernel // 2
        super().__init__(
            nn.Conv3d(inputs, outputs, (1, kernel, kernel), (1, 2, 2), (0, side, side), bias=False),
            nn.BatchNorm3d(outputs),
            nn.ReLU(),
            nn.Conv3d(outputs, outputs, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
            nn.BatchNorm3d(outputs),
            nn.ReLU(),
        )


class LightStream(nn.Module):
    """One stream: three factored convolutions, then a linear layer that knows where each cell is.

    Args:
        planes: Planes of a picture.
        changes: Look at how pictures differ from their mean over the chunk, and not at the
            pictures: what a face looks like is none of a spotter's business.
    """

    def __init__(self, planes: int, changes: bool = False) -> None:
        super().__init__()
        self.changes = changes
        first, second, third = _CHANNELS
        self.body = nn.Sequential(
            Factored(planes, first, 5, 1),
            Factored(first, second, 3, 2),
            Factored(second, third, 3, 2),
            nn.Conv3d(third, _SQUEEZED, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(_SQUEEZED * _CELLS, FEATURES),
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 8, C, 42, 42) to (N, 48)."""
        if self.changes:
            pictures = (pictures - pictures.mean(dim=1, keepdim=True)) / _GRAY_LEVELS
        features: torch.Tensor = self.body(pictures.transpose(1, 2))
        return features


def light() -> TwoStream:
    """The light backbone: gray cells, and u, v and strain."""
    return TwoStream(LightStream(1, changes=True), LightStream(3))
