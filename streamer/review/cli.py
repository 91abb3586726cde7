"""The commands on finished sessions: `run_live.py export|report|batch|purge …`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from streamer.errors import ConfigError
from streamer.process import MISTAKE, CommandParser, run_command

if TYPE_CHECKING:
    from streamer.review.session_reader import Session

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "export": "write sessions for ELAN, MEGC, OpenFace's users, or as Parquet",
        "report": "write one HTML page that tells what a session measured",
    }
)
"""Name of a command to what it does."""

_EXPORT = """\
Write finished sessions in the form of another program. What reviewers changed is taken into
account; nothing is overwritten.

  elan      SESSION.eaf: tiers micro, macro, apex and emotion, with the video linked
  megc      megc.csv: subject, video, onset, offset, emotion of every event, in frames
  parquet   SESSION.frames.parquet and SESSION.events.parquet (needs the extra 'export')
  openface  SESSION.csv: a row for each frame, with OpenFace's column names where it has them
"""

_REPORT = """\
Write one HTML page about a session that needs no other file: what was measured on what rig, how
good the recording is, every event, the score with its threshold, the truth beside it where there
is one, and the limits of the method.
"""


def main(arguments: Sequence[str]) -> int:
    """Run a command.

    Args:
        arguments: The command, one of `COMMANDS`, and its options.

    Returns:
        0 done, 2 a user's mistake, 1 a fault.
    """
    build, work = _COMMANDS[arguments[0]]
    parser = build()
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="warning",
        metavar="LEVEL",
        help="debug, info, warning or error (default: warning)",
    )
    try:
        options = parser.parse_args(arguments[1:])
    except ConfigError as error:
        print(error, file=sys.stderr)
        return MISTAKE
    return run_command(lambda: work(options), options.log_level)


def _parser(command: str, description: str) -> CommandParser:
    return CommandParser(
        prog=f"run_live.py {command}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


# -- export ----------------------------------------------------------------------------------


def _export_parser() -> CommandParser:
    parser = _parser("export", _EXPORT)
    parser.add_argument("sessions", type=Path, nargs="+", metavar="SESSION", help="session folder")
    parser.add_argument(
        "--to",
        choices=("elan", "megc", "parquet", "openface"),
        required=True,
        help="the form to write",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the files (default: SESSION/export)"
    )
    parser.add_argument(
        "--first-frame",
        type=int,
        default=0,
        metavar="N",
        help="megc: number of a video's first frame (default: 0)",
    )
    return parser


def _export(options: argparse.Namespace) -> None:
    from streamer.review.export import export  # noqa: PLC0415 - SciPy takes its time

    sessions = [_read(path) for path in options.sessions]
    for path in export(sessions, options.to, options.out, options.first_frame):
        print(path)
    for session in sessions:
        if session.edits:
            print(f"{session.name}: {session.review_summary()}")


# -- report ----------------------------------------------------------------------------------


def _report_parser() -> CommandParser:
    parser = _parser("report", _REPORT)
    parser.add_argument("session", type=Path, metavar="SESSION", help="session folder")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the page (default: SESSION/report.html)"
    )
    parser.add_argument(
        "--truth",
        type=Path,
        metavar="FILE",
        help="an annotator's file (.csv, .jsonl, a result log of MEGC 2020) to compare with "
        "(default: the session's truth.jsonl, which the demo has)",
    )
    parser.add_argument(
        "--faces",
        action="store_true",
        help="show the face at onset and apex of every event, from the recording (default: no "
        "picture of the person goes into the page)",
    )
    return parser


def _report(options: argparse.Namespace) -> None:
    from streamer.review.report import report, save  # noqa: PLC0415

    session = _read(options.session)
    path = options.out or session.path / "report.html"
    save(path, report(session, options.truth, faces=options.faces))
    print(path)


def _read(path: Path) -> Session:
    from streamer.review.session_reader import read_session  # noqa: PLC0415

    session = read_session(path)
    for note in session.notes:
        print(f"Note: {session.name}: {note}", file=sys.stderr)
    return session


_COMMANDS: Mapping[
    str, tuple[Callable[[], CommandParser], Callable[[argparse.Namespace], None]]
] = MappingProxyType({"export": (_export_parser, _export), "report": (_report_parser, _report)})
