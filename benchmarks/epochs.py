"""What an epoch of training took, out of the logs of finished runs.

    python -m benchmarks.epochs RUN [RUN …]

RUN is the folder of a `python -m engines.training.train run`. The first epoch of a stage reads the
data and is left out where there are others. Training shares the machine with whatever else runs:
the least is nearer to what the network costs, the median to what one waits for.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import RESULTS, number, save, table
from engines.errors import UserError

RUN_FILE = "run.json"
LOG = "log.csv"


def epochs_of(run: Path) -> Iterator[dict[str, Any]]:
    """What each stage of a run took.

    Args:
        run: Its folder.

    Yields:
        Engine, data, stage, number of epochs, and the seconds of one: least and median.

    Raises:
        UserError: It is no run, or nothing was logged.
    """
    try:
        described = json.loads((run / RUN_FILE).read_text("utf-8"))
        logs = [
            list(csv.DictReader(path.read_text("utf-8").splitlines()))
            for path in sorted(run.glob(f"*/{LOG}"))
        ]
        seconds: dict[str, list[float]] = defaultdict(list)
        for rows in logs:
            stages = {row["stage"] for row in rows}
            for stage in sorted(stages):
                taken = [float(row["seconds"]) for row in rows if row["stage"] == stage]
                seconds[stage] += taken[1:] or taken
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{run} holds no readable training run ({error!r}).") from error
    if not seconds:
        raise UserError(f"{run} has no {LOG}: train with python -m engines.training.train run.")
    for stage, taken in seconds.items():
        yield {
            "engine": described["engine"],
            "data": described["data"],
            "protocol": described["protocol"],
            "stage": stage,
            "epochs": len(taken),
            "least_s": min(taken),
            "median_s": float(np.median(taken)),
        }


def results(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The figures as docs/results.md takes them; see `benchmarks.tables`."""
    for row in rows:
        yield {
            "engine": row["engine"],
            "task": "cost",
            "data": f"training, stage {row['stage']}: {row['data']}",
            "protocol": row["protocol"],
            "s_per_epoch": row["least_s"],
        }


def report(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table."""
    header = ("engine", "stage", "epochs measured", "least s", "median s", "data")
    return table(
        header,
        (
            (
                row["engine"],
                row["stage"],
                row["epochs"],
                number(row["least_s"], 1),
                number(row["median_s"], 1),
                row["data"],
            )
            for row in rows
        ),
    )


def main(argv: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.epochs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a run")
    parser.add_argument("--json", type=Path, default=RESULTS / "epochs.json")
    arguments = parser.parse_args(argv)
    try:
        rows = [row for run in arguments.runs for row in epochs_of(run)]
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    text = report(rows)
    print(text)
    measured = {"runs": rows, "results": list(results(rows))}
    print(f"\n{save('epochs', measured, text, arguments.json)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
