"""Deleting sessions: a subject's, or old ones. Only what Glint wrote, nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from streamer.consent import FILE as CONSENT
from streamer.errors import SessionError
from streamer.markers import FILE as MARKERS
from streamer.recording.layout import DESCRIPTION_FILE, TIMES_FILE, VIDEO_FILE
from streamer.recording.layout import FOLDER as RECORDING
from streamer.review.annotations import FILE as ANNOTATIONS
from streamer.review.export import FOLDER as EXPORT
from streamer.review.report import REPORT_FILE
from streamer.review.session_reader import (
    SESSION_FILE,
    is_being_written,
    moment,
    session_document,
)

# session.json goes last: a folder that could not be emptied stays a session, to be purged again.
_FILES = (
    *("events.jsonl", "frames.csv", "metrics.json", "truth.jsonl", ANNOTATIONS, REPORT_FILE),
    *(CONSENT, MARKERS, "consent.json.tmp", "session.json.tmp", "metrics.json.tmp", SESSION_FILE),
)
_RECORDING_FILES = (VIDEO_FILE, TIMES_FILE, DESCRIPTION_FILE)


@dataclass(frozen=True, slots=True)
class Doomed:
    """A session that is to be deleted.

    Attributes:
        path: Its folder.
        started: When it started, in UTC.
        subject: Pseudonym of the subject; None when none was given.
        size: Bytes that Glint wrote.
    """

    path: Path
    started: datetime
    subject: str | None
    size: int


def find_doomed(root: Path, subject: str | None, older_than_days: float | None) -> list[Doomed]:
    """Find the sessions to delete; both conditions must hold where both are given.

    Links are not followed, and a session that is being written now is passed over.

    Raises:
        SessionError: The folder does not exist.
    """
    if not root.is_dir():
        raise SessionError(f"There is no folder {root}: give the folder that holds the sessions.")
    before = None
    if older_than_days is not None:
        before = datetime.now(timezone.utc) - timedelta(days=older_than_days)
    return [
        each
        for each in _sessions(root)
        if (subject is None or each.subject == subject)
        and (before is None or each.started < before)
    ]


def delete(doomed: Sequence[Doomed]) -> list[Path]:
    """Delete sessions.

    Returns:
        Files and folders that others put into them; they stay, with the folders that hold them.

    Raises:
        SessionError: Something cannot be deleted; what came before is gone.
    """
    left: list[Path] = []
    for each in doomed:
        try:
            for path in _written(each.path):
                path.unlink()
        except OSError as error:
            raise SessionError(
                f"{each.path} cannot be deleted ({error.strerror}): close what uses it, and run "
                "it again."
            ) from error
        for folder in (each.path / RECORDING, each.path / EXPORT, each.path):
            with suppress(OSError):  # holds what others put there
                folder.rmdir()
        if each.path.exists():
            left += sorted(each.path.iterdir())
    return left


def _sessions(root: Path) -> Iterator[Doomed]:
    """Every session that nobody writes; of a damaged one, `session.json` is enough."""
    for folder, folders, _ in os.walk(root, followlinks=False):
        folders.sort()
        path = Path(folder)
        document = session_document(path)
        if document is None:
            continue
        folders.clear()
        if not is_being_written(path, document):
            size = sum(map(_size, _written(path)))
            yield Doomed(path, moment(document["started_utc"]), document.get("subject"), size)


def _written(session: Path) -> Iterator[Path]:
    """Files that Glint wrote into a session, in the order in which they are deleted."""
    recording = session / RECORDING
    if _is_folder(recording):
        yield from filter(_is_file, (recording / name for name in _RECORDING_FILES))
    if _is_folder(session / EXPORT):
        yield from filter(_is_file, sorted((session / EXPORT).iterdir()))
    yield from filter(_is_file, (session / name for name in _FILES))


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _size(path: Path) -> int:
    return path.stat().st_size
