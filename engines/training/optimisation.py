"""Fitting a network stage by stage, so that a run that was killed goes on as if it had not been.

Whatever is drawn at random in an epoch follows from the seed, the stage and the epoch alone. A
checkpoint therefore holds weights, moments and the best epoch, and no state of a generator: the
continued run gives the same bits as one that was never interrupted.
"""

from __future__ import annotations

import copy
import csv
import os
import pickle
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from engines.errors import UserError
from engines.training.networks.base import SpotAndRecognise
from engines.training.recipes import Recipe, Stage
from engines.training.samples import NOT_LEARNED, FrameSamples

CHECKPOINT_FILE = "checkpoint.pt"
LOG_FILE = "log.csv"

_VALIDATION_BATCH = 512


@dataclass(frozen=True, slots=True)
class EpochLog:
    """One line of the log.

    Attributes:
        stage: Name of the stage.
        epoch: Number of the epoch in it, from 1.
        training_loss: Mean loss over the epoch, weight decay left out.
        validation_loss: The same of the validation identities after it.
        seconds: Time that it took.
    """

    stage: str
    epoch: int
    training_loss: float
    validation_loss: float
    seconds: float


OnEpoch = Callable[[EpochLog], object]


@dataclass(slots=True)
class _State:
    """What a checkpoint holds; `epoch` counts the finished epochs of the current stage."""

    network: dict[str, Any]
    stage: int = 0
    epoch: int = 0
    optimiser: dict[str, Any] | None = None
    best: dict[str, Any] | None = None
    best_loss: float = float("inf")
    best_epochs: dict[str, int] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained network.

    Attributes:
        network: In evaluation mode, with the weights of the last stage's best epoch.
        best_epochs: Stage to the epoch that was kept, from 1.
        log: Every epoch.
    """

    network: SpotAndRecognise
    best_epochs: dict[str, int]
    log: tuple[EpochLog, ...]


def fit(
    recipe: Recipe,
    emotions: int,
    training: FrameSamples,
    validation: FrameSamples,
    *,
    seed: int,
    folder: Path,
    epochs: int | None = None,
    on_epoch: OnEpoch = lambda log: None,
) -> Fitted:
    """Train a network, or continue from the checkpoint in the folder.

    Args:
        recipe: How.
        emotions: Number of emotions.
        training: What the weights are fitted to.
        validation: What chooses the epoch of each stage.
        seed: Seed of weights, order, mirroring and dropout.
        folder: For checkpoint and log.
        epochs: Upper limit on the epochs of each stage; None leaves the recipe's.
        on_epoch: Told of every epoch, also of those that a checkpoint remembers.

    Returns:
        The trained network.

    Raises:
        UserError: The checkpoint is unreadable or of another network.
    """
    torch.manual_seed(seed)
    # The layout in which convolutions of few channels are fast.
    network = recipe.build(emotions)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    folder.mkdir(parents=True, exist_ok=True)
    state = _load(folder, network)
    for remembered in state.log:
        on_epoch(EpochLog(**remembered))
    for number in range(state.stage, len(recipe.stages)):
        stage = recipe.stages[number]
        stage = replace(stage, epochs=min(stage.epochs, epochs or stage.epochs))
        learned = _Samples(training, stage, recipe.neutral, emotions)
        judged = _Samples(validation, stage, recipe.neutral, emotions, learned.weights)
        optimiser = _optimiser(network, stage)
        if state.optimiser is not None:
            optimiser.load_state_dict(state.optimiser)
        while state.epoch < stage.epochs:
            started = time.perf_counter()
            torch.manual_seed(_epoch_seed(seed, number, state.epoch))
            training_loss = _train(network, stage, learned, optimiser)
            validation_loss = _validate(network, stage, judged)
            state.epoch += 1
            state.network = network.state_dict()
            state.optimiser = optimiser.state_dict()
            if validation_loss < state.best_loss:
                state.best_loss = validation_loss
                state.best = copy.deepcopy(state.network)
                state.best_epochs[stage.name] = state.epoch
            line = EpochLog(
                stage.name,
                state.epoch,
                training_loss,
                validation_loss,
                time.perf_counter() - started,
            )
            state.log.append(asdict(line))
            _save(folder, state)
            on_epoch(line)
        assert state.best is not None
        network.load_state_dict(state.best)
        state.network, state.stage, state.epoch = state.best, number + 1, 0
        state.optimiser, state.best, state.best_loss = None, None, float("inf")
        _save(folder, state)
    network.eval()
    return Fitted(network, state.best_epochs, tuple(EpochLog(**line) for line in state.log))


class _Samples:
    """The samples that a stage learns from, as tensors.

    Attributes:
        weights: (C,) weight of each class, so that all count the same.
    """

    def __init__(
        self,
        samples: FrameSamples,
        stage: Stage,
        neutral: bool,
        emotions: int,
        weights: torch.Tensor | None = None,
    ) -> None:
        emotion = samples.emotion.copy()
        if not neutral:
            emotion[emotion == emotions] = NOT_LEARNED
        kept = slice(None) if stage.spotting else emotion != NOT_LEARNED
        self.planes = torch.from_numpy(samples.planes[kept])
        self.micro = torch.from_numpy(samples.micro[kept])
        self.emotion = torch.from_numpy(emotion[kept])
        if weights is None:
            counts = torch.bincount(
                self.emotion[self.emotion != NOT_LEARNED], minlength=emotions + neutral
            )
            weights = counts.sum() / (len(counts) * counts.clamp(min=1))
        self.weights = weights

    def __len__(self) -> int:
        return len(self.micro)

    def loss(
        self, network: SpotAndRecognise, stage: Stage, chosen: torch.Tensor, mirrored: torch.Tensor
    ) -> torch.Tensor:
        """Mean loss of the chosen samples, some of them mirrored."""
        planes = self.planes[chosen].float()
        planes[mirrored] = mirror(planes[mirrored])
        scores, logits = network(planes.contiguous(memory_format=torch.channels_last))
        total = stage.spotting * functional.mse_loss(network.squash(scores), self.micro[chosen])
        emotion = self.emotion[chosen]
        known = emotion != NOT_LEARNED
        if stage.recognition and known.any():
            total = total + stage.recognition * functional.cross_entropy(
                logits[known], emotion[known], self.weights
            )
        return total


def mirror(planes: torch.Tensor) -> torch.Tensor:
    """The planes of the mirrored face: columns reversed and u negated.

    Args:
        planes: (N, 3, 42, 42).

    Returns:
        (N, 3, 42, 42).
    """
    return planes.flip(-1) * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]


def _optimiser(network: SpotAndRecognise, stage: Stage) -> torch.optim.Adam:
    """Adam over what the stage may change; the rest is switched off."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(stage.frozen or ("\0",)))
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return torch.optim.Adam(learned, lr=stage.learning_rate)


def _train(
    network: SpotAndRecognise, stage: Stage, samples: _Samples, optimiser: torch.optim.Adam
) -> float:
    """One epoch; returns its mean loss."""
    network.train()
    for name, module in network.named_modules():
        if stage.frozen and name.startswith(stage.frozen):
            module.eval()
    total = 0.0
    for chosen in torch.split(torch.randperm(len(samples)), stage.batch):
        loss = samples.loss(network, stage, chosen, torch.rand(len(chosen)) < 0.5)
        penalty = _penalty(network, stage)
        optimiser.zero_grad()
        (loss + penalty).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += float(loss.detach()) * len(chosen)
    return total / len(samples)


def _penalty(network: SpotAndRecognise, stage: Stage) -> torch.Tensor:
    """Weighted sum of squares of the convolutions' kernels, as Keras regularises them."""
    penalty = torch.zeros(())
    for name, parameter in network.named_parameters():
        if parameter.ndim == 4:
            for prefix, weight in stage.decay:
                if name.startswith(prefix):
                    penalty = penalty + weight * parameter.square().sum()
    return penalty


def _validate(network: SpotAndRecognise, stage: Stage, samples: _Samples) -> float:
    network.eval()
    total = 0.0
    with torch.no_grad():
        for chosen in torch.split(torch.arange(len(samples)), _VALIDATION_BATCH):
            as_it_is = torch.zeros(len(chosen), dtype=torch.bool)
            total += float(samples.loss(network, stage, chosen, as_it_is)) * len(chosen)
    return total / max(len(samples), 1)


def _epoch_seed(seed: int, stage: int, epoch: int) -> int:
    return (seed * 100 + stage) * 10_000 + epoch


def _load(folder: Path, network: SpotAndRecognise) -> _State:
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return _State(network.state_dict())
    try:
        state = _State(**torch.load(path, weights_only=True))
        network.load_state_dict(state.network)
    except (OSError, TypeError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{path} is no checkpoint of this network: delete it to train anew."
        ) from error
    return state


def _save(folder: Path, state: _State) -> None:
    """Write checkpoint and log; whoever is killed here leaves the ones before."""
    part = folder / f"{CHECKPOINT_FILE}.part"
    torch.save({name: getattr(state, name) for name in _State.__slots__}, part)
    os.replace(part, folder / CHECKPOINT_FILE)
    with (folder / LOG_FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, EpochLog.__slots__)
        writer.writeheader()
        writer.writerows(state.log)
