"""What training and export need of a network that spots and recognises."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

PLANES = 3
"""Input planes: u, v, and optical strain or depth change."""


class SpotAndRecognise(nn.Module, ABC):
    """A network with one body and two heads, for single flow pictures of 42×42 cells.

    Attributes:
        spotting: Head with one output.
        recognition: Head with an output for each class.
    """

    spotting: nn.Module
    recognition: nn.Module

    @abstractmethod
    def shared(self, planes: torch.Tensor) -> torch.Tensor:
        """Features that both heads read.

        Args:
            planes: (N, 3, 42, 42) float32 as `engines.motion.planes` makes them.

        Returns:
            (N, F, 14, 14).
        """

    def squash(self, scores: torch.Tensor) -> torch.Tensor:
        """Bring scores to what is trained to be 0 without a micro-expression and 1 during one."""
        return scores

    def forward(self, planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Unbounded scores (N,) and class logits (N, C) of (N, 3, 42, 42) planes."""
        features = self.shared(planes)
        return self.spotting(features).squeeze(1), self.recognition(features)


class SpottingPath(nn.Module):
    """The spotting half of a network, for export.

    What it gives is unbounded, also where training squashed it: the causal decision compares a
    curve with its own spread at rest, and a squashed curve has none.
    """

    def __init__(self, network: SpotAndRecognise) -> None:
        super().__init__()
        self.network = network

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Scores (N,) of (N, 3, 42, 42) planes."""
        scores: torch.Tensor = self.network.spotting(self.network.shared(planes)).squeeze(1)
        return scores


class RecognitionPath(nn.Module):
    """The recognising half of a network, for export."""

    def __init__(self, network: SpotAndRecognise) -> None:
        super().__init__()
        self.network = network

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Logits (N, C) of (N, 3, 42, 42) planes."""
        logits: torch.Tensor = self.network.recognition(self.network.shared(planes))
        return logits
