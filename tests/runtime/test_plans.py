"""Which plan is accepted, which is built again, and what happens without one."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from engines import build
from engines.errors import EngineError
from engines.runtime import open_graph, plans
from engines.runtime.bindings import Bindings
from engines.runtime.parity import golden_path
from engines.runtime.plans import Manifest, PlanFiles, build_plan, open_plan, user_cache
from engines.runtime.shipped import find_graphs
from tests.runtime.simulated_gpu import SimulatedGpu, plug_in

(STSTNET,) = find_graphs("ststnet")
UNDECIDED = np.array([0, 0.15, 0])
PLANES = np.random.default_rng(0).standard_normal((1, 3, 28, 28)).astype(np.float32)


class Laboratory:
    """A machine with a simulated card and TensorRT, an engine's folder and a cache."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = folder / "cache"
        self.model = folder / "recognition" / "ststnet" / "ststnet.onnx"
        self.model.parent.mkdir(parents=True)
        shutil.copy(STSTNET, self.model)
        self.gpu = SimulatedGpu()
        self.trt = self.gpu.tensorrt()
        self.compiled = 0
        self.compiler: Callable[[bytes], bytes] = lambda graph: graph
        plug_in(monkeypatch, self.gpu)
        monkeypatch.setattr(plans, "bindings", lambda backend: self.trt)
        monkeypatch.setattr(plans, "compile_plan", self._compile)

    def _compile(self, trt: Bindings, graph: bytes, **options: Any) -> bytes:
        self.compiled += 1
        return self.compiler(graph)

    @property
    def files(self) -> PlanFiles:
        return PlanFiles.of(self.model, "tensorrt", self.cache)

    def build(self, precision: str = "fp32", **options: Any) -> Manifest:
        return build_plan(self.model, "tensorrt", precision, cache=self.cache, **options)[1]

    def open(self, backend: str = "auto") -> tuple[str, str | None]:
        """Open the network, run it once, and return backend and fallback."""
        with open_graph(self.model, backend, self.cache) as graph:
            assert graph.run({"planes": PLANES})["probabilities"].shape == (1, 3)
            said = graph.backend, graph.fallback
        assert self.gpu.idle, self.gpu.faults
        return said


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    return Laboratory(tmp_path, monkeypatch)


def edited(graph: bytes, name: str, edit: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """The same network with other values in one of its weights."""
    model = onnx.load_from_string(graph)
    (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == name]
    values = numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(edit(values).astype(values.dtype), name))
    return bytes(model.SerializeToString())


def scaled(graph: bytes, factor: float) -> bytes:
    """The same network with a larger or smaller last layer."""
    return edited(graph, "head", lambda head: head * factor)


def test_a_plan_that_belongs_here_is_used(lab: Laboratory) -> None:
    lab.build()
    assert lab.open("tensorrt") == ("tensorrt", None)
    assert lab.open("auto") == ("tensorrt", None)
    assert lab.compiled == 1


def test_the_manifest_says_what_the_plan_was_made_of(lab: Laboratory) -> None:
    manifest = lab.build()
    assert Manifest.model_validate_json(lab.files.manifest.read_bytes()) == manifest
    assert manifest.gpu == "NVIDIA RTX A4000"
    assert manifest.compute_capability == "8.6"
    assert manifest.version == "11.4.0.106"
    assert manifest.shapes == {"planes": (1, 3, 28, 28), "probabilities": (1, 3)}
    assert manifest.precision == "fp32"


def test_without_a_plan_auto_is_onnx_and_no_fallback(lab: Laboratory) -> None:
    assert lab.open("auto") == ("onnxruntime-cpu", None)
    assert lab.open("onnx") == ("onnxruntime-cpu", None)


def test_a_plan_that_was_asked_for_and_is_not_there_is_told(
    lab: Laboratory, caplog: pytest.LogCaptureFixture
) -> None:
    backend, fallback = lab.open("tensorrt")
    assert backend == "onnxruntime-cpu"
    assert fallback is not None
    assert "python -m engines.build --engine ststnet --backend tensorrt" in fallback
    assert fallback in caplog.messages


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda lab: setattr(lab, "trt", lab.gpu.tensorrt(version="11.5.0.1")),
            "tensorrt was 11.4.0.106 and is 11.5.0.1",
        ),
        (
            lambda lab: vars(lab.gpu).update(name="NVIDIA L4", capability=(8, 9)),
            "the GPU was NVIDIA RTX A4000 (8.6) and is NVIDIA L4 (8.9)",
        ),
        (
            lambda lab: lab.model.write_bytes(scaled(lab.model.read_bytes(), 0.5)),
            "the network has changed",
        ),
        (lambda lab: lab.files.plan.write_bytes(b"half a pl"), "the plan file is damaged"),
        (lambda lab: lab.files.plan.unlink(), "the plan file is damaged"),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_plan_of_something_else_is_built_again_and_says_why(
    lab: Laboratory,
    change: Callable[[Laboratory], object],
    said: str,
    precision: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    lab.build(precision)
    change(lab)
    assert lab.open() == ("tensorrt", None)
    assert said in caplog.text
    assert lab.compiled == 2
    caplog.clear()
    assert lab.open() == ("tensorrt", None)
    assert not caplog.records
    assert lab.compiled == 2


def test_a_plan_for_the_right_gpu_built_elsewhere_is_used(lab: Laboratory) -> None:
    manifest = lab.build(capability="SM86")
    assert (manifest.gpu, manifest.compute_capability) == (None, "8.6")
    assert lab.open() == ("tensorrt", None)
    assert lab.compiled == 1


def test_a_plan_for_another_gpu_built_elsewhere_is_built_again(lab: Laboratory) -> None:
    assert lab.build(capability="SM120").compute_capability == "12.0"
    assert lab.open() == ("tensorrt", None)
    assert lab.compiled == 2


@pytest.mark.parametrize(
    ("precision", "factor", "said"),
    [("fp32", 1.05, "off by up to"), ("fp16", 3.0, "on average"), ("fp32", np.nan, "not finite")],
)
def test_a_plan_that_computes_something_else_is_refused(
    lab: Laboratory, precision: str, factor: float, said: str
) -> None:
    lab.compiler = lambda graph: scaled(graph, factor)
    lab.build(precision)
    backend, fallback = lab.open()
    assert backend == "onnxruntime-cpu"
    assert fallback is not None
    assert "refused" in fallback
    assert said in fallback


def test_half_precision_must_name_the_same_classes(lab: Laboratory) -> None:
    # A bias that hardly moves the outputs on average, and turns the one window of no motion.
    windows = 10 * np.random.default_rng(2).standard_normal((16, 3, 28, 28)).astype(np.float32)
    windows[3] = 0
    np.savez(golden_path(lab.model), planes=windows)
    lab.compiler = lambda graph: edited(graph, "head_bias", lambda bias: bias + UNDECIDED)
    lab.build("fp16")
    _, fallback = lab.open()
    assert fallback is not None
    assert "names another class in 1 of 16 cases" in fallback


def test_an_engine_s_own_golden_inputs_are_used(lab: Laboratory) -> None:
    lab.build()
    np.savez(golden_path(lab.model), planes=PLANES)
    assert lab.open() == ("tensorrt", None)
    np.savez(golden_path(lab.model), planes=PLANES[..., 1:])
    _, fallback = lab.open()
    assert fallback is not None
    assert "does not fit the input planes" in fallback
    golden_path(lab.model).write_bytes(b"PK\x03\x04 cut off")
    _, fallback = lab.open()
    assert fallback is not None
    assert "cannot be read" in fallback


def test_int8_is_built_again_from_the_calibrated_graph_but_not_for_another_network(
    lab: Laboratory,
) -> None:
    windows = {"planes": np.random.default_rng(1).standard_normal((8, 3, 28, 28), np.float32)}
    lab.build("int8", windows=windows)
    lab.trt = lab.gpu.tensorrt(version="11.5.0.1")
    assert lab.open() == ("tensorrt", None)
    lab.model.write_bytes(scaled(lab.model.read_bytes(), 0.5))
    _, fallback = lab.open()
    assert fallback is not None
    assert "has changed since it was calibrated" in fallback


@pytest.mark.parametrize("content", [b"", b"{}", b'{"graph": 1}', b"\xff"])
def test_a_manifest_that_cannot_be_read_is_told(lab: Laboratory, content: bytes) -> None:
    lab.build()
    lab.files.manifest.write_bytes(content)
    backend, fallback = lab.open()
    assert backend == "onnxruntime-cpu"
    assert fallback is not None
    assert "cannot be read" in fallback


def test_a_machine_without_a_gpu_says_so(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.build()
    monkeypatch.setitem(plans.sys.modules, "pycuda", None)
    backend, fallback = lab.open()
    assert backend == "onnxruntime-cpu"
    assert fallback is not None
    assert "PyCUDA" in fallback


def test_an_interrupted_build_leaves_no_plan(lab: Laboratory) -> None:
    lab.build()

    def cut_off(graph: bytes) -> bytes:
        raise KeyboardInterrupt

    lab.compiler = cut_off
    with pytest.raises(KeyboardInterrupt):
        lab.build()
    assert lab.open() == ("tensorrt", None)  # the old one is whole


def test_int8_without_windows_is_one_clear_sentence(lab: Laboratory) -> None:
    with pytest.raises(EngineError, match="--windows"):
        lab.build("int8")


def test_the_fallback_is_logged_once(lab: Laboratory, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(EngineError):
        open_plan(lab.model, "tensorrt", lab.cache)
    assert not caplog.records
    lab.open("tensorrt")
    assert len(caplog.records) == 1


def test_the_cache_is_the_user_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plans.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "glint"
    monkeypatch.setattr(plans.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert user_cache() == tmp_path / "local" / "glint"


@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (1.5, 2)])
def test_the_command_keeps_a_plan_only_if_it_compares(
    lab: Laboratory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    factor: float,
    code: int,
) -> None:
    monkeypatch.setattr(build, "find_graphs", lambda engine: [lab.model])
    monkeypatch.setattr(plans, "user_cache", lambda: lab.cache)
    lab.compiler = lambda graph: scaled(graph, factor)
    assert build.main(["--engine", "ststnet", "--backend", "tensorrt"]) == code
    said = capsys.readouterr()
    assert ("compared with ONNX Runtime" in said.out) == (code == 0)
    assert ("is refused" in said.err) == (code == 2)
    assert lab.files.manifest.exists() == (code == 0)


def test_a_manifest_is_plain_json(lab: Laboratory) -> None:
    lab.build()
    stored = json.loads(lab.files.manifest.read_text("utf-8"))
    assert stored["backend"] == "tensorrt"
    assert len(stored["plan_sha256"]) == 64
