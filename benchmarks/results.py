"""Tables for people and JSON for programs, both with the machine that they were measured on."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from engines.evaluation.tables import bounded, json_ready, number, table
from streamer.telemetry import describe_machine

__all__ = ["RESULTS", "bounded", "number", "save", "table"]

RESULTS = Path(__file__).parent / "results"


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
    text = json.dumps(json_ready({**head, **measured}), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    introduction = (
        f"# {name}, {now:%Y-%m-%d %H:%M} UTC\n\n`{command}`\n\n"
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{machine['system']}, Python {machine['python']}\n\n"
    )
    path.with_suffix(".md").write_text(introduction + report + "\n", encoding="utf-8")
    return path
