"""The operator's markers: moments of a session that somebody pointed at while it ran.

`markers.jsonl` in the session folder holds one a line: `{"time_s", "frame", "text", "who",
"when_utc"}`. The time is that of the newest analysed frame when the key was pressed; a person's
reaction time, a few tenths of a second, is in it.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamer.errors import SessionError
from streamer.line_file import LineFile, whole_lines
from streamer.review.annotations import Words

FILE = "markers.jsonl"


class Marker(BaseModel):
    """One line of `markers.jsonl`.

    Attributes:
        time_s: Stream time in seconds.
        frame: Index of the frame.
        text: What the operator called it.
        who: Who set it.
        when_utc: When it was set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    time_s: float = Field(ge=0, allow_inf_nan=False)
    frame: int = Field(ge=0)
    text: Words
    who: Words
    when_utc: datetime


def append_marker(session: Path, marker: Marker) -> None:
    """Write a marker behind the others of a session folder.

    Raises:
        SessionError: The file cannot be written.
    """
    path = session / FILE
    try:
        file = LineFile(path, resume=True)
        try:
            file.append(marker.model_dump_json())
        finally:
            file.close()
    except OSError as error:
        raise SessionError(
            f"The marker cannot be written to {path} ({error.strerror}): make room or mend the "
            "rights of the folder, and set it again."
        ) from error


def read_markers(session: Path) -> tuple[Marker, ...]:
    """Return the markers of a session folder in order; a torn last line is left out.

    Raises:
        SessionError: The file cannot be read, or a line of it is no marker.
    """
    path = session / FILE
    if not path.is_file():
        return ()
    try:
        return tuple(Marker.model_validate_json(line) for line in whole_lines(path)[0])
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise SessionError(f"{path} cannot be read ({error}): mend the file.") from error
