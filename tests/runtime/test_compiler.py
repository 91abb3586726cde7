"""NVIDIA's compiler takes every network that ships. It is real and needs no GPU."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from calibration.quantization import PRECISIONS, convert
from engines.build import main
from engines.runtime import open_graph
from engines.runtime.base import GraphRunner
from engines.runtime.bindings import Bindings, BindingsError, bindings
from engines.runtime.compiler import CompileError, compile_plan
from engines.runtime.shipped import find_graphs, graph_title

pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is for Linux and Windows")

GRAPHS = find_graphs()


@pytest.fixture(scope="module")
def rtx() -> Bindings:
    return bindings("tensorrt-rtx")


def windows(graph: GraphRunner, samples: int = 8) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        name: rng.standard_normal((samples, *spec.zeros().shape[1:])).astype(spec.dtype)
        for name, spec in graph.inputs.items()
    }


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("model", GRAPHS, ids=graph_title)
def test_every_network_that_ships_compiles(rtx: Bindings, model: Path, precision: str) -> None:
    with open_graph(model, "onnx") as graph:
        typical = windows(graph)
    converted = convert(model.read_bytes(), precision, typical)
    plan = compile_plan(rtx, converted, capability="SM86")
    assert len(plan) > 1000


def network(operator: str, **attributes: object) -> bytes:
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], **attributes)],
        "one_node",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_an_operator_that_is_not_supported_is_named(rtx: Bindings) -> None:
    assert compile_plan(rtx, network("Relu"), capability="SM86")
    with pytest.raises(CompileError, match="Det") as error:
        compile_plan(rtx, network("Det"), capability="SM86")
    assert "--backend onnx" in str(error.value)


def test_what_is_no_network_is_refused(rtx: Bindings) -> None:
    with pytest.raises(CompileError, match="does not take the graph"):
        compile_plan(rtx, b"this is not a network", capability="SM86")


def test_an_unknown_architecture_is_answered_with_the_known_ones(rtx: Bindings) -> None:
    with pytest.raises(CompileError, match=r"SM86.*SM120"):
        compile_plan(rtx, network("Relu"), capability="SM20")


def test_half_precision_is_half_the_weights_and_keeps_its_ends() -> None:
    source = find_graphs("ststnet")[0].read_bytes()  # others are kept in half precision already
    half = convert(source, "fp16")
    assert len(half) < 0.7 * len(source)
    for model in (onnx.load_from_string(source), onnx.load_from_string(half)):
        ends = [*model.graph.input, *model.graph.output]
        assert {end.type.tensor_type.elem_type for end in ends} == {TensorProto.FLOAT}


def test_a_package_that_is_not_installed_is_one_clear_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(BindingsError, match="gpu extra"):
        bindings.__wrapped__("tensorrt")  # what was loaded before is cached


def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    return main(["--engine", "ststnet", "--backend", "tensorrt-rtx", *options])


def test_the_command_builds_for_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(tmp_path, monkeypatch, "--compute-capability", "SM86", "--precision", "fp16") == 0
    said = capsys.readouterr().out
    (plan,) = tmp_path.rglob("*.plan")
    assert str(plan) in said
    assert "not run on it" in said
    assert plan.with_suffix(".json").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--precision", "int8", "--compute-capability", "SM86"], "--windows"),
        (["--compute-capability", "SM11"], "choose one of"),
        (["--precision", "int8", "--windows", "missing.npz"], "missing.npz"),
        (["--engine", "nonesuch"], "nonesuch"),
    ],
)
def test_a_user_s_mistake_is_one_sentence_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    assert build(tmp_path, monkeypatch, *options) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in message
    assert message.endswith(".")
    assert not list(tmp_path.rglob("*.plan"))
