"""What an adapter makes of a data set: recordings, annotated expressions, and what was wrong.

Times are seconds from the first frame of a recording. Annotations count frames; a frame number is
turned into a time as `(number - first_frame) / fps`, so missing pictures do not shift what follows.
An interval is half-open, as in `engines.evaluation.spotting`: the annotated last frame still
belongs to the expression, which therefore ends one frame later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol, runtime_checkable

from engines.datasets.facs import ActionUnit
from engines.errors import UserError
from engines.events import EventKind


class DatasetError(UserError):
    """A data set cannot be read at all: no folder, no annotations, no such set of classes."""


class ProblemKind(str, Enum):
    """What can be wrong with a data set while the rest of it is read."""

    MISSING_COLUMN = "missing_column"
    """A table lacks a column; events are lost if it is one that they need."""
    UNREADABLE_CELL = "unreadable_cell"
    """A cell holds nothing that its column can hold."""
    UNKNOWN_WORD = "unknown_word"
    """A name, emotion or expression type that is not in the data set's vocabulary."""
    APEX_OUTSIDE = "apex_outside"
    """The apex lies before the onset or after the offset; the event is kept without it."""
    NO_APEX = "no_apex"
    """The apex is not annotated."""
    NO_OFFSET = "no_offset"
    """The offset is not annotated; the event ends with its apex."""
    OFFSET_BEFORE_ONSET = "offset_before_onset"
    """The event ends before it begins and is left out."""
    OUTSIDE_RECORDING = "outside_recording"
    """The event reaches beyond the frames: it is cut there, or left out when nothing remains."""
    IMPLAUSIBLE_DURATION = "implausible_duration"
    """A micro-expression lasts longer than a macro-expression does; kept as annotated."""
    DUPLICATE_EVENT = "duplicate_event"
    """The same interval of the same recording was annotated before."""
    MISSING_FRAMES = "missing_frames"
    """No folder of frames and no video was found for a recording."""
    FRAME_GAP = "frame_gap"
    """Frames are missing between the first and the last, or before or after them."""
    UNREADABLE_FRAME = "unreadable_frame"
    """A picture or video cannot be decoded, or its name carries no frame number."""
    OTHER_RATE = "other_rate"
    """A video's own frame rate is not the data set's, which is used."""
    SPARE_MEDIA = "spare_media"
    """A recording is there more than once; one copy is used."""
    SPARE_TABLE = "spare_table"
    """A further table of the same kind, which is not read."""
    REMARK = "remark"
    """A row of a table that holds a remark instead of an event."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where, and what it cost.

    Attributes:
        kind: What is wrong.
        file: The table, folder or video.
        message: What was found and what was done about it.
        row: Row of the table, counted from 1 as a spreadsheet shows it; None without one.
        lost_events: Annotated events that could not be read because of it.
    """

    kind: ProblemKind
    file: Path
    message: str
    row: int | None = None
    lost_events: int = 0

    def __str__(self) -> str:
        row = "" if self.row is None else f", row {self.row}"
        return f"{self.file}{row}: {self.message}"


@dataclass(frozen=True, slots=True)
class AnnotatedEvent:
    """One annotated facial expression.

    Attributes:
        kind: Micro or macro as its coders called it, which is not always a matter of duration.
        onset_s: Start.
        apex_s: Largest displacement; None when it is not annotated.
        offset_s: End (of the last frame); after `onset_s`.
        onset_frame: First frame, numbered as in the data set.
        apex_frame: Frame of the apex, or None.
        offset_frame: Last frame, which still belongs to the event.
        emotion: Estimated emotion in the words of `engines.datasets.labels`; None without one.
        action_units: Action units in the order of the annotation.
        objective_class: Objective class I to VII (Davison et al., "Objective classes for
            micro-facial expression recognition", J. Imaging 2018) as annotated, or None.
    """

    kind: EventKind
    onset_s: float
    apex_s: float | None
    offset_s: float
    onset_frame: int
    apex_frame: int | None
    offset_frame: int
    emotion: str | None = None
    action_units: tuple[ActionUnit, ...] = ()
    objective_class: str | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """One video or clip of one subject, with or without expressions.

    Attributes:
        name: Unique in its data set.
        subject: Whom it shows; what leave-one-subject-out leaves out.
        fps: Frames a second.
        first_frame: Number of the frame at 0 s.
        frame_count: Frames from the first to the last, missing ones included; None when neither
            the frames are there nor a table tells.
        events: Expressions in order of onset.
        path: Folder of frames, or video file; None when it was not found.
        depth: Folder of depth frames with the same numbers, where the data set has them.
        missing_frames: How many of `frame_count` are not there.
    """

    name: str
    subject: str
    fps: float
    first_frame: int
    frame_count: int | None
    events: tuple[AnnotatedEvent, ...]
    path: Path | None = None
    depth: Path | None = None
    missing_frames: int = 0

    @property
    def duration_s(self) -> float | None:
        """Length in seconds; None when it is not known."""
        return None if self.frame_count is None else self.frame_count / self.fps

    def time_s(self, frame: int) -> float:
        """Time of a numbered frame in seconds from the first one."""
        return (frame - self.first_frame) / self.fps


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set as it was found in a folder.

    Attributes:
        name: The adapter's name.
        title: The data set's name in print.
        folder: Where it was read.
        recordings: In order of subject and name; recordings without an event are among them.
        problems: Everything that was wrong; what is not named here was read.
        label_maps: Number of classes to the class of each emotion; an emotion that is missing
            belongs to none of the classes.
    """

    name: str
    title: str
    folder: Path
    recordings: tuple[Recording, ...]
    problems: tuple[Problem, ...]
    label_maps: Mapping[int, Mapping[str, str]]

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects in order."""
        return tuple(sorted({recording.subject for recording in self.recordings}))

    def samples(self) -> Iterator[tuple[Recording, AnnotatedEvent]]:
        """Every event with its recording."""
        for recording in self.recordings:
            for event in recording.events:
                yield recording, event

    def classes(self, count: int) -> tuple[str, ...]:
        """Names of the classes, in the order of their indices.

        Raises:
            DatasetError: The data set has no such set of classes.
        """
        return tuple(sorted(set(self._label_map(count).values())))

    def label(self, event: AnnotatedEvent, count: int) -> str | None:
        """Class of an event among `count` classes; None when it belongs to none.

        Raises:
            DatasetError: The data set has no such set of classes.
        """
        labels = self._label_map(count)
        return None if event.emotion is None else labels.get(event.emotion)

    def _label_map(self, count: int) -> Mapping[str, str]:
        try:
            return self.label_maps[count]
        except KeyError:
            known = " or ".join(str(known) for known in sorted(self.label_maps))
            raise DatasetError(
                f"{self.title} has no set of {count} classes; choose {known}."
            ) from None


@runtime_checkable
class DatasetAdapter(Protocol):
    """Reads one data set from the folder that its owners ship."""

    name: str
    title: str
    fps: float
    label_maps: Mapping[int, Mapping[str, str]]

    def read(self, folder: Path) -> Dataset:
        """Read annotations and look for the frames; no picture is opened.

        Args:
            folder: The data set's folder, with annotation tables and frames at any depth.

        Returns:
            What could be read, and the problems with the rest.

        Raises:
            DatasetError: There is no such folder or no annotation in it.
        """
        ...
