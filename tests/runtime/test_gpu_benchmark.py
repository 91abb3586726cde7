"""The GPU benchmark: every way is measured or named as missing, and nothing without a GPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu as benchmark
from benchmarks.gpu import Timing, main, streams
from engines.runtime.bindings import Bindings
from engines.runtime.compiler import CompileError
from tests.runtime.simulated_gpu import SimulatedGpu, plug_in


def timing(batch: int, p99: float, backend: str = "tensorrt") -> Timing:
    return Timing("ststnet", backend, "fp32", batch, True, (p99 / 2, p99), None)


def test_streams_are_the_largest_batch_that_was_measured_in_time() -> None:
    measured = [timing(1, 0.1), timing(16, 1), timing(64, 4.9), timing(256, 5.1), timing(1, 6, "x")]
    assert streams(measured) == {("ststnet", "tensorrt", "fp32", True): 64}


def test_without_a_gpu_nothing_is_measured_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    assert main(["--json", str(tmp_path / "gpu.json")]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("Nothing was measured.")
    assert not said.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("capturable", [True, False])
def test_every_way_is_measured_or_named(
    capturable: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    card = SimulatedGpu()
    card.capturable = capturable
    plug_in(monkeypatch, card)

    def compile_plan(trt: Bindings, graph: bytes, **options: Any) -> bytes:
        if trt.backend == "tensorrt-rtx":
            raise CompileError("This card is too old; use tensorrt.")
        return graph

    monkeypatch.setattr(benchmark, "bindings", card.tensorrt)
    monkeypatch.setattr(benchmark, "compile_plan", compile_plan)
    result = tmp_path / "gpu.json"
    options = ["--engine", "ststnet", "--batches", "1", "--runs", "3", "--json", str(result)]
    assert main(options) == 0
    assert card.idle, card.faults
    stored = json.loads(result.read_text("utf-8"))
    ways = {(t["backend"], t["precision"], t["cuda_graph"]) for t in stored["timings"]}
    graphs = (False, True) if capturable else (False,)
    plans = {("tensorrt", p, graph) for p in ("fp32", "fp16", "int8") for graph in graphs}
    assert ways == {("onnxruntime-cpu", "fp32", False), *plans}
    assert stored["missing"]["recognition/ststnet, tensorrt-rtx fp16"].startswith("This card")
    assert "recognition/ststnet, CUDAExecutionProvider" in stored["missing"]
    assert ("recognition/ststnet, tensorrt int8" in stored["missing"]) != capturable
    assert stored["gpu"] == {"name": "NVIDIA RTX A4000", "compute_capability": "8.6"}
    assert stored["machine"]["cpu"]
    assert "Not measured" in capsys.readouterr().out
    assert "| recognition/ststnet" in result.with_suffix(".md").read_text("utf-8")
