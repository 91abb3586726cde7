"""CAS(ME)²: 22 subjects, macro- and micro-expressions in long videos of 30 frames a second.

Qu et al., "CAS(ME)²: a database for spontaneous macro-expression and micro-expression spotting
and recognition", IEEE Trans. Affective Computing 2018. Layout as public code reads it
(genbing99/MEAN_Spot-then-recognize, eddiehe99/pytorch-expression-spotting):
`CAS(ME)^2code_final.xlsx` (also `(Updated)` and `code_final.xlsx`) has three sheets without a
header. The first: participant 1 to 22, name and number of the sample (`anger1_1`), onset, apex,
offset, action units, estimated emotion (positive, negative, surprise, others), expression type,
self-reported emotion (not read). The second: folder (`s15`) in column B and participant in C. The
third: code (`0401`) in column A and name (`anger1`) in B. Frames are
`rawpic/s15/15_0101disgustingteeth/img001.jpg` and counted from 1; an offset of 0 stands for an
expression whose end is not seen. Estimated emotions are too coarse for more than three classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from engines.datasets.base import Dataset, DatasetError, Problem, ProblemKind
from engines.datasets.intervals import read_intervals
from engines.datasets.labels import THREE
from engines.datasets.media import survey
from engines.datasets.reading import Entry, Extent, RecordingKey, assemble, kind_of
from engines.datasets.tables import Sheet, positional_table, read_sheets

_COLUMNS = (
    "subject",
    "recording",
    "onset",
    "apex",
    "offset",
    "action_units",
    "emotion",
    "kind",
)


class CasMe2:
    """Adapter of CAS(ME)²."""

    name = "cas_me_2"
    title = "CAS(ME)²"
    fps = 30.0
    label_maps: Mapping[int, Mapping[str, str]] = {3: THREE}

    def read(self, folder: Path) -> Dataset:
        """Read the workbook, or a list of intervals; see `DatasetAdapter.read`."""
        problems: list[Problem] = []
        found = survey(folder)
        extents: dict[RecordingKey, Extent] = {}
        if file := found.table(r"(casme2)?codefinal.*", problems):
            entries = list(_entries(read_sheets(file), problems))
        elif file := found.table(r"casme2annotation.*", problems):
            entries, extents = read_intervals(file, _key_of, problems)
        else:
            raise DatasetError(
                f"There is no annotation file like CAS(ME)^2code_final.xlsx in {found.root}; "
                "put it there as its owners ship it."
            )
        return assemble(self, found, entries, _key_of, problems, extents=extents)


def _entries(sheets: list[Sheet], problems: list[Problem]) -> Iterator[Entry]:
    events, *naming = sheets
    if len(naming) < 2:
        message = "the two sheets that name subjects and videos are missing"
        problems.append(Problem(ProblemKind.MISSING_COLUMN, events.file, message))
        naming = [Sheet(events.file, "", [])] * 2
    subjects = _naming(naming[0], name="c", value="b")
    codes = _naming(naming[1], name="b", value="a")
    for record in positional_table(events, _COLUMNS):
        participant, sample = record.text("subject"), record.text("recording").rpartition("_")[0]
        if participant not in subjects or sample not in codes:
            message = f"participant {participant!r} or video {sample!r} is not among the names"
            problems.append(Problem(ProblemKind.UNKNOWN_WORD, record.file, message, record.row))
        subject = subjects.get(participant, participant)
        video = codes[sample].zfill(4) if sample in codes else sample
        kind = kind_of(record, "kind", problems)
        if kind is not None:
            key = RecordingKey(subject, f"{subject.removeprefix('s')}_{video}")
            yield Entry(key, kind, record, record.text("emotion"))


def _naming(sheet: Sheet, name: str, value: str) -> dict[str, str]:
    return {
        record.text(name): record.text(value) for record in positional_table(sheet, ("a", "b", "c"))
    }


def _key_of(path: Path) -> RecordingKey | None:
    found = re.fullmatch(r"((\d+)_\d{4})(?!\d).*", path.name)
    return RecordingKey(f"s{found[2]}", found[1]) if found else None
