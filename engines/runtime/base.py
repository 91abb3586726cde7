"""The runtime seam: a compiled network with named inputs and outputs.

The base class owns the life-cycle and checks what goes in; a backend only runs. The division is
that of NVIDIA Polygraphy's `BaseRunner`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from engines.errors import EngineError

Tensor = npt.NDArray[Any]
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What is known of an input or output.

    Attributes:
        name: Its name in the graph.
        shape: Extent of each axis; None where any extent goes (the batch, as a rule).
        dtype: Element type.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]

    def accepts(self, tensor: Tensor) -> bool:
        """Whether an array has this type and shape."""
        return (
            tensor.dtype == self.dtype
            and tensor.ndim == len(self.shape)
            and all(
                own in (None, given) for own, given in zip(self.shape, tensor.shape, strict=True)
            )
        )

    def zeros(self) -> Tensor:
        """An array of this type and shape, one element where any extent goes."""
        return np.zeros([extent or 1 for extent in self.shape], self.dtype)

    def __str__(self) -> str:
        extents = ", ".join("?" if extent is None else str(extent) for extent in self.shape)
        return f"{self.dtype.name} ({extents})"


class GraphRunner(ABC):
    """A compiled network that is ready to run until it is closed.

    One thread at a time; which one does not matter. A context manager.

    Attributes:
        name: What the graph is called in messages.
        backend: What runs it, for `session.json`: `onnxruntime-cpu`, `tensorrt` and so on.
        fallback: Why it is not what was asked for, ready to be shown; None when it is.
    """

    def __init__(
        self,
        name: str,
        backend: str,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
    ) -> None:
        self.name = name
        self.backend = backend
        self.fallback: str | None = None
        self._inputs = MappingProxyType({spec.name: spec for spec in inputs})
        self._outputs = MappingProxyType({spec.name: spec for spec in outputs})
        self._closed = False

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Inputs by name, in the graph's order."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Outputs by name, in the graph's order."""
        return self._outputs

    def warm_up(self) -> None:
        """Run twice on zeros: what a backend does lazily is done before the first frame."""
        zeros = {name: spec.zeros() for name, spec in self._inputs.items()}
        for _ in range(2):
            self.run(zeros)

    def run(self, tensors: Tensors) -> dict[str, Tensor]:
        """Run the network once.

        Args:
            tensors: An array for every input.

        Returns:
            An array for every output; the caller's own, no later run overwrites it.

        Raises:
            EngineError: The graph is closed, an input is missing, unknown or of another type or
                shape, or the backend failed.
        """
        if self._closed:
            raise EngineError(f"The network {self.name} is closed: open it again to run it.")
        self._check(tensors)
        return self._run(tensors)

    def close(self) -> None:
        """Release what the backend holds. Idempotent."""
        if not self._closed:
            self._closed = True
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self, tensors: Tensors) -> None:
        if tensors.keys() != self._inputs.keys():
            raise EngineError(
                f"The network {self.name} takes {_listed(self._inputs)} but was given "
                f"{_listed(tensors)}: give every input once, by its name."
            )
        for name, spec in self._inputs.items():
            tensor = tensors[name]
            if not spec.accepts(tensor):
                given = TensorSpec(name, tensor.shape, tensor.dtype)
                raise EngineError(
                    f"The input {name} of the network {self.name} is {spec} but was given "
                    f"{given}: convert it first."
                )

    @abstractmethod
    def _run(self, tensors: Tensors) -> dict[str, Tensor]:
        """Run once on inputs that were checked."""

    @abstractmethod
    def _close(self) -> None:
        """Release everything; called once."""


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(names) or "nothing"
