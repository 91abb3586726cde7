"""Spotters with a network: causal, gated by the motion of the face, and damaged files."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from engines.errors import EngineError
from engines.events import Event, EventKind, EventState
from engines.motion.canonical import FACE_SIZE
from engines.motion.planes import PREPROCESSING
from engines.spotting.base import MotionSample, Spotter
from engines.spotting.decision import DecisionConfig
from engines.spotting.gating import GateConfig
from engines.spotting.network_spotter import NetworkSpotter, ScoreJudge, SpottingManifest
from tests.spotting.scripted_motion import Blink, Movement, samples

DECISION = DecisionConfig(smooth_s=0.05, threshold_factor=8, min_spread=0.05, look_ahead_s=0.1)
SPEED_DECISION = DecisionConfig(smooth_s=0.2, threshold_factor=8, look_ahead_s=0.2, hold_s=0.1)
"""For a score that is the speed of the face, and so dips at the apex."""


def strain_network(folder: Path, name: str = "sample") -> Path:
    """An engine whose score is the mean of the strain plane."""
    folder = folder / name
    folder.mkdir()
    nodes = [
        helper.make_node("Slice", ["planes", "two", "three", "one"], ["strain"]),
        helper.make_node("ReduceMean", ["strain"], ["scores"], axes=[1, 2, 3], keepdims=0),
    ]
    constants = [
        numpy_helper.from_array(np.array([value], np.int64), key)
        for key, value in (("one", 1), ("two", 2), ("three", 3))
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("planes", TensorProto.FLOAT, ["batch", 3, 42, 42])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    (folder / f"{name}.onnx").write_bytes(content)
    manifest = SpottingManifest(
        name=name,
        version="7",
        sha256=hashlib.sha256(content).hexdigest(),
        input={},
        output={},
        preprocessing=dict(PREPROCESSING),
        training={},
        decision=SPEED_DECISION,
        gates=GateConfig(),
    )
    (folder / f"{name}.json").write_text(manifest.model_dump_json(), "utf-8")
    return folder


@pytest.fixture(scope="module")
def engine_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return strain_network(tmp_path_factory.mktemp("engine"))


def with_flow(stream, seed: int = 0):
    """Scripted samples with a flow field that swells where regions move fast."""
    rng = np.random.default_rng(seed)
    columns = np.linspace(-1, 1, FACE_SIZE, dtype=np.float32)
    began = None
    past: list[MotionSample] = []
    for sample in stream:
        if not sample.valid:
            past = []
            yield sample
            continue
        past = [] if sample.restart else past
        past.append(sample)
        began = past[0].time_s
        if sample.time_s - began < 0.1 - 1e-6:
            yield replace(sample, delta_s=0.0)
            continue
        before = next(p for p in reversed(past) if p.time_s <= sample.time_s - 0.1 + 1e-6)
        velocity = sample.motion - before.motion
        flow = np.zeros((FACE_SIZE, FACE_SIZE, 2), np.float32)
        flow[..., 0] = columns * (float(np.abs(velocity).max()) * 400 + rng.normal(0, 0.05))
        yield replace(
            sample,
            velocity=velocity,
            delta_s=sample.time_s - before.time_s,
            flow_delta=flow,
        )


def run(spotter, stream) -> list[Event]:
    events = [event for sample in stream for event in spotter.push(sample).events]
    return [*events, *spotter.finish()]


def ended(events: list[Event]) -> list[Event]:
    return [e for e in events if e.state in (EventState.CLOSED, EventState.WITHDRAWN)]


@pytest.mark.parametrize("fps", [30.0, 60.0, 200.0])
def test_a_micro_expression_is_found_at_every_rate(engine_folder: Path, fps: float) -> None:
    spotter = NetworkSpotter(engine_folder, fps)
    assert isinstance(spotter, Spotter)
    assert spotter.name == "sample"
    assert spotter.reads_delta_flow
    events = ended(run(spotter, with_flow(samples(fps, 8.0, [Movement(5.0, 0.4)]))))
    assert [e.kind for e in events if e.state is EventState.CLOSED] == [EventKind.MICRO]
    found = next(e for e in events if e.state is EventState.CLOSED)
    assert found.offset_s is not None
    assert found.onset_s < 5.2 < found.offset_s
    assert abs(found.apex_frame / fps - found.apex_s) <= 1 / fps
    assert found.spotter == "sample 7"
    spotter.close()
    spotter.close()


def test_confirmation_comes_within_the_declared_look_ahead(engine_folder: Path) -> None:
    spotter = NetworkSpotter(engine_folder, 200.0)
    for sample in with_flow(samples(200, 7.0, [Movement(5.0, 0.4)])):
        for event in spotter.push(sample).events:
            if event.state is EventState.CONFIRMED:
                assert sample.time_s - event.apex_s <= spotter.look_ahead_s + 2 / 200
    spotter.close()


@settings(max_examples=8, deadline=None)
@given(
    st.integers(0, 1000),
    st.lists(st.builds(Movement, st.floats(0.5, 5.0), st.floats(0.1, 1.5), st.floats(0.005, 0.05)),
             max_size=2),
    st.floats(0.1, 0.95),
)  # fmt: skip
def test_what_was_decided_does_not_depend_on_what_follows(
    engine_folder: Path, seed: int, script: list[Movement], cut: float
) -> None:
    stream = list(with_flow(samples(60, 6.0, script, seed=seed, invalid=[(3.0, 3.2)]), seed))
    whole, part = NetworkSpotter(engine_folder, 60.0), NetworkSpotter(engine_folder, 60.0)
    outputs = [whole.push(sample) for sample in stream]
    for sample, expected in zip(stream[: int(len(stream) * cut)], outputs, strict=False):
        assert part.push(sample) == expected
    part.reset()
    assert [part.push(sample) for sample in stream] == outputs
    whole.close()
    part.close()


# -- the gate --------------------------------------------------------------------------------


class Posture(Movement):
    """A movement from which the face does not return."""

    def at(self, time_s: float) -> float:
        return float(np.clip((time_s - self.onset_s) / self.duration_s, 0, 1))


def judged(stream, scores: dict[float, float], **gates: float) -> Event:
    """The end of the one event that a scripted score opens."""
    judge = ScoreJudge(DECISION, GateConfig(**gates), 200.0, "sample 7")
    events = []
    rng = np.random.default_rng(0)
    for sample in stream:
        on = any(start <= sample.time_s < end for start, end in scores.items())
        events += judge.push(sample, 5.0 * on + rng.normal(0, 0.05)).events
    events += judge.finish()
    (event,) = ended(events)
    return event


SCORED = {5.05: 5.45}
"""The score of a movement from 5.0 to 5.4 s, whose flow lags by half its span."""


def test_a_movement_that_returns_stands() -> None:
    event = judged(samples(200, 8.0, [Movement(5.0, 0.4)]), SCORED)
    assert event.state is EventState.CLOSED


def test_the_apex_is_where_the_face_was_farthest_and_the_regions_are_what_moved() -> None:
    movement = Movement(5.0, 0.4)
    event = judged(samples(200, 8.0, [movement]), SCORED)
    assert event.apex_s == pytest.approx(5.2, abs=0.03)
    assert abs(event.apex_frame / 200 - event.apex_s) <= 1 / 200
    assert set(event.regions) <= set(movement.regions)
    assert event.regions


def test_a_face_that_does_not_return_is_no_micro_expression() -> None:
    event = judged(samples(200, 8.0, [Posture(5.0, 0.3, 0.03)]), SCORED)
    assert event.quality == ("no_return",)
    assert event.state is EventState.WITHDRAWN
    assert event.offset_s is event.kind is event.decided_s is None


def test_the_way_back_of_a_long_expression_is_no_micro_expression() -> None:
    event = judged(samples(200, 9.0, [Movement(3.5, 1.9, 0.04)]), SCORED)
    assert event.quality == ("no_return",)


def test_what_lasts_longer_is_withdrawn() -> None:
    event = judged(samples(200, 8.0, [Movement(5.0, 0.8)]), {5.05: 5.85})
    assert event.quality == ("too_long",)


def test_a_blink_is_withdrawn_and_a_mouth_during_a_blink_is_not() -> None:
    alone = judged(samples(200, 8.0, blinks=[Blink(5.05, 0.3)]), SCORED)
    assert alone.quality == ("blink",)
    with_mouth = samples(200, 8.0, [Movement(5.0, 0.4, 0.5)], [Blink(5.1, 0.2)])
    assert judged(with_mouth, SCORED).state is EventState.CLOSED


def test_a_fast_head_is_not_believed() -> None:
    def shaken():
        for sample in samples(200, 8.0, [Movement(5.0, 0.4)]):
            yield replace(sample, head_speed=1.5 if 5.1 < sample.time_s < 5.3 else 0.0)

    assert judged(shaken(), SCORED).quality == ("head_motion",)


def test_a_lost_face_ends_what_was_open(engine_folder: Path) -> None:
    spotter = NetworkSpotter(engine_folder, 200.0)
    stream = samples(200, 8.0, [Movement(5.0, 0.4)], invalid=[(5.25, 5.5)])
    events = ended(run(spotter, with_flow(stream)))
    assert {e.state for e in events} <= {EventState.WITHDRAWN}
    assert all(e.quality == ("face_lost",) for e in events)
    spotter.close()


def test_what_ends_with_the_face_is_judged_by_the_motion_before() -> None:
    """The score has fallen when the face is lost, but the face has not returned."""
    stream = samples(200, 8.0, [Posture(5.0, 0.3, 0.03)], invalid=[(5.5, 6.0)])
    assert judged(stream, SCORED).quality == ("no_return",)


def test_without_flow_there_is_no_score(engine_folder: Path) -> None:
    spotter = NetworkSpotter(engine_folder, 200.0)
    assert math.isnan(spotter.score(next(iter(samples(200, 0.1)))))
    spotter.close()


# -- damaged files ---------------------------------------------------------------------------


@pytest.fixture
def spoiled(tmp_path: Path) -> Path:
    return strain_network(tmp_path)


def check_refused(folder: Path, said: str) -> None:
    with pytest.raises(EngineError, match=said) as error:
        NetworkSpotter(folder, 200.0)
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert ". " not in message


@pytest.mark.parametrize("suffix", [".onnx", ".json"])
def test_a_missing_file_is_one_clear_sentence(spoiled: Path, suffix: str) -> None:
    (spoiled / f"sample{suffix}").unlink()
    check_refused(spoiled, f"sample{suffix}")


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe"])
def test_a_corrupt_manifest_is_one_clear_sentence(spoiled: Path, content: bytes) -> None:
    (spoiled / "sample.json").write_bytes(content)
    check_refused(spoiled, "corrupt")


def test_another_network_than_the_manifests_is_refused(spoiled: Path) -> None:
    path = spoiled / "sample.onnx"
    path.write_bytes(path.read_bytes() + b" ")
    check_refused(spoiled, "SHA-256")


def test_a_network_of_another_representation_is_refused(spoiled: Path) -> None:
    path = spoiled / "sample.json"
    manifest = json.loads(path.read_text("utf-8"))
    manifest["preprocessing"]["unit_iod"] = 1.0
    path.write_text(json.dumps(manifest), "utf-8")
    check_refused(spoiled, "another flow representation")


def test_an_interval_can_be_taken_from_the_movement_that_a_score_points_at() -> None:
    """A score that stands for a tenth of a second, late, still gets the movement's interval."""
    judge = ScoreJudge(DECISION, GateConfig(), 200.0, "sample 7", bounded=True)
    rng = np.random.default_rng(0)
    events = []
    for sample in samples(200, 8.0, [Movement(5.0, 0.4)]):
        on = 5.25 <= sample.time_s < 5.35
        events += judge.push(sample, 5.0 * on + rng.normal(0, 0.05)).events
    (event,) = ended([*events, *judge.finish()])
    assert event.state is EventState.CLOSED
    assert event.onset_s == pytest.approx(5.06, abs=0.04)
    assert event.apex_s == pytest.approx(5.2, abs=0.03)
    assert event.offset_s == pytest.approx(5.34, abs=0.04)
    assert abs(event.onset_frame / 200 - event.onset_s) <= 1 / 200
