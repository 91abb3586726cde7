"""TensorRT and TensorRT-RTX: two packages with one API."""

from __future__ import annotations

import ctypes
import importlib
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

from engines.errors import EngineError

logger = logging.getLogger(__name__)

_MODULES: Mapping[str, str] = MappingProxyType(
    {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx_bindings"}
)
PLAN_BACKENDS = tuple(_MODULES)
"""Backends that run compiled plans."""


class BindingsError(EngineError):
    """The package of a backend is not installed or cannot be loaded."""


@dataclass(frozen=True, slots=True)
class Bindings:
    """A loaded TensorRT.

    Attributes:
        backend: One of `PLAN_BACKENDS`.
        module: The package.
        logger: TensorRT's logger, which writes into Python's.
        errors: What TensorRT has called an error since `create`.
    """

    backend: str
    module: Any
    logger: Any
    errors: list[str] = field(default_factory=list)

    @property
    def version(self) -> str:
        """Version of TensorRT."""
        return str(self.module.__version__)

    def create(self, kind: str) -> Any:
        """Make a `Builder` or `Runtime`; what TensorRT called an error before is forgotten.

        Raises:
            BindingsError: TensorRT cannot, as a rule because the driver is too old for it.
        """
        self.errors.clear()
        made = None
        with suppress(TypeError):  # TensorRT 10's word for a constructor that returned nothing
            made = getattr(self.module, kind)(self.logger)
        if made is None or self.errors:
            # TensorRT 11 returns an object nevertheless. To use it ends the process, and so does to
            # free it: this reference is for ever.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))
            raise BindingsError(
                f"{self.backend} {self.version} does not start ({self.first_error()}); renew the "
                "GPU's driver."
            )
        return made

    def first_error(self) -> str:
        """What TensorRT said first, in a line: what follows are its consequences."""
        return self.errors[0].splitlines()[0] if self.errors else "without a reason"


@cache  # TensorRT takes the first logger that it is given for the whole process
def bindings(backend: str) -> Bindings:
    """Load a backend's package.

    Raises:
        BindingsError: It is not installed or cannot be loaded.
    """
    try:
        module = importlib.import_module(_MODULES[backend])
    except (ImportError, OSError) as error:
        raise BindingsError(
            f"The package {_MODULES[backend]} cannot be loaded ({error}); install Glint's gpu "
            "extra to use it."
        ) from error
    errors: list[str] = []
    return Bindings(backend, module, _logger(module, errors), errors)


def _logger(module: Any, errors: list[str]) -> Any:
    severity = module.ILogger.Severity

    class PythonLogger(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)  # pybind11 wants this call, not super()

        def log(self, level: Any, message: str) -> None:
            if level in (severity.ERROR, severity.INTERNAL_ERROR):
                errors.append(message)
            if level != severity.VERBOSE:
                logger.debug("%s", message)

    return PythonLogger()
