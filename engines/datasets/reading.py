"""From rows of annotation to checked events, joined with the frames that were found.

An adapter says which recording each row and each folder belongs to; the rest is the same for all
data sets and done here, so a mistake in an annotation has the same consequence everywhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.datasets.base import (
    AnnotatedEvent,
    Dataset,
    DatasetAdapter,
    Problem,
    ProblemKind,
    Recording,
)
from engines.datasets.facs import ActionUnit, parse_action_units
from engines.datasets.labels import emotion_of
from engines.datasets.media import Media, Survey, best_media, probe_video
from engines.datasets.tables import Record
from engines.events import EventKind

FIRST_FRAME = 1
"""Number of a recording's first frame where neither its files nor a table tell."""

_MAX_MACRO_S = 4.0
"""Longest macro-expression by definition (`engines.events.EventKind`)."""


@dataclass(frozen=True, slots=True, order=True)
class RecordingKey:
    """What tells recordings of a data set apart."""

    subject: str
    name: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One annotated expression as a table has it, not checked yet.

    Columns are looked up in `record` under `onset`, `apex`, `offset`, `action_units` and
    `objective_class`.

    Attributes:
        key: The recording.
        kind: Micro or macro.
        record: The row.
        emotion: The coder's word; empty without one.
    """

    key: RecordingKey
    kind: EventKind
    record: Record
    emotion: str = ""


@dataclass(frozen=True, slots=True)
class Extent:
    """Frames of a recording: number of the first, and how many; None where it is not known."""

    first_frame: int = FIRST_FRAME
    frame_count: int | None = None

    @property
    def last_frame(self) -> int | None:
        """Number of the last frame."""
        return None if self.frame_count is None else self.first_frame + self.frame_count - 1


@dataclass(frozen=True, slots=True)
class _Found:
    extent: Extent
    path: Path | None = None
    missing_frames: int = 0


def kind_of(record: Record, column: str, problems: list[Problem]) -> EventKind | None:
    """Micro or macro as a coder wrote it (`Micro - 1/2`, `macro-expression`).

    A word that is neither is added to `problems`, and costs the event.
    """
    text = record.text(column)
    for kind in EventKind:
        if kind.value in text.casefold():
            return kind
    problems.append(
        Problem(
            ProblemKind.UNKNOWN_WORD,
            record.file,
            f"{text!r} is neither micro nor macro; the event is left out",
            record.row,
            lost_events=1,
        )
    )
    return None


def assemble(
    adapter: DatasetAdapter,
    found: Survey,
    entries: Iterable[Entry],
    key_of: Callable[[Path], RecordingKey | None],
    problems: list[Problem],
    *,
    extents: Mapping[RecordingKey, Extent] | None = None,
    depth_of: Callable[[Path], Path] | None = None,
) -> Dataset:
    """Join annotations with frames, check them, and convert frame numbers to seconds.

    Args:
        adapter: Whose data set it is.
        found: What lies in the folder.
        entries: Annotated expressions.
        key_of: Recording of a folder of frames or a video; None when it is something else.
        problems: What was wrong so far; more is added.
        extents: Frames of recordings as a table tells; used where the frames are not there.
        depth_of: Where the depth frames of a folder of frames would be.

    Returns:
        The data set: a recording for each key that is annotated or has frames.
    """
    annotated: dict[RecordingKey, list[Entry]] = defaultdict(list)
    for entry in entries:
        annotated[entry.key].append(entry)
    copies: dict[RecordingKey, list[Media]] = defaultdict(list)
    for media in found.media:
        key = key_of(media.path.with_suffix("") if media.is_video else media.path)
        if key is not None:
            copies[key].append(media)
    problems.extend(found.problems)
    told = extents or {}
    recordings = []
    for key in sorted(annotated.keys() | copies.keys() | told.keys()):
        extent = told.get(key, Extent())
        there = _look(copies.get(key, []), extent, adapter.fps, problems)
        depth = depth_of(there.path) if depth_of and there.path else None
        recordings.append(
            Recording(
                name=key.name,
                subject=key.subject,
                fps=adapter.fps,
                first_frame=there.extent.first_frame,
                frame_count=there.extent.frame_count,
                events=_events(annotated.get(key, []), there.extent, adapter.fps, problems),
                path=there.path,
                depth=depth if depth and depth.is_dir() else None,
                missing_frames=there.missing_frames,
            )
        )
    problems.extend(_without_frames(recordings, found))
    return Dataset(
        name=adapter.name,
        title=adapter.title,
        folder=found.root,
        recordings=tuple(recordings),
        problems=tuple(problems),
        label_maps=adapter.label_maps,
    )


def _without_frames(recordings: Sequence[Recording], found: Survey) -> Iterator[Problem]:
    missing = [recording for recording in recordings if recording.path is None]
    if len(missing) < len(recordings):
        for recording in missing:
            message = f"no frames of {recording.name} of subject {recording.subject} were found"
            yield Problem(ProblemKind.MISSING_FRAMES, found.root, message)
        return
    others = f"; none of {len(found.media)} folders and videos has its name" if found.media else ""
    message = f"no frames of any recording were found, only annotations were read{others}"
    yield Problem(ProblemKind.MISSING_FRAMES, found.root, message)


def _look(copies: Sequence[Media], told: Extent, fps: float, problems: list[Problem]) -> _Found:
    if not copies:
        return _Found(told)
    media = best_media(copies, problems)
    if media.is_video:
        count = probe_video(media.path, fps, problems)
        return _Found(Extent(FIRST_FRAME, count), media.path) if count else _Found(told)
    first, last = media.numbers[0], media.numbers[-1]
    missing = last - first + 1 - len(media.numbers)
    if missing:
        message = f"{missing} of the frames {first} to {last} are missing; times are not affected"
        problems.append(Problem(ProblemKind.FRAME_GAP, media.path, message))
    extent = Extent(first, last - first + 1)
    if told.frame_count is not None and told != extent:
        message = (
            f"frames {first} to {last} are there, {told.first_frame} to {told.last_frame} "
            "by the table; the first that is there is 0 s"
        )
        problems.append(Problem(ProblemKind.FRAME_GAP, media.path, message))
    return _Found(extent, media.path, missing)


def _events(
    entries: Iterable[Entry], extent: Extent, fps: float, problems: list[Problem]
) -> tuple[AnnotatedEvent, ...]:
    events: dict[tuple[EventKind, int, int], AnnotatedEvent] = {}
    for entry in entries:
        event = _Check(entry, extent, fps, problems).event()
        if event is None:
            continue
        interval = (event.kind, event.onset_frame, event.offset_frame)
        if interval in events:
            message = f"frames {interval[1]} to {interval[2]} are annotated before; left out"
            record = entry.record
            problems.append(
                Problem(ProblemKind.DUPLICATE_EVENT, record.file, message, record.row, 1)
            )
            continue
        events[interval] = event
    return tuple(sorted(events.values(), key=lambda event: (event.onset_s, event.offset_s)))


@dataclass(frozen=True, slots=True)
class _Check:
    """Makes an event of an entry, or says why not."""

    entry: Entry
    extent: Extent
    fps: float
    problems: list[Problem]

    def event(self) -> AnnotatedEvent | None:
        interval = self._interval()
        if interval is None:
            return None
        onset, apex, offset = interval
        first = self.extent.first_frame
        duration_s = (offset + 1 - onset) / self.fps
        if self.entry.kind is EventKind.MICRO and duration_s > _MAX_MACRO_S:
            message = f"a micro-expression of {duration_s:.1f} s; kept as annotated"
            self._note(ProblemKind.IMPLAUSIBLE_DURATION, message)
        return AnnotatedEvent(
            kind=self.entry.kind,
            onset_s=(onset - first) / self.fps,
            apex_s=None if apex is None else (apex - first) / self.fps,
            offset_s=(offset + 1 - first) / self.fps,
            onset_frame=onset,
            apex_frame=apex,
            offset_frame=offset,
            emotion=self._emotion(),
            action_units=self._action_units(),
            objective_class=self.entry.record.text("objective_class") or None,
        )

    def _interval(self) -> tuple[int, int | None, int] | None:
        try:
            onset = self.entry.record.frame("onset")
            offset = self.entry.record.frame("offset")
        except ValueError as error:
            self._lost(ProblemKind.UNREADABLE_CELL, f"onset or offset: {error}")
            return None
        apex = self._apex()
        if onset is None:
            self._lost(ProblemKind.UNREADABLE_CELL, "no onset is given")
            return None
        if not offset:  # 0 stands for an offset that was not seen
            if not apex:
                self._lost(ProblemKind.NO_OFFSET, "neither offset nor apex is given")
                return None
            self._note(ProblemKind.NO_OFFSET, f"no offset; the event ends with its apex, {apex}")
            offset = apex
        if offset < onset:
            message = f"offset {offset} lies before onset {onset}"
            self._lost(ProblemKind.OFFSET_BEFORE_ONSET, message)
            return None
        return self._within_recording(onset, apex, offset)

    def _apex(self) -> int | None:
        try:
            apex = self.entry.record.frame("apex")
        except ValueError as error:
            self._note(ProblemKind.UNREADABLE_CELL, f"apex: {error}; the event is kept without it")
            return None
        if not apex and "apex" in self.entry.record.cells:
            self._note(ProblemKind.NO_APEX, "no apex is given; the event is kept")
        return apex or None

    def _within_recording(
        self, onset: int, apex: int | None, offset: int
    ) -> tuple[int, int | None, int] | None:
        first, last = self.extent.first_frame, self.extent.last_frame
        start, end = max(onset, first), offset if last is None else min(offset, last)
        if (start, end) != (onset, offset):
            frames = f"from {first} on" if last is None else f"{first} to {last}"
            message = f"frames {onset} to {offset} reach beyond the recording's, {frames}"
            if start > end:
                self._lost(ProblemKind.OUTSIDE_RECORDING, message)
                return None
            self._note(ProblemKind.OUTSIDE_RECORDING, f"{message}; cut there")
        if apex is not None and not start <= apex <= end:
            message = f"apex {apex} does not lie from onset {start} to offset {end}"
            self._note(ProblemKind.APEX_OUTSIDE, f"{message}; the event is kept without it")
            apex = None
        return start, apex, end

    def _emotion(self) -> str | None:
        word = self.entry.emotion
        emotion = emotion_of(word)
        if word and emotion is None:
            self._note(
                ProblemKind.UNKNOWN_WORD, f"{word!r} is no known emotion; the event is kept without"
            )
        return emotion

    def _action_units(self) -> tuple[ActionUnit, ...]:
        units, unreadable = parse_action_units(self.entry.record.text("action_units"))
        if unreadable:
            codes = ", ".join(map(repr, unreadable))
            self._note(ProblemKind.UNREADABLE_CELL, f"not read as action units: {codes}")
        return units

    def _lost(self, kind: ProblemKind, message: str) -> None:
        record = self.entry.record
        self.problems.append(
            Problem(kind, record.file, f"{message}; the event is left out", record.row, 1)
        )

    def _note(self, kind: ProblemKind, message: str) -> None:
        record = self.entry.record
        self.problems.append(Problem(kind, record.file, message, record.row))
