"""Backends by name, and the choice between them."""

from __future__ import annotations

from pathlib import Path

from engines.errors import EngineError
from engines.runtime.base import GraphRunner
from engines.runtime.onnx_runtime import OnnxRuntimeRunner

BACKENDS = ("auto", "onnx")


def open_graph(model: Path, backend: str = "auto") -> GraphRunner:
    """Open a network for running.

    Args:
        model: The `.onnx` file.
        backend: One of `BACKENDS`.

    Returns:
        The runner; the caller closes it.

    Raises:
        EngineError: There is no such backend, or the file is missing or no network.
    """
    if backend not in BACKENDS:
        raise EngineError(
            f"There is no backend named {backend!r}; choose one of: {', '.join(BACKENDS)}."
        )
    return OnnxRuntimeRunner(model)
