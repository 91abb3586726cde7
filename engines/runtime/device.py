"""The GPU as one thread uses it: a small seam with PyCUDA behind it.

CUDA contexts, streams and buffers belong to the thread that made them. Whoever opens a device uses
and closes it on the same thread.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from engines.errors import EngineError
from engines.runtime.base import Tensor, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator


class DeviceError(EngineError):
    """There is no NVIDIA GPU, its driver or PyCUDA is missing, or the GPU failed."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """Which card it is.

    Attributes:
        name: NVIDIA's name of the card.
        compute_capability: For example `8.6`.
    """

    name: str
    compute_capability: str


@dataclass(frozen=True, slots=True)
class Buffer:
    """A tensor on both sides of the bus.

    Attributes:
        host: Page-locked array; filled or read by the host.
        address: Where the tensor lies on the GPU.
        memory: What keeps the GPU's side alive.
    """

    host: Tensor
    address: int
    memory: Any


class Device(Protocol):
    """A GPU with one stream. Everything but `close` happens within `current()`."""

    @property
    def stream(self) -> int:
        """Handle of the stream."""
        ...

    def current(self) -> AbstractContextManager[None]:
        """Make the GPU current on this thread for a while."""
        ...

    def allocate(self, spec: TensorSpec) -> Buffer:
        """Allocate a tensor of a fixed shape."""
        ...

    def upload(self, buffer: Buffer) -> None:
        """Queue the copy from host to GPU."""
        ...

    def download(self, buffer: Buffer) -> None:
        """Queue the copy from GPU to host."""
        ...

    def synchronize(self) -> None:
        """Wait for everything that is queued; other Python threads run meanwhile."""
        ...

    def capture(self, queue: Callable[[], None]) -> Callable[[], None]:
        """Record what a function queues as a CUDA graph.

        Returns:
            Queues all of it in one launch; valid as long as the device.
        """
        ...

    def time_ms(self, queue: Callable[[], None]) -> float:
        """Return how long the GPU takes for what a function queues, by CUDA's own events."""
        ...

    def close(self) -> None:
        """Release the stream, graphs and the context; buffers must be gone."""
        ...


def find_gpu() -> Gpu:
    """Return the first GPU (of those in `CUDA_VISIBLE_DEVICES`).

    Raises:
        DeviceError: There is none, or PyCUDA or the driver is missing.
    """
    with _as_device_error():
        device = _driver().Device(0)
        major, minor = device.compute_capability()
        return Gpu(device.name(), f"{major}.{minor}")


class PycudaDevice:
    """The first GPU through PyCUDA, on its primary context.

    The primary context is the one that the CUDA runtime, and so TensorRT, PyTorch and ONNX Runtime,
    use: a context of our own beside it would not run in parallel with theirs.

    Raises:
        DeviceError: There is no GPU, or PyCUDA or the driver is missing.
    """

    def __init__(self) -> None:
        with _as_device_error():
            self._cuda = _driver()
            self._context: Any = self._cuda.Device(0).retain_primary_context()
            with self.current():
                # Does not wait for the legacy stream, on which a capture would fail.
                self._stream: Any = self._cuda.Stream(_STREAM_NON_BLOCKING)
        self.stream = int(self._stream.handle)
        self._graphs: list[_Graph] = []

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the GPU current on this thread for a while."""
        self._context.push()
        try:
            with _as_device_error():
                yield
        finally:
            self._cuda.Context.pop()

    def allocate(self, spec: TensorSpec) -> Buffer:
        """Allocate a tensor of a fixed shape."""
        host = self._cuda.pagelocked_empty(spec.shape, spec.dtype)
        host.fill(0)
        memory = self._cuda.mem_alloc(max(host.nbytes, 1))
        return Buffer(host, int(memory), memory)

    def upload(self, buffer: Buffer) -> None:
        """Queue the copy from host to GPU."""
        self._cuda.memcpy_htod_async(buffer.memory, buffer.host, self._stream)

    def download(self, buffer: Buffer) -> None:
        """Queue the copy from GPU to host."""
        self._cuda.memcpy_dtoh_async(buffer.host, buffer.memory, self._stream)

    def synchronize(self) -> None:
        """Wait for everything that is queued; other Python threads run meanwhile."""
        self._stream.synchronize()

    def capture(self, queue: Callable[[], None]) -> Callable[[], None]:
        """Record what a function queues as a CUDA graph."""
        graph = _Graph(self.stream, queue)
        self._graphs.append(graph)
        return graph.launch

    def time_ms(self, queue: Callable[[], None]) -> float:
        """Return how long the GPU takes for what a function queues, by CUDA's own events."""
        start, end = self._cuda.Event(), self._cuda.Event()
        start.record(self._stream)
        queue()
        end.record(self._stream)
        end.synchronize()
        return float(start.time_till(end))

    def close(self) -> None:
        """Release graphs, stream and context."""
        with self.current():
            for graph in self._graphs:
                graph.close()
            self._graphs.clear()
            self._stream = None
        self._context.detach()


_STREAM_NON_BLOCKING = 1
_CAPTURE_THREAD_LOCAL = 1


class _Graph:
    """A captured CUDA graph. PyCUDA has no graphs, so the driver's own functions are called."""

    def __init__(self, stream: int, queue: Callable[[], None]) -> None:
        self._cuda = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        self._stream = ctypes.c_void_p(stream)
        self._executable = ctypes.c_void_p()
        graph = ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", self._stream, _CAPTURE_THREAD_LOCAL)
        try:
            queue()
        finally:  # a stream that stays in capture could not be used any more
            ended = self._cuda.cuStreamEndCapture(self._stream, ctypes.byref(graph))
        _check("cuStreamEndCapture", ended)
        self._call(
            "cuGraphInstantiateWithFlags",
            ctypes.byref(self._executable),
            graph,
            ctypes.c_ulonglong(0),
        )
        self._call("cuGraphDestroy", graph)

    def launch(self) -> None:
        """Queue the graph."""
        self._call("cuGraphLaunch", self._executable, self._stream)

    def close(self) -> None:
        """Release the graph."""
        self._call("cuGraphExecDestroy", self._executable)

    def _call(self, function: str, *arguments: object) -> None:
        _check(function, getattr(self._cuda, function)(*arguments))


def _check(function: str, status: int) -> None:
    if status:
        raise DeviceError(f"CUDA's {function} failed with error {status}; check the GPU's driver.")


def _driver() -> Any:
    try:
        import pycuda.driver as cuda  # noqa: PLC0415
    except ImportError as error:
        raise DeviceError(
            f"PyCUDA or the NVIDIA driver cannot be loaded ({error}); install Glint's gpu extra on "
            "a machine with an NVIDIA GPU."
        ) from error
    cuda.init()
    return cuda


@contextmanager
def _as_device_error() -> Iterator[None]:
    """Turn PyCUDA's errors into ours."""
    try:
        yield
    except DeviceError:
        raise
    except Exception as error:
        if type(error).__module__.startswith("pycuda"):
            raise DeviceError(f"The GPU failed ({error}); check its driver.") from error
        raise
