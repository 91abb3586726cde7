"""Train STSTNet on the composite data set: evaluate it honestly, or export it for live use.

python -m engines.training.ststnet loso   --data ../shared/data/composite3 --out loso.json
python -m engines.training.ststnet export --data ../shared/data/composite3
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
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
from engines.training.export import build_model, fold_ensemble
from engines.training.fitting import (
    Recipe,
    balanced_weights,
    fit,
    leave_one_subject_out,
    mirrored_logits,
)
from engines.training.folds import grouped

PROGRAM = "python -m engines.training.ststnet"
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
        UserError: The report is of other data, or the exported graph does not compute what the
            trained networks do.
    """
    if report["data_sha256"] != data.sha256:
        raise UserError("The report is of another data file: run loso on this one first.")
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


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    loso = commands.add_parser(
        "loso", help="leave one subject out: write UF1, UAR, accuracy and calibration as JSON"
    )
    ship = commands.add_parser(
        "export", help="train on all subjects: write model, manifest and model card"
    )
    for command in (loso, ship):
        command.add_argument(
            "--data",
            type=Path,
            required=True,
            metavar="PATH",
            help="flow_u_v_strain_28.npz or its folder",
        )
        command.add_argument(
            "--report",
            type=Path,
            required=True,
            metavar="JSON",
            help="the figures, which loso writes and export reads; answers lie beside as .csv",
        )
    loso.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[0, 1, 2, 3, 4],
        metavar="N",
        help="one ensemble member each (default: 0 1 2 3 4)",
    )
    loso.add_argument(
        "--epochs",
        type=int,
        default=Recipe().epochs,
        metavar="N",
        help="passes over the data (default: %(default)s)",
    )
    loso.add_argument(
        "--groups",
        type=int,
        metavar="N",
        help="leave out one of N groups of subjects at a time, for a cheaper look",
    )
    ship.add_argument(
        "--out",
        type=Path,
        default=DEPLOYED_FOLDER,
        metavar="FOLDER",
        help="where the three files go (default: the engine's folder)",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name.

    Returns:
        Exit code: 0 done, 2 a user's mistake.
    """
    arguments = _arguments(argv)
    torch.set_num_threads(1)  # sums in another order would give another model
    command = f"{PROGRAM} {shlex.join(argv)}"
    try:
        data = load_composite3(arguments.data)
        if arguments.command == "loso":
            report = evaluate(
                data, Recipe(epochs=arguments.epochs), arguments.seeds, arguments.groups
            )
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
