"""MC-WES: attention of two streams, and what each moment says of micro and macro.

Yu, Yang, Yan and Li, "Weakly-supervised micro- and macro-expression spotting based on multi-level
consistency" (TPAMI 2025). There is no public code; the paper's parts are kept, each in the form
that is common in the field:

- each stream is embedded and enhanced by the other one: what the two agree on is let through;
- each stream has an attention of its own, how much a moment stands out;
- a class activation sequence says of every moment what it would be: micro, macro or background.

Every convolution looks back only. A score therefore speaks of the middle of what it saw, which the
causal decision declares (`engines.spotting.mc_wes_spotter.LAG_S`).
"""

from __future__ import annotations

import torch
from torch import nn

from engines.spotting.mc_wes_spotter import CONTEXT_STEPS

MICRO, MACRO, BACKGROUND = range(3)
"""Classes of the activation sequence."""

CHANNELS = 24
"""Channels of each embedded stream."""

LIMIT = 6.0
"""Logits beyond which nothing is said any more."""

_LAYERS = 3
_KERNEL = 1 + (CONTEXT_STEPS - 1) // _LAYERS


class Backward(nn.Module):
    """A convolution over time that looks back only, and sees nothing where there is nothing.

    Args:
        inputs: Channels.
        outputs: Channels.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolve = nn.Conv1d(inputs, outputs, _KERNEL)

    def forward(self, values: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """(B, C, T) and (B, 1, T) mask to (B, D, T); zero where the mask is.

        Without the mask, the bias of one convolution would be seen by the next before a stretch
        starts, and a window would not give what the whole stretch gives.
        """
        padded = nn.functional.pad(values, (_KERNEL - 1, 0))
        convolved: torch.Tensor = self.convolve(padded)
        return convolved * there


class McWes(nn.Module):
    """The network of MC-WES.

    Args:
        appearance: Number of features of appearance, which come first.
        features: Number of all features F.
    """

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, appearance: int, features: int) -> None:
        super().__init__()
        self.appearance = appearance
        sizes = (appearance, features - appearance)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.embed = nn.ModuleList([Backward(size, CHANNELS) for size in sizes])
        self.gate = nn.ModuleList([nn.Conv1d(CHANNELS, CHANNELS, 1) for _ in sizes])
        self.refine = nn.ModuleList([Backward(CHANNELS, CHANNELS) for _ in sizes])
        self.attend = nn.ModuleList([nn.Conv1d(CHANNELS, 1, 1) for _ in sizes])
        self.classify = Backward(2 * CHANNELS, 3)
        self.dropout = nn.Dropout(0.3)

    def standardise(self, features: torch.Tensor) -> None:
        """Take mean and spread of the features from (N, F) examples."""
        self.mean.copy_(features.mean(dim=0))
        self.spread.copy_(features.std(dim=0).clamp(min=1e-3))

    def forward(self, window: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Look at whole videos, or at windows of them.

        Args:
            window: (B, T, F + 1) features; the last is 1 where there is a step, else all are 0.

        Returns:
            (B, T, 3) class activations; (B, T, 2) logits of the attention of appearance and of
            flow; (B, T, 2·CHANNELS) what both streams became.
        """
        there = window[..., -1:].transpose(1, 2)
        values = (window[..., :-1] - self.mean) / self.spread
        values = values.transpose(1, 2) * there
        streams = (values[:, : self.appearance], values[:, self.appearance :])
        embedded = [
            torch.relu(embed(self.dropout(stream), there))
            for embed, stream in zip(self.embed, streams, strict=True)
        ]
        enhanced = [
            torch.relu(refine(own * torch.sigmoid(gate(other)), there))
            for refine, gate, own, other in zip(
                self.refine, self.gate, embedded, embedded[::-1], strict=True
            )
        ]
        attention = torch.cat(
            [attend(stream) for attend, stream in zip(self.attend, enhanced, strict=True)], dim=1
        )
        attention = limited(attention)
        both = torch.cat(enhanced, dim=1)
        activations = self.classify(self.dropout(both), there)
        return activations.transpose(1, 2), attention.transpose(1, 2), both.transpose(1, 2)


class McWesScore(nn.Module):
    """The score of the newest step of a window, for export.

    What a moment says of *micro* against *background*, where both streams find that it stands out.
    """

    def __init__(self, network: McWes) -> None:
        super().__init__()
        self.network = network

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        """(B, T, F + 1) window to (B,) unbounded scores."""
        activations, attention, _ = self.network(window[:, -CONTEXT_STEPS:])
        scores: torch.Tensor = micro_score(activations, attention)[:, -1]
        return scores


def micro_score(activations: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
    """(B, T) how much each moment looks like a micro-expression, within ±`LIMIT`.

    Whole videos teach that most moments are nothing, ever more surely; how surely is of no use to
    a decision that compares a curve with its own spread at rest.
    """
    micro = activations[..., MICRO] - activations[..., BACKGROUND]
    return limited(micro + salience(attention))


def salience(attention: torch.Tensor) -> torch.Tensor:
    """(…, 2) logits of the attention of both streams to the (…) mean logarithm of the attention."""
    # As `logsigmoid`, which is exported in a form that underflows.
    logs = attention.clamp(max=0) - torch.log1p(torch.exp(-attention.abs()))
    return logs.mean(dim=-1)


def limited(values: torch.Tensor) -> torch.Tensor:
    """Values that bend where they approach ±`LIMIT`."""
    return LIMIT * torch.tanh(values / LIMIT)
