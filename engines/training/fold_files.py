"""What a fold is given, and where and how it leaves its files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from engines.network_files import NetworkManifest
from engines.training.clips import ClipSource, FaceClip
from engines.training.folds import Fold

RESULT_FILE = "result.json"
VERSION = "1"

Told = Callable[[str], object]
"""Told in a few words what has been done."""


@dataclass(frozen=True, slots=True)
class Task:
    """A fold and all that it needs; may be sent to another process.

    Attributes:
        engine: Name of the engine.
        data: Folder of the data.
        fold: Who is learned from, who decides, who is tested.
        folder: Where everything of this fold goes.
        seed: Seed of everything.
        epochs: Upper limit on the epochs of each stage; None leaves the recipe's.
    """

    engine: str
    data: Path
    fold: Fold
    folder: Path
    seed: int
    epochs: int | None


def engine_folder(folder: Path, task: str, engine: str) -> Path:
    """Where the files of a fold's engine are; `task` is `spotting` or `recognition`."""
    return folder / task / engine


def provenance(task: Task, source: ClipSource, best_epochs: Mapping[str, int]) -> dict[str, Any]:
    """What a manifest says of how a network was trained."""
    return {
        "data": source.title,
        "data_sha256": source.fingerprint,
        "fold": asdict(task.fold),
        "seed": task.seed,
        "best_epochs": dict(best_epochs),
        "torch": torch.__version__,
    }


def described(
    model: Path,
    given: tuple[str, Sequence[object]],
    made: tuple[str, Sequence[object]],
    preprocessing: Mapping[str, object],
    trained: Mapping[str, Any],
) -> dict[str, Any]:
    """What every manifest says.

    Args:
        model: The network's file, which has the engine's name.
        given: Name and shape of its input, which is float32.
        made: The same of its output.
        preprocessing: The representation that it was trained on.
        trained: See `provenance`.
    """
    return {
        "name": model.stem,
        "version": VERSION,
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "input": {"name": given[0], "shape": list(given[1]), "type": "float32"},
        "output": {"name": made[0], "shape": list(made[1]), "type": "float32"},
        "preprocessing": dict(preprocessing),
        "training": dict(trained),
    }


def write_manifest(folder: Path, manifest: NetworkManifest) -> None:
    """Write a manifest beside its network."""
    text = manifest.model_dump_json(indent=2) + "\n"
    (folder / f"{manifest.name}.json").write_text(text, "utf-8", newline="\n")


def named(clip: FaceClip) -> dict[str, Any]:
    """What a result says of the clip that it is of."""
    return {"clip": clip.name, "identity": clip.identity, "fps": clip.fps}
