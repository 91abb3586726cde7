"""MEAN, the micro-expression analysis network that spots first and recognises by transfer.

Liong, See and Chan, "Spot-then-recognize: a micro-expression analysis network for seamless
evaluation of long videos", Signal Processing: Image Communication 2023.
"""

from __future__ import annotations

import torch
from torch import nn

from engines.training.networks.base import SpotAndRecognise

STREAM_FILTERS = (3, 3, 8)
"""Filters of the streams of u, v and strain."""

HEAD_FILTERS = 8
HEAD_FEATURES = HEAD_FILTERS * 7 * 7
"""Inputs of a head's last layer: 42 cells, pooled by 3 and by 2."""


class Stream(nn.Sequential):
    """One plane's own layers: 5×5 convolution, batch normalisation, pooling by 3, dropout."""

    def __init__(self, filters: int) -> None:
        super().__init__(
            nn.Conv2d(1, filters, 5, padding=2),
            nn.ReLU(),
            nn.BatchNorm2d(filters),
            nn.MaxPool2d(3),
            nn.Dropout(0.3),
        )


class Head(nn.Sequential):
    """What follows the shared streams: 5×5 convolution, pooling by 2, dropout, linear layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, HEAD_FILTERS, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(HEAD_FEATURES, outputs),
        )


class Mean(SpotAndRecognise):
    """Three shallow streams under a spotting head and a recognition head.

    Scores are linear, not confined to 0…1. The spotting path has 3,621 weights, running statistics
    of batch normalisation included. The recognition head is trained last, on streams that stand
    still.

    Args:
        classes: Number of emotions.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.streams = nn.ModuleList(Stream(filters) for filters in STREAM_FILTERS)
        self.spotting = Head(sum(STREAM_FILTERS), 1)
        self.recognition = Head(sum(STREAM_FILTERS), classes)

    def shared(self, planes: torch.Tensor) -> torch.Tensor:
        """(N, 14, 14, 14) features; see `SpotAndRecognise.shared`."""
        pairs = zip(self.streams, torch.split(planes, 1, dim=1), strict=True)
        return torch.cat([stream(plane) for stream, plane in pairs], dim=1)
