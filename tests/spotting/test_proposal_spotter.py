"""LSSNet's and LGSNet's engines, live and on recordings, on features of a scripted network."""

from __future__ import annotations

import hashlib
import json
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
from engines.features.clip_features import OUTPUTS, FeaturesManifest, preprocessing_of
from engines.features.grid import CHUNK_S, STEP_S
from engines.motion.canonical import FACE_SIZE
from engines.spotting.base import Spotter
from engines.spotting.proposal_spotter import (
    STEPS,
    OfflineProposalSpotter,
    ProposalManifest,
    ProposalSpotter,
)
from engines.spotting.proposals import MergeConfig
from tests.spotting.scripted_motion import Movement, samples

FACE = np.zeros((FACE_SIZE, FACE_SIZE), np.uint8)
FLOW = np.zeros((FACE_SIZE, FACE_SIZE, 2), np.float32)
HOLD_S = 0.2


def graph(nodes, inputs, outputs, constants) -> bytes:
    made = helper.make_graph(
        nodes,
        "scripted",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", *s]) for n, s in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", *s]) for n, s in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def put(folder: Path, content: bytes, kind, **values) -> None:
    folder.mkdir(parents=True)
    name = folder.name
    (folder / f"{name}.onnx").write_bytes(content)
    manifest = kind(
        name=name, version="3", sha256=hashlib.sha256(content).hexdigest(), input={}, output={},
        training={}, **values,
    )  # fmt: skip
    (folder / f"{name}.json").write_text(manifest.model_dump_json(), "utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An engine that proposes the steps whose regions move, and its backbone.

    The backbone gives one feature of each stream, always 0; the region motion behind them is real.
    The network proposes, for each step of its window, the 0.4 s that end with it. An interval is
    probable when the mouth had moved in its middle and is back at its end.
    """
    root = tmp_path_factory.mktemp("engines")
    mean = {"axes": [1, 2, 3, 4], "keepdims": 0}
    features = []
    for stream in OUTPUTS:
        features += [
            helper.make_node("ReduceMean", [stream], [f"{stream}.mean"], **mean),
            helper.make_node("Mul", [f"{stream}.mean", "zero"], [f"{stream}.zero"]),
            helper.make_node("Unsqueeze", [f"{stream}.zero", "last"], [OUTPUTS[stream]]),
        ]
    backbone = graph(
        features,
        [("appearance", [8, 1, 42, 42]), ("flow", [8, 3, 42, 42])],
        [(name, [1]) for name in OUTPUTS.values()],
        {"zero": np.zeros(1, np.float32), "last": np.array([1], np.int64)},
    )
    light = root / "light"
    put(light, backbone, FeaturesManifest, preprocessing=preprocessing_of("light"),
        sizes={"appearance": 1, "flow": 1})  # fmt: skip
    # How much the mouth moves (the right corner's y), three steps before minus now.
    corner = np.zeros((100 + 1, 1), np.float32)
    corner[2 + 2 * 12 + 1] = 1.0
    nodes = [
        helper.make_node("MatMul", ["features", "corner"], ["moved"]),
        helper.make_node("Abs", ["moved"], ["size"]),
        helper.make_node("Slice", ["size", "c0", "c61", "c1"], ["before"]),
        helper.make_node("Slice", ["size", "c3", "c64", "c1"], ["now"]),
        helper.make_node("Sub", ["before", "now"], ["returned"]),
        helper.make_node("Sub", ["returned", "now"], ["clear"]),
        helper.make_node("Mul", ["clear", "gain"], ["steep"]),
        helper.make_node("Add", ["steep", "bias"], ["logit"]),
        helper.make_node("Add", ["times", "none"], ["placed"]),
        helper.make_node("Mul", ["logit", "zero"], ["nil"]),
        helper.make_node("Add", ["nil", "placed"], ["where"]),
        helper.make_node("Concat", ["logit", "logit", "where"], ["proposals"], axis=2),
    ]
    ends = (np.arange(3, STEPS) + 1 - STEPS) * STEP_S
    times = np.stack([ends - 0.4, ends], axis=-1)[None].astype(np.float32)
    network = graph(
        nodes,
        [("features", [STEPS, 101])],
        [("proposals", [STEPS - 3, 4])],
        {
            "corner": corner, "times": times, "zero": np.zeros(1, np.float32),
            "none": np.zeros(1, np.float32), "gain": np.full(1, 4.0, np.float32),
            "bias": np.full(1, -4.0, np.float32),
            **{f"c{k}": np.array([k], np.int64) for k in (0, 1, 3, 61, 64)},
        },
    )  # fmt: skip
    digest = hashlib.sha256(backbone).hexdigest()
    put(
        root / "sample", network, ProposalManifest,
        preprocessing={"backbone": "light", "backbone_sha256": digest, "steps": STEPS},
        backbone="light", live=MergeConfig(hold_s=HOLD_S), offline=MergeConfig(),
    )  # fmt: skip
    return root / "sample", root


def with_faces(stream):
    """Scripted samples with a face and a flow, which the scripted backbone does not look at."""
    began = None
    for sample in stream:
        if not sample.valid:
            began = None
            yield sample
            continue
        began = sample.time_s if began is None or sample.restart else began
        flow = FLOW if sample.time_s - began >= 0.1 - 1e-6 else None
        yield replace(sample, face=FACE, flow_delta=flow, delta_s=0.1)


SCRIPT = [Movement(5.0, 0.4, 0.03, ("right_mouth_corner",))]


def run(spotter, stream) -> list[tuple[float, Event]]:
    events = [(s.time_s, event) for s in stream for event in spotter.push(s).events]
    return [*events, *((np.inf, event) for event in spotter.finish())]


@pytest.mark.parametrize("fps", [30.0, 60.0, 200.0])
def test_a_micro_expression_is_found_at_every_rate_and_in_time(made, fps: float) -> None:
    spotter = ProposalSpotter(made[0], fps, backbones=made[1])
    assert isinstance(spotter, Spotter)
    assert spotter.reads_delta_flow
    told = run(spotter, with_faces(samples(fps, 8.0, SCRIPT)))
    closed = [event for _, event in told if event.state is EventState.CLOSED]
    assert [event.kind for event in closed] == [EventKind.MICRO]
    (found,) = closed
    assert found.onset_s < 5.2 < found.offset_s
    assert found.apex_s == pytest.approx(5.2, abs=0.05)
    assert found.regions[0] == "right_mouth_corner"
    assert abs(found.apex_frame / fps - found.apex_s) <= 1 / fps
    assert found.spotter == "sample 3"
    (confirmed_s,) = [now for now, event in told if event.state is EventState.CONFIRMED]
    assert confirmed_s == found.decided_s
    assert confirmed_s - found.apex_s <= spotter.look_ahead_s + 2 / fps
    assert found.decided_s - found.offset_s >= HOLD_S - STEP_S
    states = [event.state for _, event in told if event.id == found.id]
    assert states == [EventState.TENTATIVE, EventState.CONFIRMED, EventState.CLOSED]
    spotter.close()
    spotter.close()


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 1000), st.floats(0.5, 5.0), st.floats(0.1, 0.95))
def test_what_was_decided_does_not_depend_on_what_follows(
    made, seed: int, onset_s: float, cut: float
) -> None:
    script = [*SCRIPT, Movement(onset_s, 0.3, 0.03, ("right_mouth_corner",))]
    stream = list(with_faces(samples(60, 5.8, script, seed=seed, invalid=[(3.0, 3.2)])))
    whole = ProposalSpotter(made[0], 60.0, backbones=made[1])
    part = ProposalSpotter(made[0], 60.0, backbones=made[1])
    outputs = [whole.push(sample) for sample in stream]
    for sample, expected in zip(stream[: int(len(stream) * cut)], outputs, strict=False):
        assert part.push(sample) == expected
    part.reset()
    assert [part.push(sample) for sample in stream] == outputs
    assert part.finish() == whole.finish()
    whole.close()
    part.close()


def test_what_was_proposed_stands_when_the_face_is_lost(made) -> None:
    spotter = ProposalSpotter(made[0], 60.0, backbones=made[1])
    stream = with_faces(samples(60, 8.0, SCRIPT, invalid=[(5.55, 6.0)]))
    told = run(spotter, stream)
    closed = [(now, event) for now, event in told if event.state is EventState.CLOSED]
    assert len(closed) == 1
    assert closed[0][0] <= 5.6
    spotter.close()


def test_a_fast_head_is_not_believed(made) -> None:
    spotter = ProposalSpotter(made[0], 60.0, backbones=made[1])
    shaken = (
        replace(s, head_speed=1.5 if 5.1 < s.time_s < 5.3 else 0.0)
        for s in samples(60, 8.0, SCRIPT)
    )
    ended = [event for _, event in run(spotter, with_faces(shaken)) if event.id]
    assert ended[-1].state is EventState.WITHDRAWN
    assert ended[-1].quality == ("head_motion",)
    assert ended[-1].offset_s is ended[-1].kind is ended[-1].decided_s is None
    spotter.close()


def test_a_recording_is_decided_when_it_is_over_and_not_before(made) -> None:
    spotter = OfflineProposalSpotter(made[0], backbones=made[1])
    assert spotter.name == "sample-offline"
    assert spotter.look_ahead_s == np.inf
    told = run(spotter, with_faces(samples(60, 8.0, SCRIPT)))
    assert [now for now, _ in told] == [np.inf] * len(told)
    closed = [event for _, event in told if event.state is EventState.CLOSED]
    assert len(closed) == 1
    assert closed[0].onset_s < 5.2 < closed[0].offset_s
    assert closed[0].decided_s == pytest.approx(8.0, abs=0.05)
    assert closed[0].spotter == "sample-offline 3"
    assert closed[0].onset_frame / 60 == pytest.approx(closed[0].onset_s, abs=1 / 60)
    spotter.reset()
    assert spotter.finish() == ()
    spotter.close()


def test_nothing_is_told_of_less_than_a_chunk(made) -> None:
    spotter = OfflineProposalSpotter(made[0], backbones=made[1])
    assert run(spotter, with_faces(samples(60, 0.1 + CHUNK_S / 2))) == []
    spotter.close()


def test_a_network_of_another_backbone_is_refused(made, tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    folder.mkdir()
    for path in made[0].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((folder / "sample.json").read_text("utf-8"))
    manifest["preprocessing"]["backbone_sha256"] = "0" * 64
    (folder / "sample.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(EngineError, match="another") as error:
        ProposalSpotter(folder, 60.0, backbones=made[1])
    assert str(error.value).endswith(".")


def test_a_missing_manifest_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"sample\.json"):
        ProposalSpotter(tmp_path / "sample", 60.0)
