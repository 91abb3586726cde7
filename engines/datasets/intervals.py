"""Lists of intervals that spotting papers exchange instead of the owners' workbooks.

One row an expression, as williamlee91/LGSNet publishes them for CAS(ME)² and SAMM-LV: `subject`,
`video` (a path), `type`, `type_idx`, `startFrame`, `endFrame`, `frame_num` (frames of the video)
and `length`. Numbers count from 1: some expressions end in the last of `frame_num` frames.
Apex, emotion and action units are not in them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from engines.datasets.base import Problem, ProblemKind
from engines.datasets.reading import Entry, Extent, RecordingKey, kind_of
from engines.datasets.tables import Column, find_table, read_sheets

_COLUMNS = {
    "recording": Column(("video",), required=True),
    "kind": Column(("type",), required=True),
    "onset": Column(("startFrame",), required=True),
    "offset": Column(("endFrame",), required=True),
    "frames": Column(("frame_num",)),
}


def read_intervals(
    file: Path,
    key_of: Callable[[Path], RecordingKey | None],
    problems: list[Problem],
) -> tuple[list[Entry], dict[RecordingKey, Extent]]:
    """Read such a list.

    Args:
        file: The csv file.
        key_of: The recording that a video's path belongs to.
        problems: Takes what is wrong.

    Returns:
        The annotated expressions, and the frames of the recordings.
    """
    entries: list[Entry] = []
    extents: dict[RecordingKey, Extent] = {}
    for record in find_table(read_sheets(file), _COLUMNS, problems):
        video = Path(PurePosixPath(record.text("recording")))
        key = key_of(video) or RecordingKey(video.parent.name, video.name)
        kind = kind_of(record, "kind", problems)
        if kind is not None:
            entries.append(Entry(key, kind, record))
        try:
            extents[key] = Extent(frame_count=record.frame("frames"))
        except ValueError as error:
            message = f"frame_num: {error}; the length of the video is not known"
            problems.append(Problem(ProblemKind.UNREADABLE_CELL, file, message, record.row))
    return entries, extents
