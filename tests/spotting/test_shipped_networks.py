"""The spotting networks that ship: their files, and that streaming them is one pass."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import engines.recognition
import engines.spotting
from engines.events import EventKind, EventState
from engines.motion.config import MotionConfig
from engines.motion.meter import MotionMeter
from engines.runtime import open_graph
from engines.spotting.base import MotionSample
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.registry import create_spotter
from tests.recognition.test_recognizers import moved, textured_face

ENGINES = ("mean", "sfamnet", "sfamnet-depth")
FOLDERS = [
    Path(package.__file__).parent / name
    for package in (engines.spotting, engines.recognition)
    for name in ENGINES
]
FPS = 60.0


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f"{f.parent.name}-{f.name}")
def test_the_shipped_files_agree_with_each_other(folder: Path) -> None:
    manifest = json.loads((folder / f"{folder.name}.json").read_text("utf-8"))
    model = folder / f"{folder.name}.onnx"
    assert manifest["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    with open_graph(model, "onnx") as graph:
        assert list(graph.inputs) == [manifest["input"]["name"]]
        assert list(graph.outputs) == [manifest["output"]["name"]]
        assert graph.inputs["planes"].shape == (None, 3, 42, 42)
    assert model.stat().st_size < 100_000
    fold = manifest["training"]["fold"]
    parts = [set(fold[part]) for part in ("train", "validation", "test")]
    assert all(parts)
    assert len(set.union(*parts)) == sum(map(len, parts))
    card = (folder / "model_card.md").read_text("utf-8")
    assert "synthetic" in card.lower()
    assert "Not to be used to judge" in card
    assert "python -m engines.training.train run" in card


def measured(seconds: float, lost: tuple[float, float] = (3.0, 3.2)) -> list[MotionSample]:
    """A face whose mouth corner twitches and comes out now and then, as it is measured live."""
    rng = np.random.default_rng(0)
    face = textured_face(1)
    mesh = rng.uniform(20, 108, (468, 3)).astype(np.float32)
    meter = MotionMeter(MotionConfig(), FPS, delta_flow=True)
    kept = []
    columns, rows = np.meshgrid(*[np.arange(64)] * 2)
    corner = np.exp(-((columns - 23) ** 2 + (rows - 47) ** 2) / 60)
    for index in range(round(seconds * FPS)):
        time_s = index / FPS
        phase = (time_s % 2.5 - 1.0) / 0.35
        shift = 2.5 * (0.5 - 0.5 * np.cos(2 * np.pi * phase)) if 0 < phase < 1 else 0.0
        noisy = moved(face, 46, 94, 0, -shift) + rng.normal(0, 1, face.shape)
        seen = np.clip(noisy, 0, 255).astype(np.uint8)
        depth = np.float32(550 - 0.4 * shift * corner + rng.normal(0, 0.3, corner.shape))
        valid = not lost[0] <= time_s < lost[1]
        sample = meter.measure(
            index,
            time_s,
            0,
            seen if valid else None,
            epoch=0,
            mesh=mesh,
            head_speed=0.0,
            depth=depth,
        )
        kept.append(_copy(sample))
    return kept


def _copy(sample: MotionSample) -> MotionSample:
    values = {
        name: value.copy() if isinstance(value := getattr(sample, name), np.ndarray) else value
        for name in MotionSample.__slots__
    }
    return MotionSample(**values)


@pytest.mark.parametrize("name", ENGINES)
def test_streamed_in_pieces_is_one_pass(name: str) -> None:
    stream = measured(6.0)
    whole, part = (create_spotter(name, FlowSpotterConfig(), FPS) for _ in range(2))
    outputs = [whole.push(sample) for sample in stream]
    for cut in (0.3, 0.55, 0.9):
        part.reset()
        stop = int(cut * len(stream))
        assert [part.push(sample) for sample in stream[:stop]] == outputs[:stop]
    part.reset()
    assert [part.push(sample) for sample in stream] == outputs
    assert part.finish() == whole.finish()
    assert all(np.isfinite(output.score) for output in outputs)
    events = [event for output in outputs for event in output.events]
    assert all(e.kind is EventKind.MICRO for e in events if e.state is EventState.CLOSED)
