"""Make docs/results.md: every engine on every data set, from what the benchmarks have kept.

    python -m benchmarks.tables
    python -m benchmarks.tables --check

Nothing is measured here. A result appears when its file does: any `.json` in `benchmarks/results/`
with a list `results`, and the manifest of a shipped engine (`engines/*/NAME/NAME.json`) with such
a list in `training`. One entry is one engine on one data set:

    {"engine": "mean", "task": "spotting", "data": "…", "protocol": "…", "kind": "micro",
     "f1": 0.5, "f1_interval": [0.4, 0.6], "false_positives_per_min": 0.7, "latency_p50_s": 0.3}
    {"engine": "ststnet", "task": "recognition", "data": "…", "protocol": "…",
     "uf1": 0.74, "uf1_interval": [0.7, 0.8], "uar": 0.75, "accuracy": 0.8}
    {"engine": "mean", "task": "cost", "data": "one core, ONNX Runtime", "ms_per_frame": 0.3}

`task` is `spotting`, `recognition`, `strs` or `cost`; `engine`, `task` and `data` are required,
every figure is optional and times are seconds unless their name says otherwise. `NAME_interval`
are 95 % bounds. Synthetic data is called synthetic in `data`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import RESULTS, table
from engines.errors import UserError

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"

_TASKS: Mapping[str, tuple[str, tuple[tuple[str, str, int, float], ...]]] = {
    # Heading, then columns: title, figure, decimals, factor.
    "spotting": (
        "Spotting",
        (
            ("F1 [95 %]", "f1", 3, 1),
            ("precision", "precision", 3, 1),
            ("recall", "recall", 3, 1),
            ("FP/min [95 %]", "false_positives_per_min", 2, 1),
            ("confirmed after apex, ms", "look_ahead_s", 0, 1000),
            ("final after offset, ms", "latency_p50_s", 0, 1000),
        ),
    ),
    "recognition": (
        "Recognition",
        (
            ("UF1 [95 %]", "uf1", 3, 1),
            ("UAR [95 %]", "uar", 3, 1),
            ("accuracy", "accuracy", 3, 1),
        ),
    ),
    "strs": (
        "Spot, then recognise",
        (
            ("STRS [95 %]", "strs", 3, 1),
            ("F1 spotting", "spotting_f1", 3, 1),
            ("F1 analysis", "analysis_f1", 3, 1),
        ),
    ),
    "cost": (
        "Cost",
        (
            ("ms a frame, mean", "ms_per_frame_mean", 3, 1),
            ("p50", "ms_per_frame", 3, 1),
            ("p99", "ms_per_frame_p99", 3, 1),
            ("ms an event, p50", "ms_per_event", 1, 1),
            ("p99", "ms_per_event_p99", 1, 1),
            ("s an epoch", "s_per_epoch", 1, 1),
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Result:
    """One entry and the file that it stands in."""

    figures: Mapping[str, Any]
    source: str

    @property
    def task(self) -> str:
        """Which table it belongs to."""
        return str(self.figures["task"])


@dataclass(frozen=True, slots=True)
class Network:
    """A network that ships."""

    name: str
    role: str
    version: str
    kilobytes: float


def main(argv: Sequence[str]) -> int:
    """Run the command line.

    Returns:
        0, 1 when `--check` finds the page outdated, 2 for a user's mistake.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tables", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--engines", type=Path, default=ROOT / "engines", metavar="FOLDER")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE")
    parser.add_argument("--check", action="store_true", help="only tell whether it is up to date")
    arguments = parser.parse_args(argv)
    try:
        text = page(arguments.results, arguments.engines)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.check:
        current = arguments.page.is_file() and arguments.page.read_text(encoding="utf-8") == text
        if not current:
            print(f"{arguments.page} is outdated: run python -m benchmarks.tables.")
        return int(not current)
    arguments.page.write_text(text, encoding="utf-8")
    print(arguments.page)
    return 0


def page(results: Path, engines: Path) -> str:
    """The page, Markdown.

    Raises:
        UserError: A file is no JSON, or an entry lacks what every one has.
    """
    found: list[Result] = []
    made: list[list[str]] = []
    for path in sorted(results.glob("*.json")):
        document = _read(path)
        entries = [Result(figures, path.stem) for figures in _entries(document)]
        if entries:
            found += entries
            command, day = str(document.get("command", "")), str(document.get("utc", ""))[:10]
            machine = document.get("machine", {})
            cpu = f"{machine.get('cpu', '')}, {machine.get('cores', '?')} cores"
            made.append([path.stem, f"`{command}`", day, cpu])
    networks: list[Network] = []
    for path in sorted(engines.glob("*/*/*.json")):
        if path.stem == path.parent.name and path.with_suffix(".onnx").is_file():
            document = _read(path)
            networks.append(_network(path, document))
            entries = _entries(document.get("training", {}))
            found += [Result(figures, "its model card") for figures in entries]
    for result in found:
        missing = [name for name in ("engine", "task", "data") if name not in result.figures]
        if missing or result.task not in _TASKS:
            raise UserError(
                f"An entry of {result.source} lacks {', '.join(missing) or 'a known task'}; "
                "benchmarks/tables.py says what one has."
            )
    parts = [
        "# Results",
        "Made by `python -m benchmarks.tables` from `benchmarks/results/` and the manifests of the "
        "shipped networks; [how Glint is measured](evaluation.md) says what the figures mean. "
        "A dash is what nobody measured.",
        *(_section(task, [r for r in found if r.task == task]) for task in _TASKS),
    ]
    if networks:
        rows = [[n.name, n.role, n.version, f"{n.kilobytes:.0f}"] for n in networks]
        header = ["network", "for", "version", "size, kB"]
        parts.append("## Shipped networks\n\n" + table(header, rows))
    if made:
        header = ["source", "command", "day", "machine"]
        parts.append("## Where the figures come from\n\n" + table(header, made))
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(task: str, results: Sequence[Result]) -> str:
    if not results:
        return ""
    heading, columns = _TASKS[task]
    used = [c for c in columns if any(r.figures.get(c[1]) is not None for r in results)]
    kinds = any("kind" in r.figures for r in results)
    header = ["engine", "data", "protocol", *(["kind"] if kinds else [])]
    header += [title for title, *_ in used] + ["source"]
    rows = []
    places = {data: at for at, data in enumerate(dict.fromkeys(r.figures["data"] for r in results))}
    for result in sorted(results, key=lambda r: places[r.figures["data"]]):
        figures = result.figures
        row = [str(figures["engine"]), str(figures["data"]), str(figures.get("protocol", "-"))]
        row += [str(figures.get("kind", "-"))] if kinds else []
        row += [_cell(figures, name, digits, factor) for _, name, digits, factor in used]
        rows.append([*row, result.source])
    return f"## {heading}\n\n{table(header, rows)}"


def _cell(figures: Mapping[str, Any], name: str, digits: int, factor: float) -> str:
    value, bounds = figures.get(name), figures.get(f"{name}_interval")
    if value is None:
        return "-"
    text = f"{factor * value:.{digits}f}"
    if bounds is None or None in bounds:
        return text
    low, high = (f"{factor * bound:.{digits}f}" for bound in bounds)
    return f"{text} [{low}, {high}]"


def _entries(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a file tells, also in the forms that are older than the list `results`."""
    yield from document.get("results", [])
    if document.get("benchmark") == "detection":
        yield from _detection(document)
    elif document.get("benchmark") == "live":
        yield from _live(document)


def _detection(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    minutes = len(document["seeds"]) * document["duration_s"] / 60
    for row in document["quality"]:
        if row["condition"] == "all":
            bounds = row["bounds_95"]
            yield {
                **row,
                "engine": document["configuration"]["spotter"],
                "task": "spotting",
                "data": f"animated faces (synthetic), {row['fps']:.0f} fps",
                "protocol": "seeds that no setting was chosen on",
                "false_positives_per_min": row["fp"] / minutes,
                "f1_interval": bounds.get("f1"),
            }


def _live(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for block in document["blocks"]:
        if block["block"] == "spotter":
            yield {
                "engine": "flow",
                "task": "cost",
                "data": "spotter alone, one thread",
                "ms_per_frame": block["p50_ms"],
            }


def _network(path: Path, document: Mapping[str, Any]) -> Network:
    return Network(
        name=str(document.get("name", path.stem)),
        role=path.parent.parent.name,
        version=str(document.get("version", "-")),
        kilobytes=path.with_suffix(".onnx").stat().st_size / 1000,
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as JSON ({error}); make it again or delete it."
        ) from error
    return document if isinstance(document, dict) else {}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
