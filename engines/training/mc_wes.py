"""Train MC-WES from labels of whole videos: which show a micro-, which a macro-expression.

python -m engines.training.mc_wes labels --data FOLDER --out labels.csv
python -m engines.training.mc_wes run --data FOLDER --labels labels.csv --out runs/mc-wes
python -m engines.training.mc_wes run --data FOLDER --labels labels.csv --out runs/mc-wes --ship
python -m engines.training.mc_wes run --data FOLDER --full --out runs/mc-wes-full

The table has a line `video,label` for every clip, the label `micro`, `macro`, `both` or `none`; a
laboratory writes it by hand, `labels` writes it for data whose expressions are known. Neither the
network nor its threshold learns when an expression was: the threshold keeps within a budget of
detections on validation videos without micro-expressions. `--full` trains the same network on the
times of expressions instead, for comparison. Only the test figures look at times.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from engines.errors import UserError
from engines.evaluation.spotting import Tally
from engines.evaluation.tables import json_ready
from engines.events import EventKind, EventState
from engines.features.clip_features import LIGHT, ChunkEncoder
from engines.spotting.decision import DecisionConfig
from engines.spotting.gating import GateConfig
from engines.spotting.mc_wes_spotter import (
    CONTEXT_STEPS,
    FOLDER,
    INPUT_NAME,
    LAG_S,
    NAME,
    OUTPUT_NAME,
    McWesSpotter,
    preprocessing_of,
)
from engines.spotting.network_spotter import SpottingManifest
from engines.training.clip_features import FeatureCache, FeatureClip
from engines.training.clips import ClipSource, FaceClip
from engines.training.figures import spotting_figures
from engines.training.folds import Fold, holdout
from engines.training.mc_wes_card import model_card
from engines.training.mc_wes_losses import Weights, full_loss, weak_loss
from engines.training.networks.mc_wes import BACKGROUND, MACRO, MICRO, McWes, McWesScore
from engines.training.onnx_export import write_graph
from engines.training.sources import open_source
from engines.training.streaming import measure, spot

PROGRAM = "python -m engines.training.mc_wes"

VERSION = "1"
"""Of the weights that are made."""

LABELS: Mapping[str, tuple[int, int]] = {
    "none": (0, 0),
    "micro": (1, 0),
    "macro": (0, 1),
    "both": (1, 1),
}
"""What a table may say of a video: whether it shows micro-, whether macro-expressions."""

EPOCHS, BATCH, LEARNING_RATE, DECAY = 60, 9, 3e-3, 1e-3

BUDGET_PER_MIN = 1.0
"""Detections a minute in videos without micro-expressions that the threshold must keep within."""

FACTORS = (4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0)
"""What the threshold is chosen from."""

_DECISION = DecisionConfig(
    smooth_s=0.1, min_spread=0.5, fall_to=0.5, hold_s=0.1, look_ahead_s=0.1, rise_s=0.7
)
_GATES = GateConfig(return_share=0.8, blink_share=0.0)


@dataclass(frozen=True, slots=True)
class Video:
    """A clip as the network sees it.

    Attributes:
        window: (T, F + 1) float32; before each stretch, `CONTEXT_STEPS` - 1 rows of zeros keep it
            apart from the one before.
        labels: Whether it shows micro-, whether macro-expressions.
        steps: (T,) int64 class of each row; only full supervision looks at it.
    """

    window: npt.NDArray[np.float32]
    labels: tuple[int, int]
    steps: npt.NDArray[np.int64]


def read_labels(path: Path) -> dict[str, tuple[int, int]]:
    """Read a table of video labels.

    Raises:
        UserError: It cannot be read, or a line is not `video,label`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The table {path} cannot be read ({error}).") from error
    labels: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(lines, start=1):
        if not line or (number == 1 and line[0].strip().lower() == "video"):
            continue
        label = line[1].strip().lower() if len(line) == 2 else ""
        if label not in LABELS:
            raise UserError(
                f"{path}, line {number} is not `video,label` with one of the labels "
                f"{', '.join(LABELS)}: correct it."
            )
        labels[line[0].strip()] = LABELS[label]
    return labels


def true_labels(clip: FaceClip) -> tuple[int, int]:
    """The video label of a clip whose expressions are known."""
    kinds = {event.kind for event in clip.events}
    return int(EventKind.MICRO in kinds), int(EventKind.MACRO in kinds)


def write_labels(clips: Iterable[FaceClip], path: Path) -> None:
    """Write the table of clips whose expressions are known."""
    words = {pair: word for word, pair in LABELS.items()}
    rows = [f"{clip.name},{words[true_labels(clip)]}" for clip in clips]
    path.write_text("\n".join(["video,label", *rows]) + "\n", "utf-8", newline="\n")


def video_of(clip: FeatureClip, labels: tuple[int, int]) -> Video:
    """Lay a clip's stretches behind one another."""
    apart = CONTEXT_STEPS - 1
    places = np.arange(len(clip.times)) + apart * np.cumsum(clip.starts)
    length = int(places[-1]) + 1 if len(places) else apart
    window = np.zeros((length, clip.values.shape[1] + 1), np.float32)
    window[places, :-1], window[places, -1] = clip.values, 1
    middles = clip.times - LAG_S
    classes = np.full(len(middles), BACKGROUND, np.int64)
    for event in clip.clip.events:
        during = (middles >= event.onset_s) & (middles <= event.offset_s)
        classes[during] = MICRO if event.kind is EventKind.MICRO else MACRO
    steps = np.full(length, BACKGROUND, np.int64)
    steps[places] = classes
    return Video(window, labels, steps)


def batch_of(videos: Sequence[Video]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(B, T, F + 1) windows, (B, 2) labels and (B, T) classes; short videos end in zeros."""
    longest = max(len(video.window) for video in videos)
    windows = np.zeros((len(videos), longest, videos[0].window.shape[1]), np.float32)
    steps = np.full((len(videos), longest), BACKGROUND, np.int64)
    for row, video in enumerate(videos):
        windows[row, : len(video.window)] = video.window
        steps[row, : len(video.steps)] = video.steps
    labels = torch.tensor([video.labels for video in videos], dtype=torch.float32)
    return torch.from_numpy(windows), labels, torch.from_numpy(steps)


def fit(videos: Sequence[Video], appearance: int, seed: int, *, full: bool, epochs: int) -> McWes:
    """Train the network.

    Args:
        videos: Of the training identities.
        appearance: Number of features of appearance.
        seed: Seed of everything.
        full: Learn from the times of expressions, and not from video labels.
        epochs: Passes over the videos; the last weights stand, as nothing may choose among them.

    Raises:
        UserError: There is no contrast in the labels.
    """
    shown = {video.labels[0] for video in videos}
    if shown != {0, 1} and not full:
        raise UserError(
            "Every training video has the same label of micro-expressions: add videos with and "
            "videos without."
        )
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    rows = np.concatenate([video.window[video.window[:, -1] > 0] for video in videos])
    network = McWes(appearance, rows.shape[1] - 1)
    network.standardise(torch.from_numpy(rows[:, :-1]))
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=DECAY)
    network.train()
    with tqdm(total=epochs, desc="training", unit="epoch", file=sys.stderr) as bar:
        for _ in range(epochs):
            order = rng.permutation(len(videos))
            total = 0.0
            for at in range(0, len(order), BATCH):
                windows, labels, steps = batch_of([videos[i] for i in order[at : at + BATCH]])
                there = windows[..., -1]
                outputs = network(windows)
                if full:
                    loss = full_loss(outputs[0], outputs[1], there, steps)
                else:
                    loss = weak_loss(outputs, there, labels, Weights())
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimiser.step()
                total += float(loss.detach()) * len(labels)
            bar.set_postfix_str(f"loss {total / len(videos):.3f}")
            bar.update()
    return network.eval()


def export(
    network: McWes,
    golden: npt.NDArray[np.float32],
    encoder: ChunkEncoder,
    decision: DecisionConfig,
    training: Mapping[str, Any],
    folder: Path,
) -> None:
    """Write network and manifest; the graph is checked against the network."""
    model = folder / f"{NAME}.onnx"
    write_graph(McWesScore(network), {INPUT_NAME: golden}, (OUTPUT_NAME,), model)
    manifest = SpottingManifest(
        name=NAME,
        version=VERSION,
        sha256=hashlib.sha256(model.read_bytes()).hexdigest(),
        input={"name": INPUT_NAME, "shape": ["batch", *golden.shape[1:]], "type": "float32"},
        output={"name": OUTPUT_NAME, "shape": ["batch"], "type": "float32"},
        preprocessing=preprocessing_of(encoder),
        training=dict(training),
        decision=decision,
        gates=_GATES,
    )
    text = manifest.model_dump_json(indent=2)
    (folder / f"{NAME}.json").write_text(text + "\n", "utf-8", newline="\n")


def choose_factor(folder: Path, clips: Sequence[FaceClip]) -> float:
    """The lowest threshold that keeps within the budget; the highest where none does.

    Args:
        folder: The exported engine.
        clips: Videos of validation identities without micro-expressions.
    """
    counts = dict.fromkeys(FACTORS, 0)
    for clip in tqdm(clips, desc="choosing a threshold", unit="clip", file=sys.stderr):
        spotters = {factor: McWesSpotter(clip.fps, "onnx", folder) for factor in FACTORS}
        for factor, spotter in spotters.items():
            spotter.threshold_factor = factor
        first = spotters[FACTORS[0]]
        for sample in measure(clip):
            score = first.score(sample)
            for factor, spotter in spotters.items():
                events = spotter.judge(sample, score).events
                counts[factor] += sum(e.state is EventState.CLOSED for e in events)
        for spotter in spotters.values():
            spotter.close()
    minutes = sum(clip.duration_s for clip in clips) / 60
    return next((f for f in FACTORS if counts[f] <= BUDGET_PER_MIN * minutes), FACTORS[-1])


def run(
    source: ClipSource,
    labels: Mapping[str, tuple[int, int]] | None,
    features: Path,
    out: Path,
    seed: int,
    epochs: int,
) -> dict[str, Any]:
    """Train, export, choose the threshold, test.

    Args:
        source: The clips, with their splits.
        labels: Label of every video of training and validation; None for full supervision.
        features: Folder that keeps clip features.
        out: Folder of the engine's files.
        seed: Seed of everything.
        epochs: Passes over the training videos.

    Returns:
        What `result.json` holds.

    Raises:
        UserError: The data have no splits, or a video has no label.
    """
    (fold,) = holdout(source.splits)
    out.mkdir(parents=True, exist_ok=True)
    encoder = ChunkEncoder(LIGHT, "onnx")
    cache = FeatureCache(features, source, encoder)
    shown = tqdm(cache.clips(fold.train), desc="features", unit="clip", file=sys.stderr)
    videos = [video_of(clip, _label(clip.clip, labels)) for clip in shown]
    network = fit(videos, encoder.appearance, seed, full=labels is None, epochs=epochs)
    golden = np.stack([videos[0].window[at : at + CONTEXT_STEPS] for at in range(4)])
    training = _provenance(source, fold, seed, epochs, weak=labels is not None)
    export(network, golden, encoder, _DECISION, training, out)
    still = [c for c in source.clips(fold.validation) if not _label(c, labels)[0]]
    if not still:
        raise UserError(
            "No validation video is without micro-expressions: the threshold needs such videos."
        )
    factor = choose_factor(out, still)
    decision = _DECISION.model_copy(update={"threshold_factor": factor})
    export(network, golden, encoder, decision, training, out)
    encoder.close()
    tested = _test(source, fold, out)
    rates = sorted({fps for fps, _, _ in tested})
    return {
        "synthetic": source.synthetic,
        "data": source.title,
        "data_command": source.command,
        "training": training,
        "decision": {**decision.model_dump(), **_GATES.model_dump()},
        "parameters": sum(each.numel() for each in network.parameters()),
        "still_minutes": sum(clip.duration_s for clip in still) / 60,
        "budget_per_min": BUDGET_PER_MIN,
        "labels": {word: sum(v.labels == pair for v in videos) for word, pair in LABELS.items()},
        "figures": spotting_figures([(who, tally) for _, who, tally in tested]),
        "figures_by_fps": {
            f"{fps:g}": spotting_figures([(who, t) for rate, who, t in tested if rate == fps])
            for fps in rates
        },
    }


def _test(source: ClipSource, fold: Fold, folder: Path) -> list[tuple[float, str, Tally]]:
    """Frame rate, identity and tally of every clip of the test identities."""
    tested = []
    for clip in tqdm(source.clips(fold.test), desc="test", unit="clip", file=sys.stderr):
        spotter = McWesSpotter(clip.fps, "onnx", folder)
        tested.append((clip.fps, clip.identity, spot(clip, spotter)))
        spotter.close()
    return tested


def _label(clip: FaceClip, labels: Mapping[str, tuple[int, int]] | None) -> tuple[int, int]:
    if labels is None:
        return true_labels(clip)
    if clip.name not in labels:
        raise UserError(f"The table has no label for the video {clip.name}: add a line.")
    return labels[clip.name]


def _provenance(
    source: ClipSource, fold: Fold, seed: int, epochs: int, *, weak: bool
) -> dict[str, Any]:
    return {
        "data": source.title,
        "data_sha256": source.fingerprint,
        "fold": {part: list(getattr(fold, part)) for part in ("train", "validation", "test")},
        "seed": seed,
        "epochs": epochs,
        "supervision": "video labels" if weak else "times of expressions",
        "torch": torch.__version__,
    }


def main(argv: Sequence[str]) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name.

    Returns:
        Exit code: 0 done, 2 a user's mistake.
    """
    options = _arguments(argv)
    try:
        source = open_source(options.data)
        if options.command == "labels":
            write_labels(source.clips(source.identities), options.out)
            print(options.out)
            return 0
        labels = None if options.full else read_labels(options.labels)
        engine = FOLDER if options.ship else options.out / NAME
        features = options.features or options.out / "clip-features"
        torch.set_num_threads(1)
        report = run(source, labels, features, engine, options.seed, EPOCHS)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    report = json_ready({**report, "command": f"{PROGRAM} {shlex.join(argv)}"})
    card = model_card(report)
    options.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1) + "\n"
    (options.out / "result.json").write_text(text, "utf-8", newline="\n")
    (engine / "model_card.md").write_text(card, "utf-8", newline="\n")
    print(card)
    return 0


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    table = commands.add_parser("labels", help="write the labels of data whose truth is known")
    train = commands.add_parser("run", help="train, choose, test")
    for each in (table, train):
        add = each.add_argument
        add("--data", type=Path, required=True, metavar="FOLDER", help="synthetic or aligned set")
    table.add_argument("--out", type=Path, required=True, metavar="FILE", help="table to write")
    how = train.add_mutually_exclusive_group(required=True)
    how.add_argument("--labels", type=Path, metavar="FILE", help="table `video,label`")
    how.add_argument("--full", action="store_true", help="learn from the times of expressions")
    add = train.add_argument
    add("--out", type=Path, required=True, metavar="FOLDER", help="results")
    add("--features", type=Path, metavar="FOLDER", help="where clip features are kept")
    add("--seed", type=int, default=0, metavar="N", help="of everything (default: 0)")
    add("--ship", action="store_true", help="write the engine that Glint runs")
    options = parser.parse_args(argv)
    if options.command == "run" and options.full and options.ship:
        parser.error("--ship is for the engine that learns from video labels")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
