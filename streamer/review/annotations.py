"""What a reviewer says of a session's events: appended, never written over what was found."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engines.events import Event, EventKind, EventState
from streamer.errors import SessionError
from streamer.line_file import LineFile, whole_lines

FILE = "annotations.jsonl"

Action = Literal["confirm", "reject", "relabel", "move", "add", "note", "undo"]
Verdict = Literal["confirmed", "rejected"]
# No control characters: XML, and so ELAN, has none.
Words = Annotated[str, Field(pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]+$", max_length=2000)]
FrameIndex = Annotated[int, Field(ge=0)]
StreamTime = Annotated[float, Field(ge=0, allow_inf_nan=False)]

_VERDICTS: Mapping[Action, Verdict] = MappingProxyType(
    {"confirm": "confirmed", "reject": "rejected"}
)
_MICRO_S = 0.5


class Course(BaseModel):
    """When an event begins, is strongest and ends, as a reviewer sees it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    onset_s: StreamTime
    apex_s: StreamTime
    offset_s: StreamTime
    onset_frame: FrameIndex
    apex_frame: FrameIndex
    offset_frame: FrameIndex

    @model_validator(mode="after")
    def _in_order(self) -> Course:
        if not self.onset_s <= self.apex_s <= self.offset_s or self.onset_s == self.offset_s:
            raise ValueError("the apex lies between onset and offset, and the two are not one")
        return self

    @property
    def kind(self) -> EventKind:
        """What its duration makes of it."""
        return EventKind.MICRO if self.offset_s - self.onset_s <= _MICRO_S else EventKind.MACRO


class Edit(BaseModel):
    """One line of `annotations.jsonl`: what a reviewer says of one event.

    Attributes:
        event: Number of the event in `events.jsonl`, or of one that a reviewer added.
        action: What is said.
        emotion: The right emotion, for `relabel`; may be given with `add`.
        course: The right times, for `move` and `add`.
        undoes: The line that counts no more, from 1, for `undo`. An `undo` can be undone.
        note: A remark; `note` is nothing else.
        who: The reviewer.
        when_utc: When it was said.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    event: int = Field(ge=1)
    action: Action
    emotion: Words | None = None
    course: Course | None = None
    undoes: int | None = Field(None, ge=1)
    note: Words | None = None
    who: Words
    when_utc: datetime

    @model_validator(mode="after")
    def _says_something(self) -> Edit:
        if self.emotion is None and self.action == "relabel":
            raise ValueError("relabel needs an emotion")
        if self.emotion is not None and self.action not in ("relabel", "add"):
            raise ValueError("an emotion belongs to relabel and add, and to nothing else")
        if (self.course is not None) != (self.action in ("move", "add")):
            raise ValueError("times belong to move and add, and to nothing else")
        if (self.undoes is not None) != (self.action == "undo"):
            raise ValueError("the number of a line belongs to undo, and to nothing else")
        if self.action == "note" and self.note is None:
            raise ValueError("a note needs its text")
        return self


@dataclass(frozen=True, slots=True)
class ReviewedEvent:
    """An event and what reviewers said of it, the last word counting.

    Attributes:
        event: The event, with the reviewer's emotion and times where they were changed.
        found: The event as it was found; None for one that a reviewer added.
        verdict: `confirmed`, `rejected`, or None where nobody decided.
        notes: Remarks in order, each with its reviewer.
        reviewers: Who said anything, in order.
    """

    event: Event
    found: Event | None
    verdict: Verdict | None = None
    notes: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()

    @property
    def rejected(self) -> bool:
        """Whether it counts no more."""
        return self.verdict == "rejected"

    @property
    def added(self) -> bool:
        """Whether a reviewer added it."""
        return self.found is None

    @property
    def found_emotion(self) -> str | None:
        """The emotion that recognition gave."""
        return None if self.found is None else self.found.emotion

    @property
    def relabelled(self) -> bool:
        """Whether a reviewer gave it another emotion."""
        return self.found is not None and self.event.emotion != self.found.emotion

    @property
    def moved(self) -> bool:
        """Whether a reviewer changed its times."""
        return self.found is not None and _frames(self.event) != _frames(self.found)

    def as_found(self) -> ReviewedEvent:
        """The same without what reviewers said; itself where they added it."""
        return self if self.found is None else ReviewedEvent(self.found, self.found)


class Annotations:
    """Reads and writes the reviewers' file of a session.

    Args:
        session: The session folder.
    """

    def __init__(self, session: Path) -> None:
        self.path = session / FILE

    def confirm(self, event: int, who: str, note: str | None = None) -> Edit:
        """Say that an event is right; see `append` for what is raised."""
        return self.say(event, "confirm", who, note=note)

    def reject(self, event: int, who: str, note: str | None = None) -> Edit:
        """Say that an event is none."""
        return self.say(event, "reject", who, note=note)

    def relabel(self, event: int, who: str, emotion: str, note: str | None = None) -> Edit:
        """Give an event another emotion."""
        return self.say(event, "relabel", who, emotion=emotion, note=note)

    def move(self, event: int, who: str, course: Course, note: str | None = None) -> Edit:
        """Give an event other times; its kind follows from them."""
        return self.say(event, "move", who, course=course, note=note)

    def add(self, event: int, who: str, course: Course, emotion: str | None = None) -> Edit:
        """Add an event that was missed, under a number that no other has."""
        return self.say(event, "add", who, course=course, emotion=emotion)

    def note(self, event: int, who: str, note: str) -> Edit:
        """Remark on an event."""
        return self.say(event, "note", who, note=note)

    def undo(self, line: int, who: str) -> Edit:
        """Take a line back; it stays in the file.

        Raises:
            SessionError: There is no such line.
        """
        edits = self.read()
        if not 0 < line <= len(edits):
            raise SessionError(f"{self.path} has no line {line} to undo: name another one.")
        return self.say(edits[line - 1].event, "undo", who, undoes=line)

    def say(
        self,
        event: int,
        action: Action,
        who: str,
        *,
        emotion: str | None = None,
        course: Course | None = None,
        undoes: int | None = None,
        note: str | None = None,
    ) -> Edit:
        """Check and append an edit of now.

        Raises:
            SessionError: It says nothing, or cannot be written.
        """
        try:
            edit = Edit(
                event=event,
                action=action,
                emotion=emotion,
                course=course,
                undoes=undoes,
                note=note,
                who=who,
                when_utc=datetime.now(timezone.utc),
            )
        except ValidationError as error:
            raise SessionError(
                f"This is no annotation ({error.errors()[0]['msg']}): correct it and say it again."
            ) from error
        self.append(edit)
        return edit

    def append(self, edit: Edit) -> None:
        """Write an edit behind the others.

        Raises:
            SessionError: The file cannot be written.
        """
        try:
            file = LineFile(self.path, resume=True)
            try:
                document = edit.model_dump(mode="json", exclude_none=True)
                file.append(json.dumps(document, ensure_ascii=False))
            finally:
                file.close()
        except OSError as error:
            raise SessionError(
                f"The annotation cannot be written to {self.path} ({error.strerror}): make room "
                "or mend the rights of the folder, and say it again."
            ) from error

    @property
    def torn(self) -> bool:
        """Whether the last line was cut off; the next edit replaces it."""
        return self.path.is_file() and whole_lines(self.path)[1]

    def read(self) -> tuple[Edit, ...]:
        """Return every edit in order; a torn last line is left out.

        Raises:
            SessionError: The file cannot be read, or a line of it is no edit.
        """
        if not self.path.is_file():
            return ()
        try:
            lines, _ = whole_lines(self.path)
        except (OSError, UnicodeDecodeError) as error:
            raise SessionError(f"{self.path} cannot be read ({error}): mend the file.") from error
        edits = []
        for number, line in enumerate(lines, start=1):
            try:
                edits.append(Edit.model_validate_json(line))
            except ValidationError as error:
                raise SessionError(
                    f"{self.path}, line {number} is no annotation ({error.errors()[0]['msg']}): "
                    "correct or remove it."
                ) from error
        return tuple(edits)


def undone_lines(edits: Sequence[Edit]) -> set[int]:
    """Lines, from 1, that count no more because a later one takes them back."""
    undone: set[int] = set()
    for line in range(len(edits), 0, -1):  # what was said later decides first
        undoes = edits[line - 1].undoes
        if undoes is not None and line not in undone:
            undone.add(undoes)
    return undone


def in_force(edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """The edits that count: neither taken back nor an undo themselves."""
    undone = undone_lines(edits)
    return tuple(
        edit
        for line, edit in enumerate(edits, start=1)
        if line not in undone and edit.action != "undo"
    )


def review(
    events: Iterable[Event], edits: Sequence[Edit], who: str | None = None
) -> tuple[ReviewedEvent, ...]:
    """Return events with what reviewers said of them, then the events that they added.

    Args:
        events: The events as they were found.
        edits: Every line of the reviewers' file.
        who: Listen to this reviewer only; None listens to all of them.
    """
    valid = [edit for edit in in_force(edits) if who in (None, edit.who)]
    about: dict[int, list[Edit]] = {}
    for edit in valid:
        about.setdefault(edit.event, []).append(edit)
    found = [_reviewed(event, event, about.get(event.id, ())) for event in events]
    added = [
        _reviewed(_new_event(edit.event, edit.course), None, about[edit.event])
        for edit in valid
        if edit.action == "add" and edit.course is not None
    ]
    return (*found, *added)


def _new_event(number: int, course: Course) -> Event:
    return Event(
        id=number,
        state=EventState.CLOSED,
        score=math.nan,
        regions=(),
        kind=course.kind,
        **course.model_dump(),
    )


def _reviewed(event: Event, found: Event | None, edits: Sequence[Edit]) -> ReviewedEvent:
    verdicts = [edit.action for edit in edits if edit.action in _VERDICTS]
    emotions = [edit.emotion for edit in edits if edit.emotion is not None]
    courses = [edit.course for edit in edits if edit.course is not None]
    if emotions:
        event = replace(event, emotion=emotions[-1])
    if courses:
        event = replace(event, kind=courses[-1].kind, **courses[-1].model_dump())
    return ReviewedEvent(
        event=event,
        found=found,
        verdict=_VERDICTS[verdicts[-1]] if verdicts else None,
        notes=tuple(f"{edit.note} ({edit.who})" for edit in edits if edit.note is not None),
        reviewers=tuple(dict.fromkeys(edit.who for edit in edits)),
    )


def _frames(event: Event) -> tuple[int, int, int | None]:
    return event.onset_frame, event.apex_frame, event.offset_frame
