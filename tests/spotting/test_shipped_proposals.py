"""LSSNet, LGSNet and their backbone as they ship: their files, and that streaming is one pass."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import engines.spotting
from engines.features.clip_features import LIGHT, ChunkEncoder
from engines.runtime import open_graph
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.proposal_spotter import INPUT_NAME, OUTPUT_NAME, STEPS, preprocessing_of
from engines.spotting.registry import OFFLINE_SPOTTERS, create_offline_spotter, create_spotter
from tests.spotting.test_shipped_networks import FPS, measured

FOLDERS = [Path(engines.spotting.__file__).parent / name for name in OFFLINE_SPOTTERS]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_shipped_files_agree_with_each_other(folder: Path) -> None:
    manifest = json.loads((folder / f"{folder.name}.json").read_text("utf-8"))
    model = folder / f"{folder.name}.onnx"
    assert manifest["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    encoder = ChunkEncoder(LIGHT, "onnx")
    assert manifest["preprocessing"] == preprocessing_of(encoder)
    with open_graph(model, "onnx") as graph:
        assert graph.inputs[INPUT_NAME].shape == (None, STEPS, encoder.size + 1)
        assert list(graph.outputs) == [OUTPUT_NAME]
    encoder.close()
    assert model.stat().st_size < 1_000_000
    fold = manifest["training"]["fold"]
    parts = [set(fold[part]) for part in ("train", "validation", "test")]
    assert all(parts)
    assert len(set.union(*parts)) == sum(map(len, parts))
    card = (folder / "model_card.md").read_text("utf-8")
    assert "synthetic" in card.lower()
    assert "Not to be used to judge" in card
    assert "python -m engines.training.train run" in card
    assert "no promise" in card


def test_the_backbone_saw_no_test_identity_and_no_label() -> None:
    manifest = json.loads((LIGHT / "light.json").read_text("utf-8"))
    assert LIGHT.joinpath("light.onnx").stat().st_size < 500_000
    splits = manifest["training"]["splits"]
    assert sorted(splits) == ["train", "validation"]
    for folder in FOLDERS:
        fold = json.loads((folder / f"{folder.name}.json").read_text("utf-8"))["training"]["fold"]
        assert not set(fold["test"]) & {f"{who:0>3}" for part in splits.values() for who in part}
    assert "no labels" in manifest["training"]["task"]


@pytest.mark.parametrize("name", OFFLINE_SPOTTERS)
def test_streamed_in_pieces_is_one_pass(name: str) -> None:
    stream = measured(6.0)
    whole, part = (create_spotter(name, FlowSpotterConfig(), FPS) for _ in range(2))
    outputs = [whole.push(sample) for sample in stream]
    stop = int(0.55 * len(stream))
    assert [part.push(sample) for sample in stream[:stop]] == outputs[:stop]
    part.reset()
    assert [part.push(sample) for sample in stream] == outputs
    assert part.finish() == whole.finish()
    assert all(0 <= output.score <= 1 for output in outputs)
    assert any(output.score > 0 for output in outputs)
    assert np.isfinite(whole.look_ahead_s)


@pytest.mark.parametrize("name", OFFLINE_SPOTTERS)
def test_the_offline_engine_says_what_it_is(name: str) -> None:
    spotter = create_offline_spotter(name)
    for sample in measured(2.5):
        assert not spotter.push(sample).events
    for event in spotter.finish():
        assert event.spotter.startswith(f"{name}-offline ")
    assert spotter.look_ahead_s == np.inf
    spotter.close()
