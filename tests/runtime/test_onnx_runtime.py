"""The life-cycle and the checks that every backend has, on ONNX Runtime."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import EngineError
from engines.runtime import BACKENDS, TensorSpec, open_graph
from engines.runtime.base import GraphRunner
from engines.runtime.onnx_runtime import CPU, CUDA, OnnxRuntimeRunner
from engines.runtime.shipped import find_graphs

ROOT = Path(__file__).parents[2]
(STSTNET,) = find_graphs("ststnet")
PLANES = np.random.default_rng(0).standard_normal((4, 3, 28, 28)).astype(np.float32)


@pytest.fixture
def graph() -> GraphRunner:
    return open_graph(STSTNET, "onnx")


def one_sentence(error: pytest.ExceptionInfo[EngineError]) -> bool:
    message = str(error.value)
    return message.endswith(".") and "\n" not in message and ". " not in message


def test_says_what_goes_in_and_comes_out(graph: GraphRunner) -> None:
    assert graph.backend == "onnxruntime-cpu"
    assert graph.fallback is None
    assert list(graph.inputs.values()) == [
        TensorSpec("planes", (None, 3, 28, 28), np.dtype(np.float32))
    ]
    assert str(graph.outputs["probabilities"]) == "float32 (?, 3)"


def test_runs_the_whole_batch_and_each_sample_alike(graph: GraphRunner) -> None:
    graph.warm_up()
    together = graph.run({"planes": PLANES})["probabilities"]
    alone = [graph.run({"planes": PLANES[i : i + 1]})["probabilities"][0] for i in range(4)]
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-6)


def test_a_result_belongs_to_the_caller(graph: GraphRunner) -> None:
    first = graph.run({"planes": PLANES})["probabilities"]
    before = first.copy()
    graph.run({"planes": PLANES[::-1].copy()})
    np.testing.assert_array_equal(first, before)


def test_the_context_manager_closes_and_closing_twice_is_fine() -> None:
    with open_graph(STSTNET) as graph:
        graph.warm_up()
    graph.close()
    with pytest.raises(EngineError, match="closed") as error:
        graph.run({"planes": PLANES})
    assert one_sentence(error)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({}, "takes planes but was given nothing"),
        ({"plane": PLANES}, "takes planes but was given plane:"),
        ({"planes": PLANES, "more": PLANES}, "given planes, more:"),
        ({"planes": PLANES.astype(np.float64)}, r"given float64 \(4, 3, 28, 28\)"),
        ({"planes": PLANES[0]}, r"given float32 \(3, 28, 28\)"),
        ({"planes": PLANES[..., 1:]}, r"given float32 \(4, 3, 28, 27\)"),
    ],
)
def test_a_wrong_input_is_one_clear_sentence(
    graph: GraphRunner, tensors: dict[str, np.ndarray], said: str
) -> None:
    with pytest.raises(EngineError, match=said) as error:
        graph.run(tensors)
    assert one_sentence(error)


@given(
    own=st.lists(st.none() | st.integers(1, 4), max_size=4),
    given_shape=st.lists(st.integers(1, 4), max_size=4),
)
def test_a_specification_accepts_exactly_its_shapes(
    own: list[int | None], given_shape: list[int]
) -> None:
    spec = TensorSpec("x", tuple(own), np.dtype(np.float32))
    fits = len(own) == len(given_shape) and all(
        extent is None or extent == n for extent, n in zip(own, given_shape, strict=True)
    )
    assert spec.accepts(np.zeros(given_shape, np.float32)) == fits
    assert spec.accepts(spec.zeros())
    assert not spec.accepts(spec.zeros().astype(np.int32))


def test_a_missing_file_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be read") as error:
        open_graph(tmp_path / "missing.onnx", "onnx")
    assert one_sentence(error)


def test_a_network_can_be_given_by_its_content() -> None:
    with OnnxRuntimeRunner(STSTNET.read_bytes()) as graph:
        assert graph.run({"planes": PLANES})["probabilities"].shape == (4, 3)
    with pytest.raises(EngineError, match="cannot load the network") as error:
        OnnxRuntimeRunner(b"this is not a network")
    assert one_sentence(error)


def test_a_provider_that_is_not_installed_is_one_clear_sentence() -> None:
    import onnxruntime  # noqa: PLC0415

    assert CPU in onnxruntime.get_available_providers()
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(EngineError, match="onnxruntime-gpu") as error:
        OnnxRuntimeRunner(STSTNET, CUDA)
    assert one_sentence(error)


def test_an_unknown_backend_is_answered_with_the_known_ones() -> None:
    with pytest.raises(EngineError, match=", ".join(BACKENDS)):
        open_graph(STSTNET, "openvino")


def test_an_unknown_engine_is_answered_with_the_known_ones() -> None:
    with pytest.raises(EngineError, match="ststnet"):
        find_graphs("sststnet")


@pytest.mark.skipif(sys.platform == "win32", reason="its telemetry leaves no file there")
def test_onnx_runtime_reports_nothing_to_its_maker(tmp_path: Path) -> None:
    # Its official wheel keeps what it is about to send in the cache folder.
    program = "import engines.recognition.registry as r; r.create_recognizer('ststnet').close()"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name.lower()]


def test_onnx_runtime_is_never_loaded_before_it_was_told_to_report_nothing() -> None:
    # engines/__init__.py tells it; an import above that of engines would be too early.
    for folder in ("engines", "streamer", "calibration", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            if path == ROOT / "engines" / "runtime" / "onnx_runtime.py":
                continue
            for node in ast.parse(path.read_text("utf-8")).body:
                names = [alias.name for alias in getattr(node, "names", [])]
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                assert not [name for name in names if name.startswith("onnxruntime")], path
