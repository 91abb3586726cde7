"""A session on a folder of pictures with depth beside them, from the files to the events."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.errors import EngineError
from engines.synthesis import FaceAnimator, Portrait, Scenario, ScenarioConfig
from engines.synthesis.depth import DepthCamera
from streamer.config import GlintConfig
from streamer.pipeline import Pipeline
from streamer.session import build_pipeline
from streamer.sinks.base import FrameRecord
from tests.test_pipeline import Collector

FPS = 30.0
FRAMES = 75
SIZE = (240, 256)
NO_DEPTH = (40, 41)  # pictures without a depth picture


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording as CAS(ME)³ ships it, of the animated face."""
    clip = tmp_path_factory.mktemp("spNO.1")
    for name in ("color", "depth"):
        (clip / name).mkdir()
    config = ScenarioConfig(
        lead_s=1.2, expressions_per_min=60, micro_amplitude_px=(2.5, 3.0), blinks=False
    )
    scenario = Scenario(config, 3, FRAMES / FPS)
    animator = FaceAnimator(Portrait.astronaut(), scenario, *SIZE[::-1], 70.0)
    camera = DepthCamera(Portrait.astronaut(), animator, SIZE, 3)
    picture = np.empty((*SIZE, 3), np.uint8)
    for index in range(FRAMES):
        animator.render(index / FPS, picture, index)
        cv2.imwrite(str(clip / "color" / f"{index + 1}.jpg"), picture)
        if index not in NO_DEPTH:
            depth = camera.picture(scenario.at(index / FPS), index)
            cv2.imwrite(str(clip / "depth" / f"{index + 1}.png"), depth)
    return clip / "color"


def configured(folder: Path, **more: object) -> GlintConfig:
    source = {"spec": str(folder), "fps": FPS, "speed": "max"}
    tree = {"source": source, "spotter": "sfamnet-depth", "recognizer": "none", **more}
    return GlintConfig.from_tree(tree, "a test")


def run(pipeline: Pipeline, collector: Collector) -> list[FrameRecord]:
    try:
        pipeline.start()
        assert pipeline.wait(120)
    finally:
        pipeline.close()
    assert pipeline.failure is None
    return collector.records


def test_depth_is_scored_wherever_it_was_seen(filmed: Path) -> None:
    collector = Collector()
    records = run(build_pipeline(configured(filmed), [collector]), collector)
    scored = {record.index for record in records if record.score != 0}  # 0 stands for none
    unknown = {index + late for index in NO_DEPTH for late in (0, 3)}
    first = min(scored)
    assert first < 15
    assert set(range(first, FRAMES)) - scored == unknown
    assert collector.metrics[-1].source_counters == {"missing_depth": len(NO_DEPTH)}
    again = Collector()
    repeated = run(build_pipeline(configured(filmed), [again]), again)
    np.testing.assert_array_equal([r.score for r in records], [r.score for r in repeated])


def test_a_recording_says_that_it_has_no_depth(filmed: Path, tmp_path: Path) -> None:
    config = configured(
        filmed, recording={"enabled": True}, recognizer="sfamnet-depth", subject="s1"
    )
    collector = Collector()
    run(build_pipeline(config, [collector], folder=tmp_path), collector)
    assert any("no depth pictures" in note for note in collector.metrics[-1].notes)
    replay = build_pipeline(configured(tmp_path), [])
    with pytest.raises(EngineError, match="gives none"):
        replay.start()


@pytest.mark.parametrize(
    "engines",
    [
        {},
        {"spotter": "flow+sfamnet-depth"},
        {"spotter": "flow", "recognizer": "sfamnet-depth"},
    ],
)
def test_without_depth_the_session_does_not_begin(
    filmed: Path, tmp_path: Path, engines: dict[str, str]
) -> None:
    alone = shutil.copytree(filmed, tmp_path / "color")
    with pytest.raises(EngineError, match=r"sfamnet-depth reads depth, and .*color gives none"):
        build_pipeline(configured(alone, **engines), []).start()
