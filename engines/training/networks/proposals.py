"""What LSSNet and LGSNet share: a temporal pyramid over clip features, and its proposals.

Yu, Jiang and Li, "LSSNet: a two-stream convolutional neural network for spotting macro- and
micro-expression in long videos" (ACM MM 2021); Yu et al., "LGSNet: a two-stream network for micro-
and macro-expression spotting with background modeling" (TAFFC 2023). The pyramid, its anchors and
the anchor-free branch beside them come from one trunk. Deviations from the papers:

======================================  =====================================================
published                               here
======================================  =====================================================
2048 I3D features into 512 channels     the features that there are, through a 1×1 convolution
                                        into 48: an hour of video is all that there is to learn
pyramid of 16, 8, 4 and 2 positions     32 as well, where anchors are as short as 0.07 s
ratios as logarithm of the width        the same
head per branch, shared by levels       the same, 48 channels instead of 256
======================================  =====================================================

Lengths and places are in steps of the window; `Proposals` turns them into seconds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.nn import functional

from engines.features.grid import STEP_S
from engines.spotting.proposal_spotter import STEPS

POSITIONS = (32, 16, 8, 4, 2)
"""Positions of each level of the pyramid."""

RATIOS = (0.5, 0.75, 1.0, 1.5, 2.0)
"""Lengths of the anchors of a position, in distances between positions."""

KINDS = 2
"""Kinds of expression: micro, macro."""

CHANNELS = 48
"""Channels of the trunk and of the heads."""

WIDEST = 3.0
"""Largest logarithm of a length over that of its anchor that is believed."""


def centres() -> torch.Tensor:
    """(P,) place of every position of the pyramid, in steps from the start of the window."""
    return torch.cat([(torch.arange(n) + 0.5) * (STEPS / n) for n in POSITIONS])


def strides() -> torch.Tensor:
    """(P,) distance between the positions of the level of every position, in steps."""
    return torch.cat([torch.full((n,), STEPS / n) for n in POSITIONS])


def anchors() -> tuple[torch.Tensor, torch.Tensor]:
    """(A,) centres and (A,) lengths of all anchors, in steps; those of a position side by side."""
    lengths = strides()[:, None] * torch.tensor(RATIOS)
    return centres()[:, None].expand_as(lengths).flatten(), lengths.flatten()


class Mish(nn.Module):
    """Misra, "Mish: a self regularized non-monotonic activation function" (BMVC 2020)."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        return values * torch.tanh(functional.softplus(values))


class Trunk(nn.Module):
    """The features of a window at half their rate.

    Args:
        features: Number of features F of a step.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        # Fitted to the training data and kept with the weights.
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.mean: torch.Tensor
        self.spread: torch.Tensor
        self.body = nn.Sequential(
            nn.Dropout1d(0.1),
            nn.Conv1d(features + 1, CHANNELS, 1),
            Mish(),
            nn.Dropout(0.2),
            nn.Conv1d(CHANNELS, CHANNELS, 9, padding=4),
            Mish(),
            nn.MaxPool1d(2),
            nn.Dropout(0.2),
            nn.Conv1d(CHANNELS, CHANNELS, 9, padding=4),
            Mish(),
        )

    def standardise(self, values: torch.Tensor) -> None:
        """Fit mean and spread to (N, F) features."""
        self.mean.copy_(values.mean(dim=0))
        self.spread.copy_(values.std(dim=0).clamp(min=1e-3))

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        """(N, 64, F + 1) features, and 1 where there is a step, to (N, 48, 32)."""
        known = window[..., -1:]
        features = known * (window[..., :-1] - self.mean) / self.spread
        maps: torch.Tensor = self.body(torch.cat([features, known], dim=-1).transpose(1, 2))
        return maps


class Branch(nn.Sequential):
    """A head: two convolutions and the values of each position."""

    def __init__(self, outputs: int) -> None:
        super().__init__(
            nn.Conv1d(CHANNELS, CHANNELS, 3, padding=1),
            Mish(),
            nn.Conv1d(CHANNELS, CHANNELS, 3, padding=1),
            Mish(),
            nn.Dropout(0.1),
            nn.Conv1d(CHANNELS, outputs, 3, padding=1),
        )


class ProposalNetwork(nn.Module, ABC):
    """Trunk, pyramid and heads; what is done to the levels in between is each network's own.

    Args:
        features: Number of features F of a step.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.trunk = Trunk(features)
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(CHANNELS, CHANNELS, 3, stride=2 if level else 1, padding=1), Mish()
            )
            for level in range(len(POSITIONS))
        )
        self.reduce = nn.ModuleList(
            nn.Sequential(nn.Conv1d(CHANNELS, CHANNELS, 1), Mish()) for _ in POSITIONS
        )
        self.free_kinds = Branch(KINDS)
        self.free_sides = Branch(2)
        self.anchor_kinds = Branch(len(RATIOS) * KINDS)
        self.anchor_offsets = Branch(len(RATIOS) * 2)
        for branch in (self.free_kinds, self.anchor_kinds):
            # Nearly every position is background: start from there (Lin et al., ICCV 2017).
            nn.init.constant_(branch[-1].bias, -4.0)  # type: ignore[arg-type]
        self.register_buffer("centres", centres())
        self.register_buffer("strides", strides())
        where, lengths = anchors()
        self.register_buffer("anchor_centres", where)
        self.register_buffer("anchor_lengths", lengths)
        self.centres: torch.Tensor
        self.strides: torch.Tensor
        self.anchor_centres: torch.Tensor
        self.anchor_lengths: torch.Tensor

    @abstractmethod
    def pyramid(self, base: torch.Tensor) -> list[torch.Tensor]:
        """The levels that heads read.

        Args:
            base: (N, 48, 32) what the trunk gives.

        Returns:
            (N, 48, L) for every L of `POSITIONS`.
        """

    def forward(self, window: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Proposals of both branches.

        Args:
            window: (N, 64, F + 1) features, and 1 where there is a step, else all zeros.

        Returns:
            Logits of each kind (N, M, 2) and onset and offset (N, M, 2) in steps from the start of
            the window; M = P + A, the anchor-free ones first.
        """
        levels = self.pyramid(self.trunk(window))

        def told(branch: nn.Module, boxes: int, values: int) -> torch.Tensor:
            # Extents as numbers, but for the batch, so that exported graphs take any batch.
            parts = [
                branch(level).transpose(1, 2).reshape(-1, length * boxes, values)
                for length, level in zip(POSITIONS, levels, strict=True)
            ]
            return torch.cat(parts, dim=1)

        sides = functional.softplus(told(self.free_sides, 1, 2)) * self.strides[:, None]
        centre = self.centres[:, None]
        free = torch.cat([centre - sides[..., :1], centre + sides[..., 1:]], dim=-1)
        offsets = told(self.anchor_offsets, len(RATIOS), 2)
        length = self.anchor_lengths * torch.exp(offsets[..., 1].clamp(-WIDEST, WIDEST))
        middle = self.anchor_centres + offsets[..., 0] * self.anchor_lengths
        anchored = torch.stack([middle - length / 2, middle + length / 2], dim=-1)
        kinds = [told(self.free_kinds, 1, KINDS), told(self.anchor_kinds, len(RATIOS), KINDS)]
        return torch.cat(kinds, dim=1), torch.cat([free, anchored], dim=1)


class Proposals(nn.Module):
    """A network as it is exported: proposals in seconds.

    Args:
        network: LSSNet or LGSNet.
    """

    def __init__(self, network: ProposalNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        """Proposals of a window.

        Args:
            window: (N, 64, F + 1); see `ProposalNetwork.forward`.

        Returns:
            (N, M, 4): logits of micro and macro; onset and offset in seconds from the window's end,
            not positive where they lie in it.
        """
        kinds, intervals = self.network(window)
        return torch.cat([kinds, (intervals - STEPS) * STEP_S], dim=-1)
