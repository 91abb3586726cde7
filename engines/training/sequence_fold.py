"""One fold of a recogniser that reads sequences of faces: fit, export, calibrate, and test once."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from calibration.selective import choose_unsure_below
from calibration.temperature import fit_temperature, probabilities
from engines.errors import UserError
from engines.network_files import RecognitionManifest
from engines.recognition.sequence_recognizer import INPUT_NAME, OUTPUT_NAME, SequenceRecognizer
from engines.recognition.sequences import PREPROCESSING
from engines.runtime import open_graph
from engines.runtime.parity import golden_path
from engines.training.clips import ClipSource
from engines.training.event_clips import VIEWS, EventSamples, drawn_sequences, live_sequences
from engines.training.fold_files import (
    Task,
    Told,
    described,
    engine_folder,
    named,
    provenance,
    write_manifest,
)
from engines.training.golden import golden_faces
from engines.training.half_weights import store_half, weights_of
from engines.training.networks.sequence import SequenceNetwork
from engines.training.onnx_export import write_graph
from engines.training.optimisation import EpochLog, Fitted, fit_stages
from engines.training.recipes import SequenceRecipe, Stage
from engines.training.samples import NOT_LEARNED
from engines.training.streaming import event_clip

HEADS = "heads"
"""Folder, beside `recognition`, of the network that also gives what `SequenceNetwork.show` does."""

_VALIDATION_BATCH = 32
_GAIN = (0.8, 1.25)
_LIFT = (-0.3, 0.3)
"""By what training multiplies the faces of a sequence, and what it then adds: light differs."""


def run_sequences(
    task: Task, source: ClipSource, recipe: SequenceRecipe, told: Told
) -> dict[str, Any]:
    """Run a fold.

    Args:
        task: The fold.
        source: Its data.
        recipe: How the network is made.
        told: Told of every epoch and step.

    Returns:
        What `result.json` holds of it.

    Raises:
        UserError: Those to learn from, or those to decide, show no emotion.
    """
    judged = live_sequences(source.clips(task.fold.validation), source.classes)
    fitted = _fit(task, source, recipe, judged, told)
    calibrated = _write(task, source, fitted, judged)
    told("recognition calibrated")
    return {
        "fold": asdict(task.fold),
        "best_epochs": fitted.best_epochs,
        "epochs": [asdict(line) for line in fitted.log],
        **calibrated,
        "clips": [],
        **_test(task, source),
        "shown": _test_heads(task, source, fitted.network),
    }


class SequenceLesson:
    """Sequences as tensors; of an expression's views, every epoch sees one."""

    def __init__(
        self,
        network: type[SequenceNetwork],
        samples: EventSamples,
        classes: int,
        views: int,
        weights: torch.Tensor | None = None,
    ) -> None:
        self._network = network
        self._faces = torch.from_numpy(samples.faces)
        self._emotion = torch.from_numpy(samples.emotion)
        self._targets = {
            name: torch.from_numpy(values) for name, values in network.teach(samples).items()
        }
        self._views = views
        if weights is None:
            known = self._emotion[self._emotion != NOT_LEARNED]
            counts = torch.bincount(known, minlength=classes)
            weights = counts.sum() / (classes * counts.clamp(min=1))
        self.weights = weights

    def __len__(self) -> int:
        return len(self._faces) // self._views

    def loss(self, network: SequenceNetwork, chosen: torch.Tensor, *, varied: bool) -> torch.Tensor:
        """Mean loss of some expressions; see `engines.training.optimisation.Lesson`.

        Whatever is learned beside it, an epoch is judged by the emotion alone.
        """
        rows = chosen * self._views
        if not varied:
            return network.judge(self._faces[rows].float(), self._emotion[rows], self.weights)
        rows = rows + torch.randint(self._views, (len(chosen),))
        faces = _relit(self._faces[rows].float())
        targets = {name: values[rows] for name, values in self._targets.items()}
        turned = torch.rand(len(chosen)) < 0.5
        faces[turned] = faces[turned].flip(-1)
        other = self._network.mirrored({n: values[turned] for n, values in targets.items()})
        for name, values in other.items():
            targets[name][turned] = values
        return network.loss(faces, self._emotion[rows], targets, self.weights)


def _fit(
    task: Task, source: ClipSource, recipe: SequenceRecipe, validation: EventSamples, told: Told
) -> Fitted[SequenceNetwork]:
    classes = len(source.classes)

    def build() -> SequenceNetwork:
        network = recipe.build(classes)
        network.study(training)
        return network

    def on_epoch(line: EpochLog) -> None:
        told(f"{line.stage} {line.epoch}: {line.training_loss:.4f} / {line.validation_loss:.4f}")

    training = drawn_sequences(source.clips(task.fold.train), source.classes, task.seed)
    for what, samples in (("to learn from", training), ("to decide", validation)):
        if not (samples.emotion != NOT_LEARNED).any():
            raise UserError(
                f"In fold {task.fold.name} those {what} show no emotion: use more people."
            )
    told(f"{len(training.emotion)} sequences")
    network = type(build())
    learned = SequenceLesson(network, training, classes, VIEWS)
    judged = SequenceLesson(network, validation, classes, 1, learned.weights)

    def lessons(stage: Stage) -> tuple[SequenceLesson, SequenceLesson]:
        return learned, judged

    return fit_stages(
        build,
        recipe.stages,
        lessons,
        seed=task.seed,
        folder=task.folder,
        epochs=task.epochs,
        on_epoch=on_epoch,
        validation_batch=_VALIDATION_BATCH,
    )


class WithHeads(nn.Module):
    """A network together with what it sees by the way, for export."""

    def __init__(self, network: SequenceNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, faces: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Everything of (N, 8, 128, 128) faces, the logits first."""
        answer = self.network(faces)
        answers = (answer,) if isinstance(answer, torch.Tensor) else answer
        return (*answers, *self.network.show(faces))


def _write(
    task: Task, source: ClipSource, fitted: Fitted[SequenceNetwork], judged: EventSamples
) -> dict[str, Any]:
    """Export the recognition path, and once more with its heads; fit their temperature."""
    network, golden = fitted.network, golden_faces()
    exports: list[tuple[str, nn.Module, tuple[str, ...]]] = [
        ("recognition", network, network.outputs)
    ]
    if network.shown:
        exports.append((HEADS, WithHeads(network), (*network.outputs, *network.shown)))
    found: dict[str, Any] = {}
    for name, path, outputs in exports:
        model = engine_folder(task.folder, name, task.engine) / f"{task.engine}.onnx"
        write_graph(path, {INPUT_NAME: golden}, outputs, model)
        store_half(model)
        np.savez_compressed(golden_path(model), **{INPUT_NAME: golden.astype(np.float16)})
        if not found:
            found = {"weights": weights_of(model), **_calibrated(model, judged)}
        manifest = RecognitionManifest(
            **described(
                model,
                (INPUT_NAME, ["batch", *golden.shape[1:]]),
                (OUTPUT_NAME, ["batch", len(source.classes)]),
                PREPROCESSING,
                provenance(task, source, fitted.best_epochs),
            ),
            classes=source.classes,
            temperature=found["temperature"],
            unsure_below=found["unsure_below"],
            action_units=network.units,
        )
        write_manifest(model.parent, manifest)
    return found


def _calibrated(model: Path, judged: EventSamples) -> dict[str, Any]:
    """Temperature of an exported network and threshold of unsure, of the validation identities."""
    known = judged.emotion != NOT_LEARNED
    with open_graph(model, "onnx") as graph:
        logits = np.concatenate(
            [
                graph.run({INPUT_NAME: faces[np.newaxis].astype(np.float32)})[OUTPUT_NAME]
                for faces in judged.faces[known]
            ]
        )
    truth = judged.emotion[known]
    correct = logits.argmax(axis=1) == truth
    # Answers that are all right would be sharpened without end.
    temperature = max(fit_temperature(logits, truth), 1.0)
    confidence = probabilities(logits, temperature).max(axis=1)
    return {
        "temperature": temperature,
        "unsure_below": choose_unsure_below(confidence, correct),
        "validation_accuracy": float(correct.mean()),
    }


def _test(task: Task, source: ClipSource) -> dict[str, Any]:
    """What the exported recogniser says of every true expression of the test identities."""
    engine = SequenceRecognizer(engine_folder(task.folder, "recognition", task.engine), "onnx")
    events, costs = [], []
    for clip in source.clips(task.fold.test):
        for event in clip.events:
            if event.emotion is None:
                continue
            cut = event_clip(clip, event)
            started = time.process_time()
            answer = engine.recognize(cut)
            costs.append(1e3 * (time.process_time() - started))
            events.append(
                {
                    **named(clip),
                    "kind": event.kind.value,
                    "emotion": event.emotion,
                    "recognised": answer.most_probable,
                    "probabilities": dict(answer.probabilities),
                }
            )
    engine.close()
    return {"events": events, "cost_ms": float(np.median(costs)) if costs else None}


def _test_heads(task: Task, source: ClipSource, network: SequenceNetwork) -> dict[str, float]:
    """How near what the exported network shows comes to its teachers, on the test identities."""
    samples = live_sequences(source.clips(task.fold.test), source.classes)
    if not network.shown or not len(samples.emotion):
        return {}
    model = engine_folder(task.folder, HEADS, task.engine) / f"{task.engine}.onnx"
    with open_graph(model, "onnx") as graph:
        runs = [graph.run({INPUT_NAME: f[np.newaxis].astype(np.float32)}) for f in samples.faces]
    shown = {name: np.concatenate([run[name] for run in runs]) for name in network.shown}
    return network.resemblance(shown, network.teach(samples))


def _relit(faces: torch.Tensor) -> torch.Tensor:
    """Every sequence under another light, the same in all of its faces."""
    across = (len(faces), 1, 1, 1)
    gain = torch.empty(across).uniform_(*_GAIN)
    return faces * gain + torch.empty(across).uniform_(*_LIFT)
