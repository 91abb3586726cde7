"""SAMM: 32 subjects, micro-expressions in clips of 200 frames a second.

Davison et al., "SAMM: a spontaneous micro-facial movement dataset", IEEE Trans. Affective
Computing 2018. Layout as public code reads it: `SAMM_Micro_FACS_Codes_v2.xlsx` has its header in
row 14 below the licence (tvaranka/meb); the copy that genbing99/MEAN_Spot-then-recognize reads
has it in row 1, so the header is looked for. Frames are `006/006_1_2/006_05562.jpg`, numbered from
1 as in the long video that the clip was cut from, and annotations count in the same numbers. Some
action units are alternatives (`R12 or R15`), which are not decided here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from engines.datasets.base import Dataset, Problem
from engines.datasets.labels import THREE, as_they_are
from engines.datasets.media import survey
from engines.datasets.reading import Entry, RecordingKey, assemble
from engines.datasets.tables import Column, find_table, read_sheets
from engines.events import EventKind

TABLE = r"samm.*microfacscodes.*"
"""Name of the workbook, as `Survey.table` takes it."""

COLUMNS = {
    "recording": Column(("Filename",), required=True),
    "onset": Column(("Onset Frame", "Onset"), required=True),
    "apex": Column(("Apex Frame", "Apex")),
    "offset": Column(("Offset Frame", "Offset"), required=True),
    "action_units": Column(("Action Units",)),
    "emotion": Column(("Estimated Emotion", "Emotion")),
    "objective_class": Column(("Objective Classes", "Classes"), expected=False),
}

LABELS: Mapping[int, Mapping[str, str]] = {
    3: THREE,
    5: as_they_are(("anger", "contempt", "happiness", "others", "surprise")),
    7: as_they_are(("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")),
}


class Samm:
    """Adapter of SAMM."""

    name = "samm"
    title = "SAMM"
    fps = 200.0
    label_maps = LABELS

    def read(self, folder: Path) -> Dataset:
        """Read the FACS codes and find the clips; see `DatasetAdapter.read`."""
        problems: list[Problem] = []
        found = survey(folder)
        file = found.required_table(TABLE, "SAMM_Micro_FACS_Codes_v2.xlsx", problems)
        return assemble(self, found, self._entries(file, problems), _key_of, problems)

    def _entries(self, file: Path, problems: list[Problem]) -> Iterator[Entry]:
        for record in find_table(read_sheets(file), COLUMNS, problems):
            clip = record.text("recording")
            key = RecordingKey(clip.partition("_")[0].zfill(3), clip)
            yield Entry(key, EventKind.MICRO, record, record.text("emotion"))


def _key_of(path: Path) -> RecordingKey | None:
    found = re.fullmatch(r"(\d{3})_\d+_\d+", path.name)
    return RecordingKey(found[1], path.name) if found else None
