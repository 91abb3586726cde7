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
        classes: Number of outputs of the recognition head.
    """

    classes: int

    @abstractmethod
    def spot(self, planes: torch.Tensor) -> torch.Tensor:
        """Spotting score of every picture.

        Args:
            planes: (N, 3, 42, 42) float32 as `engines.motion.planes` makes them.

        Returns:
            (N,) float32; 0 for a face without a micro-expression, 1 during one.
        """

    @abstractmethod
    def recognise(self, planes: torch.Tensor) -> torch.Tensor:
        """Class logits of every picture; arguments as for `spot`.

        Returns:
            (N, C) float32.
        """


class SpottingHead(nn.Module):
    """The spotting half of a network, for export."""

    def __init__(self, network: SpotAndRecognise) -> None:
        super().__init__()
        self.network = network

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Scores (N,) of (N, 3, 42, 42) planes."""
        return self.network.spot(planes)


class RecognitionHead(nn.Module):
    """The recognising half of a network, for export."""

    def __init__(self, network: SpotAndRecognise) -> None:
        super().__init__()
        self.network = network

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Logits (N, C) of (N, 3, 42, 42) planes."""
        return self.network.recognise(planes)
