"""The commands on finished sessions: `run_live.py review|export|report|batch|purge …`."""

from __future__ import annotations

import argparse
import os
import sys
import time
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from streamer.config import GlintConfig, read_toml
from streamer.errors import ConfigError, SessionError
from streamer.process import MISTAKE, CommandParser, run_command

if TYPE_CHECKING:
    from streamer.review.session_reader import Session

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "review": "look through sessions in the browser: correct, compare, analyse again",
        "export": "write sessions for ELAN, MEGC, OpenFace's users, or as Parquet",
        "report": "write one HTML page that tells what a session measured",
        "batch": "analyse an archive of recordings, each into a session folder of its own",
        "purge": "delete a subject's sessions, or old ones",
    }
)
"""Name of a command to what it does."""

_CORES_A_JOB = 2  # what one analysis keeps busy
_POLL_S = 0.2  # Windows delivers Ctrl-C only between two waits
_FOREVER_DAYS = 100_000.0

_REVIEW = """\
Open finished sessions in the browser: the score with the picture of each frame where it was
recorded, the events to confirm, reject, move, rename or add, another engine's session or an
annotator's file beside them, the report and the exports.

What reviewers say is appended to annotations.jsonl in the session folder; nothing that was
measured is changed. Ctrl-C ends it.
"""

_EXPORT = """\
Write finished sessions in the form of another program. What reviewers changed is taken into
account; nothing is overwritten.

  elan      SESSION.eaf: tiers micro, macro, apex and emotion, with the video linked
  megc      megc.csv: subject, video, onset, offset, emotion of every event, in frames
  csv       events.csv: a row for every event, with what reviewers changed
  parquet   SESSION.frames.parquet and SESSION.events.parquet (needs the extra 'export')
  openface  SESSION.csv: a row for each frame, with OpenFace's column names where it has them
"""

_REPORT = """\
Write one HTML page about a session that needs no other file: what was measured on what rig, how
good the recording is, every event, the score with its threshold, the truth beside it where there
is one, and the limits of the method.
"""

_BATCH = """\
Analyse every recording of a folder and of the folders in it: videos, folders of pictures (with
--fps), and session folders with a recording. Each goes into its own session folder under --out.

What is finished is not analysed again, so a batch that was ended goes on where it stood; what
broke off is analysed anew into another folder. A file that cannot be read is named in the table
and stops nothing. The table is printed, and written to batch.csv.
"""

_PURGE = """\
Delete the sessions in a folder and in the folders in it: those of a subject, those older than some
days, or those that are both. They are listed first, and nothing is deleted without a yes. What
other programs put into a session's folder stays there and is named; exports and reports that were
written elsewhere are not found.
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


# -- review ----------------------------------------------------------------------------------


def _review_parser() -> CommandParser:
    parser = _parser("review", _REVIEW)
    parser.add_argument(
        "folders",
        type=Path,
        nargs="+",
        metavar="SESSION_OR_FOLDER",
        help="session folder, or a folder that holds some at any depth",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address of the page; any but this machine's own needs a login (default: %(default)s)",
    )
    parser.add_argument(
        "--auth",
        metavar="USER:PASSWORD",
        help="login that every route asks for; the environment variable GLINT_LOGIN does the same "
        "and does not show in the list of processes; GLINT_TOKEN holds a token instead, the "
        "password of any user",
    )
    parser.add_argument(
        "--port", type=int, default=7861, help="port, 0 for a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address and open no browser"
    )
    return parser


def _review(options: argparse.Namespace) -> None:
    from streamer.dashboard.access import check_bind, login_of  # noqa: PLC0415

    login = login_of(options.auth)
    check_bind(options.host, login)

    from streamer.review.app import ReviewServer  # noqa: PLC0415 - OpenCV, SciPy, a web server
    from streamer.review.library import Library  # noqa: PLC0415

    library = Library(options.folders)
    number = len(library.scan())
    found = f"{number} session" if number == 1 else f"{number} sessions"
    server = ReviewServer(library, host=options.host, port=options.port, auth=login)
    try:
        address = server.start()
        print(f"The review of {found} is at {address}; Ctrl-C ends it.", flush=True)
        if not options.no_browser:
            webbrowser.open(address)
        while True:
            time.sleep(_POLL_S)
    finally:
        server.stop()


# -- export ----------------------------------------------------------------------------------


def _export_parser() -> CommandParser:
    parser = _parser("export", _EXPORT)
    parser.add_argument("sessions", type=Path, nargs="+", metavar="SESSION", help="session folder")
    parser.add_argument(
        "--to",
        choices=("elan", "megc", "csv", "parquet", "openface"),
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
    from streamer.review.report import REPORT_FILE, report, save  # noqa: PLC0415

    session = _read(options.session)
    path = options.out or session.path / REPORT_FILE
    save(path, report(session, options.truth, faces=options.faces))
    print(path)


# -- batch -----------------------------------------------------------------------------------


def _batch_parser() -> CommandParser:
    parser = _parser("batch", _BATCH)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the archive")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the session folders"
    )
    parser.add_argument(
        "--jobs",
        type=_jobs,
        default=max(1, (os.cpu_count() or 1) // _CORES_A_JOB),
        metavar="N",
        help="recordings to analyse at the same time (default: %(default)s, half of the cores)",
    )
    parser.add_argument(
        "--pattern",
        metavar="GLOB",
        help="what the end of a path must match, such as '*.avi' or 's*/EP*' for folders of "
        "pictures (default: everything that looks like a recording)",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file with any setting of a session"
    )
    parser.add_argument("--fps", type=float, metavar="HZ", help="rate of folders of pictures")
    parser.add_argument("--spotter", metavar="NAME", help="spotting engine")
    parser.add_argument("--recognizer", metavar="NAME", help="recognition engine, or 'none'")
    return parser


def _jobs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of jobs")
    return int(text)


def _batch(options: argparse.Namespace) -> None:
    from streamer.review.batch import Batch, find_recordings  # noqa: PLC0415 - engines, seconds

    found = find_recordings(options.folder, options.pattern, options.out)
    batch = Batch(options.folder, found, options.out, _batch_configuration(options))
    try:
        batch.run(options.jobs, bar=sys.stderr.isatty())
    finally:
        if batch.results:
            print(batch.table())
            print(f"Table: {batch.save()}")
            print("A micro-expression does not prove that a person lies.")
    for note in batch.notes:
        print(f"Note: {note}", file=sys.stderr)
    if batch.failed:
        for result in batch.failed:
            print(f"{result.file}: {result.reason}", file=sys.stderr)
        raise SessionError(
            f"{len(batch.failed)} of {len(found)} recordings could not be analysed: mend what is "
            "said above and run it again, the others are not analysed again."
        )


def _batch_configuration(options: argparse.Namespace) -> GlintConfig:
    tree = read_toml(options.config) if options.config is not None else {}
    GlintConfig.from_tree(tree, str(options.config))  # a mistake in the file names the file
    source = {**tree.get("source", {}), "speed": "max"}
    if options.fps is not None:
        source["fps"] = options.fps
    engines = {"spotter": options.spotter, "recognizer": options.recognizer}
    given = {role: name for role, name in engines.items() if name is not None}
    return GlintConfig.from_tree({**tree, **given, "source": source})


# -- purge -----------------------------------------------------------------------------------


def _purge_parser() -> CommandParser:
    parser = _parser("purge", _PURGE)
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder that holds the sessions")
    parser.add_argument("--subject", metavar="ID", help="pseudonym that the sessions bear")
    parser.add_argument(
        "--older-than", type=_days, metavar="DAYS", help="sessions that started before"
    )
    parser.add_argument("--yes", action="store_true", help="delete without asking")
    return parser


def _days(text: str) -> float:
    days = float(text)
    if not 0 <= days < _FOREVER_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days")
    return days


def _purge(options: argparse.Namespace) -> None:
    from streamer.review.purge import delete, find_doomed  # noqa: PLC0415

    if options.subject is None and options.older_than is None:
        raise ConfigError("Say which sessions to delete: give --subject, --older-than, or both.")
    doomed = find_doomed(options.root, options.subject, options.older_than)
    if not doomed:
        print("There is no such session.")
        return
    for each in doomed:
        subject = each.subject or "no subject"
        print(f"{each.path}  {each.started:%Y-%m-%d %H:%M} UTC  {subject}  {_megabytes(each.size)}")
    total = f"{len(doomed)} sessions, {_megabytes(sum(each.size for each in doomed))}"
    if not (options.yes or _agreed(total)):
        print("Nothing was deleted.")
        return
    for path in delete(doomed):
        print(f"Note: {path} is not Glint's and was left.", file=sys.stderr)
    print(f"Deleted: {total}.")


def _agreed(total: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(f"{total} would be deleted, and nobody can be asked: add --yes.")
    try:
        return input(f"Delete {total}, for good? Type yes: ").strip().lower() == "yes"
    except EOFError:
        return False


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _read(path: Path) -> Session:
    from streamer.review.session_reader import read_session  # noqa: PLC0415

    session = read_session(path)
    for note in session.notes:
        print(f"Note: {session.name}: {note}", file=sys.stderr)
    return session


_COMMANDS: Mapping[
    str, tuple[Callable[[], CommandParser], Callable[[argparse.Namespace], None]]
] = MappingProxyType(
    {
        "review": (_review_parser, _review),
        "export": (_export_parser, _export),
        "report": (_report_parser, _report),
        "batch": (_batch_parser, _batch),
        "purge": (_purge_parser, _purge),
    }
)
