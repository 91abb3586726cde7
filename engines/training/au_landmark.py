"""Train the landmark graph on the composite data set: evaluate it honestly, or export it.

python -m engines.training.au_landmark loso   --data ../shared/data/composite3 --report loso.json
python -m engines.training.au_landmark export --data ../shared/data/composite3 --report loso.json

The composite set tells emotions and no action units. These are learned, at the same time and by the
same network, from synthetic flow pictures of animated expressions, whose emotions teach nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

import engines.recognition
from engines.errors import UserError
from engines.network_files import INPUT_NAME, UNITS_NAME, RecognitionManifest
from engines.recognition.ststnet.recognizer import OUTPUT_NAME
from engines.recognition.ststnet.representation import PREPROCESSING, mirror, standardise
from engines.runtime import open_graph
from engines.runtime.parity import golden_path
from engines.synthesis.expressions import PROTOTYPES
from engines.training.composite3 import CLASSES, Composite3, load_composite3
from engines.training.composite_report import (
    CONFUSION,
    DATA,
    LIMITS,
    card_values,
    read_report,
    summarise,
    write_answers,
    write_json,
)
from engines.training.fitting import Recipe as Variation
from engines.training.fitting import augment, balanced_weights
from engines.training.flow_pictures import draw_pictures
from engines.training.folds import grouped
from engines.training.networks.landmark_graph import LandmarkGraph
from engines.training.networks.unit_graph import UNITS
from engines.training.onnx_export import write_graph

PROGRAM = "python -m engines.training.au_landmark"
NAME = "au-landmark"
VERSION = "1"
FOLDER = Path(engines.recognition.__file__).parent / NAME

_VARIATION = Variation()


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the network is trained; fixed before any fold was evaluated.

    Attributes:
        epochs: Passes over the data.
        batch: Real pictures in a step; as many synthetic ones beside them.
        learning_rate: Peak of the one-cycle schedule.
        weight_decay: Decoupled (AdamW).
        label_smoothing: Of the emotions.
        unit_weight: Weight of the action units beside the emotion.
        synthetic: Number of synthetic pictures.
    """

    epochs: int = 20
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    label_smoothing: float = 0.1
    unit_weight: float = 3.0
    synthetic: int = 300


@dataclass(frozen=True, slots=True)
class UnitPictures:
    """Synthetic flow pictures and the action units in them.

    Attributes:
        planes: (M, 3, 28, 28) float32 standardised.
        presence: (M, A) float32.
    """

    planes: npt.NDArray[np.float32]
    presence: npt.NDArray[np.float32]


def draw_units(count: int, seed: int) -> UnitPictures:
    """Draw animated expressions, every prototype equally often."""
    shown = [PROTOTYPES[number % len(PROTOTYPES)].action_units for number in range(count)]
    presence = np.array([[unit in units for unit in UNITS] for units in shown], np.float32)
    return UnitPictures(standardise(draw_pictures(count, seed)), presence)


def fit(
    planes: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    coded: UnitPictures,
    recipe: Recipe,
    seed: int,
    on_epoch: Callable[[float], object] = lambda loss: None,
) -> LandmarkGraph:
    """Train one network.

    Args:
        planes: (N, 3, 28, 28) standardised flow pictures of people.
        labels: (N,) class indices.
        coded: Synthetic pictures with action units.
        recipe: How.
        seed: Seed of weights, order, variation and dropout.
        on_epoch: Called after every epoch with its mean training loss.

    Returns:
        The network, ready for use.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = LandmarkGraph(len(CLASSES)).train()
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    steps = recipe.epochs * -(-len(labels) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps, pct_start=0.2
    )
    everyone = np.ones((1, len(labels)), np.bool_)
    weight = torch.from_numpy(balanced_weights(labels, everyone, len(CLASSES))[0])
    seen, truth = torch.from_numpy(planes), torch.from_numpy(labels)
    animated, presence = torch.from_numpy(coded.planes), torch.from_numpy(coded.presence)
    for _ in range(recipe.epochs):
        total = 0.0
        order = torch.randperm(len(truth), generator=generator)
        for chosen in torch.split(order, recipe.batch):
            other = torch.randint(len(presence), (len(chosen),), generator=generator)
            pictures = torch.cat([seen[chosen], animated[other]])
            logits, units = network(augment(pictures, _VARIATION, generator))
            emotion = functional.cross_entropy(
                logits[: len(chosen)],
                truth[chosen],
                reduction="none",
                label_smoothing=recipe.label_smoothing,
            )
            loss = (emotion * weight[chosen]).mean()
            loss = loss + recipe.unit_weight * functional.binary_cross_entropy_with_logits(
                units[len(chosen) :], presence[other]
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(chosen)
        on_epoch(total / len(truth))
    return network.eval()


class Deployed(nn.Module):
    """Networks with their mirrored selves, as the engine runs them.

    Args:
        networks: Members of the ensemble.
        temperature: What averaged logits are divided by.
    """

    turn: torch.Tensor

    def __init__(self, networks: Sequence[LandmarkGraph], temperature: float) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.temperature = temperature
        self.register_buffer("turn", torch.tensor([-1.0, 1.0, 1.0])[:, None, None])

    def logits(self, planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean logits of emotions and units."""
        answers = [
            network(pictures)
            for network in self.networks
            for pictures in (planes, planes.flip(3) * self.turn)
        ]
        emotions, units = zip(*answers, strict=True)
        return torch.stack(emotions).mean(dim=0), torch.stack(units).mean(dim=0)

    def forward(self, planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, 28, 28) pictures to (N, C) and (N, A) probabilities."""
        emotions, units = self.logits(planes)
        return (emotions / self.temperature).softmax(dim=1), units.sigmoid()


def answer(network: LandmarkGraph, planes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(N, C) logits averaged over each picture and its mirror image."""
    both = [planes, np.ascontiguousarray(mirror(planes))]
    with torch.no_grad():
        found = torch.stack([network(torch.from_numpy(each))[0] for each in both]).mean(dim=0)
    logits: npt.NDArray[np.float32] = found.numpy()
    return logits


def evaluate(
    data: Composite3, recipe: Recipe, seeds: Sequence[int], groups: int | None = None
) -> dict[str, Any]:
    """Leave one subject out, once for each seed. Nothing is chosen on a test subject.

    Args:
        data: The data set.
        recipe: How the network is trained.
        seeds: Seeds; each is also one member of the ensemble.
        groups: Leave out one of so many groups of subjects at a time, which is cheaper; None
            leaves out one subject.

    Returns:
        Figures, ready to be written as JSON.
    """
    planes, left_out = standardise(data.pictures), grouped(data.subjects, groups)
    runs = []
    for seed in seeds:
        coded = draw_units(recipe.synthetic, seed)
        logits = np.empty((len(data.labels), len(CLASSES)), np.float32)
        for fold in tqdm(np.unique(left_out), desc=f"LOSO, seed {seed}", unit="fold"):
            own = left_out == fold
            network = fit(planes[~own], data.labels[~own], coded, recipe, seed)
            logits[own] = answer(network, planes[own])
        runs.append(logits)
    return {
        **summarise(runs, seeds, data),
        "recipe": asdict(recipe),
        "folds": len(np.unique(left_out)),
        "torch": torch.__version__,
    }


def export(data: Composite3, report: dict[str, Any], folder: Path, commands: str) -> None:
    """Train on all subjects and write network, manifest, golden input and model card.

    Args:
        data: The data set.
        report: What `evaluate` returned for the same data.
        folder: Where the files go.
        commands: The command lines that make report and model, for the card.

    Raises:
        UserError: The report is of other data, or the exported graph does not compute what the
            trained networks do.
    """
    if report["data_sha256"] != data.sha256:
        raise UserError("The report is of another data file: run loso on this one first.")
    recipe, planes = Recipe(**report["recipe"]), standardise(data.pictures)
    networks = [
        fit(planes, data.labels, draw_units(recipe.synthetic, seed), recipe, seed)
        for seed in tqdm(report["seeds"], desc="All subjects", unit="seed")
    ]
    deployed = Deployed(networks, float(report["temperature"])).eval()
    unseen = draw_units(len(PROTOTYPES) * 20, seed=1_000)  # no face of the training draws
    golden = unseen.planes[: len(PROTOTYPES)]
    model = folder / f"{NAME}.onnx"
    write_graph(deployed, {INPUT_NAME: golden}, (OUTPUT_NAME, UNITS_NAME), model)
    np.savez_compressed(golden_path(model), **{INPUT_NAME: golden.astype(np.float16)})
    with open_graph(model, "onnx") as graph:
        shown = graph.run({INPUT_NAME: unseen.planes})[UNITS_NAME] >= 0.5
    hits = float((shown & (unseen.presence > 0)).sum())
    manifest = RecognitionManifest(
        name=NAME,
        version=VERSION,
        sha256=hashlib.sha256(model.read_bytes()).hexdigest(),
        classes=CLASSES,
        input={"name": INPUT_NAME, "shape": ["batch", 3, 28, 28], "type": "float32"},
        output={"name": OUTPUT_NAME, "shape": ["batch", len(CLASSES)], "type": "float32"},
        temperature=float(report["temperature"]),
        action_units=UNITS,
        preprocessing=PREPROCESSING,
        training={
            "data_sha256": data.sha256,
            "seeds": report["seeds"],
            "recipe": report["recipe"],
            "torch": torch.__version__,
        },
    )
    write_json(folder / f"{NAME}.json", manifest.model_dump(mode="json"))
    card = _CARD.format(
        **card_values(report),
        commands=commands,
        folds=report["folds"],
        torch=report["torch"],
        pictures=len(unseen.presence),
        unit_f1=2 * hits / float(shown.sum() + unseen.presence.sum()),
    )
    (folder / "model_card.md").write_text(card, "utf-8", newline="\n")


_CARD = (
    """\
# Model card: au-landmark, {members} members

Names the emotion of a facial expression whose onset and apex are known (negative, positive or
surprise) and tells which action units it shows. Written by the commands at the end; do not edit by
hand.

## Model
A graph of 26 facial landmarks fused with a graph of action units, after Lei et al. (CVPRW 2021):
patches of 5x5 cells of flow around each landmark, one transformer encoder layer over them, and
embeddings of action units that are convolved over how often units occur together
(`engines/training/networks/landmark_graph.py`). Landmarks are those of an average face. Logits are
averaged over the members and over the face and its mirror image, divided by the temperature
{temperature:.3f}, and softmax is taken, all inside one ONNX graph. A second output gives the
probability of each action unit; events carry those of `engines/recognition/action_units/`.
Input: u and v of the TV-L1 flow from onset to apex as 28x28 cells, standardised per picture; how a
live face is brought there is in `docs/recognition.md`.

"""
    + DATA
    + """
Action units were learned from synthetic flow pictures of animated expressions alone.

## Protocol
{folds} folds of people, each left out once ({subjects} folds would be leave-one-subject-out),
predictions pooled. Nothing is chosen on a test subject: epochs and recipe are the same for every
fold and were fixed before any fold was evaluated.
Seeds {seed_list}. Recipe: {recipe_list}.
In brackets 95 % intervals of a bootstrap over subjects.

| data | samples | subjects | UF1 | UAR | accuracy |
|---|---|---|---|---|---|
{rows}

One network instead of the ensemble, mean ± standard deviation over seeds: {single}.

Action units, F1 over all units of {pictures} synthetic flow pictures of faces that were not learned
from: {unit_f1:.3f}. **Synthetic; not measured on people.**

"""
    + CONFUSION
    + "\n"
    + LIMITS
    + """
## Made by
```
{commands}
```
with torch {torch}.
"""
)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    loso = commands.add_parser("loso", help="leave one subject out: write the figures as JSON")
    ship = commands.add_parser("export", help="train on all subjects: write the engine's files")
    for command in (loso, ship):
        add = command.add_argument
        add("--data", type=Path, required=True, metavar="PATH", help="composite3, or its folder")
        add("--report", type=Path, required=True, metavar="JSON", help="the figures")
    loso.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[0],
        metavar="N",
        help="one ensemble member each (default: 0)",
    )
    loso.add_argument(
        "--groups",
        type=int,
        metavar="N",
        help="leave out one of N groups of subjects at a time instead of one subject",
    )
    ship.add_argument(
        "--out", type=Path, default=FOLDER, metavar="FOLDER", help="where the files go"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Run the command line; 0 done, 2 a user's mistake."""
    arguments = _arguments(argv)
    torch.set_num_threads(1)  # sums in another order would give another model
    command = f"{PROGRAM} {shlex.join(argv)}"
    try:
        data = load_composite3(arguments.data)
        if arguments.command == "loso":
            report = evaluate(data, Recipe(), arguments.seeds, arguments.groups)
            write_json(arguments.report, {**report, "command": command})
            write_answers(arguments.report.with_suffix(".csv"), report, data)
            print(json.dumps(report["ensemble"], indent=2))
        else:
            report = read_report(arguments.report, PROGRAM)
            export(data, report, arguments.out, f"{report['command']}\n{command}")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
