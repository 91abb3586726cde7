"""CAS(ME)³ part A: 100 subjects, expressions in long RGB-D videos of 30 frames a second.

Li et al., "CAS(ME)³: a third generation facial spontaneous micro-expression database with depth
information and high ecological validity", IEEE Trans. Pattern Analysis and Machine Intelligence
2023. Layout as its authors' repository (jingtingEmmaLi/CAS-ME-3) and genbing99/SFAMNet have it:

- `CAS(ME)3_part_A_v2.xls`: `Subject`, `Filename`, `Onset`, `Apex`, `Offset`, `AU`,
  `Expression type`, `Objective class`; macro- and micro-expressions, no emotions;
- `cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx`: the micro-expressions again, with `emotion`.

Either is enough; with both, an emotion goes to the event of the same recording and frames, and a
micro-expression of the second that the first has not is added. Frames are
`part_A/spNO.1/a/color/1.jpg` and `depth/1.png`, counted from 1; some videos begin later and some
lack frames (williamlee91/LGSNet). Many of the labelled micro-expressions last longer than 0.5 s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from engines.datasets.base import Dataset, DatasetError, Problem
from engines.datasets.labels import THREE, as_they_are
from engines.datasets.media import survey
from engines.datasets.reading import Entry, RecordingKey, assemble, kind_of
from engines.datasets.tables import Column, Record, find_table, read_sheets
from engines.events import EventKind

_COLUMNS = {
    "subject": Column(("Subject",), required=True),
    "recording": Column(("Filename",), required=True),
    "onset": Column(("Onset",), required=True),
    "apex": Column(("Apex",)),
    "offset": Column(("Offset",), required=True),
    "action_units": Column(("AU",)),
    "objective_class": Column(("Objective class",), expected=False),
}
_ALL_COLUMNS = {**_COLUMNS, "kind": Column(("Expression type",), required=True)}
_MICRO_COLUMNS = {**_COLUMNS, "emotion": Column(("emotion",))}

_Interval = tuple[RecordingKey, str, str]


class CasMe3:
    """Adapter of part A of CAS(ME)³."""

    name = "cas_me_3"
    title = "CAS(ME)³ part A"
    fps = 30.0
    label_maps: Mapping[int, Mapping[str, str]] = {
        3: THREE,
        7: as_they_are(("anger", "disgust", "fear", "happiness", "others", "sadness", "surprise")),
    }

    def read(self, folder: Path) -> Dataset:
        """Read one workbook or both; see `DatasetAdapter.read`."""
        problems: list[Problem] = []
        found = survey(folder)
        file = found.table(r"casme3parta(v\d+)?", problems)
        micro_file = found.table(r"casme3partamelabel.*", problems)
        if file is None and micro_file is None:
            raise DatasetError(
                f"There is no annotation file like CAS(ME)3_part_A_v2.xls in {found.root}; "
                "put it there as its owners ship it."
            )
        micro = _micro_expressions(micro_file, problems) if micro_file else {}
        entries = [*(_entries(file, micro, problems) if file else ()), *micro.values()]
        return assemble(
            self, found, entries, _key_of, problems, depth_of=lambda path: path.parent / "depth"
        )


def _micro_expressions(file: Path, problems: list[Problem]) -> dict[_Interval, Entry]:
    return {
        _interval(record): Entry(_key(record), EventKind.MICRO, record, record.text("emotion"))
        for record in find_table(read_sheets(file), _MICRO_COLUMNS, problems)
    }


def _entries(file: Path, micro: dict[_Interval, Entry], problems: list[Problem]) -> Iterator[Entry]:
    """Events of the table of all; the micro-expressions that it has are taken out of `micro`."""
    for record in find_table(read_sheets(file), _ALL_COLUMNS, problems):
        kind = kind_of(record, "kind", problems)
        if kind is None:
            continue
        labelled = micro.pop(_interval(record), None) if kind is EventKind.MICRO else None
        yield Entry(_key(record), kind, record, labelled.emotion if labelled else "")


def _key(record: Record) -> RecordingKey:
    # Some rows write the video's letter in upper case; its folder is in lower case.
    return _recording(record.text("subject"), record.text("recording").lower())


def _recording(subject: str, video: str) -> RecordingKey:
    return RecordingKey(subject, f"{subject}/{video}")


def _interval(record: Record) -> _Interval:
    return _key(record), record.text("onset"), record.text("offset")


def _key_of(path: Path) -> RecordingKey | None:
    subject, video, colour = path.parts[-3:] if len(path.parts) > 2 else ("", "", "")
    if re.fullmatch(r"spNO\.\d+", subject) and colour == "color":
        return _recording(subject, video.lower())
    return None
