"""What MC-WES learns from: labels of whole videos, and four ways to be consistent.

The paper names the four consistencies; of their formulas only the idea is public, so each takes the
form that is common for it:

=========================  ===================================================================
level                      here
=========================  ===================================================================
modal: saliency            each stream's attention follows the other's, which stands still
video: distribution        both streams attend to equally much of a video, and to little
label: duration            micro-activation may not last as long as a macro-expression, macro-
                           activation must last longer than a micro-expression
segment: feature           what is attended to resembles itself in videos of the same label, and
                           what is not attended to does not (Paul, Roy and Roy-Chowdhury,
                           "W-TALC", ECCV 2018)
=========================  ===================================================================

The labels are learned by multiple instances: the most telling moments of a video answer for it, as
many as an expression of that kind lasts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from engines.features.grid import STEP_S
from engines.training.networks.mc_wes import BACKGROUND, MACRO, MICRO, salience

MICRO_S, MACRO_S = 0.5, 1.5
"""How long the moments last that answer for a video: a long micro-, a typical macro-expression."""

_SPARSITY = 0.2
_MARGIN = 0.5

_KINDS = (MICRO, MACRO)


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each part of the loss counts; fixed before any figure was looked at.

    Attributes:
        saliency: Modal level.
        distribution: Video level.
        duration: Label level.
        feature: Segment level.
    """

    saliency: float = 1.0
    distribution: float = 0.5
    duration: float = 0.5
    feature: float = 0.1


def weak_loss(
    outputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    there: torch.Tensor,
    labels: torch.Tensor,
    weights: Weights,
) -> torch.Tensor:
    """The whole loss of some videos.

    Args:
        outputs: What `McWes` gave for them.
        there: (B, T) 1 where there is a step.
        labels: (B, 2) 1 where a video shows a micro-, or a macro-expression.
        weights: Of its parts.
    """
    activations, attention, features = outputs
    return (
        multiple_instances(activations, attention, there, labels)
        + weights.saliency * modal_saliency(attention, there)
        + weights.distribution * video_distribution(attention, there)
        + weights.duration * label_duration(activations, there)
        + weights.feature * segment_features(activations, attention, features, there, labels)
    )


def multiple_instances(
    activations: torch.Tensor, attention: torch.Tensor, there: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """The moments that say most of a class answer for it.

    Every video has background; where only what is attended to counts, none has.
    """
    background = torch.ones_like(labels[:, :1])
    whole = _answers(activations, there)
    attended = _answers(activations + salience(attention)[..., None], there)
    told = functional.binary_cross_entropy_with_logits
    return told(whole, torch.cat([labels, background], dim=1)) + told(
        attended, torch.cat([labels, 1 - background], dim=1)
    )


def _answers(activations: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """(B, 3) mean activation of the most telling moments of each class."""
    kept = activations.masked_fill(there[..., None] == 0, -torch.inf)
    counts = [_steps(MICRO_S), _steps(MACRO_S), activations.shape[1] // 2]
    answers = []
    for which, count in enumerate(counts):
        best = kept[..., which].topk(min(count, kept.shape[1]), dim=1).values
        known = torch.isfinite(best)
        total = torch.where(known, best, torch.zeros_like(best)).sum(dim=1)
        answers.append(total / known.sum(dim=1).clamp(min=1))
    return torch.stack(answers, dim=1)


def modal_saliency(attention: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Each stream finds salient what the other does."""
    appearance, flow = torch.sigmoid(attention).unbind(dim=-1)
    apart = (appearance - flow.detach()) ** 2 + (flow - appearance.detach()) ** 2
    return _mean(apart, there)


def video_distribution(attention: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Both streams attend to equally much of a video, and to no more than is needed."""
    share = torch.sigmoid(attention) * there[..., None]
    share = share.sum(dim=1) / there.sum(dim=1, keepdim=True).clamp(min=1)
    uneven: torch.Tensor = (share[:, 0] - share[:, 1]).abs().mean()
    return uneven + _SPARSITY * share.mean()


def label_duration(activations: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Micro-activation is short, macro-activation is not."""
    likely = torch.softmax(activations, dim=-1) * there[..., None]
    lasting = _average(likely[..., MICRO], 2 * _steps(MICRO_S))
    too_long = functional.relu(lasting - 0.5)
    brief = functional.relu(likely[..., MACRO] - 2 * _average(likely[..., MACRO], _steps(MACRO_S)))
    return _mean(too_long + brief, there)


def segment_features(
    activations: torch.Tensor,
    attention: torch.Tensor,
    features: torch.Tensor,
    there: torch.Tensor,
    labels: torch.Tensor,
) -> torch.Tensor:
    """Between videos of the same label, what stands for it is alike and the rest is not."""
    missing = (there == 0)[..., None]
    evident = activations[..., list(_KINDS)] + attention.mean(dim=-1, keepdim=True)
    high = torch.softmax(evident.masked_fill(missing, -1e4), dim=1)
    low = torch.softmax((-evident).masked_fill(missing, -1e4), dim=1)
    losses = []
    for kind in range(len(_KINDS)):
        shown = torch.nonzero(labels[:, kind] > 0).flatten()
        if len(shown) < 2:
            continue
        telling = torch.einsum("bt,btd->bd", high[shown, :, kind], features[shown])
        other = torch.einsum("bt,btd->bd", low[shown, :, kind], features[shown])
        alike = _distance(telling, telling.roll(1, dims=0))
        unlike = _distance(telling, other.roll(1, dims=0))
        losses.append(functional.relu(alike - unlike + _MARGIN).mean())
    return torch.stack(losses).mean() if losses else features.sum() * 0


def full_loss(
    activations: torch.Tensor, attention: torch.Tensor, there: torch.Tensor, steps: torch.Tensor
) -> torch.Tensor:
    """The loss of the fully supervised counterpart: the class of every moment.

    Args:
        activations: (B, T, 3).
        attention: (B, T, 2) logits; told whether there is an expression.
        there: (B, T) 1 where there is a step.
        steps: (B, T) int64 class of each moment.
    """
    balance = activations.new_tensor([5.0, 2.0, 1.0])
    classes = functional.cross_entropy(
        activations.transpose(1, 2), steps, weight=balance, reduction="none"
    )
    shown = (steps != BACKGROUND).to(attention.dtype)[..., None].expand_as(attention)
    salient = functional.binary_cross_entropy_with_logits(attention, shown, reduction="none")
    return _mean(classes + salient.mean(dim=-1), there)


def _steps(seconds: float) -> int:
    return max(1, round(seconds / STEP_S))


def _average(values: torch.Tensor, steps: int) -> torch.Tensor:
    """(B, T) mean of so many steps around each."""
    padded = functional.pad(values[:, None], (steps // 2, (steps - 1) // 2))
    averaged: torch.Tensor = functional.avg_pool1d(padded, steps, stride=1)[:, 0]
    return averaged


def _mean(values: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    return (values * there).sum() / there.sum().clamp(min=1)


def _distance(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return 1 - functional.cosine_similarity(one, other, dim=1)
