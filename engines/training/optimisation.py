"""Fitting a network stage by stage, so that a run that was killed goes on as if it had not been.

Whatever is drawn at random in an epoch follows from the seed, the stage and the epoch alone. A
checkpoint therefore holds weights, moments and the best epoch, and no state of a generator: the
continued run gives the same bits as one that was never interrupted.
"""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn
from torch.nn import functional

from engines.training import checkpoints
from engines.training.networks.base import SpotAndRecognise
from engines.training.recipes import Recipe, Stage
from engines.training.samples import NOT_LEARNED, FrameSamples

LOG_FILE = "log.csv"


@dataclass(frozen=True, slots=True)
class EpochLog:
    """One line of the log.

    Attributes:
        stage: Name of the stage.
        epoch: Number of the epoch in it, from 1.
        training_loss: Mean loss over the epoch, weight decay left out.
        validation_loss: The same of the validation identities after it.
        seconds: Processor time that it took, which other work on the machine does not lengthen.
    """

    stage: str
    epoch: int
    training_loss: float
    validation_loss: float
    seconds: float


OnEpoch = Callable[[EpochLog], object]

Network = TypeVar("Network", bound=nn.Module)
Network_contra = TypeVar("Network_contra", bound=nn.Module, contravariant=True)


class Lesson(Protocol[Network_contra]):
    """What a stage learns from, or is judged by."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def loss(self, network: Network_contra, chosen: torch.Tensor, *, varied: bool) -> torch.Tensor:
        """Mean loss of some samples.

        Args:
            network: What is trained.
            chosen: (N,) their numbers.
            varied: Whether they may be changed at random, as training does.
        """
        ...


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
class Fitted(Generic[Network]):
    """A trained network.

    Attributes:
        network: In evaluation mode, with the weights of the last stage's best epoch.
        best_epochs: Stage to the epoch that was kept, from 1.
        log: Every epoch.
    """

    network: Network
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
) -> Fitted[SpotAndRecognise]:
    """Train a network for single pictures, or continue from the checkpoint in the folder.

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

    def build() -> SpotAndRecognise:
        network = recipe.build(emotions)
        # The layout in which convolutions of few channels are fast.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def lessons(stage: Stage) -> tuple[_Samples, _Samples]:
        learned = _Samples(training, stage, recipe.neutral, emotions)
        return learned, _Samples(validation, stage, recipe.neutral, emotions, learned.weights)

    return fit_stages(
        build,
        recipe.stages,
        lessons,
        seed=seed,
        folder=folder,
        epochs=epochs,
        on_epoch=on_epoch,
    )


def fit_stages(
    build: Callable[[], Network],
    stages: Sequence[Stage],
    lessons: Callable[[Stage], tuple[Lesson[Network], Lesson[Network]]],
    *,
    seed: int,
    folder: Path,
    epochs: int | None = None,
    on_epoch: OnEpoch = lambda log: None,
    validation_batch: int = 512,
) -> Fitted[Network]:
    """Train any network stage by stage, or continue from the checkpoint in the folder.

    Args:
        build: Makes the network, its weights drawn from torch's generator.
        stages: In order.
        lessons: What a stage learns from, and what chooses its epoch.
        seed: Seed of weights, order and whatever a lesson varies.
        folder: For checkpoint and log.
        epochs: Upper limit on the epochs of each stage; None leaves the stages'.
        on_epoch: Told of every epoch, also of those that a checkpoint remembers.
        validation_batch: Samples that are judged at once.

    Returns:
        The trained network.

    Raises:
        UserError: The checkpoint is unreadable or of another network.
    """
    torch.manual_seed(seed)
    network = build()
    folder.mkdir(parents=True, exist_ok=True)
    state = checkpoints.load(folder, network, _State)
    for remembered in state.log:
        on_epoch(EpochLog(**remembered))
    for number in range(state.stage, len(stages)):
        stage = stages[number]
        stage = replace(stage, epochs=min(stage.epochs, epochs or stage.epochs))
        learned, judged = lessons(stage)
        optimiser = _optimiser(network, stage)
        if state.optimiser is not None:
            optimiser.load_state_dict(state.optimiser)
        while state.epoch < stage.epochs:
            started = time.process_time()
            torch.manual_seed(_epoch_seed(seed, number, state.epoch))
            training_loss = _train(network, stage, learned, optimiser, state.epoch)
            validation_loss = _validate(network, judged, validation_batch)
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
                time.process_time() - started,
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
        self._stage = stage
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
        self, network: SpotAndRecognise, chosen: torch.Tensor, *, varied: bool
    ) -> torch.Tensor:
        """Mean loss of the chosen samples, half of them mirrored where they may be varied."""
        stage = self._stage
        planes = self.planes[chosen].float()
        if varied:
            mirrored = torch.rand(len(chosen)) < 0.5
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


def _optimiser(network: nn.Module, stage: Stage) -> torch.optim.AdamW:
    """Adam over what the stage may change; the rest is switched off."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(stage.frozen or ("\0",)))
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(learned, lr=stage.learning_rate, weight_decay=stage.weight_decay)


def _train(
    network: Network,
    stage: Stage,
    lesson: Lesson[Network],
    optimiser: torch.optim.Optimizer,
    epoch: int,
) -> float:
    """One epoch; returns its mean loss."""
    network.train()
    for name, module in network.named_modules():
        if stage.frozen and name.startswith(stage.frozen):
            module.eval()
    if stage.fading:
        share = 0.5 + 0.5 * math.cos(math.pi * epoch / stage.epochs)
        for group in optimiser.param_groups:
            group["lr"] = stage.learning_rate * share
    total = 0.0
    for chosen in torch.split(torch.randperm(len(lesson)), stage.batch):
        loss = lesson.loss(network, chosen, varied=True)
        penalty = _penalty(network, stage)
        optimiser.zero_grad()
        (loss + penalty).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += float(loss.detach()) * len(chosen)
    return total / len(lesson)


def _penalty(network: nn.Module, stage: Stage) -> torch.Tensor:
    """Weighted sum of squares of the convolutions' kernels, as Keras regularises them."""
    penalty = torch.zeros(())
    for name, parameter in network.named_parameters():
        if parameter.ndim == 4:
            for prefix, weight in stage.decay:
                if name.startswith(prefix):
                    penalty = penalty + weight * parameter.square().sum()
    return penalty


def _validate(network: Network, lesson: Lesson[Network], batch: int) -> float:
    network.eval()
    total = 0.0
    with torch.no_grad():
        for chosen in torch.split(torch.arange(len(lesson)), batch):
            total += float(lesson.loss(network, chosen, varied=False)) * len(chosen)
    return total / max(len(lesson), 1)


def _epoch_seed(seed: int, stage: int, epoch: int) -> int:
    return (seed * 100 + stage) * 10_000 + epoch


def _save(folder: Path, state: _State) -> None:
    """Write checkpoint and log."""
    checkpoints.save(folder, state)
    with (folder / LOG_FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, EpochLog.__slots__)
        writer.writeheader()
        writer.writerows(state.log)
