"""Sessions as tables: events, OpenFace's columns, and Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from streamer.errors import SessionError
from streamer.line_file import whole_lines
from streamer.review.annotations import ReviewedEvent
from streamer.review.session_reader import Session, read_frames
from streamer.sinks.documents import event_document, finite

_OPENFACE = frozenset({"frame", "face_id", "timestamp", "confidence", "success"})
_WHOLE = frozenset({"frame", "face_id"})
_FOUND = ("found_onset_s", "found_apex_s", "found_offset_s")


def write_openface(path: Path, session: Session) -> None:
    """Write the frames as OpenFace 2 does.

    Its columns keep their names, and frames count from 1. What OpenFace does not measure is named
    `glint_…`: score, threshold and the motion of each region, and `glint_event`, the number of the
    event that the frame belongs to, 0 for none. Where OpenFace writes 0 without a face, the cell is
    empty.

    Raises:
        SessionError: The frames cannot be read.
        OSError: The file cannot be written.
    """
    events = _event_at(session.kept())
    try:
        lines, _ = whole_lines(session.path / "frames.csv")
    except (OSError, UnicodeDecodeError) as error:
        raise SessionError(
            f"The frames of {session.path} cannot be read ({error}): copy the session again from "
            "where it was recorded."
        ) from error
    if not lines:
        raise SessionError(f"{session.path} holds no frames: the session broke off too early.")
    names = [
        name if name in _OPENFACE or name.startswith("pose_") else f"glint_{name}"
        for name in lines[0].split(",")
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "glint_event"])
        for frame, *rest in csv.reader(lines[1:]):
            writer.writerow([int(frame) + 1, *rest, events.get(int(frame), 0)])


def write_events(path: Path, sessions: Sequence[Session]) -> None:
    """Write the events of sessions as one table, those that were rejected with their `verdict`.

    A list is written with semicolons between its items.

    Raises:
        OSError: The file cannot be written.
    """
    rows = [
        {"session": session.name, "subject": session.subject, **_row(reviewed)}
        for session in sessions
        for reviewed in session.reviewed()
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(names) or ["session", "subject", "id"])
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {
                    name: "; ".join(value) if isinstance(value, list | tuple) else value
                    for name, value in row.items()
                }
            )


def write_parquet(frames_path: Path, events_path: Path, session: Session) -> None:
    """Write frames and events; `session.json` goes into both files' metadata.

    The events hold those that were rejected too, with their `verdict`.

    Raises:
        SessionError: Polars is not installed, or the frames cannot be read.
        OSError: A file cannot be written.
    """
    try:
        import polars as pl  # noqa: PLC0415 - optional, and 40 MB
    except ModuleNotFoundError as error:
        raise SessionError(
            'Parquet needs Polars, which is not installed: pip install -e ".[export]".'
        ) from error
    about = {"glint_session": json.dumps(session.document, ensure_ascii=False)}
    frames = read_frames(session.path)
    whole = {name: pl.Int64 for name in _WHOLE} | {"success": pl.Boolean}
    table = pl.DataFrame({name: frames[name] for name in frames.names}).select(
        pl.col(name).fill_nan(None).cast(whole.get(name, pl.Float64)) for name in frames.names
    )
    table.write_parquet(frames_path, metadata=about)
    rows = [_row(reviewed) for reviewed in session.reviewed()]
    groups = (
        (pl.Int64, ("id", "onset_frame", "apex_frame", "offset_frame")),
        (pl.Float64, ("onset_s", "apex_s", "offset_s", "decided_s", "score", *_FOUND)),
        (pl.Boolean, ("added",)),
        (pl.String, ("kind", "emotion", "found_emotion", "verdict", "spotter", "recognizer")),
        (pl.String, ("explanation",)),  # JSON
        (pl.List(pl.String), ("regions", "quality", "notes", "reviewers")),
        (pl.Float64, sorted({n for row in rows for n in row if n.startswith(("p_", "AU"))})),
    )
    # Said, not inferred: a session without an event has the same columns.
    types = {name: kind for kind, names in groups for name in names}
    pl.DataFrame(rows, schema=types).write_parquet(events_path, metadata=about)


def _event_at(events: Iterable[ReviewedEvent]) -> dict[int, int]:
    """Frame to the number of its event."""
    return {
        frame: each.event.id
        for each in events
        if each.event.offset_frame is not None
        for frame in range(each.event.onset_frame, each.event.offset_frame + 1)
    }


def _row(reviewed: ReviewedEvent) -> dict[str, Any]:
    document = finite(event_document(reviewed.event))
    probabilities = document.pop("probabilities") or {}
    action_units = document.pop("action_units") or {}
    unit_probabilities = document.pop("unit_probabilities") or {}
    explanation = document.pop("explanation")
    return {
        **document,
        **{f"p_{name}": value for name, value in probabilities.items()},
        **action_units,
        **{f"p_{name}": value for name, value in unit_probabilities.items()},
        "explanation": None if explanation is None else json.dumps(explanation),
        "found_emotion": reviewed.found_emotion,
        **{name: getattr(reviewed.found, name.removeprefix("found_"), None) for name in _FOUND},
        "added": reviewed.added,
        "verdict": reviewed.verdict,
        "notes": reviewed.notes,
        "reviewers": reviewed.reviewers,
    }
