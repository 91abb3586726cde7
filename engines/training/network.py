"""STSTNet as a bank: many independent copies that see the same pictures in one pass."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

MEMBER_FILTERS = 16
"""Filters of one STSTNet: 3 + 5 + 8, its three streams side by side."""

MEMBER_FEATURES = 400
"""Inputs of one STSTNet's last layer: 16 filters of 5x5 cells."""


class StstnetBank(nn.Module):
    """Independent copies of STSTNet, trained and run together.

    Liong et al., "Shallow triple stream three-dimensional CNN (STSTNet) for micro-expression
    recognition" (FG 2019). Its streams have 3, 5 and 8 filters of the same size over the same
    input and are concatenated, which is one convolution with 16 filters. Batch normalisation is
    left out, as the input is standardised already and statistics over a batch would couple
    copies to samples they must not see. One member has 1,651 parameters.

    The copies share the input and nothing else: no gradient of one reaches another. So one
    convolution with 16·M filters trains a leave-one-subject-out run, or an ensemble, at once.
    """

    def __init__(self, members: int, classes: int, generator: torch.Generator) -> None:
        """Build the bank.

        Args:
            members: Number of copies M. All start from the same weights.
            classes: Number of classes C.
            generator: Source of the initial weights.
        """
        super().__init__()
        self.members = members
        kernel = torch.randn(MEMBER_FILTERS, 3, 3, 3, generator=generator) * (2 / 27) ** 0.5
        head = torch.randn(MEMBER_FEATURES, classes, generator=generator) * MEMBER_FEATURES**-0.5
        self.kernel = nn.Parameter(kernel.repeat(members, 1, 1, 1))
        self.kernel_bias = nn.Parameter(torch.zeros(members * MEMBER_FILTERS))
        self.head = nn.Parameter(head.repeat(members, 1, 1))
        self.head_bias = nn.Parameter(torch.zeros(members, classes))

    def features(self, planes: torch.Tensor) -> torch.Tensor:
        """Pooled features of every member.

        Args:
            planes: (N, 3, 28, 28) standardised flow pictures.

        Returns:
            (N, M, 400).
        """
        maps = functional.conv2d(planes, self.kernel, self.kernel_bias, padding=1)
        maps = functional.relu(functional.max_pool2d(maps, 3, stride=3, padding=1))
        pooled = functional.avg_pool2d(maps, 2)
        return pooled.reshape(len(planes), self.members, MEMBER_FEATURES)

    def forward(self, planes: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Logits of every member.

        Args:
            planes: (N, 3, 28, 28) standardised flow pictures.
            keep: (N, 1, 400) or (N, M, 400) dropout factors; None when not training.

        Returns:
            (N, M, C).
        """
        features = self.features(planes)
        if keep is not None:
            features = features * keep
        return torch.einsum("nmk,mkc->nmc", features, self.head) + self.head_bias
