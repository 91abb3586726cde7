"""An NVIDIA GPU in ordinary memory, as PyCUDA, the CUDA driver and TensorRT show it.

It is as strict as CUDA is: everything needs the context on the calling thread, nothing that is
queued happens before the stream is waited for, and a capture only records. A plan is an ONNX file,
which ONNX Runtime runs between two addresses.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engines.runtime import device
from engines.runtime.bindings import Bindings
from engines.runtime.onnx_runtime import OnnxRuntimeRunner

Work = Callable[[], object]


class SimulatedError(Exception):
    """What CUDA would answer with an error."""


SimulatedError.__module__ = "pycuda._driver"


class SimulatedGpu:
    """State of the card, and a diary of what was done to it."""

    def __init__(
        self, name: str = "NVIDIA RTX A4000", capability: tuple[int, int] = (8, 6)
    ) -> None:
        self.name, self.capability = name, capability
        self.diary: list[str] = []
        self.faults: list[str] = []
        self.threads: set[int] = set()
        self.memory: dict[int, np.ndarray] = {}
        self.streams: dict[int, list[Work]] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.recording: list[Work] | None = None
        self.pinned = 0
        self.retained = 0
        self.capturable = True
        self.broken = False
        self.outdated = False
        self._current = threading.local()
        self._handles = itertools.count(0x1000, 0x1000)

    @property
    def idle(self) -> bool:
        """Whether everything was given back, in order."""
        left = (self.memory, self.streams, self.graphs, self.faults)
        return not any(left) and self.retained == 0

    def touch(self, what: str) -> None:
        self.diary.append(what)
        self.threads.add(threading.get_ident())
        if not getattr(self._current, "depth", 0):
            self.faults.append(f"{what} without a context")
            raise SimulatedError("no currently active context?")

    def push(self) -> None:
        self._current.depth = getattr(self._current, "depth", 0) + 1
        self.threads.add(threading.get_ident())

    def pop(self) -> None:
        self._current.depth -= 1

    def handle(self) -> int:
        return next(self._handles)

    def queue(self, stream: int, work: Work) -> None:
        if self.recording is not None:
            self.recording.append(work)
        else:
            self.streams[stream].append(work)

    def wait(self, stream: int) -> None:
        self.touch("wait")
        if self.broken:
            raise SimulatedError("an illegal memory access was encountered")
        pending, self.streams[stream] = self.streams[stream], []
        for work in pending:
            work()

    # -- PyCUDA ------------------------------------------------------------------------------

    def pycuda(self) -> ModuleType:
        gpu = self

        class Context:
            def push(self) -> None:
                gpu.push()

            @staticmethod
            def pop() -> None:
                gpu.pop()

            def detach(self) -> None:
                gpu.retained -= 1

        class Device:
            def __init__(self, ordinal: int) -> None:
                assert ordinal == 0

            def name(self) -> str:
                return gpu.name

            def compute_capability(self) -> tuple[int, int]:
                return gpu.capability

            def retain_primary_context(self) -> Context:
                gpu.retained += 1
                return Context()

        class Stream:
            def __init__(self, flags: int = 0) -> None:
                gpu.touch("stream")
                self.handle = gpu.handle()
                gpu.streams[self.handle] = []

            def synchronize(self) -> None:
                gpu.wait(self.handle)

            def __del__(self) -> None:
                gpu.touch("free stream")
                assert not gpu.streams.pop(self.handle)

        class Allocation:
            def __init__(self, size: int) -> None:
                gpu.touch("allocate")
                self.address = gpu.handle()
                gpu.memory[self.address] = np.full(size, 0xA5, np.uint8)

            def __int__(self) -> int:
                return self.address

            def __del__(self) -> None:
                gpu.touch("free")
                del gpu.memory[self.address]

        class Event:
            def record(self, stream: Stream) -> None:
                gpu.touch("event")

            def synchronize(self) -> None:
                gpu.wait(*gpu.streams)

            def time_till(self, other: Event) -> float:
                return 0.25

        def pagelocked_empty(shape: Any, dtype: Any) -> np.ndarray:
            gpu.touch("pin")
            gpu.pinned += 1
            return np.empty(shape, dtype)

        def upload(target: Allocation, source: np.ndarray, stream: Stream) -> None:
            gpu.touch("upload")
            memory = gpu.memory[target.address]
            gpu.queue(stream.handle, lambda: np.copyto(memory, source.reshape(-1).view(np.uint8)))

        def download(target: np.ndarray, source: Allocation, stream: Stream) -> None:
            gpu.touch("download")
            memory = gpu.memory[source.address]
            gpu.queue(
                stream.handle,
                lambda: np.copyto(target, memory.view(target.dtype).reshape(target.shape)),
            )

        driver = ModuleType("pycuda.driver")
        vars(driver).update(
            init=lambda: None,
            Context=Context,
            Device=Device,
            Stream=Stream,
            Event=Event,
            pagelocked_empty=pagelocked_empty,
            mem_alloc=Allocation,
            memcpy_htod_async=upload,
            memcpy_dtoh_async=download,
        )
        return driver

    # -- the CUDA driver's graphs ------------------------------------------------------------

    def libcuda(self) -> SimpleNamespace:
        def begin(stream: Any, mode: int) -> int:
            self.touch("begin capture")
            self.recording = []
            return 0

        def end(stream: Any, graph: Any) -> int:
            self.touch("end capture")
            recorded, self.recording = self.recording, None
            assert recorded is not None
            if not self.capturable:
                return 901
            graph._obj.value = self.handle()
            self.graphs[graph._obj.value] = recorded
            return 0

        def instantiate(executable: Any, graph: Any, flags: Any) -> int:
            executable._obj.value = self.handle()
            self.graphs[executable._obj.value] = self.graphs[graph.value]
            return 0

        def launch(executable: Any, stream: Any) -> int:
            self.touch("launch")
            self.streams[stream.value] += self.graphs[executable.value]
            return 0

        def destroy(graph: Any) -> int:
            self.touch("destroy graph")
            del self.graphs[graph.value]
            return 0

        return SimpleNamespace(
            cuStreamBeginCapture_v2=begin,
            cuStreamEndCapture=end,
            cuGraphInstantiateWithFlags=instantiate,
            cuGraphLaunch=launch,
            cuGraphDestroy=destroy,
            cuGraphExecDestroy=destroy,
        )

    # -- TensorRT ----------------------------------------------------------------------------

    def tensorrt(self, backend: str = "tensorrt", version: str = "11.4.0.106") -> Bindings:
        gpu = self
        errors: list[str] = []
        modes = SimpleNamespace(INPUT="input", OUTPUT="output")

        class Execution:
            def __init__(self, engine: Engine) -> None:
                self.engine = engine
                self.addresses: dict[str, int] = {}

            def set_tensor_address(self, name: str, address: int) -> bool:
                gpu.touch(f"address of {name}")
                self.addresses[name] = address
                return True

            def execute_async_v3(self, stream: int) -> bool:
                gpu.touch("execute")
                gpu.queue(stream, self.execute)
                return True

            def execute(self) -> None:
                network = self.engine.network
                given = {
                    name: self.tensor(name, spec.zeros()) for name, spec in network.inputs.items()
                }
                for name, result in network.run(given).items():
                    self.tensor(name, result)[...] = result

            def tensor(self, name: str, like: np.ndarray) -> np.ndarray:
                return gpu.memory[self.addresses[name]].view(like.dtype).reshape(like.shape)

        class Engine:
            def __init__(self, plan: bytes) -> None:
                self.network = OnnxRuntimeRunner(plan)
                self.specs = {**self.network.inputs, **self.network.outputs}
                self.num_io_tensors = len(self.specs)

            def get_tensor_name(self, position: int) -> str:
                return list(self.specs)[position]

            def get_tensor_mode(self, name: str) -> str:
                return modes.INPUT if name in self.network.inputs else modes.OUTPUT

            def get_tensor_shape(self, name: str) -> tuple[int, ...]:
                return self.specs[name].zeros().shape

            def get_tensor_dtype(self, name: str) -> np.dtype:
                return self.specs[name].dtype

            def create_execution_context(self) -> Execution:
                gpu.touch("execution context")
                return Execution(self)

        class Runtime:
            def __init__(self, logger: object) -> None:
                gpu.touch("runtime")
                if gpu.outdated:
                    errors.append("CUDA initialization failure with error: 35")

            def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
                try:
                    return Engine(plan)
                except Exception:
                    errors.append("[engine.cpp::deserialize] Serialization assertion failed")
                    return None

        module = SimpleNamespace(
            __version__=version, Runtime=Runtime, TensorIOMode=modes, nptype=lambda dtype: dtype
        )
        return Bindings(backend, module, object(), errors)


def plug_in(monkeypatch: pytest.MonkeyPatch, gpu: SimulatedGpu) -> None:
    """Let `import pycuda.driver` and the CUDA driver find the simulated card."""
    driver = gpu.pycuda()
    package = ModuleType("pycuda")
    vars(package)["driver"] = driver
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: gpu.libcuda())
