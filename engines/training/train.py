"""Train the network of an engine, evaluate it honestly, and export it for live use.

python -m engines.training.train run    --engine mean --data FOLDER --out runs/mean
python -m engines.training.train export --run runs/mean

The same run command continues a run that was cut off, and gives what an unbroken run gives.
docs/training.md says what is learned, and from what.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import shlex
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from tqdm import tqdm

import engines.recognition
import engines.spotting
from engines.errors import UserError
from engines.training.card import bounded, model_card
from engines.training.clips import ClipSource
from engines.training.figures import pooled
from engines.training.fold_files import RESULT_FILE, Task, engine_folder
from engines.training.folded import run_fold
from engines.training.folds import Fold, holdout, leave_one_subject_out
from engines.training.recipes import RECIPES, describe, recipe_of
from engines.training.sequence_fold import HEADS
from engines.training.sources import open_source

PROGRAM = "python -m engines.training.train"
RUN_FILE = "run.json"

Protocol = Literal["holdout", "loso"]

_SEPARATE = ("clips", "further_clips", "events")
"""What the result of a fold holds of single clips and events; the run's has pooled figures."""


class RunDescription(BaseModel):
    """What `run.json` holds: everything that the run's result follows from.

    Attributes:
        engine: Name of the engine.
        data: What the data are.
        synthetic: Whether nobody was filmed for them.
        data_sha256: Their fingerprint.
        classes: Names of the emotions.
        protocol: `holdout` or `loso`.
        seed: Seed of everything.
        epochs: Upper limit on the epochs of each stage, or None.
        recipe: Stages of training.
        preprocessing: Representation of what the network sees.
        torch: Version of PyTorch.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str
    data: str
    synthetic: bool
    data_sha256: str
    classes: tuple[str, ...]
    protocol: Protocol
    seed: int
    epochs: int | None
    recipe: dict[str, Any]
    preprocessing: dict[str, Any]
    torch: str


def run(
    engine: str,
    data: Path,
    protocol: Protocol,
    out: Path,
    *,
    seed: int = 0,
    jobs: int = 1,
    epochs: int | None = None,
) -> dict[str, Any]:
    """Train and evaluate, or continue where an earlier call was cut off.

    Args:
        engine: Name of the engine.
        data: Folder of the data.
        protocol: `holdout` for data that come with splits, or `loso`.
        out: Folder of the run.
        seed: Seed of everything.
        jobs: Folds that run side by side.
        epochs: Upper limit on the epochs of each stage; None leaves the recipe's.

    Returns:
        The content of `result.json`: the run, its folds, and pooled figures.

    Raises:
        UserError: The data cannot be read, or the folder holds another run.
    """
    source = open_source(data)
    description = RunDescription(
        engine=engine,
        data=source.title,
        synthetic=source.synthetic,
        data_sha256=source.fingerprint,
        classes=source.classes,
        protocol=protocol,
        seed=seed,
        epochs=epochs,
        recipe=describe(engine),
        preprocessing=dict(recipe_of(engine).preprocessing),
        torch=torch.__version__,
    )
    folds = _folds(source, protocol, seed)
    _claim(out, description)
    tasks = [Task(engine, data, fold, out / fold.name, seed, epochs) for fold in folds]
    results = _run_tasks(tasks, jobs)
    report = {
        "run": description.model_dump(mode="json"),
        "data_command": source.command,
        "figures": pooled(results, source.classes),
        "folds": [
            {name: value for name, value in result.items() if name not in _SEPARATE}
            for result in results
        ],
    }
    _write_json(out / RESULT_FILE, report)
    finite: dict[str, Any] = _finite(report)
    return finite


def export(run_folder: Path, out: Path, command: str, *, heads: bool = False) -> list[Path]:
    """Ship the network of a finished run.

    Args:
        run_folder: Folder of the run.
        out: Folder that has `spotting/` and `recognition/`.
        command: Command lines for the model card.
        heads: Ship the network that also gives what it saw by the way, where there is one.

    Returns:
        The folders that were written, each with network, manifest and model card.

    Raises:
        UserError: The run is not finished, or its network has no further heads.
    """
    try:
        report = json.loads((run_folder / RESULT_FILE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{run_folder} holds no finished run: run it to the end with {PROGRAM} run."
        ) from error
    description = RunDescription(**report["run"])
    final = "holdout" if description.protocol == "holdout" else "final"
    shipped = []
    for task in description.recipe["tasks"]:
        made = engine_folder(run_folder / final, HEADS if heads else task, description.engine)
        if not made.exists():
            raise UserError(f"The network {description.engine} has no heads: leave --heads out.")
        target = engine_folder(out, task, description.engine)
        target.mkdir(parents=True, exist_ok=True)
        for path in made.glob(f"{description.engine}.*"):
            shutil.copyfile(path, target / path.name)
        card = model_card(task, report, command)
        (target / "model_card.md").write_text(card, "utf-8", newline="\n")
        shipped.append(target)
    return shipped


def _folds(source: ClipSource, protocol: Protocol, seed: int) -> list[Fold]:
    if protocol == "holdout":
        return holdout(source.splits)
    return leave_one_subject_out(source.identities, seed)


def _claim(out: Path, description: RunDescription) -> None:
    """Write `run.json`, or make sure that the one that is there is of the same run."""
    path = out / RUN_FILE
    if not path.exists():
        _write_json(path, description.model_dump(mode="json"))
        return
    try:
        same = RunDescription.model_validate_json(path.read_bytes()) == description
    except ValidationError:
        same = False
    if not same:
        raise UserError(
            f"{out} holds a run with other data or options: give the same ones to continue it, or "
            "choose another folder."
        )


def _run_tasks(tasks: Sequence[Task], jobs: int) -> list[dict[str, Any]]:
    """Run all folds; in this process when there is one, or one at a time is wanted."""
    with tqdm(total=len(tasks), unit="fold", disable=None) as bar:
        if jobs == 1 or len(tasks) == 1:
            results = []
            for task in tasks:
                bar.set_description(task.fold.name)
                results.append(run_fold(task, bar.set_postfix_str))
                bar.update()
            return results
        # Threads of torch do not survive a fork.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, context) as workers:
            futures = {workers.submit(run_fold, task): number for number, task in enumerate(tasks)}
            for future in as_completed(futures):
                future.result()
                bar.update()
            return [future.result() for future in futures]


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_finite(content), indent=1, allow_nan=False)
    path.write_text(text + "\n", "utf-8", newline="\n")


def _finite(value: Any) -> Any:
    """The same with NaN as None, which JSON has a word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return value


def _summary(report: dict[str, Any]) -> str:
    figures = report["figures"]
    if not figures:
        return "No identity was tested."
    lines, recognition = [], figures["recognition"]
    if "spotting" in figures:
        spotting = figures["spotting"]
        lines.append(
            f"Spotting, {spotting['micro_expressions']} micro-expressions of "
            f"{spotting['identities']} test identities: F1 {bounded(spotting, 'f1')}, "
            f"{bounded(spotting, 'false_positives_per_min')} false positives a minute."
        )
    lines += [
        f"Recognition, {name} ({group['events']}): UF1 {bounded(group, 'uf1')}, "
        f"UAR {bounded(group, 'uar')}."
        for name, group in recognition.items()
    ]
    return "\n".join(lines)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("run", help="train and evaluate, or continue a run")
    add = train.add_argument
    add("--engine", choices=sorted(RECIPES), required=True, help="whose network")
    add("--data", type=Path, required=True, metavar="FOLDER", help="synthetic or aligned set")
    add(
        "--protocol",
        choices=("holdout", "loso"),
        default="holdout",
        help="the data's own test identities, or each identity in turn (default: holdout)",
    )
    add("--out", type=Path, required=True, metavar="FOLDER", help="checkpoints, logs and results")
    add("--seed", type=int, default=0, metavar="N", help="of everything (default: 0)")
    add("--jobs", type=int, default=1, metavar="N", help="folds side by side (default: 1)")
    add(
        "--epochs",
        type=int,
        metavar="N",
        help="at most so many epochs in each stage, for a quick try (default: the recipe's)",
    )
    ship = commands.add_parser("export", help="write network, manifest and model card")
    ship.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="a finished run")
    ship.add_argument(
        "--out",
        type=Path,
        default=Path(engines.spotting.__file__).parents[1],
        metavar="FOLDER",
        help="where spotting/ENGINE/ and recognition/ENGINE/ go (default: the package's engines)",
    )
    ship.add_argument(
        "--heads",
        action="store_true",
        help="let the network also give what it saw by the way, such as MOL's flow and landmarks",
    )
    options = parser.parse_args(argv)
    for name in ("jobs", "epochs"):
        value = getattr(options, name, None)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1")
    return options


def main(argv: Sequence[str]) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name.

    Returns:
        Exit code: 0 done, 2 a user's mistake.
    """
    options = _arguments(argv)
    command = f"{PROGRAM} {shlex.join(argv)}"
    try:
        if options.command == "run":
            report = run(
                options.engine,
                options.data,
                options.protocol,
                options.out,
                seed=options.seed,
                jobs=options.jobs,
                epochs=options.epochs,
            )
            _write_json(options.out / RESULT_FILE, {**report, "command": command})
            print(_summary(report))
        else:
            for folder in export(options.run, options.out, command, heads=options.heads):
                print(folder)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
