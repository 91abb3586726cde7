"""A trained ensemble as one small ONNX graph that ends in calibrated probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.network_files import INPUT_NAME
from engines.recognition.ststnet.recognizer import OUTPUT_NAME
from engines.training.network import MEMBER_FILTERS, StstnetBank

OPSET = 17
"""ONNX operator set: known to ONNX Runtime since 1.12 and to TensorRT since 8.6."""

IR_VERSION = 8


def fold_ensemble(banks: Sequence[StstnetBank]) -> dict[str, npt.NDArray[np.float32]]:
    """Fold an ensemble and its mirrored selves into one wide STSTNet.

    To show a network the mirrored face (columns reversed, u negated) is to show a mirrored
    network the face: pooling windows lie symmetrically, so the mirrored network has the kernels
    reversed, their u plane negated, and the columns of its last layer reversed. Averaging logits
    of networks on the same input is one network with all their filters side by side.

    Args:
        banks: Trained banks, whose members all take part.

    Returns:
        `kernel` (F, 3, 3, 3), `kernel_bias` (F,), `head` (25·F, C) and `head_bias` (C,), where F
        is 32 for every member.
    """
    kernels, kernel_biases, heads, head_biases = [], [], [], []
    for bank in banks:
        kernel = bank.kernel.detach().numpy()
        bias = bank.kernel_bias.detach().numpy()
        head = bank.head.detach().numpy()
        planes = head.reshape(bank.members, MEMBER_FILTERS, 5, 5, -1)
        mirrored = kernel[..., ::-1] * np.array([-1, 1, 1], np.float32)[:, None, None]
        kernels += [kernel, mirrored]
        kernel_biases += [bias, bias]
        heads += [planes.reshape(-1, head.shape[-1])]
        heads += [planes[:, :, :, ::-1].reshape(-1, head.shape[-1])]
        head_biases += [bank.head_bias.detach().numpy()]
    members = sum(bank.members for bank in banks)
    return {
        "kernel": np.concatenate(kernels),
        "kernel_bias": np.concatenate(kernel_biases),
        "head": np.concatenate(heads) / np.float32(2 * members),
        "head_bias": np.concatenate(head_biases).mean(axis=0),
    }


def build_model(weights: dict[str, npt.NDArray[np.float32]], temperature: float) -> onnx.ModelProto:
    """Build the graph: convolution, pooling, one linear layer, temperature, softmax.

    Args:
        weights: As `fold_ensemble` returns them.
        temperature: What the logits are divided by.

    Returns:
        A checked model with a dynamic batch axis, from (batch, 3, 28, 28) float32 standardised
        flow pictures to (batch, C) probabilities.
    """
    scale = 1 / temperature
    nodes = [
        helper.make_node(
            "Conv", [INPUT_NAME, "kernel", "kernel_bias"], ["maps"], pads=[1, 1, 1, 1]
        ),
        helper.make_node(
            "MaxPool", ["maps"], ["peaks"], kernel_shape=[3, 3], strides=[3, 3], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Relu", ["peaks"], ["active"]),
        helper.make_node(
            "AveragePool", ["active"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]
        ),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node(
            "Gemm", ["features", "head", "head_bias"], ["logits"], alpha=scale, beta=scale
        ),
        helper.make_node("Softmax", ["logits"], [OUTPUT_NAME], axis=1),
    ]
    classes = weights["head_bias"].shape[0]
    graph = helper.make_graph(
        nodes,
        "ststnet",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["batch", 3, 28, 28])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in weights.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(model, full_check=True)
    return model
