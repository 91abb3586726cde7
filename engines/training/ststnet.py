"""Train STSTNet on the composite data set: evaluate it honestly, or export it for live use.

python -m engines.training.ststnet loso   --data ../shared/data/composite3 --report loso.json
python -m engines.training.ststnet export --data ../shared/data/composite3 --report loso.json
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from calibration.temperature import probabilities
from engines.errors import UserError
from engines.network_files import INPUT_NAME, RecognitionManifest
from engines.recognition.ststnet import recognizer as deployed
from engines.recognition.ststnet.representation import PREPROCESSING, standardise
from engines.runtime.onnx_runtime import OnnxRuntimeRunner
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
from engines.training.export import build_model, fold_ensemble
from engines.training.fitting import (
    Recipe,
    balanced_weights,
    fit,
    leave_one_subject_out,
    mirrored_logits,
)
from engines.training.folds import grouped

VERSION = "1.0"
DEPLOYED_FOLDER = Path(deployed.__file__).parent


def evaluate(
    data: Composite3, recipe: Recipe, seeds: Sequence[int], groups: int | None = None
) -> dict[str, Any]:
    """Run leave-one-subject-out, or leave-one-group-out, once for each seed.

    Nothing is chosen on a test subject: epochs and recipe are fixed, and the temperature under
    which a subject's calibration error is measured is fitted on the other subjects' logits.

    Args:
        data: The data set.
        recipe: Training recipe.
        seeds: Seeds; each is also one member of the ensemble.
        groups: Leave out one of so many groups of subjects at a time, which is cheaper; None
            leaves out one subject.

    Returns:
        Figures, ready to be written as JSON.
    """
    planes = standardise(data.pictures)
    left_out = grouped(data.subjects, groups)
    runs = []
    for seed in seeds:
        with tqdm(total=recipe.epochs, desc=f"LOSO, seed {seed}", unit="epoch") as bar:
            runs.append(
                leave_one_subject_out(
                    planes,
                    data.labels,
                    left_out,
                    classes=len(CLASSES),
                    recipe=recipe,
                    seed=seed,
                    on_epoch=_progress(bar),
                )
            )
    return {
        **summarise(runs, seeds, data),
        "recipe": asdict(recipe),
        "groups": groups,
        "torch": torch.__version__,
    }


def export(data: Composite3, report: dict[str, Any], folder: Path, commands: str) -> None:
    """Train on all subjects and write model, manifest and model card.

    Seeds, recipe and temperature are those of the evaluation.

    Args:
        data: The data set.
        report: What `evaluate` returned for the same data.
        folder: Where the three files go.
        commands: The command lines that make report and model, for the card.

    Raises:
        UserError: The report left out groups, or the exported graph does not compute what the
            trained networks do.
    """
    if report.get("groups") is not None:
        raise UserError("The report left groups out: run loso without --groups to export.")
    recipe = Recipe(**report["recipe"])
    seeds: list[int] = report["seeds"]
    temperature = float(report["temperature"])
    planes = standardise(data.pictures)
    everyone = np.ones((1, len(data.labels)), np.bool_)
    weights = balanced_weights(data.labels, everyone, len(CLASSES))
    banks = []
    for seed in seeds:
        with tqdm(total=recipe.epochs, desc=f"All subjects, seed {seed}", unit="epoch") as bar:
            banks.append(
                fit(
                    planes,
                    data.labels,
                    weights,
                    classes=len(CLASSES),
                    recipe=recipe,
                    seed=seed,
                    on_epoch=_progress(bar),
                )
            )
    model = build_model(fold_ensemble(banks), temperature).SerializeToString(deterministic=True)
    with OnnxRuntimeRunner(model) as graph:
        from_onnx = graph.run({INPUT_NAME: planes})[deployed.OUTPUT_NAME]
    logits = np.mean([mirrored_logits(bank, planes)[:, 0] for bank in banks], axis=0)
    difference = float(np.abs(from_onnx - probabilities(logits, temperature)).max())
    if difference > 1e-5:
        raise UserError(
            f"The exported graph differs from the trained networks by {difference:.1e}; "
            f"nothing was written, check the versions of onnx and onnxruntime."
        )
    manifest = RecognitionManifest(
        name="ststnet",
        version=VERSION,
        sha256=hashlib.sha256(model).hexdigest(),
        classes=CLASSES,
        input={"name": INPUT_NAME, "shape": ["batch", 3, 28, 28], "type": "float32"},
        output={"name": deployed.OUTPUT_NAME, "shape": ["batch", len(CLASSES)], "type": "float32"},
        temperature=temperature,
        preprocessing=PREPROCESSING,
        training={
            "data_sha256": data.sha256,
            "seeds": seeds,
            "recipe": report["recipe"],
            "torch": torch.__version__,
        },
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / deployed.MODEL_FILE).write_bytes(model)
    write_json(folder / deployed.MANIFEST_FILE, manifest.model_dump())
    card = model_card(report, commands)
    (folder / "model_card.md").write_text(card, "utf-8", newline="\n")


def model_card(report: dict[str, Any], commands: str) -> str:
    """The model card's text.

    Args:
        report: What `evaluate` returned.
        commands: The command lines that made figures and model.

    Returns:
        Markdown.
    """
    return _CARD.format(**card_values(report), commands=commands, torch=report["torch"])


_CARD = (
    """\
# Model card: STSTNet, {members} members

Names the emotion of a facial expression whose onset and apex are known: negative, positive or
surprise. Written by the commands at the end; do not edit by hand.

## Model
An ensemble of {members} STSTNets (Liong et al., "Shallow triple stream three-dimensional CNN
(STSTNet) for micro-expression recognition", FG 2019; 1,651 parameters each, batch normalisation
left out). Logits are averaged over the members and over the face and its mirror image, divided by
the temperature {temperature:.3f}, and softmax is taken, all inside one ONNX graph of seven nodes.
Input: TV-L1 flow from onset to apex as 28x28 cells of u, v and optical strain, standardised per
picture; how a live face is brought there is in `docs/recognition.md`.

"""
    + DATA
    + """
## Protocol
Leave one subject out, {subjects} folds, predictions pooled. Nothing is chosen on a test subject:
epochs and recipe are the same for every fold, normalisation is per picture, class weights come
from the training subjects. The recipe was fixed before any fold was evaluated, looking at the
training loss alone. Seeds {seed_list}.
Recipe: {recipe_list}.
The figures below are of the ensemble as shipped, trained anew for each fold; in brackets 95 %
intervals of a bootstrap over subjects.

| data | samples | subjects | UF1 | UAR | accuracy |
|---|---|---|---|---|---|
{rows}

For comparison: the log that STSTNet's authors published gives UF1 0.735 and UAR 0.719 for the
composite under this protocol. One network instead of the ensemble, mean ± standard deviation over
seeds: {single}.

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


def _progress(bar: tqdm[Any]) -> Callable[[float], None]:
    def advance(loss: float) -> None:
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        bar.update()

    return advance


def _evaluate(data: Composite3, options: argparse.Namespace) -> dict[str, Any]:
    return evaluate(data, Recipe(epochs=options.epochs), options.seeds, options.groups)


def _export(
    data: Composite3, report: dict[str, Any], commands: str, options: argparse.Namespace
) -> None:
    export(data, report, options.out, commands)


def _add_options(loso: argparse.ArgumentParser, ship: argparse.ArgumentParser) -> None:
    add_groups(loso)
    loso.add_argument(
        "--epochs",
        type=int,
        default=Recipe().epochs,
        metavar="N",
        help="passes over the data (default: %(default)s)",
    )


main = CompositeProgram(
    name="python -m engines.training.ststnet",
    about=__doc__,
    folder=DEPLOYED_FOLDER,
    seeds=(0, 1, 2, 3, 4),
    evaluate=_evaluate,
    export=_export,
    add_options=_add_options,
).run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
