"""Which proposals are expressions, and how far off the network is.

As in both papers: an anchor is an expression from an intersection over union of 0.5 with it, and
background below 0.4; each expression has its best anchor at least. Without anchors, the positions
inside an expression are responsible for it on the levels whose reach fits its length. Kinds by
focal loss (Lin et al., ICCV 2017; α 0.25, γ 2), offsets of anchors by smooth L1 (β 1), intervals of
the anchor-free branch by intersection over union.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from engines.spotting.proposal_spotter import STEPS
from engines.training.networks.proposals import ProposalNetwork
from engines.training.proposal_windows import BACKGROUND, MACRO, MICRO, NOTHING, UNTOLD, Batch

FOREGROUND, BACKGROUND_BELOW = 0.5, 0.4
ALPHA, GAMMA = 0.25, 2.0


@dataclass(frozen=True, slots=True)
class Targets:
    """What proposals should have been, for N windows and M proposals of one branch.

    Attributes:
        kinds: (N, M, 2) float32, 1 for the kind of the expression that a proposal is.
        judged: (N, M) bool, whether its kinds count.
        matched: (N, M) bool, whether it is an expression or pseudo-labelled background.
        located: (N, M) bool, whether it is an expression.
        intervals: (N, M, 2) float32, the interval of that expression in steps.
    """

    kinds: torch.Tensor
    judged: torch.Tensor
    matched: torch.Tensor
    located: torch.Tensor
    intervals: torch.Tensor


def interval_iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(…,) intersection over union of (…, 2) intervals."""
    shared = torch.minimum(first[..., 1], second[..., 1])
    shared = (shared - torch.maximum(first[..., 0], second[..., 0])).clamp(min=0)
    whole = (first[..., 1] - first[..., 0]) + (second[..., 1] - second[..., 0]) - shared
    return shared / whole.clamp(min=1e-6)


def anchor_targets(network: ProposalNetwork, batch: Batch) -> Targets:
    """What each anchor should have been."""
    half = network.anchor_lengths / 2
    anchors = torch.stack([network.anchor_centres - half, network.anchor_centres + half], dim=-1)
    iou = interval_iou(anchors[None, :, None], batch.intervals[:, None])  # N, A, G
    iou = torch.where((batch.labels == NOTHING)[:, None], -1.0, iou)
    told = (batch.labels <= BACKGROUND)[:, None]
    best, which = torch.where(told, iou, -1.0).max(dim=2)
    matched = best >= FOREGROUND
    expressions = (batch.labels <= MACRO).nonzero()
    for row, event in expressions.tolist():  # each expression has an anchor
        own = int(iou[row, :, event].argmax())
        matched[row, own] = True
        which[row, own] = event
    clear = iou.amax(dim=2) < BACKGROUND_BELOW
    return _targets(batch, matched, which, matched | clear)


def free_targets(network: ProposalNetwork, batch: Batch) -> Targets:
    """What each position should have been without anchors."""
    centre, stride = network.centres[None, :, None], network.strides[None, :, None]
    left = centre - batch.intervals[:, None, :, 0]
    right = batch.intervals[:, None, :, 1] - centre
    inside = (left > 0) & (right > 0) & (batch.labels != NOTHING)[:, None]
    longest = torch.maximum(left, right)
    finest = stride == stride.min()
    fits = (longest <= torch.where(finest, 1.25, 2.0) * stride) & (
        finest | (longest >= 0.5 * stride)
    )
    told = inside & fits & (batch.labels <= BACKGROUND)[:, None]
    # Of several, the shortest.
    length = (left + right).masked_fill(~told, 10.0 * STEPS)
    which = length.argmin(dim=2)
    matched = told.any(dim=2)
    untold = (inside & (batch.labels == UNTOLD)[:, None]).any(dim=2)
    return _targets(batch, matched, which, matched | ~untold)


def _targets(
    batch: Batch, matched: torch.Tensor, which: torch.Tensor, judged: torch.Tensor
) -> Targets:
    labels = torch.gather(batch.labels, 1, which)
    located = matched & (labels <= MACRO)
    kinds = torch.stack([located & (labels == kind) for kind in (MICRO, MACRO)], dim=-1)
    intervals = torch.gather(batch.intervals, 1, which[..., None].expand(-1, -1, 2))
    return Targets(kinds.float(), judged, matched, located, intervals)


def focal(logits: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Focal loss of the kinds, over the number of matches."""
    chance = torch.sigmoid(logits)
    right = targets.kinds * chance + (1 - targets.kinds) * (1 - chance)
    weight = targets.kinds * ALPHA + (1 - targets.kinds) * (1 - ALPHA)
    losses = functional.binary_cross_entropy_with_logits(logits, targets.kinds, reduction="none")
    total = (weight * (1 - right) ** GAMMA * losses * targets.judged[..., None]).sum()
    return total / (targets.matched.sum() + len(logits))


def proposal_loss(network: ProposalNetwork, batch: Batch, micro_weight: float) -> torch.Tensor:
    """Mean loss of a batch, both branches.

    Args:
        network: LSSNet or LGSNet.
        batch: Windows and what is in them.
        micro_weight: How much the place of a micro-expression counts, that of a macro-expression
            counting 1.
    """
    logits, intervals = network(batch.windows)
    count = len(network.centres)
    free, anchored = free_targets(network, batch), anchor_targets(network, batch)
    loss = focal(logits[:, :count], free) + focal(logits[:, count:], anchored)
    if free.located.any():
        ours, right = intervals[:, :count][free.located], free.intervals[free.located]
        missed = 1 - interval_iou(ours, right)
        loss = loss + (_weights(free, micro_weight) * missed).mean()
    if anchored.located.any():
        ours, right = intervals[:, count:][anchored.located], anchored.intervals[anchored.located]
        length = network.anchor_lengths.expand(len(logits), -1)[anchored.located]
        wrong_centre = (ours.mean(dim=-1) - right.mean(dim=-1)) / length
        wrong_length = torch.log(
            (ours[:, 1] - ours[:, 0]).clamp(min=1e-3) / (right[:, 1] - right[:, 0])
        )
        off = torch.stack([wrong_centre, wrong_length], dim=-1)
        each = functional.smooth_l1_loss(off, torch.zeros_like(off), reduction="none").sum(dim=-1)
        loss = loss + (_weights(anchored, micro_weight) * each).mean()
    return loss


def _weights(targets: Targets, micro_weight: float) -> torch.Tensor:
    micro = targets.kinds[targets.located][:, MICRO]
    return 1 + (micro_weight - 1) * micro
