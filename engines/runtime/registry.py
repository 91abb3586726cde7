"""Backends by name, and the choice between them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal, get_args

from engines.errors import EngineError
from engines.runtime.base import GraphRunner
from engines.runtime.bindings import PLAN_BACKENDS

logger = logging.getLogger(__name__)

Backend = Literal["auto", "onnx", "tensorrt", "tensorrt-rtx"]
BACKENDS: tuple[str, ...] = get_args(Backend)


def open_graph(model: Path, backend: str = "auto", plans: Path | None = None) -> GraphRunner:
    """Open a network for running.

    Args:
        model: The `.onnx` file.
        backend: One of `BACKENDS`. `auto` takes a plan that was built for this network, the
            others what they say. Where a plan is wanted and none can be used, ONNX Runtime runs
            the network, and the runner's `fallback` and a warning in the log say why.
        plans: Cache folder of the plans; the user's where None.

    Returns:
        The runner; the caller closes it.

    Raises:
        EngineError: There is no such backend, or the file is missing or no network.
    """
    from engines.runtime.onnx_runtime import OnnxRuntimeRunner  # noqa: PLC0415
    from engines.runtime.plans import PlanFiles, open_plan  # noqa: PLC0415

    if backend not in BACKENDS:
        raise EngineError(
            f"There is no backend named {backend!r}; choose one of: {', '.join(BACKENDS)}."
        )
    wanted = [backend] if backend in PLAN_BACKENDS else []
    if backend == "auto":
        wanted = [b for b in PLAN_BACKENDS if PlanFiles.of(model, b, plans).manifest.exists()]
    refusals = []
    for each in wanted:
        try:
            return open_plan(model, each, plans)
        except EngineError as error:
            refusals.append(str(error))
    runner = OnnxRuntimeRunner(model)
    if refusals:
        runner.fallback = f"The network {model.stem} runs on ONNX Runtime. {' '.join(refusals)}"
        logger.warning("%s", runner.fallback)
    return runner
