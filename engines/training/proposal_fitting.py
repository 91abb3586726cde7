"""Fitting LSSNet or LGSNet to windows of clip features."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engines.training import checkpoints
from engines.training.clip_features import FeatureClip
from engines.training.networks.proposals import ProposalNetwork
from engines.training.optimisation import EpochLog
from engines.training.proposal_losses import proposal_loss
from engines.training.proposal_recipes import ProposalRecipe
from engines.training.proposal_windows import Batch, Windows


@dataclass(slots=True)
class _State:
    """What a checkpoint holds."""

    network: dict[str, Any]
    epoch: int = 0
    optimiser: dict[str, Any] | None = None
    best: dict[str, Any] | None = None
    best_loss: float = float("inf")
    best_epoch: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FittedProposals:
    """A trained network.

    Attributes:
        network: In evaluation mode, with the weights of the best epoch.
        best_epoch: Which one that was, from 1.
        log: Every epoch.
    """

    network: ProposalNetwork
    best_epoch: int
    log: tuple[EpochLog, ...]


def fit_proposals(
    recipe: ProposalRecipe,
    learned: Sequence[FeatureClip],
    judged: Sequence[FeatureClip],
    *,
    seed: int,
    folder: Path,
    epochs: int | None = None,
    on_epoch: Callable[[EpochLog], object] = lambda log: None,
) -> FittedProposals:
    """Train a network, or continue from the checkpoint in the folder.

    What an epoch draws follows from the seed and its number alone, so that a run that was cut off
    goes on as if it had not been.

    Args:
        recipe: How.
        learned: Clips that the weights are fitted to.
        judged: Clips that choose the epoch, by the same loss on windows of their own.
        seed: Seed of weights, windows, mirroring and dropout.
        folder: For the checkpoint.
        epochs: Upper limit on the epochs; None leaves the recipe's.
        on_epoch: Told of every epoch, also of those that a checkpoint remembers.

    Raises:
        UserError: The checkpoint is unreadable or of another network.
    """
    torch.manual_seed(seed)
    windows = Windows(learned, recipe.background)
    # Validation always knows the background: live, most of what is seen is that.
    validation = Windows(judged, 1.0).draw(np.random.default_rng(seed), 128, mirror=False)
    network = recipe.build(learned[0].values.shape[1])
    network.trunk.standardise(torch.from_numpy(windows.all_values()))
    state = checkpoints.load(folder, network, _State)
    for remembered in state.log:
        on_epoch(EpochLog(**remembered))
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    if state.optimiser is not None:
        optimiser.load_state_dict(state.optimiser)
    count = min(recipe.epochs, epochs or recipe.epochs)
    while state.epoch < count:
        started = time.perf_counter()
        torch.manual_seed(seed * 10_000 + state.epoch + 1)
        batches = windows.draw(np.random.default_rng([seed, state.epoch]), recipe.batch)
        training_loss = _train(network, recipe, batches, optimiser, state.epoch, count)
        validation_loss = _judge(network, recipe, validation)
        state.epoch += 1
        state.network, state.optimiser = network.state_dict(), optimiser.state_dict()
        if validation_loss < state.best_loss:
            state.best_loss, state.best_epoch = validation_loss, state.epoch
            state.best = copy.deepcopy(state.network)
        seconds = time.perf_counter() - started
        line = EpochLog("spotting", state.epoch, training_loss, validation_loss, seconds)
        state.log.append(asdict(line))
        checkpoints.save(folder, state)
        on_epoch(line)
    assert state.best is not None
    network.load_state_dict(state.best)
    log = tuple(EpochLog(**each) for each in state.log)
    return FittedProposals(network.eval(), state.best_epoch, log)


def _train(
    network: ProposalNetwork,
    recipe: ProposalRecipe,
    batches: Sequence[Batch],
    optimiser: torch.optim.AdamW,
    epoch: int,
    epochs: int,
) -> float:
    network.train()
    total = 0.0
    for number, batch in enumerate(batches):
        progress = epoch + number / len(batches)
        warm = min(1.0, (progress + 1 / len(batches)) / recipe.warm_up)
        faded = 0.5 * (1 + math.cos(math.pi * progress / epochs))
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * warm * faded
        loss = proposal_loss(network, batch, recipe.micro_weight)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        total += float(loss.detach())
    return total / len(batches)


def _judge(network: ProposalNetwork, recipe: ProposalRecipe, batches: Sequence[Batch]) -> float:
    network.eval()
    with torch.no_grad():
        losses = [float(proposal_loss(network, batch, recipe.micro_weight)) for batch in batches]
    return sum(losses) / len(losses)
