"""Train the landmark graph on the composite data set: evaluate it honestly, or export it.

python -m engines.training.au_landmark loso   --data ../shared/data/composite3 --report loso.json
python -m engines.training.au_landmark export --data ../shared/data/composite3 --report loso.json

The composite set tells emotions and no action units. These are learned, at the same time and by the
same network, from synthetic flow pictures of animated expressions, whose emotions teach nothing.
With `--codes`, the coding tables of CASME II and SAMM, units are also measured on people that a
network did not see, and with `--learn-codes` learned from the others.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit
from torch import nn
from torch.nn import functional
from tqdm import tqdm

import engines.recognition
from engines.errors import UserError
from engines.evaluation.tables import json_ready
from engines.network_files import INPUT_NAME, UNITS_NAME, RecognitionManifest
from engines.recognition.ststnet.recognizer import OUTPUT_NAME
from engines.recognition.ststnet.representation import PREPROCESSING, standardise
from engines.runtime import open_graph
from engines.runtime.parity import golden_path
from engines.synthesis.expressions import PROTOTYPES
from engines.training.composite3 import CLASSES, Composite3
from engines.training.composite_command import CompositeProgram, add_groups
from engines.training.composite_report import (
    CONFUSION,
    DATA,
    LIMITS,
    card_values,
    summarise,
    write_json,
)
from engines.training.facs_codes import FacsCodes, describe_people, read_codes, unit_figures
from engines.training.fitting import Recipe as Variation
from engines.training.fitting import augment, balanced_weights
from engines.training.flow_pictures import draw_pictures
from engines.training.folds import grouped
from engines.training.networks.landmark_graph import LandmarkGraph
from engines.training.networks.unit_graph import UNITS
from engines.training.onnx_export import write_graph

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
        people: Whether action units are learned from coded people too.
    """

    epochs: int = 20
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    label_smoothing: float = 0.1
    unit_weight: float = 3.0
    synthetic: int = 300
    people: bool = False


@dataclass(frozen=True, slots=True)
class UnitPictures:
    """Flow pictures and the action units in them.

    Attributes:
        planes: (M, 3, 28, 28) float32 standardised.
        presence: (M, A) float32.
    """

    planes: npt.NDArray[np.float32]
    presence: npt.NDArray[np.float32]

    def joined(
        self, planes: npt.NDArray[np.float32], presence: npt.NDArray[np.bool_]
    ) -> UnitPictures:
        """These, and others behind them."""
        return UnitPictures(
            np.concatenate([self.planes, planes]),
            np.concatenate([self.presence, presence.astype(np.float32)]),
        )


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
        coded: Pictures with action units.
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


def answer(
    network: LandmarkGraph, planes: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(N, C) logits of emotions and (N, A) of units, over each picture and its mirror image."""
    with torch.no_grad():
        emotions, units = Deployed([network], 1.0).logits(torch.from_numpy(planes))
    return emotions.numpy(), units.numpy()


def evaluate(
    data: Composite3,
    recipe: Recipe,
    seeds: Sequence[int],
    groups: int | None = None,
    codes: FacsCodes | None = None,
) -> dict[str, Any]:
    """Leave one subject out, once for each seed. Nothing is chosen on a test subject.

    Args:
        data: The data set.
        recipe: How the network is trained.
        seeds: Seeds; each is also one member of the ensemble.
        groups: Leave out one of so many groups of subjects at a time, which is cheaper; None
            leaves out one subject.
        codes: Action units that coders saw, to be measured against.

    Returns:
        Figures, ready to be written as JSON.
    """
    planes, left_out = standardise(data.pictures), grouped(data.subjects, groups)
    runs, units = [], []
    for seed in seeds:
        drawn = draw_units(recipe.synthetic, seed)
        logits = np.empty((len(data.labels), len(CLASSES)), np.float32)
        seen = np.empty((len(data.labels), len(UNITS)), np.float32)
        for fold in tqdm(np.unique(left_out), desc=f"LOSO, seed {seed}", unit="fold"):
            own = left_out == fold
            coded = _with_people(drawn, planes, ~own, recipe, codes)
            network = fit(planes[~own], data.labels[~own], coded, recipe, seed)
            logits[own], seen[own] = answer(network, planes[own])
        runs.append(logits)
        units.append(seen)
    measured: dict[str, Any] = {}
    if codes is not None:
        found = expit(np.mean(units, axis=0))
        measured["codes_sha256"] = codes.sha256
        measured["units"] = json_ready(unit_figures(codes, found, data.subjects))
    return {
        **measured,
        **summarise(runs, seeds, data),
        "recipe": asdict(recipe),
        "folds": len(np.unique(left_out)),
        "torch": torch.__version__,
    }


def _with_people(
    drawn: UnitPictures,
    planes: npt.NDArray[np.float32],
    learned: npt.NDArray[np.bool_],
    recipe: Recipe,
    codes: FacsCodes | None,
) -> UnitPictures:
    """Pictures with action units: synthetic ones, and coded ones of people where these count."""
    if codes is None or not recipe.people:
        return drawn
    taken = learned & codes.known
    return drawn.joined(planes[taken], codes.presence[taken])


def export(
    data: Composite3,
    report: dict[str, Any],
    folder: Path,
    commands: str,
    codes: FacsCodes | None = None,
) -> None:
    """Train on all subjects and write network, manifest, golden input and model card.

    Args:
        data: The data set.
        report: What `evaluate` returned for the same data.
        folder: Where the files go.
        commands: The command lines that make report and model, for the card.
        codes: The action units that the report learned from, if it did.

    Raises:
        UserError: The exported graph does not compute what the trained networks do.
    """
    recipe, planes = Recipe(**report["recipe"]), standardise(data.pictures)
    everybody = np.ones(len(planes), np.bool_)
    networks = []
    for seed in tqdm(report["seeds"], desc="All subjects", unit="seed"):
        drawn = draw_units(recipe.synthetic, seed)
        coded = _with_people(drawn, planes, everybody, recipe, codes)
        networks.append(fit(planes, data.labels, coded, recipe, seed))
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
        protocol="Leave one subject out"
        if report["folds"] == report["subjects"]
        else f"{report['folds']} folds of people, each left out once",
        torch=report["torch"],
        pictures=len(unseen.presence),
        unit_f1=2 * hits / float(shown.sum() + unseen.presence.sum()),
        taught=", and from the codes of the clips of CASME II and SAMM"
        if recipe.people
        else " alone",
        on_people=describe_people(report["units"]) if "units" in report else "Not on people.",
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
probability of each action unit: events carry them as `unit_probabilities`.
Input: u and v of the TV-L1 flow from onset to apex as 28x28 cells, standardised per picture; how a
live face is brought there is in `docs/recognition.md`.

"""
    + DATA
    + """
Action units were learned from synthetic flow pictures of animated expressions{taught}.

## Protocol
{protocol}, predictions pooled. Nothing is chosen on a test
subject: epochs and recipe are the same for every fold and were fixed before any fold was evaluated.
Seeds {seed_list}. Recipe: {recipe_list}.
In brackets 95 % intervals of a bootstrap over subjects.

| data | samples | subjects | UF1 | UAR | accuracy |
|---|---|---|---|---|---|
{rows}

One network instead of the ensemble, mean ± standard deviation over seeds: {single}.

"""
    + CONFUSION
    + """
## Action units
On {pictures} **synthetic** flow pictures of faces that were not learned from, F1 over all units:
{unit_f1:.3f}.

{on_people}
"""
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


def _evaluate(data: Composite3, options: argparse.Namespace) -> dict[str, Any]:
    if options.learn_codes and not options.codes:
        raise UserError("Nothing to learn from: name the coding tables with --codes.")
    codes = read_codes(options.codes, data) if options.codes else None
    recipe = Recipe(people=options.learn_codes)
    return evaluate(data, recipe, options.seeds, options.groups, codes)


def _export(
    data: Composite3, report: dict[str, Any], commands: str, options: argparse.Namespace
) -> None:
    codes = read_codes(options.codes, data) if options.codes else None
    learned = Recipe(**report["recipe"]).people
    if learned and (codes is None or codes.sha256 != report["codes_sha256"]):
        raise UserError("The report learned from coding tables: give the same with --codes.")
    export(data, report, options.out, commands, codes)


def _add_options(loso: argparse.ArgumentParser, ship: argparse.ArgumentParser) -> None:
    add_groups(loso)
    for parser in (loso, ship):
        parser.add_argument(
            "--codes",
            type=Path,
            nargs="+",
            metavar="TABLE",
            help="coding tables of CASME II and SAMM, to measure action units against",
        )
    loso.add_argument(
        "--learn-codes",
        action="store_true",
        help="learn action units from the codes of the other subjects too, not from synthetic "
        "pictures alone",
    )


main = CompositeProgram(
    name="python -m engines.training.au_landmark",
    about=__doc__,
    folder=FOLDER,
    seeds=(0,),
    evaluate=_evaluate,
    export=_export,
    add_options=_add_options,
).run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
