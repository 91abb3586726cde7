"""What the command lines of several benchmarks have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from engines.errors import UserError


def live_parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """Parser of a benchmark that runs sessions: `--size` and `--json`.

    Args:
        program: What is run, as in `python -m benchmarks.live`.
        description: The module's docstring; its first line is shown.
    """
    parser = argparse.ArgumentParser(
        prog=program, description=(description or "").split("\n", maxsplit=1)[0]
    )
    parser.add_argument(
        "--size",
        type=picture_size,
        default=(640, 480),
        metavar="WxH",
        help="picture size (640x480)",
    )
    parser.add_argument(
        "--json", type=Path, help="result file (default: one with the date in benchmarks/results)"
    )
    return parser


def floats(text: str) -> tuple[float, ...]:
    """Numbers from `100,200`."""
    return tuple(float(part) for part in text.split(","))


def some_of(choices: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """Reader of a comma-separated choice."""

    def chosen(text: str) -> tuple[str, ...]:
        parts = tuple(text.split(","))
        if not set(parts) <= set(choices):
            raise argparse.ArgumentTypeError(f"choose of {', '.join(choices)}")
        return parts

    return chosen


def exit_with(main: Callable[[], int]) -> None:
    """Run a command line; a user's mistake is one sentence.

    Raises:
        SystemExit: Always.
    """
    try:
        raise SystemExit(main())
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


def picture_size(text: str) -> tuple[int, int]:
    """Width and height from `640x480`."""
    width, height = text.lower().split("x")
    return int(width), int(height)
