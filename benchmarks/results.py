"""Tables for people and JSON for programs, both with the machine that they were measured on."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from streamer.telemetry import describe_machine

RESULTS = Path(__file__).parent / "results"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table that is aligned in plain text too; numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(header, *cells, strict=True)]
    right = [all(_numeric(text) for text in column) for column in zip(*cells, strict=True)]
    right = right or [False] * len(header)

    def line(texts: Sequence[str]) -> str:
        padded = (
            text.rjust(width) if r else text.ljust(width)
            for text, width, r in zip(texts, widths, right, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = (
        "-" * (width + 1) + ":" if r else "-" * (width + 2)
        for width, r in zip(widths, right, strict=True)
    )
    return "\n".join([line(header), f"|{'|'.join(rule)}|", *map(line, cells)])


def number(value: float, digits: int = 2) -> str:
    """Return a number with so many decimals, `-` where there is none."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def bounded(value: float, bounds: tuple[float, float], digits: int = 2) -> str:
    """Return a number with its confidence interval."""
    if math.isnan(bounds[0]):
        return number(value, digits)
    return f"{number(value, digits)} [{number(bounds[0], digits)}, {number(bounds[1], digits)}]"


def save(name: str, measured: Mapping[str, Any], report: str, path: Path | None) -> Path:
    """Write a result as JSON and, beside it, the printed report as Markdown.

    Args:
        name: Which benchmark.
        measured: JSON-ready; NaN becomes null.
        report: The tables, Markdown.
        path: The JSON file; None gives it a name with the date in `benchmarks/results/`.

    Returns:
        The JSON file.
    """
    now = datetime.now(timezone.utc)
    path = path or RESULTS / f"{name}-{now:%Y%m%d-%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    command = " ".join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]])
    machine = describe_machine()
    head = {"benchmark": name, "command": command, "utc": now.isoformat(), "machine": machine}
    text = json.dumps(_finite({**head, **measured}), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    introduction = (
        f"# {name}, {now:%Y-%m-%d %H:%M} UTC\n\n`{command}`\n\n"
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{machine['system']}, Python {machine['python']}\n\n"
    )
    path.with_suffix(".md").write_text(introduction + report + "\n", encoding="utf-8")
    return path


def _numeric(text: str) -> bool:
    return text[:1] in "0123456789+-" and text[-1:] not in "szm"


def _finite(value: Any) -> Any:
    """The same with NaN as None, which JSON has a word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
