"""Networks run by ONNX Runtime: on one core, or on a GPU where its providers are installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from engines.errors import EngineError
from engines.runtime.base import GraphRunner, Tensor, Tensors, TensorSpec

onnxruntime.disable_telemetry_events()  # on Windows; elsewhere see engines/__init__.py

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

_BACKENDS = {CPU: "onnxruntime-cpu", CUDA: "onnxruntime-cuda", TENSORRT: "onnxruntime-tensorrt"}

_ELEMENTS = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


class OnnxRuntimeRunner(GraphRunner):
    """A graph in an ONNX Runtime session with one thread.

    One thread because the stages of a session already fill the cores, and because sums in another
    order would make results depend on the machine.

    Args:
        model: The `.onnx` file, or its content.
        provider: `CPU`, `CUDA` or `TENSORRT`; the last two need `onnxruntime-gpu`. What the
            provider does not take runs on the CPU.

    Raises:
        EngineError: The file cannot be read, is no network, or the provider is not installed.
    """

    def __init__(self, model: Path | bytes, provider: str = CPU) -> None:
        if provider not in onnxruntime.get_available_providers():
            raise EngineError(
                f"This ONNX Runtime has no {provider}: install onnxruntime-gpu instead of "
                "onnxruntime, or run on the CPU."
            )
        named = str(model) if isinstance(model, Path) else "the network"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        try:
            content = model.read_bytes() if isinstance(model, Path) else model
        except OSError as error:
            raise EngineError(
                f"The network {named} cannot be read; reinstall Glint, or check the path."
            ) from error
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=list(dict.fromkeys((provider, CPU)))
            )
        except Exception as error:  # ONNX Runtime's own errors derive from Exception only
            raise EngineError(
                f"ONNX Runtime cannot load {named}; reinstall Glint, or export the network again."
            ) from error
        # A provider that cannot start is left out by ONNX Runtime without an error.
        if self._session.get_providers()[0] != provider:
            raise EngineError(
                f"The {provider} of ONNX Runtime does not start on this machine: check the GPU's "
                "driver and CUDA libraries, or run on the CPU."
            )
        super().__init__(
            model.stem if isinstance(model, Path) else "network",
            _BACKENDS[provider],
            _specs(self._session.get_inputs()),
            _specs(self._session.get_outputs()),
        )
        self._names = list(self.outputs)

    def _run(self, tensors: Tensors) -> dict[str, Tensor]:
        try:
            results = self._session.run(self._names, dict(tensors))
        except Exception as error:
            raise EngineError(
                f"ONNX Runtime failed on the network {self.name} ({error}); check the inputs."
            ) from error
        return dict(zip(self._names, results, strict=True))

    def _close(self) -> None:
        del self._session


def _specs(nodes: Sequence[Any]) -> list[TensorSpec]:
    return [
        TensorSpec(
            node.name,
            tuple(extent if isinstance(extent, int) else None for extent in node.shape),
            np.dtype(_ELEMENTS[node.type]),
        )
        for node in nodes
    ]
