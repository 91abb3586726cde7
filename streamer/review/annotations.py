"""What a reviewer says of a session's events: appended, never written over what was found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engines.events import Event
from streamer.errors import SessionError
from streamer.line_file import LineFile, whole_lines

FILE = "annotations.jsonl"

Action = Literal["confirm", "reject", "relabel", "note"]
Verdict = Literal["confirmed", "rejected"]
# No control characters: XML, and so ELAN, has none.
Words = Annotated[str, Field(pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]+$", max_length=2000)]

_VERDICTS: Mapping[Action, Verdict] = MappingProxyType(
    {"confirm": "confirmed", "reject": "rejected"}
)


class Edit(BaseModel):
    """One line of `annotations.jsonl`: what a reviewer says of one event.

    Attributes:
        event: Number of the event in `events.jsonl`.
        action: What is said.
        emotion: The right emotion, for `relabel`.
        note: A remark; `note` is nothing else.
        who: The reviewer.
        when_utc: When it was said.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    event: int = Field(ge=1)
    action: Action
    emotion: Words | None = None
    note: Words | None = None
    who: Words
    when_utc: datetime

    @model_validator(mode="after")
    def _says_something(self) -> Edit:
        if (self.emotion is not None) != (self.action == "relabel"):
            raise ValueError("an emotion belongs to relabel, and to nothing else")
        if self.action == "note" and self.note is None:
            raise ValueError("a note needs its text")
        return self


@dataclass(frozen=True, slots=True)
class ReviewedEvent:
    """An event and what reviewers said of it, the last word counting.

    Attributes:
        event: The event, with the reviewer's emotion where it was relabelled.
        found_emotion: The emotion that recognition gave.
        verdict: `confirmed`, `rejected`, or None where nobody decided.
        notes: Remarks in order, each with its reviewer.
        reviewers: Who said anything, in order.
    """

    event: Event
    found_emotion: str | None
    verdict: Verdict | None = None
    notes: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()

    @property
    def rejected(self) -> bool:
        """Whether it counts no more."""
        return self.verdict == "rejected"

    @property
    def relabelled(self) -> bool:
        """Whether a reviewer gave it another emotion."""
        return self.event.emotion != self.found_emotion


class Annotations:
    """Reads and writes the reviewers' file of a session.

    Args:
        session: The session folder.
    """

    def __init__(self, session: Path) -> None:
        self.path = session / FILE

    def confirm(self, event: int, who: str, note: str | None = None) -> Edit:
        """Say that an event is right; see `append` for what is raised."""
        return self._say(event, "confirm", who, note=note)

    def reject(self, event: int, who: str, note: str | None = None) -> Edit:
        """Say that an event is none."""
        return self._say(event, "reject", who, note=note)

    def relabel(self, event: int, who: str, emotion: str, note: str | None = None) -> Edit:
        """Give an event another emotion."""
        return self._say(event, "relabel", who, emotion=emotion, note=note)

    def note(self, event: int, who: str, note: str) -> Edit:
        """Remark on an event."""
        return self._say(event, "note", who, note=note)

    def append(self, edit: Edit) -> None:
        """Write an edit behind the others.

        Raises:
            SessionError: The file cannot be written.
        """
        try:
            file = LineFile(self.path, resume=True)
            try:
                file.append(json.dumps(edit.model_dump(mode="json"), ensure_ascii=False))
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

    def _say(
        self,
        event: int,
        action: Action,
        who: str,
        emotion: str | None = None,
        note: str | None = None,
    ) -> Edit:
        now = datetime.now(timezone.utc)
        try:
            edit = Edit(
                event=event, action=action, emotion=emotion, note=note, who=who, when_utc=now
            )
        except ValidationError as error:
            raise SessionError(
                f"This is no annotation ({error.errors()[0]['msg']}): correct it and say it again."
            ) from error
        self.append(edit)
        return edit


def review(events: Iterable[Event], edits: Sequence[Edit]) -> tuple[ReviewedEvent, ...]:
    """Return events with what reviewers said of them."""
    return tuple(
        _reviewed(event, [edit for edit in edits if edit.event == event.id]) for event in events
    )


def _reviewed(event: Event, edits: Sequence[Edit]) -> ReviewedEvent:
    verdicts = [edit.action for edit in edits if edit.action in _VERDICTS]
    emotions = [edit.emotion for edit in edits if edit.emotion is not None]
    return ReviewedEvent(
        event=replace(event, emotion=emotions[-1]) if emotions else event,
        found_emotion=event.emotion,
        verdict=_VERDICTS[verdicts[-1]] if verdicts else None,
        notes=tuple(f"{edit.note} ({edit.who})" for edit in edits if edit.note is not None),
        reviewers=tuple(dict.fromkeys(edit.who for edit in edits)),
    )
