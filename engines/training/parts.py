"""Train the recogniser `parts` on the composite data set: evaluate it honestly, or export it.

python -m engines.training.parts loso   --data ../shared/data/composite3 --report runs/parts.json
python -m engines.training.parts export --data ../shared/data/composite3 --report runs/parts.json
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from calibration.temperature import probabilities
from engines.errors import UserError
from engines.network_files import INPUT_NAME, RecognitionManifest
from engines.recognition.parts import recognizer as deployed
from engines.recognition.ststnet.representation import PREPROCESSING, standardise
from engines.runtime.onnx_runtime import OnnxRuntimeRunner
from engines.training.composite3 import CLASSES, Composite3
from engines.training.composite_command import CompositeProgram
from engines.training.composite_report import (
    CONFUSION,
    DATA,
    LIMITS,
    card_values,
    figure_row,
    figures,
    summarise,
    write_json,
)
from engines.training.face_parts import (
    Array,
    PartsRecipe,
    cut_parts,
    fit_parts,
    leave_one_subject_out,
    merge_models,
)
from engines.training.flow_pictures import draw_pictures
from engines.training.nested_parts import BEST, choose, nested_scores, recipes
from engines.training.parts_graph import build_model

VERSION = "1.0"
DEPLOYED_FOLDER = Path(deployed.__file__).parent


def evaluate(
    data: Composite3, seeds: Sequence[int], choices: Sequence[PartsRecipe]
) -> dict[str, Any]:
    """Leave one subject out: the recipe as it is, then one chosen anew in every fold.

    Args:
        data: The data set.
        seeds: Seeds of the synthetic pictures; each is also one member of the ensemble.
        choices: The recipes among which a fold chooses.

    Returns:
        Figures, ready to be written as JSON.
    """
    recipe = PartsRecipe()
    planes = standardise(data.pictures)
    parts = cut_parts(planes, recipe)
    runs = [
        leave_one_subject_out(
            parts,
            data.labels,
            data.subjects,
            draw_centres(recipe, seed),
            classes=len(CLASSES),
            recipe=recipe,
        )
        for seed in tqdm(seeds, desc="LOSO", unit="seed")
    ]
    outer, inner = zip(
        *(
            nested_scores(planes, data.labels, data.subjects, each, len(CLASSES))
            for each in tqdm(choices, desc="Nested LOSO", unit="recipe")
        ),
        strict=True,
    )
    single, averaged, best = choose(np.stack(outer), np.stack(inner), data.labels, data.subjects)
    return {
        **summarise(runs, seeds, data),
        "recipe": asdict(recipe),
        "nested": {
            "recipes": len(choices),
            "best": figures(single.argmax(axis=1), data, ("composite",)),
            "averaged": figures(averaged.argmax(axis=1), data, ("composite",)),
            "answers": averaged.argmax(axis=1).tolist(),
            "chosen": [
                {"folds": count, **asdict(choices[number])}
                for number, count in Counter(best.tolist()).most_common()
            ],
        },
    }


def draw_centres(recipe: PartsRecipe, seed: int) -> Array:
    """Parts of the synthetic pictures of one member.

    Args:
        recipe: Says how many and which parts.
        seed: Seed of the pictures.

    Returns:
        (M, 2, P, K) float64.
    """
    return cut_parts(standardise(draw_pictures(recipe.centres, seed)), recipe)


def export(data: Composite3, report: dict[str, Any], folder: Path, commands: str) -> None:
    """Fit all subjects and write model, manifest and model card.

    Seeds, recipe and temperature are those of the evaluation.

    Args:
        data: The data set.
        report: What `evaluate` returned for the same data.
        folder: Where the three files go.
        commands: The command lines that make report and model, for the card.

    Raises:
        UserError: The exported graph does not compute what the regression does.
    """
    values = report["recipe"]
    recipe = PartsRecipe(**{**values, "top_rows": tuple(values["top_rows"])})
    temperature = float(report["temperature"])
    planes = standardise(data.pictures)
    parts = cut_parts(planes, recipe)
    members = [
        fit_parts(
            parts, data.labels, draw_centres(recipe, seed), classes=len(CLASSES), recipe=recipe
        )
        for seed in tqdm(report["seeds"], desc="All subjects", unit="seed")
    ]
    merged = merge_models(members)
    content = build_model(merged, recipe, temperature).SerializeToString(deterministic=True)
    with OnnxRuntimeRunner(content) as graph:
        found = graph.run({INPUT_NAME: planes})[deployed.OUTPUT_NAME]
    difference = float(np.abs(found - probabilities(merged(parts), temperature)).max())
    if difference > 1e-4:
        raise UserError(
            f"The exported graph differs from the regression by {difference:.1e}; nothing was "
            f"written, check the versions of onnx and onnxruntime."
        )
    manifest = RecognitionManifest(
        name="parts",
        version=VERSION,
        sha256=hashlib.sha256(content).hexdigest(),
        classes=CLASSES,
        input={"name": INPUT_NAME, "shape": ["batch", 3, 28, 28], "type": "float32"},
        output={"name": deployed.OUTPUT_NAME, "shape": ["batch", len(CLASSES)], "type": "float32"},
        temperature=temperature,
        preprocessing=PREPROCESSING,
        training={
            "data_sha256": data.sha256,
            "seeds": report["seeds"],
            "recipe": values,
        },
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "parts.onnx").write_bytes(content)
    write_json(folder / "parts.json", manifest.model_dump())
    (folder / "model_card.md").write_text(model_card(report, commands), "utf-8", newline="\n")


def model_card(report: dict[str, Any], commands: str) -> str:
    """The model card's text.

    Args:
        report: What `evaluate` returned.
        commands: The command lines that made figures and model.

    Returns:
        Markdown.
    """
    nested = report["nested"]
    return _CARD.format(
        **card_values(report),
        commands=commands,
        centres=report["recipe"]["centres"] * len(report["seeds"]),
        best=figure_row("best recipe", nested["best"]["composite"]),
        averaged=figure_row(f"mean of the {BEST} best", nested["averaged"]["composite"]),
        choices=nested["recipes"],
    )


_CARD = (
    """\
# Model card: parts

Names the emotion of a facial expression whose onset and apex are known: negative, positive or
surprise. Written by the commands at the end; do not edit by hand.

## Model
Kernel ridge regression on three parts (brows, middle, mouth) of either half of the face, the left
half mirrored (`engines/training/face_parts.py`). Each part is compared by a Gaussian with the same
part of {centres} synthetic flow pictures of animated expressions; no picture of a person is in the
file. The scores are divided by the temperature {temperature:.3f}, and softmax is taken, all inside
one ONNX graph.

Input: TV-L1 flow from onset to apex as 28x28 cells of u and v, standardised per
picture (strain is given and not used); how a live face is brought there is in
`docs/recognition.md`.

"""
    + DATA
    + """
## Protocol
Leave one subject out, {subjects} folds, predictions pooled. Recipe and class weighting are the
same for every fold, normalisation is per picture, and nothing of a test subject enters a fold.
But **the recipe was found by looking at leave-one-subject-out figures of this data set**:
`docs/recognition.md` lists all that was looked at, and the first table below is optimistic. For
the second, every fold chose its own recipe among {choices} (parts, channels, sharpness, ridge) by
the other subjects alone; only which recipes there are to choose from is hindsight. Take the second
table for what to expect.
Seeds {seed_list}, one draw of synthetic pictures each.
Recipe: {recipe_list}.
In brackets 95 % intervals of a bootstrap over subjects.

As shipped, fitted anew for each fold:

| data | samples | subjects | UF1 | UAR | accuracy |
|---|---|---|---|---|---|
{rows}

One draw instead of the ensemble, mean ± standard deviation over seeds: {single}.

Recipe chosen in every fold without the test subject:

| composite | samples | subjects | UF1 | UAR | accuracy |
|---|---|---|---|---|---|
{best}
{averaged}

"""
    + CONFUSION
    + """
On animated expressions (synthetic) it is right less often than `ststnet`, above all where the
upper lip rises: see `docs/recognition.md`.

"""
    + LIMITS
    + """
## Made by
```
{commands}
```
"""
)


def _evaluate(data: Composite3, options: argparse.Namespace) -> dict[str, Any]:
    return evaluate(data, options.seeds, recipes())


def _export(
    data: Composite3, report: dict[str, Any], commands: str, options: argparse.Namespace
) -> None:
    export(data, report, options.out, commands)


main = CompositeProgram(
    name="python -m engines.training.parts",
    about=__doc__,
    folder=DEPLOYED_FOLDER,
    seeds=(0, 1, 2, 3, 4),
    evaluate=_evaluate,
    export=_export,
).run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
