"""What the operator says while a session runs: verdicts on its detections, notes, markers.

Everything is appended to files of the session folder, where there is one, before it counts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from engines.events import Event
from streamer.errors import SessionError
from streamer.markers import Marker, append_marker
from streamer.review.annotations import Annotations, Edit, ReviewedEvent, in_force, review

MAX_ENTRIES = 2000
"""Edits, and markers, of one session that the dashboard takes."""


@dataclass(frozen=True, slots=True)
class Entries:
    """What a viewer has not seen yet.

    Attributes:
        edited: Numbers of the events that somebody spoke of.
        markers: New markers.
        number: What to ask for entries since, next time.
    """

    edited: frozenset[int]
    markers: tuple[Marker, ...]
    number: int


class Journal:
    """The entries of one session, in order. Every member is thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._entries: list[Edit | Marker] = []

    @property
    def stored(self) -> bool:
        """Whether entries are written to a session folder."""
        return self._folder is not None

    def begin(self, folder: Path | None) -> None:
        """Start anew with a session; without a folder its entries end with the next one."""
        with self._lock:
            self._folder = folder
            self._entries = []

    def edit(self, edit: Edit) -> None:
        """Take what somebody says of a detection.

        Raises:
            SessionError: It cannot be written, or there are too many.
        """
        with self._lock:
            self._append(edit)

    def undo(self, event: int, who: str) -> bool:
        """Take back the last edit of a detection that counts; False when there is none.

        Raises:
            SessionError: It cannot be written, or there are too many.
        """
        with self._lock:
            edits = self._edits()
            counting = [edit for edit in in_force(edits) if edit.event == event]
            if not counting:
                return False
            line = 1 + max(i for i, edit in enumerate(edits) if edit is counting[-1])
            now = datetime.now(timezone.utc)
            self._append(Edit(event=event, action="undo", undoes=line, who=who, when_utc=now))
            return True

    def mark(self, time_s: float, frame: int, text: str, who: str) -> Marker:
        """Set a marker.

        Raises:
            SessionError: It cannot be written, or there are too many.
            ValidationError: A text is empty, too long or not printable.
        """
        now = datetime.now(timezone.utc)
        marker = Marker(time_s=time_s, frame=frame, text=text, who=who, when_utc=now)
        with self._lock:
            self._make_room()
            if self._folder is not None:
                append_marker(self._folder, marker)
            self._entries.append(marker)
        return marker

    def since(self, number: int) -> Entries:
        """Return the entries from a number on."""
        entries = self._entries
        fresh = entries[max(number, 0) :]
        return Entries(
            edited=frozenset(entry.event for entry in fresh if isinstance(entry, Edit)),
            markers=tuple(entry for entry in fresh if isinstance(entry, Marker)),
            number=max(number, 0) + len(fresh),
        )

    def reviewed(self, events: Iterable[Event]) -> tuple[ReviewedEvent, ...]:
        """Return events with what was said of them."""
        return review(events, self._edits())

    def _edits(self) -> list[Edit]:
        # The lines of `annotations.jsonl`: the dashboard alone writes it while the session runs.
        return [entry for entry in self._entries if isinstance(entry, Edit)]

    def _append(self, edit: Edit) -> None:
        self._make_room()
        if self._folder is not None:
            Annotations(self._folder).append(edit)
        self._entries.append(edit)

    def _make_room(self) -> None:
        if len(self._entries) >= MAX_ENTRIES:
            raise SessionError(
                f"This session has {MAX_ENTRIES} entries, and the live page takes no more: open it "
                "with run_live.py review when it has ended."
            )
