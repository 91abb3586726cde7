"""The command line of what is trained on the composite data set: `loso`, then `export`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engines.errors import UserError
from engines.training.composite3 import Composite3, load_composite3
from engines.training.composite_report import read_report, write_answers, write_json


@dataclass(frozen=True, slots=True)
class CompositeProgram:
    """What the programs differ in.

    Attributes:
        name: What is typed, as `python -m engines.training.parts`.
        about: For `--help`.
        folder: Where `export` writes by default.
        seeds: Of the members of the ensemble, by default.
        evaluate: Gives the report of the data with the options of `loso`.
        export: Writes the engine's files, given data, report, the command lines for the model card,
            and the options of `export`.
        add_options: Adds further options to the parsers of `loso` and `export`.
    """

    name: str
    about: str
    folder: Path
    seeds: Sequence[int]
    evaluate: Callable[[Composite3, argparse.Namespace], dict[str, Any]]
    export: Callable[[Composite3, dict[str, Any], str, argparse.Namespace], None]
    add_options: Callable[[argparse.ArgumentParser, argparse.ArgumentParser], None] = (
        lambda loso, ship: None
    )

    def run(self, argv: Sequence[str]) -> int:
        """Run the command line; 0 done, 2 a user's mistake."""
        options = self._parser().parse_args(argv)
        torch.set_num_threads(1)  # sums in another order would give another model
        command = f"{self.name} {shlex.join(argv)}"
        try:
            data = load_composite3(options.data)
            if options.command == "loso":
                report = self.evaluate(data, options)
                write_json(options.report, {**report, "command": command})
                write_answers(options.report.with_suffix(".csv"), report, data)
                if "nested" in report:
                    nested = options.report.with_suffix(".nested.csv")
                    write_answers(nested, report["nested"], data)
                shown = [part for part in ("ensemble", "nested", "units") if part in report]
                print(json.dumps({part: report[part] for part in shown}, indent=2))
            else:
                report = read_report(options.report, self.name)
                if report["data_sha256"] != data.sha256:
                    raise UserError("The report is of other data: run loso on this file first.")
                self.export(data, report, f"{report['command']}\n{command}", options)
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
        return 0

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(
            prog=self.name,
            description=self.about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        commands = parser.add_subparsers(dest="command", required=True)
        loso = commands.add_parser(
            "loso", help="leave one subject out: write UF1, UAR, accuracy and calibration as JSON"
        )
        ship = commands.add_parser(
            "export", help="train on all subjects: write model, manifest and model card"
        )
        for command in (loso, ship):
            command.add_argument(
                "--data",
                type=Path,
                required=True,
                metavar="PATH",
                help="flow_u_v_strain_28.npz or its folder",
            )
            command.add_argument(
                "--report",
                type=Path,
                required=True,
                metavar="JSON",
                help="the figures, which loso writes and export reads; answers lie beside as .csv",
            )
        loso.add_argument(
            "--seeds",
            type=int,
            nargs="+",
            default=list(self.seeds),
            metavar="N",
            help=f"one ensemble member each (default: {' '.join(map(str, self.seeds))})",
        )
        ship.add_argument(
            "--out",
            type=Path,
            default=self.folder,
            metavar="FOLDER",
            help="where the files go (default: the engine's folder)",
        )
        self.add_options(loso, ship)
        return parser


def add_groups(loso: argparse.ArgumentParser) -> None:
    """Add `--groups`."""
    loso.add_argument(
        "--groups",
        type=int,
        metavar="N",
        help="leave out one of N groups of subjects at a time, for a cheaper look",
    )
