"""Shows what is in a data set's folder, and what is wrong with it.

python -m engines.datasets casme2 /data/CASME2 --labels 5
python -m engines.datasets cas_me_3 /data/CASME3 --truth truth/cas_me_3
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from engines.datasets.export import RECORDINGS_FILE, TRUTH_FILE, write_truth
from engines.datasets.registry import ADAPTERS, find_adapter
from engines.datasets.summary import describe, summarise
from engines.errors import UserError


def main(argv: Sequence[str]) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name.

    Returns:
        Exit code: 0 done, 2 a user's mistake.
    """
    arguments = _arguments(argv)
    try:
        dataset = find_adapter(arguments.name).read(arguments.folder)
        figures = summarise(dataset, arguments.labels)
        if arguments.truth is not None:
            write_truth(dataset, arguments.truth)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(figures, ensure_ascii=False, indent=2))
    else:
        print(describe(dataset, figures, arguments.all_problems))
    return 0


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    names = "\n".join(f"  {name:<10} {adapter.title}" for name, adapter in ADAPTERS.items())
    parser = argparse.ArgumentParser(
        prog="python -m engines.datasets",
        description="Read a licensed data set as its owners ship it and show what was found: "
        "subjects, recordings, events by class and kind, durations, and everything that is "
        "wrong. Nothing in the folder is changed and no picture is opened.",
        epilog=f"data sets:\n{names}\n\ndocs/datasets.md says how each is obtained and laid out.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="which data set it is; see below")
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="its folder; tables and frames at any depth"
    )
    parser.add_argument(
        "--labels",
        type=int,
        choices=(3, 5, 7),
        help="count by this set of classes (default: emotions as they were coded)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, all problems included")
    parser.add_argument(
        "--all-problems", action="store_true", help="show every problem, not a few of each kind"
    )
    parser.add_argument(
        "--truth",
        type=Path,
        metavar="FOLDER",
        help=f"write {TRUTH_FILE} and {RECORDINGS_FILE} there, for python -m engines.evaluation",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
