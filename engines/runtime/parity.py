"""Does a backend compute what ONNX Runtime computes? Asked before the first frame."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from zipfile import BadZipFile

import numpy as np

from engines.errors import EngineError
from engines.runtime.base import GraphRunner, Tensor, Tensors, TensorSpec

GOLDEN_RUNS = 16
"""Inputs that are compared."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far outputs may be from ONNX Runtime's.

    Attributes:
        largest: Of any element; None where only the mean counts.
        mean: Mean absolute difference of an output.
        same_class: Whether the largest element must stay the largest.
    """

    largest: float | None
    mean: float
    same_class: bool


TOLERANCES: Mapping[str, Tolerance] = MappingProxyType(
    {
        "fp32": Tolerance(1e-3, 1e-3, same_class=True),
        "fp16": Tolerance(None, 1e-2, same_class=True),
        # Against ONNX Runtime on the same quantised graph, where one step is about 1/127.
        "int8": Tolerance(None, 1e-2, same_class=False),
    }
)
"""By precision. That of fp16 is NVIDIA's own for comparing with ONNX Runtime."""


def golden_path(model: Path) -> Path:
    """Where an engine may keep inputs that are typical of it: `<name>.golden.npz`."""
    return model.with_suffix(".golden.npz")


def golden_inputs(model: Path, inputs: Mapping[str, TensorSpec]) -> list[dict[str, Tensor]]:
    """Return inputs to compare backends with.

    Those of `golden_path`, which holds an array of samples for every input; without it, normal
    noise, the same every time.

    Args:
        model: The network's file.
        inputs: Its inputs, of fixed shapes.

    Returns:
        `GOLDEN_RUNS` inputs.

    Raises:
        EngineError: The file does not fit the network.
    """
    path = golden_path(model)
    if not path.exists():
        return [_noise(inputs, run) for run in range(GOLDEN_RUNS)]
    try:
        with path.open("rb") as file, np.load(file) as stored:
            samples = dict(stored)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise EngineError(f"{path} cannot be read; export the engine again.") from error
    result = []
    for run in range(GOLDEN_RUNS):
        drawn = {}
        for name, spec in inputs.items():
            count = spec.shape[0] or 1
            rows = samples.get(name, np.empty(0))
            if rows.shape[1:] != spec.shape[1:] or not len(rows):
                raise EngineError(
                    f"{path} does not fit the input {name} of {model}; export the engine again."
                )
            chosen = np.arange(run * count, (run + 1) * count) % len(rows)
            drawn[name] = rows[chosen].astype(spec.dtype)
        result.append(drawn)
    return result


def difference(
    runner: GraphRunner, reference: GraphRunner, inputs: list[dict[str, Tensor]], precision: str
) -> str | None:
    """Compare two runners of one network.

    Args:
        runner: Who is asked.
        reference: Who is right.
        inputs: What both are given.
        precision: A key of `TOLERANCES`.

    Returns:
        In what they differ by more than is allowed; None when in nothing.
    """
    tolerance = TOLERANCES[precision]
    ours = _stacked(runner, inputs)
    right = _stacked(reference, inputs)
    for name, expected in right.items():
        got = ours[name].astype(np.float64)
        if not np.isfinite(got).all():
            return f"its output {name} is not finite"
        apart = np.abs(got - expected)
        if tolerance.largest is not None and apart.max() > tolerance.largest:
            return (
                f"its output {name} is off by up to {apart.max():.1e} "
                f"({tolerance.largest:.0e} is allowed)"
            )
        if apart.mean() > tolerance.mean:
            return (
                f"its output {name} is off by {apart.mean():.1e} on average "
                f"({tolerance.mean:.0e} is allowed)"
            )
        changed = got.argmax(axis=-1) != expected.argmax(axis=-1)
        if tolerance.same_class and changed.any():
            return (
                f"its output {name} names another class in {changed.sum()} of {changed.size} cases"
            )
    return None


def _noise(inputs: Mapping[str, TensorSpec], run: int) -> dict[str, Tensor]:
    return {
        name: np.random.default_rng([zlib.crc32(name.encode()), run])
        .standard_normal([extent or 1 for extent in spec.shape])
        .astype(spec.dtype)
        for name, spec in inputs.items()
    }


def _stacked(runner: GraphRunner, inputs: list[dict[str, Tensor]]) -> Tensors:
    runs = [runner.run(each) for each in inputs]
    return {name: np.concatenate([run[name] for run in runs]) for name in runner.outputs}
