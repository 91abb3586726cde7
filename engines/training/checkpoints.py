"""Checkpoints: how far a training has come, so that one that was killed goes on."""

from __future__ import annotations

import os
import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from engines.errors import UserError

CHECKPOINT_FILE = "checkpoint.pt"


class Progress(Protocol):
    """A dataclass of what torch can store, with the weights of the network among it."""

    network: dict[str, Any]

    def __init__(self, network: dict[str, Any]) -> None: ...


State = TypeVar("State", bound=Progress)


def load(folder: Path, network: nn.Module, kind: type[State]) -> State:
    """Read the checkpoint of a network into it; where there is none, nothing has been done yet.

    Args:
        folder: Where the checkpoint lies.
        network: Takes the weights.
        kind: Class of the state.

    Raises:
        UserError: The file is damaged, or another network's.
    """
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return kind(network.state_dict())
    try:
        state = kind(**torch.load(path, weights_only=True))
        network.load_state_dict(state.network)
    except (OSError, TypeError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{path} is no checkpoint of this network: delete it to train anew."
        ) from error
    return state


def save(folder: Path, state: Progress) -> None:
    """Write the checkpoint; whoever is killed here leaves the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{CHECKPOINT_FILE}.part"
    named = (each.name for each in fields(state))  # type: ignore[arg-type]
    torch.save({name: getattr(state, name) for name in named}, part)
    os.replace(part, folder / CHECKPOINT_FILE)
