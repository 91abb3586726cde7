"""How fast the networks run on this machine's GPU.

    python -m benchmarks.gpu

Measures every shipped network by ONNX Runtime on one core, by ONNX Runtime's CUDA provider and by
TensorRT and TensorRT-RTX, where they are installed and take the card: latency of one run with its
copies, as a caller waits for it and by CUDA's events, for batches of 1 to 256, with and without a
CUDA graph. Streams are how many cameras of 200 frames a second the network alone keeps up
with: the largest batch that was measured whose 99th percentile is under a frame's 5 ms.

Without an NVIDIA GPU nothing is measured and nothing is written. Nothing is ever estimated.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.results import number, save, table
from calibration.quantization import convert
from engines.errors import UserError
from engines.runtime.base import Tensor
from engines.runtime.bindings import PLAN_BACKENDS, bindings
from engines.runtime.compiler import compile_plan
from engines.runtime.device import PycudaDevice, find_gpu
from engines.runtime.onnx_runtime import CPU, CUDA, OnnxRuntimeRunner
from engines.runtime.parity import TOLERANCES, golden_inputs
from engines.runtime.shipped import find_graphs, graph_title
from engines.runtime.tensor_rt import PlanError, PlanExecution, TensorRtRunner

BATCHES = (1, 4, 16, 64, 256)
STREAM_FPS = 200
_WARM_UP_RUNS = 20


@dataclass(frozen=True, slots=True)
class Timing:
    """Latency of one network on one backend, in milliseconds.

    Attributes:
        network: Which.
        backend: What ran it.
        precision: `fp32`, `fp16` or `int8`.
        batch: Samples in a run.
        cuda_graph: Whether a run was one launch.
        wall_ms: p50 and p99 of what a caller waits, by the host's clock.
        gpu_ms: p50 and p99 of copies and network by CUDA's events; None where it is not known.
    """

    network: str
    backend: str
    precision: str
    batch: int
    cuda_graph: bool
    wall_ms: tuple[float, float]
    gpu_ms: tuple[float, float] | None

    @property
    def way(self) -> tuple[str, str, str, bool]:
        """All but the batch."""
        return self.network, self.backend, self.precision, self.cuda_graph


class Bench:
    """Measures networks and remembers what could not be measured.

    Args:
        batches: Batch sizes.
        runs: Runs for each figure.
    """

    def __init__(self, batches: Sequence[int], runs: int) -> None:
        self._batches = batches
        self._runs = runs
        self.missing: dict[str, str] = {}

    def network(self, model: Path) -> Iterator[Timing]:
        """Measure one network in every way that this machine has."""
        title = graph_title(model)
        for provider, batch in product((CPU, CUDA), self._batches):
            with self._noting(f"{title}, {provider}"):
                yield self._by_onnx_runtime(model, provider, batch)
        for backend, precision, batch in product(PLAN_BACKENDS, TOLERANCES, self._batches):
            with self._noting(f"{title}, {backend} {precision}"):
                yield from self._by_plan(model, backend, precision, batch)

    @contextmanager
    def _noting(self, what: str) -> Iterator[None]:
        """Note why something could not be measured, and go on."""
        try:
            yield
        except UserError as error:
            self.missing[what] = str(error)

    def _by_onnx_runtime(self, model: Path, provider: str, batch: int) -> Timing:
        with OnnxRuntimeRunner(model, provider) as graph:
            tensors = batch_of(model, graph, batch)
            wall = self._wall(lambda: graph.run(tensors))
            return Timing(graph_title(model), graph.backend, "fp32", batch, False, wall, None)

    def _by_plan(self, model: Path, backend: str, precision: str, batch: int) -> Iterator[Timing]:
        trt = bindings(backend)
        with OnnxRuntimeRunner(model) as graph:
            tensors = batch_of(model, graph, batch)
        plan = compile_plan(trt, convert(model.read_bytes(), precision, tensors), batch=batch)
        title = graph_title(model)
        with TensorRtRunner(title, trt, plan) as runner:
            walls = [self._wall(lambda: runner.run(tensors))]
            runner.warm_up()
            if runner.fallback is None:
                walls.append(self._wall(lambda: runner.run(tensors)))
        with (
            closing(PycudaDevice()) as device,
            device.current(),
            closing(PlanExecution(device, trt, plan)) as execution,
        ):
            execution.run(tensors)
            for captured, wall in zip((False, True), walls, strict=False):
                if captured:
                    execution.capture()
                gpu = percentiles([device.time_ms(execution.launch) for _ in range(self._runs)])
                yield Timing(title, backend, precision, batch, captured, wall, gpu)
        if runner.fallback is not None:
            raise PlanError(runner.fallback)

    def _wall(self, run: Callable[[], object]) -> tuple[float, float]:
        for _ in range(_WARM_UP_RUNS):
            run()
        spent = []
        for _ in range(self._runs):
            start = time.perf_counter()
            run()
            spent.append(1e3 * (time.perf_counter() - start))
        return percentiles(spent)


def batch_of(model: Path, graph: OnnxRuntimeRunner, batch: int) -> dict[str, Tensor]:
    """Return the network's golden inputs as one batch."""
    runs = golden_inputs(model, graph.inputs)
    stacked = {name: np.concatenate([run[name] for run in runs]) for name in graph.inputs}
    return {name: np.resize(rows, (batch, *rows.shape[1:])) for name, rows in stacked.items()}


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Return p50 and p99."""
    p50, p99 = np.percentile(values, (50, 99))
    return float(p50), float(p99)


def streams(timings: Sequence[Timing]) -> dict[tuple[str, str, str, bool], int]:
    """Return, for each way of running, the largest batch that stays under a frame's time."""
    fast = [each for each in timings if each.wall_ms[1] < 1e3 / STREAM_FPS]
    return {each.way: max(e.batch for e in fast if e.way == each.way) for each in fast}


def report(timings: Sequence[Timing], missing: dict[str, str]) -> str:
    """Return the tables as Markdown."""
    rows = [
        (
            each.network,
            each.backend,
            each.precision,
            "yes" if each.cuda_graph else "no",
            each.batch,
            *(number(ms, 3) for ms in each.wall_ms),
            *(number(ms, 3) for ms in each.gpu_ms or (float("nan"), float("nan"))),
        )
        for each in timings
    ]
    head = ("network", "backend", "precision", "CUDA graph", "batch")
    columns = ("p50 ms", "p99 ms", "p50 ms, GPU", "p99 ms, GPU")
    carried = [
        (network, backend, precision, "yes" if captured else "no", count)
        for (network, backend, precision, captured), count in streams(timings).items()
    ]
    parts = [
        table((*head, *columns), rows),
        f"Streams of {STREAM_FPS} frames a second, the network alone:",
        table((*head[:-1], "streams"), carried),
    ]
    parts += [f"Not measured, {what}: {reason}" for what, reason in missing.items()]
    return "\n\n".join(parts)


def main(argv: Sequence[str]) -> int:
    """Run the command line; 0 done, 2 a user's mistake or no GPU."""
    options = _parser().parse_args(argv)
    try:
        gpu = find_gpu()
        models = find_graphs(options.engine)
    except UserError as error:
        print(f"Nothing was measured. {error}", file=sys.stderr)
        return 2
    bench = Bench(options.batches, options.runs)
    timings = [
        timing
        for model in tqdm(models, unit="network", disable=None)
        for timing in bench.network(model)
    ]
    text = f"GPU: {gpu.name}, compute capability {gpu.compute_capability}\n\n"
    text += report(timings, bench.missing)
    print(text)
    measured = {
        "gpu": asdict(gpu),
        "versions": {
            backend: bindings(backend).version
            for backend in {each.backend for each in timings} & set(PLAN_BACKENDS)
        },
        "timings": [asdict(each) for each in timings],
        "missing": bench.missing,
    }
    print(f"\nWritten to {save('gpu', measured, text, options.json)}")
    return 0


def _batches(text: str) -> list[int]:
    batches = [int(part) for part in text.split(",")]
    if min(batches) < 1:
        raise ValueError(text)
    return batches


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--engine", metavar="NAME", help="one shipped engine (default: all)")
    parser.add_argument(
        "--batches",
        type=_batches,
        default=BATCHES,
        metavar="N,N",
        help=f"batch sizes (default: {','.join(map(str, BATCHES))})",
    )
    parser.add_argument(
        "--runs", type=int, default=1000, metavar="N", help="runs a figure (default: %(default)s)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="result file (default: dated, in results/)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
