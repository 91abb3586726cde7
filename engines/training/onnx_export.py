"""A trained network as an ONNX graph that computes the same."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn

from engines.errors import UserError
from engines.network_files import INPUT_NAME
from engines.runtime import open_graph
from engines.training.export import OPSET

TOLERANCE = 1e-4
"""Largest difference between torch and ONNX Runtime, relative to outputs of order one."""


def write_onnx(path: nn.Module, output: str, file: Path, golden: npt.NDArray[np.float32]) -> None:
    """Export one path of a network and check that the file computes what torch does.

    Args:
        path: From planes to one output.
        output: The output's name.
        file: The `.onnx` file to write.
        golden: (N, 3, 42, 42) inputs on which both are compared.

    Raises:
        UserError: They differ; the file is removed.
    """
    write_graph(path, {INPUT_NAME: golden}, (output,), file)


def write_graph(
    network: nn.Module,
    golden: Mapping[str, npt.NDArray[np.float32]],
    outputs: Sequence[str],
    file: Path,
) -> None:
    """Export a network and check that the file computes what torch does.

    Args:
        network: Takes the inputs in their order; gives a tensor, or a tuple of them.
        golden: Name of each input to (N, …) samples, N > 1, on which both are compared.
        outputs: Names of the outputs.
        file: The `.onnx` file to write.

    Raises:
        UserError: They differ; the file is removed.
    """
    network.eval()
    given = tuple(map(torch.from_numpy, golden.values()))
    content = BytesIO()
    with warnings.catch_warnings():
        # The exporter that replaces this one needs onnxscript, and writes a later operator set.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", message="Constant folding")  # ONNX Runtime folds later
        torch.onnx.export(
            network,
            tuple(tensor[:2] for tensor in given),
            content,  # type: ignore[arg-type]
            opset_version=OPSET,
            dynamo=False,
            input_names=list(golden),
            output_names=list(outputs),
            dynamic_axes={name: {0: "batch"} for name in (*golden, *outputs)},
        )
    model = onnx.load_from_string(content.getvalue())
    onnx.checker.check_model(model, full_check=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(model.SerializeToString(deterministic=True))
    with torch.no_grad():
        computed = network(*given)
    expected = [computed] if isinstance(computed, torch.Tensor) else computed
    with open_graph(file, "onnx") as graph:
        found = graph.run(golden)
    difference = max(
        float((np.abs(found[name] - right.numpy()) / (1 + np.abs(right.numpy()))).max())
        for name, right in zip(outputs, expected, strict=True)
    )
    if not difference <= TOLERANCE:
        file.unlink()
        raise UserError(
            f"The exported graph differs from the trained network by {difference:.1e}; nothing "
            "was written, check the versions of onnx and onnxruntime."
        )
