"""MC-WES as it ships: its files, and what the comparison of engines relies on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.errors import EngineError
from engines.events import EventState
from engines.runtime import open_graph
from engines.spotting.base import MotionSample, Spotter
from engines.spotting.mc_wes_spotter import CONTEXT_STEPS, FOLDER, LAG_S, NAME, McWesSpotter
from tests.spotting.test_shipped_networks import measured


def test_the_shipped_files_agree_with_each_other() -> None:
    manifest = json.loads((FOLDER / f"{NAME}.json").read_text("utf-8"))
    model = FOLDER / f"{NAME}.onnx"
    assert manifest["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    with open_graph(model, "onnx") as graph:
        assert graph.inputs["features"].shape == (None, CONTEXT_STEPS, 195)
        assert list(graph.outputs) == ["scores"]
    assert model.stat().st_size < 150_000
    assert manifest["training"]["supervision"] == "video labels"
    parts = [set(manifest["training"]["fold"][part]) for part in ("train", "validation", "test")]
    assert all(parts)
    assert len(set.union(*parts)) == sum(map(len, parts))
    card = (FOLDER / "model_card.md").read_text("utf-8")
    assert "synthetic" in card.lower()
    assert "Not to be used to judge" in card
    assert "python -m engines.training.mc_wes run" in card


@pytest.fixture(scope="module")
def stream() -> list[MotionSample]:
    return measured(5.0)


def test_streamed_in_pieces_is_one_pass_and_judging_apart_is_pushing(
    stream: list[MotionSample],
) -> None:
    whole, part = (McWesSpotter(60.0, "onnx") for _ in range(2))
    assert isinstance(whole, Spotter)
    assert whole.look_ahead_s > LAG_S
    outputs = [whole.push(sample) for sample in stream]
    stop = int(0.7 * len(stream))
    assert [part.push(sample) for sample in stream[:stop]] == outputs[:stop]
    part.reset()
    assert [part.judge(sample, part.score(sample)) for sample in stream] == outputs
    assert part.finish() == whole.finish()
    assert all(np.isfinite(output.score) for output in outputs)
    whole.close()
    part.close()


def test_without_a_face_there_is_no_score() -> None:
    spotter = McWesSpotter(60.0, "onnx")
    for sample in measured(1.5, lost=(1.0, 1.5)):
        score = spotter.score(sample)
    assert np.isnan(score)
    spotter.close()


def test_a_higher_threshold_spots_less(stream: list[MotionSample]) -> None:
    counts = []
    for factor in (1.0, 100.0):
        spotter = McWesSpotter(60.0, "onnx")
        spotter.threshold_factor = factor
        events = [event for sample in stream for event in spotter.push(sample).events]
        counts.append(sum(event.state is EventState.TENTATIVE for event in events))
        spotter.close()
    assert counts[1] == 0 <= counts[0]


@pytest.mark.parametrize("spoiled", ["sha256", "preprocessing"])
def test_files_that_do_not_belong_together_are_refused(tmp_path: Path, spoiled: str) -> None:
    manifest = json.loads((FOLDER / f"{NAME}.json").read_text("utf-8"))
    manifest[spoiled] = {} if spoiled == "preprocessing" else "0" * 64
    (tmp_path / f"{NAME}.json").write_text(json.dumps(manifest), "utf-8")
    (tmp_path / f"{NAME}.onnx").write_bytes((FOLDER / f"{NAME}.onnx").read_bytes())
    with pytest.raises(EngineError):
        McWesSpotter(60.0, "onnx", tmp_path)


def test_a_restart_makes_the_score_start_anew(stream: list[MotionSample]) -> None:
    spotter, fresh = (McWesSpotter(60.0, "onnx") for _ in range(2))
    at = 100
    broken = [replace(s, restart=s.restart or i == at) for i, s in enumerate(stream[:180])]
    scores = [spotter.score(sample) for sample in broken]
    assert np.array_equal(
        scores[at:], [fresh.score(sample) for sample in broken[at:]], equal_nan=True
    )
    spotter.close()
    fresh.close()
