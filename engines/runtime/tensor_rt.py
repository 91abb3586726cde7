"""Networks run from compiled plans by TensorRT 10, TensorRT 11 or TensorRT-RTX."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import numpy as np

from engines.errors import EngineError
from engines.runtime.base import GraphRunner, Tensor, Tensors, TensorSpec
from engines.runtime.bindings import Bindings
from engines.runtime.device import Device, DeviceError, PycudaDevice

logger = logging.getLogger(__name__)

T = TypeVar("T")


class PlanError(EngineError):
    """A plan cannot be loaded or run."""


class PlanExecution:
    """A plan with its buffers on a GPU; lives within `device.current()` on one thread.

    All memory is allocated here, and every address is told to TensorRT once: a run copies and
    launches.

    Args:
        device: The GPU.
        trt: The TensorRT that made the plan.
        plan: The serialised plan, of fixed shapes.

    Attributes:
        inputs: Of the plan.
        outputs: Of the plan.
        launch: Queues a whole run, from the host's buffers to the host's buffers.

    Raises:
        PlanError: TensorRT does not load the plan.
    """

    def __init__(self, device: Device, trt: Bindings, plan: bytes) -> None:
        self._device = device
        self._trt = trt
        self._runtime = trt.create("Runtime")
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            reason = trt.first_error()
            raise PlanError(f"{trt.backend} cannot load the plan ({reason}); build it again.")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            reason = trt.first_error()
            raise PlanError(f"{trt.backend} cannot run the plan ({reason}); build it again.")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        entering = trt.module.TensorIOMode.INPUT
        specs = [self._spec(name) for name in names]
        self.inputs = [s for s in specs if self._engine.get_tensor_mode(s.name) == entering]
        self.outputs = [s for s in specs if s not in self.inputs]
        self._given = {spec.name: device.allocate(spec) for spec in self.inputs}
        self._taken = {spec.name: device.allocate(spec) for spec in self.outputs}
        for name, buffer in {**self._given, **self._taken}.items():
            self._context.set_tensor_address(name, buffer.address)
        self.launch: Callable[[], None] = self.queue

    def run(self, tensors: Tensors) -> dict[str, Tensor]:
        """Run once, with arrays in and copies out."""
        for name, buffer in self._given.items():
            np.copyto(buffer.host, tensors[name])
        self.launch()
        self._device.synchronize()
        return {name: buffer.host.copy() for name, buffer in self._taken.items()}

    def queue(self) -> None:
        """Queue copies and network on the device's stream, one by one."""
        for buffer in self._given.values():
            self._device.upload(buffer)
        if not self._context.execute_async_v3(self._device.stream):
            reason = self._trt.first_error()
            raise PlanError(
                f"{self._trt.backend} failed to run the plan ({reason}); build it again."
            )
        for buffer in self._taken.values():
            self._device.download(buffer)

    def capture(self) -> None:
        """Launch everything as one CUDA graph from now on; the plan must have run before.

        Raises:
            EngineError: It cannot be captured; the plan goes on as before.
        """
        capturable = getattr(self._context, "is_stream_capturable", None)  # TensorRT-RTX only
        if capturable is not None and not capturable(self._device.stream):
            raise PlanError(
                "TensorRT-RTX cannot capture this network; it is launched step by step."
            )
        self.launch = self._device.capture(self.queue)

    def close(self) -> None:
        """Release everything in the reverse order."""
        self.launch = self.queue
        self._taken.clear()
        self._given.clear()
        self._context = self._engine = self._runtime = None

    def _spec(self, name: str) -> TensorSpec:
        shape = tuple(self._engine.get_tensor_shape(name))
        dtype = np.dtype(self._trt.module.nptype(self._engine.get_tensor_dtype(name)))
        return TensorSpec(name, shape, dtype)


class TensorRtRunner(GraphRunner):
    """A plan on the GPU.

    One thread of its own makes, uses and frees everything that belongs to CUDA: the primary
    context is pushed there for each call and popped after it, so that no other thread ever sees
    it and none is left with it.

    Args:
        name: What the network is called in messages.
        trt: The TensorRT that made the plan.
        plan: The serialised plan.
        open_device: Opens the GPU.

    Raises:
        EngineError: There is no GPU, or the plan cannot be loaded.
    """

    def __init__(
        self,
        name: str,
        trt: Bindings,
        plan: bytes,
        open_device: Callable[[], Device] = PycudaDevice,
    ) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"glint-{trt.backend}")
        self._device: Device | None = None
        self._execution: PlanExecution | None = None
        try:
            execution = self._here(lambda: self._open(open_device, trt, plan))
        except BaseException:
            self._close()
            raise
        self._captured = False
        super().__init__(name, trt.backend, execution.inputs, execution.outputs)

    def warm_up(self) -> None:
        """Run twice, then capture a CUDA graph; where that fails, `fallback` says so."""
        super().warm_up()
        if self._captured:
            return
        self._captured = True
        try:
            self._here(lambda: self._on_device(PlanExecution.capture))
        except EngineError as error:
            self.fallback = f"{self.name} runs on {self.backend} without a CUDA graph: {error}"
            logger.warning("%s", self.fallback)

    def _run(self, tensors: Tensors) -> dict[str, Tensor]:
        return self._here(lambda: self._on_device(lambda execution: execution.run(tensors)))

    def _close(self) -> None:
        with suppress(DeviceError):  # a GPU that failed cannot be tidied up
            self._here(self._release)
        self._thread.shutdown()

    # -- on the thread of the GPU ------------------------------------------------------------

    def _here(self, work: Callable[[], T]) -> T:
        return self._thread.submit(work).result()

    def _open(self, open_device: Callable[[], Device], trt: Bindings, plan: bytes) -> PlanExecution:
        self._device = open_device()
        with self._device.current():
            self._execution = PlanExecution(self._device, trt, plan)
        return self._execution

    def _on_device(self, work: Callable[[PlanExecution], T]) -> T:
        assert self._device is not None
        assert self._execution is not None
        with self._device.current():
            return work(self._execution)

    def _release(self) -> None:
        if self._execution is not None:
            self._on_device(PlanExecution.close)
        if self._device is not None:
            self._device.close()
