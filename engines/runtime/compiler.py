"""An ONNX graph becomes a plan of TensorRT 10, TensorRT 11 or TensorRT-RTX.

Precision lies in the graph (`calibration.quantization`): nothing here asks for one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.errors import EngineError
from engines.runtime.bindings import Bindings


class CompileError(EngineError):
    """TensorRT does not take a graph, or not for the GPU that was named."""


def compile_plan(
    trt: Bindings,
    model: bytes,
    *,
    batch: int = 1,
    capability: str | None = None,
    timing_cache: Path | None = None,
) -> bytes:
    """Compile a graph for fixed shapes.

    Args:
        trt: The TensorRT that compiles.
        model: The ONNX graph.
        batch: Extent of every axis that the graph leaves open.
        capability: GPU architecture such as `SM86` to compile for, with TensorRT-RTX; None
            compiles for the GPU of this machine.
        timing_cache: File with the timings of earlier builds, read and renewed; for TensorRT
            only, TensorRT-RTX times nothing.

    Returns:
        The serialised plan.

    Raises:
        CompileError: An operator is not supported, the architecture is unknown, or the build
            failed.
    """
    api = trt.module
    builder = trt.create("Builder")
    network = builder.create_network(_network_flags(api))
    parser = api.OnnxParser(network, trt.logger)
    if not parser.parse(model) or network.num_outputs == 0:
        raise CompileError(
            f"{trt.backend} {trt.version} does not take the graph ({_reason(parser)}); run it with "
            "--backend onnx."
        )
    for position in range(network.num_inputs):
        tensor = network.get_input(position)
        tensor.shape = tuple(batch if extent < 0 else extent for extent in tensor.shape)
    config = builder.create_builder_config()
    config.clear_flag(api.BuilderFlag.TF32)  # fp32 is to mean fp32
    if capability is not None:
        _aim(trt, config, capability)
    timings = None if timing_cache is None or trt.backend != "tensorrt" else timing_cache
    if timings is not None:
        _remember(config, timings)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise CompileError(
            f"{trt.backend} {trt.version} cannot compile the graph ({trt.first_error()}); run it "
            "with --backend onnx."
        )
    if timings is not None:
        timings.write_bytes(bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def _reason(parser: Any) -> str:
    """What the parser did not like, and at which operators."""
    errors = [parser.get_error(position) for position in range(parser.num_errors)]
    said = [f"{error.node_operator()} {error.node_name()}: {error.desc()}" for error in errors]
    return "; ".join(said) or "it is no ONNX network"


def _network_flags(api: Any) -> int:
    """Types come from the graph: said to TensorRT 10, understood by itself from 11 on."""
    flag = getattr(api.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _remember(config: Any, timings: Path) -> None:
    """Start from earlier timings; from none where they are another TensorRT's or GPU's."""
    for known in (timings.read_bytes() if timings.exists() else b"", b""):
        cache = config.create_timing_cache(known)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return


def _aim(trt: Bindings, config: Any, capability: str) -> None:
    """Compile for another GPU than this machine's."""
    if not hasattr(trt.module, "ComputeCapability"):
        raise CompileError(
            f"{trt.backend} compiles for the GPU of this machine only: leave --compute-capability "
            "out, or use tensorrt-rtx."
        )
    known = trt.module.ComputeCapability.__members__
    names = [name for name in known if name.startswith("SM")]
    if capability not in names:
        raise CompileError(
            f"{trt.backend} cannot compile for {capability}; choose one of {', '.join(names)}."
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(known[capability], 0)
