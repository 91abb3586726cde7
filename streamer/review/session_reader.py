"""Reading a session folder: finished, broken off, or still running.

What a killed session leaves behind is readable up to its last whole line; what is missing is
said, in `Session.notes`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from engines.events import Event, EventKind, EventState
from streamer.errors import SessionError
from streamer.line_file import whole_lines
from streamer.recording.layout import find_recording
from streamer.review.annotations import Annotations, Edit, ReviewedEvent, review

SESSION_FILE = "session.json"

_NEEDED = frozenset({"version", "source", "fps", "size", "started_utc", "end_state"})
_EVENT = TypeAdapter(Event)
_TAIL_BYTES = 8192  # more than a row
_TIME_COLUMN = 2
_IN_USE_S = 60.0  # metrics.json of a session that runs is renewed every two seconds


@dataclass(frozen=True, slots=True)
class Session:
    """What a session folder tells.

    Attributes:
        path: The folder.
        document: `session.json`.
        metrics: `metrics.json`; empty when the session broke off before it was written.
        events: Closed events as they were found, in order.
        truth: Lines of `truth.jsonl`; None when the source did not know its truth.
        edits: What reviewers said.
        notes: What is missing or torn, in sentences.
    """

    path: Path
    document: Mapping[str, Any]
    metrics: Mapping[str, Any]
    events: tuple[Event, ...]
    truth: tuple[Mapping[str, Any], ...] | None
    edits: tuple[Edit, ...]
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.resolve().name

    @property
    def source(self) -> Mapping[str, Any]:
        """The source, as `session.json` describes it."""
        source: Mapping[str, Any] = self.document["source"]
        return source

    @property
    def video(self) -> str:
        """Name of what was analysed, as an annotator knows it."""
        if self.source["kind"] in ("video", "folder"):
            return Path(str(self.source["name"])).stem
        return self.name

    @property
    def end_state(self) -> str:
        """`running`, `finished`, `interrupted` or `failed`."""
        return str(self.document["end_state"])

    @property
    def started(self) -> datetime:
        """When the session started, in UTC."""
        return moment(str(self.document["started_utc"]))

    @property
    def begin_s(self) -> float:
        """Stream time from which it was stored; later than 0 for one out of a running preview."""
        stored_from = self.document.get("stored_from")
        return 0.0 if stored_from is None else float(stored_from["time_s"])

    @property
    def subject(self) -> str | None:
        """Pseudonym of the subject; None when none was given."""
        subject = self.document.get("subject")
        return None if subject is None else str(subject)

    @property
    def fps_nominal(self) -> float:
        """Frames a second of the source, as it was opened."""
        return float(self.document["fps"]["nominal"])

    @property
    def lost(self) -> Mapping[str, int]:
        """Cause to number of lost frames."""
        lost: Mapping[str, int] = self.metrics.get("lost", {})
        return lost

    @property
    def recording(self) -> Path | None:
        """Folder of the recorded pictures; None when none were kept."""
        return find_recording(self.path)

    def reviewed(self) -> tuple[ReviewedEvent, ...]:
        """Every event with what reviewers said of it."""
        return review(self.events, self.edits)

    def kept(self) -> tuple[ReviewedEvent, ...]:
        """The events that no reviewer rejected."""
        return tuple(each for each in self.reviewed() if not each.rejected)

    def review_summary(self) -> str:
        """One sentence on what reviewers changed."""
        if not self.edits:
            return "No reviewer has looked at the events."
        events = self.reviewed()
        counts = (
            (sum(each.verdict == "confirmed" for each in events), "confirmed"),
            (sum(each.rejected for each in events), "rejected"),
            (sum(each.relabelled for each in events), "given another emotion"),
            (sum(each.moved for each in events), "given other times"),
            (sum(each.added for each in events), "added"),
            (sum(not each.reviewers for each in events), "not looked at"),
        )
        who = ", ".join(dict.fromkeys(edit.who for edit in self.edits))
        said = ", ".join(f"{number} {what}" for number, what in counts if number)
        return f"Reviewed by {who}: of {len(events)} events {said or 'none was changed'}."


@dataclass(frozen=True, slots=True)
class Frames:
    """Columns of `frames.csv`.

    Attributes:
        names: Names of the C columns.
        values: (N, C) float64, a row for each analysed frame; NaN where a cell is empty.
        torn: Whether the last row was cut off; it is left out.
    """

    names: tuple[str, ...]
    values: npt.NDArray[np.float64]
    torn: bool

    def __getitem__(self, name: str) -> npt.NDArray[np.float64]:
        """(N,) values of a column."""
        column: npt.NDArray[np.float64] = self.values[:, self.names.index(name)]
        return column


def session_document(path: Path) -> Mapping[str, Any] | None:
    """The `session.json` of a folder; None when it holds none that Glint wrote."""
    try:
        document = json.loads((path / SESSION_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if _is_glints(document) else None


def is_session(path: Path) -> bool:
    """Whether a folder is a session."""
    return session_document(path) is not None


def moment(text: str) -> datetime:
    """Return the time that `started_utc` states.

    Raises:
        ValueError: It states none.
    """
    # Python 3.10 does not know Z.
    stated = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return stated if stated.tzinfo else stated.replace(tzinfo=timezone.utc)


def read_session(path: Path) -> Session:
    """Read a session folder, without its frames.

    Raises:
        SessionError: It is no session folder, or a file of it makes no sense.
    """
    if not path.is_dir():
        raise SessionError(f"There is no session folder {path}: check the path.")
    if not (path / SESSION_FILE).is_file():
        raise SessionError(
            f"{path} is no session folder, it holds no {SESSION_FILE}: give a folder that "
            "--session wrote."
        )
    notes: list[str] = []
    document = _document(path / SESSION_FILE)
    if not _is_glints(document):
        raise SessionError(
            f"{path / SESSION_FILE} was not written by Glint: give a folder that --session wrote."
        )
    if is_being_written(path, document):
        notes.append("The session is still running: read it again when it has ended.")
    elif document["end_state"] == "running":
        notes.append("The session's program was killed.")
    metrics: dict[str, Any] = {}
    if (path / "metrics.json").is_file():
        metrics = _document(path / "metrics.json")
    else:
        notes.append("It broke off before its figures were written: losses are not known.")
    events = tuple(_events(path / "events.jsonl", _lines(path / "events.jsonl", notes)))
    truth = tuple(_lines(path / "truth.jsonl", notes)) if (path / "truth.jsonl").is_file() else None
    annotations = Annotations(path)
    edits = annotations.read()
    if annotations.torn:
        notes.append(_torn(annotations.path))
    known = {event.id for event in events} | {e.event for e in edits if e.action == "add"}
    for number in sorted({edit.event for edit in edits} - known):
        notes.append(f"Reviewers speak of event {number}, which the session does not hold.")
    return Session(path, document, metrics, events, truth, edits, tuple(notes))


def is_being_written(path: Path, document: Mapping[str, Any]) -> bool:
    """Whether the session of a folder runs: it has not ended, and its files are renewed."""
    if document["end_state"] != "running":
        return False
    files = (path / name for name in (SESSION_FILE, "metrics.json", "frames.csv"))
    newest = max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)
    return time.time() - newest < _IN_USE_S


def read_frames(session: Path, columns: Iterable[str] | None = None) -> Frames:
    """Read `frames.csv`.

    Args:
        session: The session folder.
        columns: Which columns; None reads all of them.

    Raises:
        SessionError: It is missing, lacks a column, or a row makes no sense.
    """
    path = session / "frames.csv"
    values: npt.NDArray[np.float64] | None = None
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = _WholeLines(file)
            header = next(lines, None)
            names = () if header is None else tuple(header.split(","))
            wanted = names if columns is None else tuple(columns)
            places = [names.index(name) for name in wanted]
            first = next(lines, None)
            if first is not None:
                # NumPy reads numbers at the speed of the disk, but takes no empty cells.
                rows = map(_filled, chain([first], lines))
                values = np.loadtxt(rows, delimiter=",", usecols=places, ndmin=2)
    except (OSError, ValueError) as error:
        raise SessionError(
            f"{path} cannot be read ({error}): copy the session again from where it was recorded."
        ) from error
    return Frames(wanted, np.empty((0, len(wanted))) if values is None else values, lines.torn)


def last_time_s(session: Path) -> float:
    """Stream time of the last analysed frame in seconds, without reading the others; 0 if none."""
    try:
        with (session / "frames.csv").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            rows = file.read().decode("utf-8").rpartition("\n")[0].split("\n")
        return float(rows[-1].split(",")[_TIME_COLUMN])
    except (OSError, ValueError, IndexError):
        return 0.0


def detected_kinds(events: Iterable[ReviewedEvent]) -> dict[EventKind, int]:
    """Number of events of each kind."""
    kinds = [each.event.kind for each in events]
    return {kind: kinds.count(kind) for kind in EventKind}


class _WholeLines:
    """Lines of a file that may break off, one by one: an hour of frames is no small text."""

    def __init__(self, file: Iterable[str]) -> None:
        self._lines = iter(file)
        self.torn = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if not line.endswith("\n"):
            self.torn = True
            raise StopIteration
        return line[:-1]


def _is_glints(document: Any) -> bool:
    if not isinstance(document, dict) or not document.keys() >= _NEEDED:
        return False
    try:
        moment(str(document["started_utc"]))
    except ValueError:
        return False
    return True


def _filled(line: str) -> str:
    if "" in (cells := line.split(",")):
        return ",".join(cell or "nan" for cell in cells)
    return line


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SessionError(
            f"{path} cannot be read ({error}): copy the session again from where it was recorded."
        ) from error
    if not isinstance(document, dict):
        raise SessionError(f"{path} is no JSON object: give a folder that --session wrote.")
    return document


def _lines(path: Path, notes: list[str]) -> list[dict[str, Any]]:
    """The JSON objects of a file; a torn last one is left out and noted."""
    if not path.is_file():
        notes.append(f"{path.name} is missing: the session broke off at its start.")
        return []
    try:
        lines, torn = whole_lines(path)
        documents = [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise SessionError(
            f"{path} cannot be read ({error}): copy the session again from where it was recorded."
        ) from error
    if torn:
        notes.append(_torn(path))
    return documents


def _torn(path: Path) -> str:
    return f"The last line of {path.name} was cut off and is left out."


def _events(path: Path, documents: Iterable[dict[str, Any]]) -> Iterable[Event]:
    for number, document in enumerate(documents, start=1):
        try:
            yield _EVENT.validate_python({**document, "state": EventState.CLOSED})
        except (ValidationError, TypeError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise SessionError(
                f"{path}, line {number} is no event ({reason}): copy the session again from where "
                "it was recorded."
            ) from error
