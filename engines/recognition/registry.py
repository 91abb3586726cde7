"""Recognition engines by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from engines.errors import EngineError
from engines.recognition.base import Recognizer


def _parts(backend: str) -> Recognizer:
    from engines.recognition.parts.recognizer import PartsRecognizer  # noqa: PLC0415

    return PartsRecognizer(backend=backend)


def _ststnet(backend: str) -> Recognizer:
    from engines.recognition.ststnet.recognizer import StstnetRecognizer  # noqa: PLC0415

    return StstnetRecognizer(backend=backend)


def _landmark(backend: str) -> Recognizer:
    from engines.recognition.landmark_recognizer import LandmarkRecognizer  # noqa: PLC0415

    return LandmarkRecognizer(backend=backend)


def _network(name: str) -> Callable[[str], Recognizer]:
    def build(backend: str) -> Recognizer:
        from engines.recognition.network_recognizer import NetworkRecognizer  # noqa: PLC0415

        return NetworkRecognizer(Path(__file__).parent / name, backend)

    return build


def _depth(name: str) -> Callable[[str], Recognizer]:
    def build(backend: str) -> Recognizer:
        from engines.recognition.network_recognizer import DepthRecognizer  # noqa: PLC0415

        return DepthRecognizer(Path(__file__).parent / name, backend)

    return build


def _sequence(name: str) -> Callable[[str], Recognizer]:
    def build(backend: str) -> Recognizer:
        from engines.recognition.sequence_recognizer import SequenceRecognizer  # noqa: PLC0415

        return SequenceRecognizer(Path(__file__).parent / name, backend)

    return build


RECOGNIZERS: Mapping[str, Callable[[str], Recognizer]] = MappingProxyType(
    {
        "ststnet": _ststnet,
        "parts": _parts,
        "mean": _network("mean"),
        "sfamnet": _network("sfamnet"),
        "mol": _sequence("mol"),
        "mer-gcn": _sequence("mer-gcn"),
        "au-gacn": _sequence("au-gacn"),
        "au-landmark": _landmark,
    }
)
"""Name to builder from a backend. An engine's own libraries are imported when it is built."""

DEPTH_RECOGNIZERS: Mapping[str, Callable[[str], Recognizer]] = MappingProxyType(
    {"sfamnet-depth": _depth("sfamnet-depth")}
)
"""The same of engines that need a depth camera beside the other."""


def create_recognizer(name: str, backend: str = "auto") -> Recognizer:
    """Build a recognition engine.

    Args:
        name: One of `RECOGNIZERS` or `DEPTH_RECOGNIZERS`.
        backend: What runs its network, one of `engines.runtime.BACKENDS`.

    Returns:
        The engine; the caller closes it.

    Raises:
        EngineError: There is no such engine, or its model file is missing or corrupt.
    """
    known = {**RECOGNIZERS, **DEPTH_RECOGNIZERS}
    if name not in known:
        raise EngineError(
            f"There is no recogniser named {name!r}; choose one of {', '.join(known)}."
        )
    return known[name](backend)
