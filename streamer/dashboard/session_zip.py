"""A session as one file to take away: its numbers, and the forms of other programs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from streamer.consent import FILE as CONSENT
from streamer.errors import UserError
from streamer.markers import FILE as MARKERS
from streamer.review.annotations import FILE as ANNOTATIONS
from streamer.review.export import FORMATS, export
from streamer.review.session_reader import SESSION_FILE, read_session

_FILES = (
    *(SESSION_FILE, "events.jsonl", "frames.csv", "metrics.json", "truth.jsonl"),
    *(ANNOTATIONS, MARKERS, CONSENT),
)
_LEFT_OUT = "left_out.txt"


def pack_session(folder: Path) -> Path:
    """Write a session's files and its exports into a temporary zip file; pictures stay behind.

    Args:
        folder: The session folder; the session may still run.

    Returns:
        The file; the caller deletes it.

    Raises:
        SessionError: The folder is no session any more.
        UserError: The temporary folder is full.
    """
    session = read_session(folder)
    left_out = []
    with tempfile.TemporaryDirectory(prefix="glint-export-") as made:
        for form in FORMATS:
            try:
                export([session], form, Path(made) / form)
            except UserError as error:
                left_out.append(f"{form}: {error}")
        with tempfile.NamedTemporaryFile(prefix="glint-", suffix=".zip", delete=False) as file:
            packed = Path(file.name)
        try:
            with ZipFile(packed, "w", ZIP_DEFLATED) as archive:
                for name in _FILES:
                    if (folder / name).is_file():
                        archive.write(folder / name, name)
                for path in sorted(Path(made).rglob("*")):
                    if path.is_file():
                        archive.write(path, Path("export") / path.relative_to(made))
                if left_out:
                    archive.writestr(_LEFT_OUT, "\n".join(left_out) + "\n")
        except OSError as error:
            packed.unlink(missing_ok=True)
            raise UserError(
                f"The export cannot be written to {packed.parent} ({error.strerror}): make room "
                "there and try again."
            ) from error
    return packed
