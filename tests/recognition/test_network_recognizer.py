"""Recognisers with a network: which flows they look at, and how their answers are averaged."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from engines.errors import EngineError
from engines.motion.canonical import FACE_SIZE
from engines.motion.planes import PREPROCESSING, PairPlanes
from engines.network_files import RecognitionManifest
from engines.recognition.base import EventClip
from engines.recognition.network_recognizer import NetworkRecognizer, event_planes
from engines.recognition.registry import create_recognizer

CLASSES = ("left", "right")


def shift_network(folder: Path) -> Path:
    """An engine that says which way the face moves; a third output is *neutral*."""
    folder = folder / "sample"
    folder.mkdir()
    nodes = [
        helper.make_node("ReduceMean", ["planes"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["means", "matrix"], ["moved"]),
        helper.make_node("Add", ["moved", "bias"], ["logits"]),
    ]
    constants = {
        "matrix": np.array([[-1, 1, 0], [0, 0, 0], [0, 0, 0]], np.float32),
        "bias": np.array([0, 0, 100], np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "sample",
        [helper.make_tensor_value_info("planes", TensorProto.FLOAT, ["batch", 3, 42, 42])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    (folder / "sample.onnx").write_bytes(content)
    manifest = RecognitionManifest(
        name="sample",
        version="7",
        sha256=hashlib.sha256(content).hexdigest(),
        input={},
        output={},
        preprocessing=dict(PREPROCESSING),
        training={},
        classes=CLASSES,
        temperature=2.0,
    )
    (folder / "sample.json").write_text(manifest.model_dump_json(), "utf-8")
    return folder


def sliding(fps: float, seconds: float, speed: float) -> np.ndarray:
    """Faces that slide sideways, in pixels a second."""
    noise = np.random.default_rng(0).normal(size=(FACE_SIZE, FACE_SIZE)).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 2.5)
    texture = 120 + 40 * texture / texture.std()
    faces = []
    for k in range(round(seconds * fps)):
        moved = np.array([[1, 0, speed * k / fps], [0, 1, 0]], np.float32)
        faces.append(
            cv2.warpAffine(texture, moved, (FACE_SIZE, FACE_SIZE), borderMode=cv2.BORDER_REPLICATE)
        )
    return np.clip(faces, 0, 255).astype(np.uint8)


def event(faces: np.ndarray, fps: float, apex: int) -> EventClip:
    return EventClip(faces, np.arange(len(faces)) / fps, 0, apex)


@pytest.mark.parametrize("fps", [30.0, 100.0, 200.0])
@pytest.mark.parametrize(("speed", "expected"), [(8.0, "right"), (-8.0, "left")])
def test_the_flows_before_the_apex_decide(
    tmp_path: Path, fps: float, speed: float, expected: str
) -> None:
    engine = NetworkRecognizer(shift_network(tmp_path))
    faces = sliding(fps, 0.4, speed)
    result = engine.recognize(event(faces, fps, apex=round(0.3 * fps)))
    assert result.emotion == expected
    assert tuple(result.probabilities) == CLASSES  # neutral is no answer
    # 8 pixels a second are 0.8 / 64 / 0.004 units of u; both logits, over the temperature.
    expected_share = 1 / (1 + np.exp(-2 * 0.8 / 64 / 0.004 / 2.0))
    assert result.probabilities[expected] == pytest.approx(expected_share, abs=0.06)
    engine.close()
    engine.close()


def test_flows_span_a_tenth_of_a_second_and_end_at_the_apex_at_the_latest() -> None:
    fps = 100.0
    faces = sliding(fps, 0.4, 5.0)
    planes = event_planes(event(faces, fps, apex=25))
    pair = PairPlanes()
    expected = [pair(faces[k - 10], faces[k], 0.1) for k in range(15, 26)]
    np.testing.assert_array_equal(planes, expected)


def test_a_short_rise_uses_the_time_that_there_is() -> None:
    fps = 100.0
    faces = sliding(fps, 0.1, 5.0)
    planes = event_planes(event(faces, fps, apex=6))
    np.testing.assert_array_equal(planes, [PairPlanes()(faces[0], faces[6], 0.06)])


@given(st.integers(1, 12), st.integers(0, 11), st.sampled_from([30.0, 200.0]))
def test_every_clip_gives_finite_planes(count: int, apex: int, fps: float) -> None:
    faces = np.random.default_rng(count).integers(0, 255, (count, FACE_SIZE, FACE_SIZE), np.uint8)
    planes = event_planes(event(faces, fps, min(apex, count - 1)))
    assert len(planes) >= 1
    assert np.isfinite(planes).all()


def test_a_spoiled_file_is_refused(tmp_path: Path) -> None:
    folder = shift_network(tmp_path)
    (folder / "sample.json").write_text("{}", "utf-8")
    with pytest.raises(EngineError, match="corrupt"):
        NetworkRecognizer(folder)


def test_with_depth_the_third_plane_is_depth_and_the_answer_needs_it() -> None:
    clip = event(sliding(30.0, 0.4, 2.0), 30.0, apex=9)
    columns, rows = np.meshgrid(*[np.arange(64, dtype=np.float32)] * 2)
    cheek = np.exp(-((columns - 23) ** 2 + (rows - 46) ** 2) / 32)
    nearer_mm = np.linspace(0, 4, len(clip.faces), dtype=np.float32)
    seen = replace(clip, depths=500 - nearer_mm[:, None, None] * cheek)
    flat, deep = event_planes(clip), event_planes(seen, depth=True)
    np.testing.assert_array_equal(deep[:, :2], flat[:, :2])
    assert (deep[:, 2, 27, 12] > 1).all()  # the cheek, 46 - 40 + 21 and 23 - 11
    assert np.abs(deep[:, 2, :15]).max() < 0.2
    engine = create_recognizer("sfamnet-depth")
    answer = engine.recognize(seen)
    assert engine.recognize(seen) == answer
    assert engine.explain(seen, answer).regions
    with pytest.raises(EngineError, match="no depth pictures"):
        engine.recognize(clip)
    engine.close()
