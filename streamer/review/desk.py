"""What a reviewer can ask of sessions, by keys and numbers: nothing of it becomes a path."""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engines.errors import UserError
from engines.evaluation.spotting import Interval, interval_of_event
from streamer.errors import SessionError
from streamer.review.annotations import (
    Action,
    Annotations,
    Course,
    FrameIndex,
    ReviewedEvent,
    Words,
    review,
)
from streamer.review.comparison import Comparison, compare_events, read_truths
from streamer.review.library import Library, row
from streamer.review.pictures import FrameIndices, PictureShelf
from streamer.review.report import REPORT_FILE, duration_s, report, save
from streamer.review.rerun import Engines, Reruns
from streamer.review.session_reader import Frames, Session, is_being_written, read_frames
from streamer.review.view import FRAME_COLUMNS, session_view

_KEPT_FRAMES = 3
_ANNOTATORS_FILES = (".csv", ".eaf", ".jsonl", ".log", ".txt")


class Message(BaseModel):
    """What a page sends."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Times(Message):
    """When an event begins, is strongest and ends, in frame numbers."""

    onset: FrameIndex
    apex: FrameIndex
    offset: FrameIndex


class Said(Message):
    """An edit from the page.

    Attributes:
        action: What is said.
        who: The reviewer.
        event: Number of the event; none for `add` and `undo`.
        emotion: For `relabel` and `add`.
        frames: For `move` and `add`.
        note: A remark.
        line: The line to take back, for `undo`.
    """

    action: Action
    who: Words
    event: Annotated[int, Field(ge=1)] | None = None
    emotion: Words | None = None
    frames: Times | None = None
    note: Words | None = None
    line: Annotated[int, Field(ge=1)] | None = None


class Asked(Message):
    """What to compare a session with.

    Attributes:
        reference: The truth of the source, what was found, another session, an annotator's file,
            or another reviewer of the same session.
        session: Key of the other session.
        name: Name of the file, or of the other reviewer.
        text: What the file holds.
        who: Whose corrections the other reviewer's are set beside.
    """

    reference: Literal["truth", "found", "session", "file", "reviewer"]
    session: str = ""
    name: Annotated[str, Field(max_length=200)] = ""
    text: str = ""
    who: Annotated[str, Field(max_length=200)] = ""


class ReportOrder(Message):
    """A report to be written, with faces or without."""

    faces: bool = False


class ReviewDesk:
    """What the routes of the review share: sessions, pictures, annotations, the re-run.

    Args:
        library: The sessions.
        busy: Whether a live session runs in this program; nothing is read then.

    Attributes:
        library: The sessions.
        shelf: Their pictures.
        reruns: Analyses them again.
    """

    def __init__(self, library: Library, busy: Callable[[], bool] = lambda: False) -> None:
        self.library = library
        self._busy = busy
        self.shelf = PictureShelf()
        self.reruns = Reruns()
        self._annotating = threading.Lock()
        self._frames: OrderedDict[tuple[Path, int], Frames] = OrderedDict()
        self._reading = threading.Lock()

    def rows(self) -> list[dict[str, Any]]:
        """Every session for the list."""
        return [row(found, self.library) for found in self.library.scan()]

    def session(self, key: str) -> Session:
        """Read a session.

        Raises:
            SessionError: There is none of this key, it cannot be read, or a live session runs.
        """
        if self._busy():
            raise SessionError(
                "A live session runs here, and reading another would take the interpreter from its "
                "capture: stop it first, or open the folder with run_live.py review."
            )
        return self.library.read(key)

    def view(self, key: str) -> dict[str, Any]:
        """Everything about a session but its frames."""
        session = self.session(key)
        view = session_view(session)
        recorded, missing = self._recorded(session)
        if self.frames(session).torn:
            view["notes"].append("The last row of frames.csv was cut off and is left out.")
        return {
            **row(self.library.find(key), self.library),
            **view,
            "report": (session.path / REPORT_FILE).is_file(),
            "recorded": recorded,
            "no_pictures": missing,
        }

    def _recorded(self, session: Session) -> tuple[list[tuple[int, int]] | None, str]:
        """First and last frames of the runs that there are pictures of; or why there are none."""
        origin = self.library.pictures_of(session)
        if origin is not None:
            try:
                return _ranges(self.shelf.frames(origin, self._analysed(session))), ""
            except UserError as error:
                return None, str(error)
        if session.source["kind"] in ("video", "folder", "recording"):
            return None, (
                f"No pictures: {session.source['name']} is not in the folders that were opened. "
                "Name its folder too."
            )
        return None, "No pictures: this session was not recorded. --record keeps them."

    def _analysed(self, session: Session) -> FrameIndices:
        return self.frames(session)["frame"].astype(np.int64)

    def frames(self, session: Session) -> Frames:
        """The columns of `frames.csv` that are drawn; those of a few sessions are kept.

        Raises:
            SessionError: They cannot be read.
        """
        path = session.path / "frames.csv"
        with self._reading:
            known = (path, path.stat().st_mtime_ns if path.is_file() else 0)
            if known not in self._frames:
                self._frames[known] = read_frames(session.path, FRAME_COLUMNS)
                if len(self._frames) > _KEPT_FRAMES:
                    self._frames.popitem(last=False)
            self._frames.move_to_end(known)
            return self._frames[known]

    def picture(self, key: str, frame: int, width: int) -> bytes:
        """A recorded picture as JPEG.

        Raises:
            SessionError: It was not recorded.
        """
        session = self.session(key)
        origin = self.library.pictures_of(session)
        jpeg = None
        if origin is not None:
            jpeg = self.shelf.jpeg(origin, self._analysed(session), frame, width)
        if jpeg is None:
            raise SessionError(f"There is no picture of frame {frame}: it was not recorded.")
        return jpeg

    def annotate(self, key: str, said: Said) -> dict[str, Any]:
        """Append an edit, and return the session as it counts now.

        Raises:
            SessionError: It says nothing, or cannot be written.
        """
        with self._annotating:
            session = self.session(key)
            annotations = Annotations(session.path)
            if said.action == "undo":
                annotations.undo(said.line or 0, said.who)
            else:
                annotations.say(
                    self._number(session, said),
                    said.action,
                    said.who,
                    emotion=said.emotion,
                    course=None if said.frames is None else self._course(session, said.frames),
                    note=said.note,
                )
        return session_view(self.session(key))

    def compare(self, key: str, asked: Asked) -> Comparison:
        """Set a session beside a reference.

        Raises:
            UserError: The reference does not exist or cannot be read.
        """
        session = self.session(key)
        events: Iterable[ReviewedEvent] = session.kept()
        if asked.reference == "found":
            truths = _intervals(session.reviewed())
            events = [each.as_found() for each in session.reviewed() if not each.added]
            source = "the events as reviewers left them, beside what was found"
        elif asked.reference == "reviewer":
            truths = _intervals(review(session.events, session.edits, asked.name))
            mine = review(session.events, session.edits, asked.who)
            events = [each for each in mine if not each.rejected]
            source = f"the events as {asked.name} left them, beside {asked.who or 'nobody'}'s"
        elif asked.reference == "session":
            truths = _intervals(self.session(asked.session).reviewed())
            source = self.library.find(asked.session).place
        elif asked.reference == "truth":
            if session.truth is None:
                raise SessionError("The source of this session did not know the truth.")
            truths = read_truths(session.path, session)
            source = "the truth of the source"
        else:
            with _as_file(asked.name, asked.text) as path:
                truths = read_truths(path, session)
            source = asked.name
        return compare_events(events, truths, duration_s(self.frames(session)), source)

    def rerun(self, key: str, engines: Engines) -> dict[str, Any]:
        """Begin to analyse a session's pictures with other engines.

        Raises:
            UserError: It has none, or another analysis runs.
        """
        session = self.session(key)
        origin = self.library.pictures_of(session)
        if origin is None:
            raise SessionError(
                "There are no pictures of this session to analyse again: record with --record."
            )
        frames = len(self.shelf.frames(origin, self._analysed(session)))
        job = self.reruns.start(session, origin.path, frames, engines)
        self.library.include(job.folder)
        return self.job()

    def job(self) -> dict[str, Any]:
        """The re-run that is under way, or the last one; the keys of its sessions with it."""
        job = self.reruns.job
        if job is None:
            return {"job": None}
        session, result = (self.library.include(path) for path in (job.session, job.folder))
        return {
            "job": {
                "number": job.number,
                "session": session,
                "result": result,
                "name": job.folder.name,
                "frames": job.frames,
                "total": job.total,
                "state": job.state,
                "reason": job.reason,
            }
        }

    def write_report(self, key: str, faces: bool) -> None:
        """Write a session's report into its folder.

        Raises:
            UserError: A file cannot be read or written.
        """
        session = self.session(key)
        origin = self.library.pictures_of(session)
        recording = origin.path if origin and origin.kind == "recording" else None
        save(session.path / REPORT_FILE, report(session, faces=faces, recording=recording))

    def close(self) -> None:
        """End the re-run and close the pictures; may be called more than once."""
        self.reruns.close()
        self.shelf.close()

    def _number(self, session: Session, said: Said) -> int:
        """Number of the event that is spoken of; for a new one, the next that is free."""
        numbers = [each.event.id for each in session.reviewed()]
        if said.action == "add":
            if is_being_written(session.path, session.document):
                raise SessionError(
                    "The session is being written, and its numbers with it: add events when it "
                    "has ended."
                )
            return 1 + max([*numbers, *(edit.event for edit in session.edits)], default=0)
        if said.event not in numbers:
            raise SessionError("This event is not there any more: reload the page.")
        return said.event

    def _course(self, session: Session, said: Times) -> Course:
        frames = self.frames(session)
        times: dict[str, float] = {}
        for name, number in said.model_dump().items():
            place = int(np.searchsorted(frames["frame"], number))
            if place == len(frames.values) or frames["frame"][place] != number:
                raise SessionError(f"Frame {number} was not analysed: choose another {name}.")
            times[name] = float(frames["timestamp"][place])
        try:
            return Course(
                **{f"{name}_s": time_s for name, time_s in times.items()},
                **{f"{name}_frame": number for name, number in said.model_dump().items()},
            )
        except ValidationError as error:
            raise SessionError(
                "The onset comes first, then the apex, then a later offset: set them so."
            ) from error


def _intervals(events: Iterable[ReviewedEvent]) -> list[Interval]:
    """Events that nobody rejected, as a reference."""
    return [
        interval_of_event(each.event)
        for each in events
        if not each.rejected and each.event.offset_s is not None
    ]


@contextmanager
def _as_file(name: str, text: str) -> Iterator[Path]:
    """An annotator's file for as long as it is read; of its name only the ending counts.

    Raises:
        SessionError: It is of a form that no annotator's file has.
    """
    suffix = next((s for s in _ANNOTATORS_FILES if name.lower().endswith(s)), None)
    if suffix is None:
        raise SessionError(
            f"An annotator's file ends in {', '.join(_ANNOTATORS_FILES)}: choose one of these."
        )
    with tempfile.TemporaryDirectory(prefix="glint-") as folder:
        path = Path(folder) / f"file{suffix}"
        path.write_text(text, encoding="utf-8")
        yield path


def _ranges(frames: Any) -> list[tuple[int, int]]:
    """First and last of each run of numbers."""
    if not len(frames):
        return []
    breaks = np.flatnonzero(np.diff(frames) != 1)
    firsts, lasts = frames[np.r_[0, breaks + 1]], frames[np.r_[breaks, len(frames) - 1]]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
