"""Figures for people, as tables in a terminal or in Markdown, and for programs, as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


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


def json_ready(value: Any) -> Any:
    """The same with NaN as None, which JSON has a word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): json_ready(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(each) for each in value]
    return value


def _numeric(text: str) -> bool:
    return text[:1] in "0123456789+-" and text[-1:] not in "szm"
