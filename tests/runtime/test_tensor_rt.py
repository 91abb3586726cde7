"""A plan on the GPU: who does what on which thread, in which order. On a simulated card."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from engines.errors import EngineError
from engines.runtime import open_graph
from engines.runtime.device import DeviceError, Gpu, find_gpu
from engines.runtime.shipped import find_graphs
from engines.runtime.tensor_rt import PlanError, TensorRtRunner
from tests.runtime.simulated_gpu import SimulatedGpu, plug_in

(STSTNET,) = find_graphs("ststnet")
PLAN = STSTNET.read_bytes()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedGpu]:
    card = SimulatedGpu()
    plug_in(monkeypatch, card)
    yield card
    assert card.idle, card.faults


def planes(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 3, 28, 28)).astype(np.float32)


def expected(seed: int) -> np.ndarray:
    with open_graph(STSTNET, "onnx") as graph:
        return graph.run({"planes": planes(seed)})["probabilities"]


def test_computes_what_the_plan_says_with_and_without_a_graph(gpu: SimulatedGpu) -> None:
    with TensorRtRunner("ststnet", gpu.tensorrt(), PLAN) as runner:
        assert runner.backend == "tensorrt"
        assert runner.inputs["planes"].shape == (1, 3, 28, 28)
        before = runner.run({"planes": planes(1)})["probabilities"]
        runner.warm_up()
        after = runner.run({"planes": planes(2)})["probabilities"]
        assert runner.fallback is None
    np.testing.assert_array_equal(before, expected(1))
    np.testing.assert_array_equal(after, expected(2))


def test_one_thread_owns_everything_and_no_other_ever_sees_the_context(gpu: SimulatedGpu) -> None:
    runner = TensorRtRunner("ststnet", gpu.tensorrt(), PLAN)
    with ThreadPoolExecutor(1) as other:
        result = other.submit(runner.run, {"planes": planes(1)}).result()
    runner.close()
    np.testing.assert_array_equal(result["probabilities"], expected(1))
    assert len(gpu.threads) == 1
    assert threading.get_ident() not in gpu.threads


def test_the_thread_ends_with_the_runner(gpu: SimulatedGpu) -> None:
    runner = TensorRtRunner("ststnet", gpu.tensorrt(), PLAN)
    named = [t for t in threading.enumerate() if t.name.startswith("glint-tensorrt")]
    assert len(named) == 1
    runner.close()
    runner.close()
    assert not named[0].is_alive()


def test_memory_and_addresses_are_fixed_before_the_first_run(gpu: SimulatedGpu) -> None:
    with TensorRtRunner("ststnet", gpu.tensorrt(), PLAN) as runner:
        assert gpu.diary.count("pin") == gpu.diary.count("allocate") == 2
        assert sum(entry.startswith("address") for entry in gpu.diary) == 2
        gpu.diary.clear()
        runner.run({"planes": planes(1)})
        assert gpu.diary == ["upload", "execute", "download", "wait"]
        runner.warm_up()
        gpu.diary.clear()
        runner.run({"planes": planes(2)})
        assert gpu.diary == ["launch", "wait"]


def test_the_graph_is_captured_once_after_two_runs(gpu: SimulatedGpu) -> None:
    with TensorRtRunner("ststnet", gpu.tensorrt(), PLAN) as runner:
        gpu.diary.clear()
        runner.warm_up()
        assert gpu.diary[: gpu.diary.index("begin capture")].count("wait") == 2
        runner.warm_up()
        assert gpu.diary.count("begin capture") == 1


def test_a_network_that_cannot_be_captured_runs_on_and_says_so(gpu: SimulatedGpu) -> None:
    gpu.capturable = False
    with TensorRtRunner("ststnet", gpu.tensorrt(), PLAN) as runner:
        runner.warm_up()
        assert runner.fallback is not None
        assert "without a CUDA graph" in runner.fallback
        result = runner.run({"planes": planes(3)})["probabilities"]
    np.testing.assert_array_equal(result, expected(3))


def test_results_are_the_caller_s_own(gpu: SimulatedGpu) -> None:
    with TensorRtRunner("ststnet", gpu.tensorrt(), PLAN) as runner:
        first = runner.run({"planes": planes(1)})["probabilities"]
        runner.run({"planes": planes(2)})
    np.testing.assert_array_equal(first, expected(1))


def test_another_batch_than_the_plan_s_is_refused(gpu: SimulatedGpu) -> None:
    with (
        TensorRtRunner("ststnet", gpu.tensorrt(), PLAN) as runner,
        pytest.raises(EngineError, match=r"\(1, 3, 28, 28\)"),
    ):
        runner.run({"planes": np.zeros((2, 3, 28, 28), np.float32)})


def test_a_plan_that_cannot_be_loaded_leaves_nothing_behind(gpu: SimulatedGpu) -> None:
    with pytest.raises(PlanError, match="Serialization assertion failed"):
        TensorRtRunner("ststnet", gpu.tensorrt(), b"no plan")


def test_a_driver_that_is_too_old_for_tensorrt_is_found_out(gpu: SimulatedGpu) -> None:
    # TensorRT 11 logs an error, and returns a runtime that ends the process when it is used.
    gpu.outdated = True
    with pytest.raises(EngineError, match=r"does not start .*error: 35.*driver"):
        TensorRtRunner("ststnet", gpu.tensorrt(), PLAN)
    assert "execution context" not in gpu.diary


def test_a_gpu_that_fails_is_an_error_of_the_run_and_can_still_be_closed(gpu: SimulatedGpu) -> None:
    runner = TensorRtRunner("ststnet", gpu.tensorrt(), PLAN)
    gpu.broken = True
    with pytest.raises(DeviceError, match="illegal memory access"):
        runner.run({"planes": planes(1)})
    gpu.streams = {handle: [] for handle in gpu.streams}
    runner.close()


def test_finds_the_gpu(gpu: SimulatedGpu) -> None:
    assert find_gpu() == Gpu("NVIDIA RTX A4000", "8.6")


@pytest.mark.gpu
def test_a_real_gpu_computes_what_onnx_runtime_computes(tmp_path: Path) -> None:
    from engines.runtime.plans import build_plan, open_plan  # noqa: PLC0415

    try:
        find_gpu()
        build_plan(STSTNET, "tensorrt", "fp32", cache=tmp_path)
    except EngineError as error:
        pytest.skip(str(error))
    with open_plan(STSTNET, "tensorrt", tmp_path) as runner:
        assert runner.fallback is None
        result = runner.run({"planes": planes(1)})["probabilities"]
    np.testing.assert_allclose(result, expected(1), atol=1e-3)
