"""Keep what leave-one-subject-out on the composite data set gave, for docs/results.md.

    python -m benchmarks.composite ststnet=runs/ststnet_loso.json parts=runs/parts_loso.json

The reports are those of `python -m engines.training.ENGINE loso`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.results import RESULTS, bounded, save, table
from engines.errors import UserError

DATA_NAMES = {
    "composite": "composite of MEGC 2019, 442 samples",
    "smic": "SMIC, 164 samples",
    "casme2": "CASME II, 145 samples",
    "samm": "SAMM, 133 samples",
}
_FIGURES = ("uf1", "uf1_interval", "uar", "uar_interval", "accuracy", "accuracy_interval")


def entries(engine: str, report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The results of a report: leave one subject out, and with the recipe chosen inside it."""
    nested = report.get("nested", {})
    protocols = {
        "leave one subject out" + (", recipe found with these figures in view" if nested else ""): (
            report["ensemble"]
        )
    }
    if nested:
        protocols["leave one subject out, recipe chosen inside every fold"] = nested["best"]
    for protocol, by_data in protocols.items():
        for name, figures in by_data.items():
            yield {
                "engine": engine,
                "task": "recognition",
                "data": DATA_NAMES[name],
                "protocol": protocol,
                **{figure: figures[figure] for figure in _FIGURES},
            }


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.composite",
        description="Keep the figures of leave-one-subject-out reports.",
    )
    parser.add_argument("reports", nargs="+", metavar="ENGINE=REPORT.json")
    results: list[dict[str, Any]] = []
    try:
        for argument in parser.parse_args().reports:
            engine, _, path = argument.partition("=")
            results += entries(engine, _read(path))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    rows = [
        [
            entry["engine"],
            entry["data"],
            entry["protocol"],
            bounded(entry["uf1"], entry["uf1_interval"]),
            bounded(entry["uar"], entry["uar_interval"]),
        ]
        for entry in results
    ]
    report = table(["engine", "data", "protocol", "UF1 [95 %]", "UAR [95 %]"], rows)
    print(report)
    save("composite", {"results": results}, report, RESULTS / "composite.json")
    return 0


def _read(path: str) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
        return report
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path or 'A report'} cannot be read ({error}): give ENGINE=REPORT.json, made by "
            "python -m engines.training.ENGINE loso."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
