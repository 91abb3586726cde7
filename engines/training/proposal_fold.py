"""One fold of LSSNet or LGSNet: features, fit, export, choose the decisions, test once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engines.errors import UserError
from engines.evaluation.spotting import Tally
from engines.events import EventKind
from engines.features.clip_features import LIGHT, VIEWS, ChunkEncoder
from engines.features.grid import CHUNK_TICKS, STEP_TICKS
from engines.features.views import APPEARANCE, FLOW, REGION_VALUES
from engines.runtime import GraphRunner, open_graph
from engines.spotting.proposal_spotter import (
    INPUT_NAME,
    OUTPUT_NAME,
    STEPS,
    ProposalManifest,
    ProposalSpotter,
    preprocessing_of,
    propose,
)
from engines.spotting.proposals import MergeConfig, window_of
from engines.training.backbones import BACKBONES
from engines.training.clip_features import FeatureCache, FeatureClip
from engines.training.clips import ClipSource
from engines.training.cost import multiplications, processor_ms
from engines.training.fold_files import (
    Task,
    Told,
    described,
    engine_folder,
    named,
    provenance,
    write_manifest,
)
from engines.training.half_weights import store_half
from engines.training.networks.proposals import ProposalNetwork, Proposals
from engines.training.onnx_export import write_graph
from engines.training.proposal_decisions import (
    LIVE_CANDIDATES,
    OFFLINE_CANDIDATES,
    ProposedClip,
    choose,
    decide_live,
    decide_offline,
    propose_all,
)
from engines.training.proposal_fitting import FittedProposals, fit_proposals
from engines.training.proposal_recipes import ProposalRecipe

FEATURES_FOLDER = "clip-features"
"""Folder of a run in which the features of its clips are kept."""


def run_proposals(
    task: Task, source: ClipSource, recipe: ProposalRecipe, told: Told
) -> dict[str, Any]:
    """Run a fold.

    Args:
        task: The fold.
        source: Its data.
        recipe: How.
        told: Told of every epoch and step.

    Returns:
        The content of the fold's `result.json`.
    """
    encoder = recipe.encoder()
    cache = FeatureCache(task.folder.parent / FEATURES_FOLDER, source, encoder)

    def features(who: Sequence[str], *, mirrored: bool = False) -> list[FeatureClip]:
        found = []
        for clip in cache.clips(who, mirrored=mirrored):
            told(f"features of {clip.clip.name}")
            found.append(clip)
        return found

    learned = features(task.fold.train, mirrored=True)
    judged = features(task.fold.validation)
    for what, clips in (("to learn from", learned), ("to decide", judged)):
        if not any(event.kind is EventKind.MICRO for each in clips for event in each.clip.events):
            raise UserError(
                f"In fold {task.fold.name} those {what} show no micro-expression: use more people."
            )
    fitted = fit_proposals(
        recipe, learned, judged, seed=task.seed, folder=task.folder, epochs=task.epochs,
        on_epoch=lambda line: told(
            f"epoch {line.epoch}: {line.training_loss:.3f} / {line.validation_loss:.3f}"
        ),
    )  # fmt: skip
    model = _export(task, fitted, judged[0])
    with open_graph(model, "onnx") as graph:
        start = MergeConfig(overlap=recipe.suppression)
        proposed = _proposed(graph, judged, start, told)
        live, live_tally = choose(proposed, decide_live, LIVE_CANDIDATES, start)
        offline, offline_tally = choose(proposed, decide_offline, OFFLINE_CANDIDATES, start)
        told("decisions chosen")
        tested = _proposed(graph, features(task.fold.test), start, told)
    _write_manifest(task, source, fitted, encoder, live, offline)
    result = {
        "fold": asdict(task.fold),
        "best_epochs": {"spotting": fitted.best_epoch},
        "epochs": [asdict(line) for line in fitted.log],
        "decision": live.model_dump(),
        "gates": {},
        "offline_decision": offline.model_dump(),
        "validation_f1": live_tally.f1,
        "validation_micro": live_tally.tp + live_tally.fn,
        "offline_validation_f1": offline_tally.f1,
        **_cost(fitted.network, model, encoder),
        "clips": [_row(each, decide_live(each, live)) for each in tested],
        "further_clips": {
            "macro": [_row(each, decide_live(each, live, EventKind.MACRO)) for each in tested],
            "offline": [_row(each, decide_offline(each, offline)) for each in tested],
        },
        "events": [],
    }
    encoder.close()
    return result


def _export(task: Task, fitted: FittedProposals, clip: FeatureClip) -> Path:
    """Write the network, in half precision."""
    model = engine_folder(task.folder, "spotting", task.engine) / f"{task.engine}.onnx"
    last = min(STEPS, len(clip.times))
    golden = np.stack([window_of(clip.values, 0, stop, STEPS) for stop in (1 + last // 2, last)])
    write_graph(Proposals(fitted.network), {INPUT_NAME: golden}, (OUTPUT_NAME,), model)
    store_half(model)
    return model


def _proposed(
    graph: GraphRunner, clips: Sequence[FeatureClip], config: MergeConfig, told: Told
) -> list[ProposedClip]:
    """What the exported network proposes for clips."""
    found = []
    for clip in clips:
        found.append(propose_all(clip, partial(propose, graph), config))
        told(f"proposals for {clip.clip.name}")
    return found


def _row(proposed: ProposedClip, found: Tally) -> dict[str, Any]:
    return {**named(proposed.features.clip), "tally": asdict(found)}


def _write_manifest(
    task: Task,
    source: ClipSource,
    fitted: FittedProposals,
    encoder: ChunkEncoder,
    live: MergeConfig,
    offline: MergeConfig,
) -> None:
    folder = engine_folder(task.folder, "spotting", task.engine)
    positions = len(fitted.network.centres) + len(fitted.network.anchor_centres)
    manifest = ProposalManifest(
        **described(
            folder / f"{task.engine}.onnx",
            (INPUT_NAME, ["batch", STEPS, encoder.size + 1]),
            (OUTPUT_NAME, ["batch", positions, 4]),
            preprocessing_of(encoder),
            provenance(task, source, {"spotting": fitted.best_epoch}),
        ),
        backbone=encoder.name,
        live=live,
        offline=offline,
    )
    write_manifest(folder, manifest)


def _cost(network: ProposalNetwork, model: Path, encoder: ChunkEncoder) -> dict[str, Any]:
    """Size of the network, and what a step costs: a chunk of features, and the window anew."""
    backbone = BACKBONES[encoder.name].build()
    shapes = [(1, CHUNK_TICKS, *shape) for shape in VIEWS[encoder.name].shapes.values()]
    chunk = {
        stream: np.zeros(shape, np.float32)
        for stream, shape in zip((APPEARANCE, FLOW), shapes, strict=True)
    }
    regions = np.zeros((1, STEP_TICKS, REGION_VALUES), np.float32)
    window = np.zeros((1, STEPS, encoder.size + 1), np.float32)
    with open_graph(model, "onnx") as graph:
        step_ms = processor_ms(
            lambda: (encoder.encode(chunk, regions), graph.run({INPUT_NAME: window}))
        )
    spotter = ProposalSpotter(model.parent, 30.0, "onnx", LIGHT.parent)
    look_ahead_s = spotter.look_ahead_s
    spotter.close()
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "macs": multiplications(network, torch.from_numpy(window)),
        "backbone_macs": multiplications(backbone, *map(torch.zeros, shapes)),
        "step_ms": step_ms,
        "look_ahead_s": look_ahead_s,
    }
