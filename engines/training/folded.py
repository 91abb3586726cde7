"""One fold from end to end: fit, export, choose the decision, and test once."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
import torch

from calibration.temperature import fit_temperature
from engines.errors import UserError
from engines.network_files import INPUT_NAME, RecognitionManifest
from engines.recognition import network_recognizer as recognition
from engines.recognition.network_recognizer import (
    DepthRecognizer,
    NetworkRecognizer,
    average_logits,
)
from engines.runtime import open_graph
from engines.spotting import network_spotter as spotting
from engines.spotting.network_spotter import DepthSpotter, NetworkSpotter, SpottingManifest
from engines.training.clips import ClipSource
from engines.training.decisions import choose_decision, steps
from engines.training.fold_files import (
    RESULT_FILE,
    Task,
    Told,
    described,
    engine_folder,
    named,
    provenance,
    write_manifest,
)
from engines.training.networks.base import RecognitionPath, SpotAndRecognise, SpottingPath
from engines.training.onnx_export import write_onnx
from engines.training.optimisation import EpochLog, Fitted, fit
from engines.training.proposal_fold import run_proposals
from engines.training.proposal_recipes import ProposalRecipe
from engines.training.recipes import Recipe, SequenceRecipe, recipe_of
from engines.training.samples import draw_samples
from engines.training.sequence_fold import run_sequences
from engines.training.sources import open_source
from engines.training.streaming import ScoredClip, event_clip, score_clip, spot

_INPUT = (INPUT_NAME, ["batch", 3, 42, 42])


def run_fold(task: Task, told: Told = lambda what: None) -> dict[str, Any]:
    """Run a fold, or read the result of one that is done.

    Args:
        task: The fold.
        told: Told of every epoch and step.

    Returns:
        The content of `result.json`.
    """
    result_file = task.folder / RESULT_FILE
    if result_file.exists():
        done: dict[str, Any] = json.loads(result_file.read_text("utf-8"))
        return done
    # Sums in another order would give another network.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    source, recipe = open_source(task.data), recipe_of(task.engine)
    if isinstance(recipe, SequenceRecipe):
        result = run_sequences(task, source, recipe, told)
    elif isinstance(recipe, ProposalRecipe):
        result = run_proposals(task, source, recipe, told)
    else:
        result = _run_pictures(task, source, recipe, told)
    part = result_file.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n", "utf-8", newline="\n")
    os.replace(part, result_file)
    return result


def _run_pictures(task: Task, source: ClipSource, recipe: Recipe, told: Told) -> dict[str, Any]:
    """A fold of a network for single flow pictures, which spots and recognises."""
    fitted = _fit(task, source, recipe, told)
    trained = provenance(task, source, fitted.best_epochs)
    spotter = _write_spotter(task, source, fitted, recipe, trained, told)
    recognizer = _write_recognizer(task, source, fitted, recipe, trained, told)
    return {
        "fold": asdict(task.fold),
        "best_epochs": fitted.best_epochs,
        "epochs": [asdict(line) for line in fitted.log],
        **spotter,
        **recognizer,
        "clips": _test_spotting(task, source, recipe, told),
        "events": _test_recognition(task, source, recipe),
    }


def _fit(task: Task, source: ClipSource, recipe: Recipe, told: Told) -> Fitted[SpotAndRecognise]:
    def on_epoch(line: EpochLog) -> None:
        told(f"{line.stage} {line.epoch}: {line.training_loss:.4f} / {line.validation_loss:.4f}")

    training, validation = (
        draw_samples(source.clips(who), source.classes, task.seed, depth=recipe.depth)
        for who in (task.fold.train, task.fold.validation)
    )
    for what, samples in (("to learn from", training), ("to decide", validation)):
        known = (samples.emotion >= 0) & (samples.emotion < len(source.classes))
        if not samples.micro.any() or not known.any():
            raise UserError(
                f"In fold {task.fold.name} those {what} show no micro-expression or no "
                "emotion: use more people."
            )
    told(f"{len(training.micro)} samples")
    return fit(
        recipe,
        len(source.classes),
        training,
        validation,
        seed=task.seed,
        folder=task.folder,
        epochs=task.epochs,
        on_epoch=on_epoch,
    )


def _write_spotter(
    task: Task,
    source: ClipSource,
    fitted: Fitted[SpotAndRecognise],
    recipe: Recipe,
    trained: dict[str, Any],
    told: Told,
) -> dict[str, Any]:
    """Export the spotting path and choose its decision on the validation identities."""
    folder = engine_folder(task.folder, "spotting", task.engine)
    model = folder / f"{task.engine}.onnx"
    write_onnx(SpottingPath(fitted.network), spotting.OUTPUT_NAME, model, _golden())
    scored: list[ScoredClip] = []
    with open_graph(model, "onnx") as graph:
        for clip in source.clips(task.fold.validation):
            scored.append(score_clip(clip, graph, depth=recipe.depth))
            told(f"scored {clip.name}")
    tried = iter(range(1, steps() + 1))
    chosen = choose_decision(scored, lambda: told(f"decision {next(tried)}/{steps()}"))
    manifest = SpottingManifest(
        **described(
            model, _INPUT, (spotting.OUTPUT_NAME, ["batch"]), recipe.preprocessing, trained
        ),
        decision=chosen.decision,
        gates=chosen.gates,
    )
    write_manifest(folder, manifest)
    return {
        "decision": chosen.decision.model_dump(),
        "gates": chosen.gates.model_dump(),
        "validation_f1": chosen.validation.f1,
        "validation_micro": chosen.validation.tp + chosen.validation.fn,
    }


def _write_recognizer(
    task: Task,
    source: ClipSource,
    fitted: Fitted[SpotAndRecognise],
    recipe: Recipe,
    trained: dict[str, Any],
    told: Told,
) -> dict[str, Any]:
    """Export the recognition path and fit its temperature on the validation identities."""
    folder = engine_folder(task.folder, "recognition", task.engine)
    model = folder / f"{task.engine}.onnx"
    write_onnx(RecognitionPath(fitted.network), recognition.OUTPUT_NAME, model, _golden())
    logits, labels = [], []
    with open_graph(model, "onnx") as graph:
        for clip in source.clips(task.fold.validation):
            for event in clip.events:
                if event.emotion is not None:
                    cut = event_clip(clip, event)
                    logits.append(average_logits(graph, cut, depth=recipe.depth))
                    labels.append(source.classes.index(event.emotion))
    seen = np.stack(logits)[:, : len(source.classes)]
    truth = np.array(labels)
    temperature = fit_temperature(seen, truth)
    manifest = RecognitionManifest(
        **described(
            model,
            _INPUT,
            (recognition.OUTPUT_NAME, ["batch", len(source.classes) + recipe.neutral]),
            recipe.preprocessing,
            trained,
        ),
        classes=source.classes,
        temperature=temperature,
    )
    write_manifest(folder, manifest)
    told("recognition calibrated")
    return {
        "temperature": temperature,
        "validation_accuracy": float((seen.argmax(axis=1) == truth).mean()),
    }


def _test_spotting(
    task: Task, source: ClipSource, recipe: Recipe, told: Told
) -> list[dict[str, Any]]:
    """What the exported spotter finds in every clip of the test identities."""
    folder = engine_folder(task.folder, "spotting", task.engine)
    found = []
    for clip in source.clips(task.fold.test):
        spotter = (DepthSpotter if recipe.depth else NetworkSpotter)(folder, clip.fps, "onnx")
        found.append({**named(clip), "tally": asdict(spot(clip, spotter))})
        spotter.close()
        told(f"tested {clip.name}")
    return found


def _test_recognition(task: Task, source: ClipSource, recipe: Recipe) -> list[dict[str, Any]]:
    """What the exported recogniser says of every true expression of the test identities."""
    folder = engine_folder(task.folder, "recognition", task.engine)
    engine = (DepthRecognizer if recipe.depth else NetworkRecognizer)(folder, "onnx")
    found = [
        {
            **named(clip),
            "kind": event.kind.value,
            "emotion": event.emotion,
            "recognised": engine.recognize(event_clip(clip, event)).most_probable,
        }
        for clip in source.clips(task.fold.test)
        for event in clip.events
        if event.emotion is not None
    ]
    engine.close()
    return found


def _golden() -> Any:
    """Inputs on which torch and ONNX Runtime are compared."""
    return np.random.default_rng(0).normal(size=(16, 3, 42, 42)).astype(np.float32)
