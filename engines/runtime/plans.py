"""Compiled plans in the user's cache: building, keeping and accepting them.

A plan belongs to one graph, one version of TensorRT and one kind of GPU, and nothing can be asked
of the file before it is loaded. The manifest beside it says what it was made of. A plan is used
only after its manifest has been compared with this machine and its outputs with ONNX Runtime's.
Loading a plan runs what is in it: plans are taken from the user's own cache and nowhere else.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from engines.runtime.base import GraphRunner, Tensors
from engines.runtime.bindings import Bindings, bindings
from engines.runtime.compiler import compile_plan
from engines.runtime.device import Gpu, find_gpu
from engines.runtime.onnx_runtime import OnnxRuntimeRunner
from engines.runtime.parity import difference, golden_inputs
from engines.runtime.tensor_rt import PlanError, TensorRtRunner

logger = logging.getLogger(__name__)

PROGRAM = "python -m engines.build"


class Manifest(BaseModel):
    """What a plan was made of; lies beside it.

    Attributes:
        graph: File name of the network.
        onnx_sha256: Hash of the network.
        backend: What compiled it.
        version: Version of that.
        gpu: Name of the card that it was built on; None when it was built for another machine.
        compute_capability: For example `8.6`.
        precision: `fp32`, `fp16` or `int8`.
        shapes: Shape of every input and output.
        plan_sha256: Hash of the plan.
        built_utc: ISO 8601 time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    graph: str
    onnx_sha256: str
    backend: str
    version: str
    gpu: str | None
    compute_capability: str
    precision: str
    shapes: dict[str, tuple[int, ...]]
    plan_sha256: str
    built_utc: str


@dataclass(frozen=True, slots=True)
class PlanFiles:
    """Where the plan of a network is kept, one for each backend.

    Attributes:
        folder: `<cache>/plans/<role>-<engine>`.
        graph_name: Name of the network's file without its suffix.
        backend: One of `PLAN_BACKENDS`.
    """

    folder: Path
    graph_name: str
    backend: str

    @classmethod
    def of(cls, model: Path, backend: str, cache: Path | None = None) -> PlanFiles:
        """Return where the plan of `model` is; `cache` is the user's where None."""
        engine = model.resolve().parent
        folder = (cache or user_cache()) / "plans" / f"{engine.parent.name}-{engine.name}"
        return cls(folder, model.stem, backend)

    @property
    def plan(self) -> Path:
        """The plan."""
        return self._file("plan")

    @property
    def manifest(self) -> Path:
        """Its manifest."""
        return self._file("json")

    @property
    def graph(self) -> Path:
        """The graph that was compiled, in the plan's precision."""
        return self._file("onnx")

    @property
    def timings(self) -> Path:
        """TensorRT's timing cache."""
        return self._file("timings")

    def lock(self) -> FileLock:
        """Keep other processes from building the same plan."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self._file("lock"))

    def _file(self, suffix: str) -> Path:
        return self.folder / f"{self.graph_name}.{self.backend}.{suffix}"


def user_cache() -> Path:
    """Return Glint's folder for what can be made again, by the system's custom."""
    home = os.path.expanduser("~")  # Path.home() fails where a user has none, as in a container
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        base = os.path.join(home, "Library", "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    return Path(base, "glint")


def build_plan(
    model: Path,
    backend: str,
    precision: str = "fp32",
    *,
    windows: Tensors | None = None,
    capability: str | None = None,
    cache: Path | None = None,
) -> tuple[PlanFiles, Manifest]:
    """Compile a network and keep plan and manifest; takes the place of an older plan.

    Args:
        model: The `.onnx` file.
        backend: One of `PLAN_BACKENDS`.
        precision: `fp32`, `fp16` or `int8`.
        windows: Samples of every input, to calibrate INT8 on.
        capability: GPU architecture such as `SM86` to compile for on a machine without it.
        cache: Folder to keep it in; the user's cache where None.

    Returns:
        Where it is and what it was made of.

    Raises:
        EngineError: The backend is not installed, there is no GPU, or the graph cannot be
            converted or compiled.
    """
    from calibration.quantization import convert  # noqa: PLC0415 - needs onnx for some precisions

    files = PlanFiles.of(model, backend, cache)
    with files.lock():
        graph = convert(model.read_bytes(), precision, windows)
        return files, _compile(files, model, bindings(backend), precision, graph, capability)


def open_plan(model: Path, backend: str, cache: Path | None = None) -> GraphRunner:
    """Open the plan of a network, warmed up and compared with ONNX Runtime.

    A plan of another graph, TensorRT or GPU than this is built again first.

    Args:
        model: The `.onnx` file.
        backend: One of `PLAN_BACKENDS`.
        cache: Folder where plans are kept; the user's cache where None.

    Raises:
        EngineError: There is no plan, no GPU or no TensorRT, or the plan does not compute what
            ONNX Runtime computes.
    """
    files = PlanFiles.of(model, backend, cache)
    if not files.manifest.exists():
        raise PlanError(
            f"There is no plan of {model.stem} for {backend}: {_advice(model, backend)}"
        )
    trt = bindings(backend)
    with files.lock():
        manifest = _up_to_date(files, model, trt)
        plan = files.plan.read_bytes()
    runner = TensorRtRunner(model.stem, trt, plan)
    try:
        runner.warm_up()
        with OnnxRuntimeRunner(files.graph if manifest.precision == "int8" else model) as reference:
            golden = golden_inputs(model, runner.inputs)
            apart = difference(runner, reference, golden, manifest.precision)
        if apart is not None:
            raise PlanError(f"The plan of {model.stem} for {backend} is refused: {apart}.")
    except BaseException:
        runner.close()
        raise
    return runner


def differences(manifest: Manifest, now: Manifest) -> list[str]:
    """Say in what a plan does not belong to this graph, TensorRT and GPU."""
    found = []
    if manifest.onnx_sha256 != now.onnx_sha256:
        found.append("the network has changed")
    if manifest.version != now.version:
        found.append(f"{now.backend} was {manifest.version} and is {now.version}")
    if manifest.compute_capability != now.compute_capability or (
        manifest.gpu not in (None, now.gpu)
    ):
        was = manifest.gpu or "another GPU"
        found.append(
            f"the GPU was {was} ({manifest.compute_capability}) and is {now.gpu} "
            f"({now.compute_capability})"
        )
    if manifest.plan_sha256 != now.plan_sha256:
        found.append("the plan file is damaged")
    return found


def _up_to_date(files: PlanFiles, model: Path, trt: Bindings) -> Manifest:
    """Return the manifest of a plan that belongs here, built again if it did not."""
    try:
        manifest = Manifest.model_validate_json(files.manifest.read_bytes())
    except (OSError, ValidationError) as error:
        raise PlanError(
            f"The manifest {files.manifest} cannot be read: {_advice(model, trt.backend)}"
        ) from error
    plan = files.plan.read_bytes() if files.plan.exists() else b""
    gpu = find_gpu()
    now = manifest.model_copy(
        update={
            "onnx_sha256": _sha256(model.read_bytes()),
            "version": trt.version,
            "gpu": gpu.name,
            "compute_capability": gpu.compute_capability,
            "plan_sha256": _sha256(plan),
        }
    )
    found = differences(manifest, now)
    if not found:
        return manifest
    logger.warning(
        "The plan of %s for %s does not belong here (%s); it is built again.",
        model.stem,
        trt.backend,
        ", ".join(found),
    )
    return _compile(files, model, trt, manifest.precision, _graph_again(files, model, manifest))


def _graph_again(files: PlanFiles, model: Path, manifest: Manifest) -> bytes:
    """The graph in a plan's precision, from where it was kept if the network is the same."""
    source = model.read_bytes()
    if files.graph.exists() and manifest.onnx_sha256 == _sha256(source):
        return files.graph.read_bytes()
    if manifest.precision == "int8":
        raise PlanError(
            f"The network {model.stem} has changed since it was calibrated for INT8: "
            f"{_advice(model, manifest.backend)}"
        )
    from calibration.quantization import convert  # noqa: PLC0415

    return convert(source, manifest.precision)


def _compile(
    files: PlanFiles,
    model: Path,
    trt: Bindings,
    precision: str,
    graph: bytes,
    capability: str | None = None,
) -> Manifest:
    gpu = find_gpu() if capability is None else _named(capability)
    plan = compile_plan(trt, graph, capability=capability, timing_cache=files.timings)
    with OnnxRuntimeRunner(model) as network:
        specs = {**network.inputs, **network.outputs}
    manifest = Manifest(
        graph=model.name,
        onnx_sha256=_sha256(model.read_bytes()),
        backend=trt.backend,
        version=trt.version,
        gpu=gpu.name or None,
        compute_capability=gpu.compute_capability,
        precision=precision,
        shapes={name: spec.zeros().shape for name, spec in specs.items()},
        plan_sha256=_sha256(plan),
        built_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    # The manifest last: without it there is no plan, however far an interrupted build had come.
    files.manifest.unlink(missing_ok=True)
    files.graph.write_bytes(graph)
    files.plan.write_bytes(plan)
    files.manifest.write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8", newline="\n")
    return manifest


def _named(capability: str) -> Gpu:
    """SM86 as the card of which only that is known."""
    digits = capability.removeprefix("SM")
    return Gpu("", f"{digits[:-1]}.{digits[-1:]}")


def _advice(model: Path, backend: str) -> str:
    return f"make one with {PROGRAM} --engine {model.parent.name} --backend {backend}."


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
