"""Backbones of clip features: two streams of the same make, and what they are trained for."""

from __future__ import annotations

import torch
from torch import nn


class TwoStream(nn.Module):
    """One network for appearance and one for flow, which share nothing.

    Args:
        appearance: From (N, 8, C, H, W) pictures to (N, F_a) features.
        flow: The same of flow pictures, to (N, F_f).
    """

    def __init__(self, appearance: nn.Module, flow: nn.Module) -> None:
        super().__init__()
        self.appearance = appearance
        self.flow = flow

    def forward(
        self, appearance: torch.Tensor, flow: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of both streams, for chunks of 8 pictures."""
        return self.appearance(appearance), self.flow(flow)


class Foretelling(nn.Module):
    """The task that a backbone is trained on, for which nobody has to label anything.

    From the features of a chunk, each stream for itself, a linear layer tells how every region of
    the face moves during the chunk and during the one that follows, as the motion meter measures
    it. The streams cannot lean on one another, and what is about to follow is told only by
    features that know one movement from another. The layers are thrown away afterwards.

    Args:
        backbone: Whose features.
        sizes: Number of features of appearance and of flow.
        targets: Number of values that are told of a chunk.
    """

    def __init__(self, backbone: TwoStream, sizes: tuple[int, int], targets: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.tell = nn.ModuleList(nn.Linear(size, targets) for size in sizes)

    def forward(
        self, appearance: torch.Tensor, flow: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What each stream tells, (N, targets) both."""
        features = self.backbone(appearance, flow)
        told, also_told = (tell(seen) for tell, seen in zip(self.tell, features, strict=True))
        return told, also_told
