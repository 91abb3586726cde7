"""A fitted regression on the parts of a face as one small ONNX graph."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.network_files import INPUT_NAME
from engines.recognition.parts.recognizer import OUTPUT_NAME
from engines.training.export import IR_VERSION, OPSET
from engines.training.face_parts import PartsModel, PartsRecipe, part_places


def build_model(model: PartsModel, recipe: PartsRecipe, temperature: float) -> onnx.ModelProto:
    """Build the graph: pooling, parts, distances to the centres, one linear layer, softmax.

    Args:
        model: The regression.
        recipe: What it was fitted with.
        temperature: What the scores are divided by.

    Returns:
        A checked model with a dynamic batch axis, from (batch, 3, 28, 28) float32 standardised
        flow pictures to (batch, C) probabilities.
    """
    places, signs = part_places(recipe)
    classes = len(model.bias)
    # The factor goes into parts and centres, so that distances need none.
    scaled = np.sqrt(model.factor) * model.centres
    constants = {
        "places": places[:, :, None],
        "signs": np.sqrt(model.factor) * signs[:, :, None],
        "twice_centres": 2 * scaled.transpose(0, 2, 1),
        "centre_squares": (scaled**2).sum(axis=2)[:, None, :],
        "zero": np.array(0.0),
        # The mean over the two halves: both have the same weights, half as large.
        "head": np.tile(model.head.reshape(-1, classes), (2, 1)) / (2 * temperature),
        "bias": model.bias / temperature,
    }
    nodes = [
        helper.make_node(
            "AveragePool",
            [INPUT_NAME],
            ["pooled"],
            kernel_shape=[4, 4],
            strides=[2, 2],
            pads=[1, 1, 1, 1],
            count_include_pad=0,
        ),
        helper.make_node("Flatten", ["pooled"], ["cells"]),
        helper.make_node("Gather", ["cells", "places"], ["cut"], axis=1),
        helper.make_node("Mul", ["cut", "signs"], ["parts"]),
        helper.make_node("MatMul", ["parts", "twice_centres"], ["products"]),
        helper.make_node("ReduceSumSquare", ["parts"], ["squares"], axes=[4], keepdims=1),
        helper.make_node("Sub", ["products", "squares"], ["one_sided"]),
        helper.make_node("Sub", ["one_sided", "centre_squares"], ["unbounded"]),
        helper.make_node("Min", ["unbounded", "zero"], ["exponents"]),
        helper.make_node("Exp", ["exponents"], ["similarities"]),
        helper.make_node("Flatten", ["similarities"], ["features"]),
        helper.make_node("Gemm", ["features", "head", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [OUTPUT_NAME], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "parts",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["batch", 3, 28, 28])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["batch", classes])],
        [
            numpy_helper.from_array(
                np.ascontiguousarray(
                    value if value.dtype == np.int64 else value.astype(np.float32)
                ),
                name,
            )
            for name, value in constants.items()
        ],
    )
    built = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(built, full_check=True)
    return built
