"""Large weights of an ONNX graph kept in half precision: half the file, computed as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_LARGE = 256
"""Elements from which a tensor is worth a cast."""


def store_half(file: Path) -> None:
    """Rewrite a graph so that its large FP32 weights are stored as FP16.

    A cast before their use brings them back, which ONNX Runtime and TensorRT do once, when they
    load the graph: the network computes in FP32 on weights of 11 significant bits.

    Args:
        file: The `.onnx` file.
    """
    model = onnx.load(file)
    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size >= _LARGE:
            name = weight.name
            stored = numpy_helper.from_array(values.astype(np.float16), f"{name}.half")
            weight.CopyFrom(stored)
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    for place, cast in enumerate(casts):
        model.graph.node.insert(place, cast)
    onnx.checker.check_model(model, full_check=True)
    file.write_bytes(model.SerializeToString(deterministic=True))


def weights_of(file: Path) -> int:
    """Number of a graph's floating-point weights."""
    floating = (TensorProto.FLOAT, TensorProto.FLOAT16)
    return sum(
        int(np.prod(weight.dims))
        for weight in onnx.load(file).graph.initializer
        if weight.data_type in floating
    )
