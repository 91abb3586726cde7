"""Backends by name, and the choice between them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from engines.errors import EngineError
from engines.runtime.base import GraphRunner

Backend = Literal["auto", "onnx", "tensorrt", "tensorrt-rtx"]
BACKENDS: tuple[str, ...] = get_args(Backend)


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
    from engines.runtime.onnx_runtime import OnnxRuntimeRunner  # noqa: PLC0415

    return OnnxRuntimeRunner(model)
