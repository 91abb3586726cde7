"""A trained network as an ONNX graph that computes the same."""

from __future__ import annotations

import warnings
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
    path.eval()
    content = BytesIO()
    with warnings.catch_warnings():
        # The exporter that replaces this one needs onnxscript, and writes a later operator set.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            path,
            (torch.from_numpy(golden[:2]),),
            content,  # type: ignore[arg-type]
            opset_version=OPSET,
            dynamo=False,
            input_names=[INPUT_NAME],
            output_names=[output],
            dynamic_axes={INPUT_NAME: {0: "batch"}, output: {0: "batch"}},
        )
    model = onnx.load_from_string(content.getvalue())
    onnx.checker.check_model(model, full_check=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(model.SerializeToString(deterministic=True))
    with torch.no_grad():
        expected = path(torch.from_numpy(golden)).numpy()
    with open_graph(file, "onnx") as graph:
        found = graph.run({INPUT_NAME: golden})[output]
    difference = float((np.abs(found - expected) / (1 + np.abs(expected))).max())
    if not difference <= TOLERANCE:
        file.unlink()
        raise UserError(
            f"The exported graph differs from the trained network by {difference:.1e}; nothing "
            "was written, check the versions of onnx and onnxruntime."
        )
