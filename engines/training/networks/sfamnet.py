"""SFAMNet, the scene-flow attention network that spots and recognises at once.

Liong, Liong, Chan and See, "SFAMNet: a scene flow attention-based micro-expression network",
Neurocomputing 2024. Its third plane is the change of depth, which only a depth camera gives; with
optical strain there instead it is another engine and has to be trained anew.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from engines.training.networks.base import PLANES, SpotAndRecognise
from engines.training.networks.cbam import Cbam

STREAM_CHANNELS = 3
TASK_CHANNELS = 8
TASK_FEATURES = TASK_CHANNELS * 7 * 7
"""Inputs of a task's last layer: 42 cells, pooled by 3 and by 2."""


class AttentiveBlock(nn.Module):
    """One plane's own layers: two 5×5 convolutions and CBAM beside a 1×1 shortcut, pooled by 3.

    The published code declares batch normalisation here and does not apply it, so there is none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, STREAM_CHANNELS, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(STREAM_CHANNELS, STREAM_CHANNELS, 5, padding=2),
            Cbam(STREAM_CHANNELS),
        )
        self.shortcut = nn.Conv2d(1, STREAM_CHANNELS, 1)

    def forward(self, plane: torch.Tensor) -> torch.Tensor:
        """(N, 1, 42, 42) to (N, 3, 14, 14)."""
        maps = functional.relu(self.body(plane) + self.shortcut(plane))
        return functional.max_pool2d(maps, 3)


class Task(nn.Sequential):
    """One task's own layers: 5×5 convolution, pooling by 2, linear layer."""

    def __init__(self, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(PLANES * STREAM_CHANNELS, TASK_CHANNELS, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(TASK_FEATURES, outputs),
        )


class SfamNet(SpotAndRecognise):
    """Three attentive streams under two tasks that are learned together.

    Args:
        classes: Number of outputs of the recognition task; the last is *neutral*.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.streams = nn.ModuleList(AttentiveBlock() for _ in range(PLANES))
        self.spotting = Task(1)
        self.recognition = Task(classes)

    def shared(self, planes: torch.Tensor) -> torch.Tensor:
        """(N, 9, 14, 14) features; see `SpotAndRecognise.shared`."""
        pairs = zip(self.streams, torch.split(planes, 1, dim=1), strict=True)
        return torch.cat([stream(plane) for stream, plane in pairs], dim=1)

    def squash(self, scores: torch.Tensor) -> torch.Tensor:
        """Sigmoid of the scores."""
        return torch.sigmoid(scores)
