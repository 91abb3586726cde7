"""The networks that ship, found where engines keep them."""

from __future__ import annotations

from pathlib import Path

from engines.errors import EngineError

_ENGINES = Path(__file__).parents[1]


def find_graphs(engine: str | None = None) -> list[Path]:
    """Find networks in `engines/<spotting|recognition>/<engine>/*.onnx`.

    Args:
        engine: Name of an engine, which may both spot and recognise; None finds every engine's.

    Returns:
        At least one file, in order of their paths.

    Raises:
        EngineError: There is no such engine, or it has no network.
    """
    graphs = sorted(_ENGINES.glob("*/*/*.onnx"))
    if engine is None:
        return graphs
    found = [path for path in graphs if path.parent.name == engine]
    if not found:
        names = ", ".join(sorted({path.parent.name for path in graphs}))
        raise EngineError(f"No engine named {engine!r} has a network; choose one of: {names}.")
    return found


def graph_title(graph: Path) -> str:
    """Return what a shipped network is called in tables: role, engine and, if several, which."""
    parts = [graph.parents[1].name, graph.parent.name]
    return "/".join(parts if graph.stem == graph.parent.name else [*parts, graph.stem])
