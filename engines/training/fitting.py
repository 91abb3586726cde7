"""Fitting a bank of STSTNets, and leave-one-subject-out with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from engines.recognition.ststnet.representation import mirror
from engines.training.network import MEMBER_FEATURES, StstnetBank


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained; fixed before any test subject is looked at.

    Attributes:
        epochs: Passes over the data.
        batch: Samples in a step.
        learning_rate: Peak of the one-cycle schedule of AdamW.
        weight_decay: Decoupled weight decay.
        dropout: Share of the features that a step leaves out.
        label_smoothing: Probability mass spread over all classes.
        shift: Largest shift of a training picture in cells, each way.
        stretch: Largest relative change of its width and of its height.
    """

    epochs: int = 40
    batch: int = 64
    learning_rate: float = 1e-2
    weight_decay: float = 0.1
    dropout: float = 0.5
    label_smoothing: float = 0.1
    shift: float = 1.5
    stretch: float = 0.08


def balanced_weights(
    labels: npt.NDArray[np.int64], included: npt.NDArray[np.bool_], classes: int
) -> npt.NDArray[np.float32]:
    """Sample weights under which every class counts the same and excluded samples count zero.

    Args:
        labels: (N,) class indices.
        included: (M, N) samples that member m may learn from.
        classes: Number of classes.

    Returns:
        (M, N) float32; the included samples of a member have mean weight 1.
    """
    one_hot = np.eye(classes)[labels]
    counts = included @ one_hot
    per_class = included.sum(axis=1, keepdims=True) / (classes * np.maximum(counts, 1))
    weights: npt.NDArray[np.float32] = (included * per_class[:, labels]).astype(np.float32)
    return weights


def augment(planes: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Mirror, shift and stretch pictures at random.

    Args:
        planes: (N, 3, 28, 28) standardised flow pictures.
        recipe: Strength of the changes.
        generator: Source of the randomness.

    Returns:
        (N, 3, 28, 28); u changes its sign where a picture is mirrored.
    """
    count, _, height, _ = planes.shape

    def uniform(limit: float) -> torch.Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * limit

    sign = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = sign * (1 + uniform(recipe.stretch))
    theta[:, 1, 1] = 1 + uniform(recipe.stretch)
    theta[:, 0, 2] = uniform(recipe.shift * 2 / height)
    theta[:, 1, 2] = uniform(recipe.shift * 2 / height)
    grid = functional.affine_grid(theta, list(planes.shape), align_corners=False)
    moved = functional.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    moved[:, 0] *= sign[:, None, None]
    return moved


def fit(
    planes: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32],
    *,
    classes: int,
    recipe: Recipe,
    seed: int,
    on_epoch: Callable[[float], object] = lambda loss: None,
) -> StstnetBank:
    """Train a bank; member m minimises the loss weighted by `weights[m]`.

    A sample of weight zero has no part in a member: neither in its gradient nor in any statistic.

    Args:
        planes: (N, 3, 28, 28) standardised flow pictures.
        labels: (N,) class indices.
        weights: (M, N) sample weights, a row for each member.
        classes: Number of classes.
        recipe: Schedule, regularisation and augmentation.
        seed: Seed of initial weights, order, augmentation and dropout.
        on_epoch: Called after every epoch with its mean training loss.

    Returns:
        The trained bank.
    """
    generator = torch.Generator().manual_seed(seed)
    members, count = weights.shape
    bank = StstnetBank(members, classes, generator)
    optimiser = torch.optim.AdamW(
        bank.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    steps = recipe.epochs * -(-count // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps, pct_start=0.2
    )
    inputs, targets = torch.from_numpy(planes), torch.from_numpy(labels)
    sample_weights = torch.from_numpy(weights.T.copy())
    for _ in range(recipe.epochs):
        total = 0.0
        for chosen in torch.split(torch.randperm(count, generator=generator), recipe.batch):
            batch = augment(inputs[chosen], recipe, generator)
            kept = torch.rand(len(chosen), 1, MEMBER_FEATURES, generator=generator)
            keep = (kept >= recipe.dropout) / (1 - recipe.dropout)
            logits = bank(batch.contiguous(memory_format=torch.channels_last), keep)
            losses = functional.cross_entropy(
                logits.permute(0, 2, 1),
                targets[chosen, None].expand(-1, members),
                reduction="none",
                label_smoothing=recipe.label_smoothing,
            )
            loss = (losses * sample_weights[chosen]).mean(dim=0).sum()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(chosen)
        on_epoch(total / (count * members))
    return bank


def mirrored_logits(bank: StstnetBank, planes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Logits averaged over each picture and its mirrored self.

    Args:
        bank: Trained bank of M members.
        planes: (N, 3, 28, 28) standardised flow pictures.

    Returns:
        (N, M, C) float32.
    """
    with torch.no_grad():
        both = [bank(torch.from_numpy(np.ascontiguousarray(p))) for p in (planes, mirror(planes))]
    result: npt.NDArray[np.float32] = (0.5 * (both[0] + both[1])).numpy()
    return result


def leave_one_subject_out(
    planes: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    subjects: npt.NDArray[np.str_],
    *,
    classes: int,
    recipe: Recipe,
    seed: int,
    on_epoch: Callable[[float], object] = lambda loss: None,
) -> npt.NDArray[np.float32]:
    """Logits of every sample from a network that never saw the sample's subject.

    Args:
        planes: (N, 3, 28, 28) standardised flow pictures.
        labels: (N,) class indices.
        subjects: (N,) subject of each sample.
        classes: Number of classes C.
        recipe: Schedule, regularisation and augmentation, the same for every fold.
        seed: Seed of the training.
        on_epoch: Called after every epoch with its mean training loss.

    Returns:
        (N, C) float32 out-of-fold logits.
    """
    people, fold = np.unique(subjects, return_inverse=True)
    included = np.arange(len(people))[:, None] != fold
    bank = fit(
        planes,
        labels,
        balanced_weights(labels, included, classes),
        classes=classes,
        recipe=recipe,
        seed=seed,
        on_epoch=on_epoch,
    )
    logits = np.empty((len(labels), classes), np.float32)
    for person in range(len(people)):
        held_out = fold == person
        logits[held_out] = mirrored_logits(bank, planes[held_out])[:, person]
    return logits
