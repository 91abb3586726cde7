"""Train a backbone of clip features, without anybody's labels.

python -m engines.training.backbones train --backbone light --data FOLDER --out FOLDER
python -m engines.training.backbones train --backbone i3d --data FOLDER --out engines/features

The backbone learns to tell how the regions of the face move during a chunk and during the one after
it, as the motion meter measures them (`engines.training.networks.two_stream.Foretelling`). Events
are not looked at, so that what learns from video-level labels alone may use the same features.
Identities of the test split are not looked at either. A GPU is used where there is one; i3d needs
it.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional
from tqdm import tqdm

from engines.errors import UserError
from engines.features.clip_features import OUTPUTS, VIEWS, FeaturesManifest, preprocessing_of
from engines.features.grid import CHUNK_TICKS
from engines.features.views import APPEARANCE, FLOW, UNIT_REGION_IOD
from engines.motion.canonical import REGION_NAMES
from engines.training.clips import ClipSource
from engines.training.half_weights import store_half
from engines.training.networks import i3d, light
from engines.training.networks.two_stream import Foretelling, TwoStream
from engines.training.onnx_export import write_graph
from engines.training.sources import open_source
from engines.training.ticks import TickCache, TickClip

PROGRAM = "python -m engines.training.backbones"
VERSION = "1"

_MOVED = 2 * len(REGION_NAMES) + 4
_RUN_TICKS = 2 * CHUNK_TICKS
TARGETS = _MOVED * (_RUN_TICKS - 1)
"""Values that are told of a chunk: motion of regions and eyes since its first picture."""

EVERY_TICKS = 8
"""Chunks of an epoch begin so many ticks apart; where the first begins is drawn anew."""

BATCH = 64
LEARNING_RATE = 1e-3
DECAY = 1e-4


@dataclass(frozen=True, slots=True)
class Backbone:
    """How a backbone is made.

    Attributes:
        build: Makes the network.
        sizes: Features of each stream.
        epochs: Passes over the chunks.
        paper: What the network is called in print.
    """

    build: Callable[[], TwoStream]
    sizes: tuple[int, int]
    epochs: int
    paper: str


BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        "light": Backbone(
            light.light,
            (light.FEATURES,) * 2,
            4,
            "(2+1)-D convolutions after Tran et al. (CVPR 2018)",
        ),
        "i3d": Backbone(
            i3d.i3d,
            (i3d.FEATURES,) * 2,
            30,
            "two-stream I3D (Carreira and Zisserman, CVPR 2017)",
        ),
    }
)
"""By name."""


def targets_of(ticks: TickClip) -> npt.NDArray[np.float32]:
    """What is told of the chunk that begins at each of `ticks.chunks(16)`.

    Args:
        ticks: A clip.

    Returns:
        (N, TARGETS) float32: motion of regions and eyes at the 15 ticks after a chunk's first, from
        where they were then, on the features' scale.
    """
    runs = ticks.chunks(_RUN_TICKS)[:, None] + np.arange(_RUN_TICKS)
    moved = ticks.regions[runs, :_MOVED]
    course = np.arcsinh((moved[:, 1:] - moved[:, :1]) / np.float32(UNIT_REGION_IOD))
    flat: npt.NDArray[np.float32] = course.reshape(len(runs), -1)
    return flat


class Chunks:
    """All chunks of some clips from which a backbone learns, and their mirror images.

    Args:
        clips: Ticks of the clips; their pictures are read into memory.
    """

    def __init__(self, clips: Sequence[TickClip]) -> None:
        both = [(clip, clip.mirrored()) for clip in clips]
        first, offset = [], 0
        for clip in clips:
            first.append(clip.chunks(_RUN_TICKS) + offset)
            offset += len(clip.times)
        self.first = np.concatenate(first)
        self._pictures = {
            name: np.concatenate([clip.pictures[name] for clip in clips])
            for name in (APPEARANCE, FLOW)
        }
        self._targets = np.stack(
            [np.concatenate([targets_of(pair[side]) for pair in both]) for side in (0, 1)]
        )

    def batch(
        self, chosen: npt.NDArray[np.intp], mirrored: npt.NDArray[np.bool_], device: str
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pictures of appearance and flow, and what is to be told, of chunks by their number."""
        ticks = self.first[chosen][:, None] + np.arange(CHUNK_TICKS)
        pictures = {name: of[ticks].astype(np.float32) for name, of in self._pictures.items()}
        for of in pictures.values():
            of[mirrored] = of[mirrored][..., ::-1]
        pictures[FLOW][mirrored, :, 0] *= -1
        told = self._targets[mirrored.astype(np.intp), chosen]
        appearance, flow, targets = (
            torch.from_numpy(array).to(device)
            for array in (pictures[APPEARANCE], pictures[FLOW], told)
        )
        return appearance, flow, targets


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained backbone.

    Attributes:
        network: In evaluation mode, with the weights of the best epoch.
        epoch: Which one that was, from 1.
        explained: Share of the variance that is told on the validation identities: stream to that
            of the chunk and that of what follows.
    """

    network: TwoStream
    epoch: int
    explained: dict[str, tuple[float, float]]


def fit(
    backbone: Backbone,
    learned: Chunks,
    judged: Chunks,
    *,
    seed: int,
    epochs: int | None = None,
    told: Callable[[str], object] = lambda what: None,
) -> Trained:
    """Train a backbone.

    Args:
        backbone: Which.
        learned: Chunks that the weights are fitted to.
        judged: Chunks that choose the epoch.
        seed: Seed of weights, order, mirroring and dropout.
        epochs: Upper limit on the epochs; None leaves the backbone's.
        told: Told of every epoch.
    """
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = Foretelling(backbone.build(), backbone.sizes, TARGETS).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=DECAY)
    count = min(epochs or backbone.epochs, backbone.epochs)
    rng = np.random.default_rng(seed)
    steps = count * -(-len(learned.first) // (EVERY_TICKS * BATCH))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best, best_loss, best_epoch = copy.deepcopy(network.state_dict()), float("inf"), 0
    for epoch in range(1, count + 1):
        network.train()
        total, seen = 0.0, 0
        for chosen in _drawn(len(learned.first), rng):
            appearance, flow, targets = learned.batch(chosen, rng.random(len(chosen)) < 0.5, device)
            loss = _loss(network(appearance, flow), targets)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(chosen)
            seen += len(chosen)
        loss_there, _ = _judge(network, judged, device)
        told(f"epoch {epoch}: {total / seen:.4f} / {loss_there:.4f}")
        if loss_there < best_loss:
            best, best_loss, best_epoch = copy.deepcopy(network.state_dict()), loss_there, epoch
    network.load_state_dict(best)
    _, explained = _judge(network, judged, device)
    return Trained(network.backbone.cpu().eval(), best_epoch, explained)


def _drawn(count: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.intp]]:
    """Batches of chunks `EVERY_TICKS` apart, in any order."""
    kept = np.arange(rng.integers(EVERY_TICKS), count, EVERY_TICKS)
    rng.shuffle(kept)
    for at in range(0, len(kept), BATCH):
        if len(kept) - at > 1:  # statistics over a batch need two
            yield kept[at : at + BATCH]


def _loss(told: tuple[torch.Tensor, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
    return functional.smooth_l1_loss(told[0], targets) + functional.smooth_l1_loss(told[1], targets)


def _judge(
    network: Foretelling, judged: Chunks, device: str
) -> tuple[float, dict[str, tuple[float, float]]]:
    """Mean loss, and the share of the variance that each stream tells of both chunks."""
    network.eval()
    during = _MOVED * (CHUNK_TICKS - 1)
    total, missed, there = 0.0, np.zeros((2, 2)), np.zeros(2)
    kept = np.arange(0, len(judged.first), EVERY_TICKS)
    with torch.no_grad():
        for at in range(0, len(kept), BATCH):
            chosen = kept[at : at + BATCH]
            *pictures, targets = judged.batch(chosen, np.zeros(len(chosen), np.bool_), device)
            told = network(*pictures)
            total += float(_loss(told, targets)) * len(chosen)
            for part, span in enumerate((slice(0, during), slice(during, None))):
                there[part] += float(targets[:, span].square().sum())
                for stream in (0, 1):
                    error = (told[stream] - targets)[:, span].square().sum()
                    missed[stream, part] += float(error)
    shares = 1 - missed / np.maximum(there, 1e-12)
    named = zip((APPEARANCE, FLOW), shares.tolist(), strict=True)
    return total / max(len(kept), 1), {stream: (share[0], share[1]) for stream, share in named}


def ship(name: str, trained: Trained, training: dict[str, Any], folder: Path) -> FeaturesManifest:
    """Write network and manifest of a backbone.

    Args:
        name: Name of the backbone, and of the folder that is made.
        trained: What training gave.
        training: Data and seed, for the manifest.
        folder: Where the folder is made.

    Raises:
        UserError: The exported graph differs from the network.
    """
    target = folder / name
    model = target / f"{name}.onnx"
    rng = np.random.default_rng(0)
    shapes = {stream: (CHUNK_TICKS, *shape) for stream, shape in VIEWS[name].shapes.items()}
    golden = {stream: rng.random((2, *shape), np.float32) for stream, shape in shapes.items()}
    write_graph(trained.network, golden, tuple(OUTPUTS.values()), model)
    store_half(model)
    sizes = dict(zip((APPEARANCE, FLOW), BACKBONES[name].sizes, strict=True))
    manifest = FeaturesManifest(
        name=name,
        version=VERSION,
        sha256=hashlib.sha256(model.read_bytes()).hexdigest(),
        input={stream: ["batch", *shape] for stream, shape in shapes.items()},
        output={OUTPUTS[stream]: ["batch", size] for stream, size in sizes.items()},
        preprocessing=preprocessing_of(name),
        training=training,
        sizes=sizes,
    )
    text = manifest.model_dump_json(indent=2) + "\n"
    (target / f"{name}.json").write_text(text, "utf-8", newline="\n")
    return manifest


def card(
    name: str, trained: Trained, source: ClipSource, parts: Mapping[str, int], commands: str
) -> str:
    """Write the model card of a backbone."""
    told = "\n".join(
        f"| {stream} | {during:.2f} | {after:.2f} |"
        for stream, (during, after) in trained.explained.items()
    )
    count = sum(parameter.numel() for parameter in trained.network.parameters())
    return f"""# Model card: {name}, clip features

Features of chunks of {CHUNK_TICKS} pictures, 30 a second, in two streams, appearance and flow; what
LSSNet, LGSNet and MC-WES read. Alone it says nothing about expressions. Written by the command at
the end; do not edit by hand.

## Model
{BACKBONES[name].paper}; {count:,} parameters, {sum(BACKBONES[name].sizes)} features.

## Task
To tell from the features of a chunk, by a linear layer that is thrown away, how the regions of the
face move during the chunk and during the one after it, as the motion meter measures them. **No
event, no emotion and no label of any other kind was looked at.**

## Data
{source.title[:1].upper() + source.title[1:]}. {parts["train"]} identities to learn from,
{parts["validation"]} to choose the epoch ({trained.epoch}); those of the test were not looked at.

## Figures
Share of the variance that each stream tells, on the validation identities:

| stream | the chunk itself | the chunk after it |
|---|---|---|
{told}

## Limits
- {
        "Learned from animated faces only, made of one photograph."
        if source.synthetic
        else "The people are those of one laboratory."
    } What it makes of other faces is not known.
- Not to be used to judge truthfulness, suitability, health or intent of a person, nor for any
  decision about a person.

## Made by
```
{commands}
```
with torch {torch.__version__}.
"""


def train(
    name: str, data: Path, out: Path, cache: Path, seed: int, epochs: int | None, command: str
) -> Path:
    """Train a backbone on the train identities of a set and write its files.

    Args:
        name: One of `BACKBONES`.
        data: Folder of the data.
        out: Where the backbone's folder is made.
        cache: Where the ticks of the clips are kept.
        seed: Seed of everything.
        epochs: Upper limit on the epochs; None leaves the backbone's.
        command: Command line for the model card.

    Returns:
        The backbone's folder.

    Raises:
        UserError: The data cannot be read, or have no splits.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    source = open_source(data)
    if "validation" not in source.splits:
        raise UserError(
            f"{data} has no train and validation identities: give a set that comes with splits."
        )
    ticks = TickCache(cache, source, name)

    def chunks(split: str) -> Chunks:
        clips = tqdm(
            list(source.clips(source.splits[split])), desc=split, unit="clip", disable=None
        )
        return Chunks([ticks.ticks(clip) for clip in clips])

    trained = fit(
        BACKBONES[name], chunks("train"), chunks("validation"), seed=seed, epochs=epochs,
        told=tqdm.write,
    )  # fmt: skip
    training = {
        "task": "motion of the regions during the chunk and the next; no labels",
        "data": source.title,
        "data_sha256": source.fingerprint,
        "splits": {part: list(source.splits[part]) for part in ("train", "validation")},
        "seed": seed,
        "epoch": trained.epoch,
        "torch": torch.__version__,
    }
    ship(name, trained, training, out)
    parts = {part: len(who) for part, who in source.splits.items()}
    text = card(name, trained, source, parts, f"{source.command}\n{command}")
    (out / name / "model_card.md").write_text(text, "utf-8", newline="\n")
    return out / name


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("train", help="train a backbone and write its files").add_argument
    add("--backbone", choices=sorted(BACKBONES), required=True, help="which")
    add("--data", type=Path, required=True, metavar="FOLDER", help="synthetic or aligned set")
    add("--out", type=Path, required=True, metavar="FOLDER", help="gets a folder of its name")
    add(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help="keeps what was measured of the clips (default: FOLDER of --out)",
    )
    add("--seed", type=int, default=0, metavar="N", help="of everything (default: 0)")
    add("--epochs", type=int, metavar="N", help="at most so many, for a quick try")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name.

    Returns:
        Exit code: 0 done, 2 a user's mistake.
    """
    options = _arguments(argv)
    try:
        print(
            train(
                options.backbone,
                options.data,
                options.out,
                options.cache or options.out,
                options.seed,
                options.epochs,
                f"{PROGRAM} {shlex.join(argv)}",
            )
        )
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
