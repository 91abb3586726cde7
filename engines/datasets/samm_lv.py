"""SAMM Long Videos: 147 videos of SAMM with macro- and micro-expressions, 200 frames a second.

Yap et al., "SAMM long videos: a spontaneous facial micro- and macro-expressions dataset", FG 2020.
Layout as public code reads it (genbing99/SoftNet-SpotME and MEAN_Spot-then-recognize,
eddiehe99/pytorch-expression-spotting): `SAMM_LongVideos_V1_Release.xlsx` to `V3`, header in row 10;
`Type` is `Macro` or `Micro - 1/2`; `Filename` is the video's name and a running number. Frames
are `SAMM_longvideos/006_1/006_1_0001.jpg`, counted from 1. An onset of 0 stands for an expression
that is there when the video begins, an offset of 0 for one whose end is not seen.

The workbook names no emotions. Those of the micro-expressions are taken from SAMM's own workbook
when it lies in the same folder, row by row with the same `Filename` (as MEAN does).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from engines.datasets.base import Dataset, DatasetError, Problem
from engines.datasets.intervals import read_intervals
from engines.datasets.media import Survey, survey
from engines.datasets.reading import Entry, Extent, RecordingKey, assemble, kind_of
from engines.datasets.samm import COLUMNS as SAMM_COLUMNS
from engines.datasets.samm import LABELS
from engines.datasets.samm import TABLE as SAMM_TABLE
from engines.datasets.tables import Column, find_table, read_sheets
from engines.events import EventKind

_COLUMNS = {
    "recording": Column(("Filename",), required=True),
    "onset": Column(("Onset", "Onset Frame"), required=True),
    "apex": Column(("Apex", "Apex Frame")),
    "offset": Column(("Offset", "Offset Frame"), required=True),
    "kind": Column(("Type",), required=True),
    "action_units": Column(("Action Units",)),
}


class SammLongVideos:
    """Adapter of SAMM Long Videos."""

    name = "samm_lv"
    title = "SAMM Long Videos"
    fps = 200.0
    label_maps = LABELS

    def read(self, folder: Path) -> Dataset:
        """Read the workbook, or a list of intervals; see `DatasetAdapter.read`."""
        problems: list[Problem] = []
        found = survey(folder)
        extents: dict[RecordingKey, Extent] = {}
        if file := found.table(r"sammlongvideos.*", problems):
            entries = list(self._entries(file, _emotions(found, problems), problems))
        elif file := found.table(r"sammlvannotation.*", problems):
            entries, extents = read_intervals(file, _key_of, problems)
        else:
            raise DatasetError(
                f"There is no annotation file like SAMM_LongVideos_V3_Release.xlsx in "
                f"{found.root}; put it there as its owners ship it."
            )
        return assemble(self, found, entries, _key_of, problems, extents=extents)

    def _entries(
        self, file: Path, emotions: Mapping[str, str], problems: list[Problem]
    ) -> Iterator[Entry]:
        for record in find_table(read_sheets(file), _COLUMNS, problems):
            name = record.text("recording")
            video = name.rpartition("_")[0] if name.count("_") > 1 else name
            key = RecordingKey(name.partition("_")[0].zfill(3), video)
            kind = kind_of(record, "kind", problems)
            if kind is not None:
                emotion = emotions.get(name, "") if kind is EventKind.MICRO else ""
                yield Entry(key, kind, record, emotion)


def _emotions(found: Survey, problems: list[Problem]) -> dict[str, str]:
    file = found.table(SAMM_TABLE, problems)
    if file is None:
        return {}
    records = find_table(read_sheets(file), SAMM_COLUMNS, problems)
    return {record.text("recording"): record.text("emotion") for record in records}


def _key_of(path: Path) -> RecordingKey | None:
    found = re.fullmatch(r"(\d{3})_\d+", path.name)
    return RecordingKey(found[1], path.name) if found else None
