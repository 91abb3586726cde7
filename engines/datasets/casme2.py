"""CASME II: 26 subjects, micro-expressions in clips of 200 frames a second.

Yan et al., "CASME II: an improved spontaneous micro-expression database and the baseline
evaluation", PLoS ONE 2014. Layout as public code reads it: the workbook
`CASME2-coding-20140508.xlsx` (also `-20190701`, and `CASME2_label_Ver_2.xls` in
genbing99/MEAN_Spot-then-recognize) has a header in its first row with two empty columns between
(tvaranka/meb); a missing apex is `/`. Clips lie in `sub01/EP02_01f/` as `img46.jpg` in the raw and
`reg_img46.jpg` in the cropped set, numbered as annotated from 1, or as `sub01/EP02_01f.avi`.
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

_COLUMNS = {
    "subject": Column(("Subject",), required=True),
    "recording": Column(("Filename",), required=True),
    "onset": Column(("OnsetFrame",), required=True),
    "apex": Column(("ApexFrame",)),
    "offset": Column(("OffsetFrame",), required=True),
    "action_units": Column(("Action Units",)),
    "emotion": Column(("Estimated Emotion",)),
}

_FIVE = ("disgust", "happiness", "others", "repression", "surprise")


class Casme2:
    """Adapter of CASME II."""

    name = "casme2"
    title = "CASME II"
    fps = 200.0
    label_maps: Mapping[int, Mapping[str, str]] = {
        3: THREE,
        5: as_they_are(_FIVE),
        7: as_they_are((*_FIVE, "fear", "sadness")),
    }

    def read(self, folder: Path) -> Dataset:
        """Read the coding workbook and find the clips; see `DatasetAdapter.read`."""
        problems: list[Problem] = []
        found = survey(folder)
        example = "CASME2-coding-20140508.xlsx"
        file = found.required_table(r"casme(2|ii)(coding|label).*", example, problems)
        return assemble(self, found, self._entries(file, problems), _key_of, problems)

    def _entries(self, file: Path, problems: list[Problem]) -> Iterator[Entry]:
        for record in find_table(read_sheets(file), _COLUMNS, problems):
            subject = f"sub{record.text('subject').zfill(2)}"
            key = RecordingKey(subject, f"{subject}/{record.text('recording')}")
            yield Entry(key, EventKind.MICRO, record, record.text("emotion"))


def _key_of(path: Path) -> RecordingKey | None:
    subject, clip = path.parts[-2:] if len(path.parts) > 1 else ("", "")
    if re.fullmatch(r"sub\d+", subject) and re.fullmatch(r"EP\d+_\d+\w*", clip):
        return RecordingKey(subject, f"{subject}/{clip}")
    return None
