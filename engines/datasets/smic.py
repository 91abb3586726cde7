"""SMIC: micro-expressions filmed at 100 frames a second (HS) and at 25 in visible light and NIR.

Li et al., "A spontaneous micro-expression database: inducement, collection and baseline", FG 2013.
Three classes and no apex are annotated. Two editions are read:

- the extended one (SMIC-E, clips with time before and after): `SMIC-HS-E_annotation.xlsx`,
  `SMIC_VIS_E_annotation.xlsx` and so on, with `Subject`, `Filename`, `OnsetF`, `OffsetF`,
  `Emotion`, `FirstF` and `LastF` of the clip, up to three expressions a clip (`Onset2F`,
  `Offset2F` …) and remarks below the table (genbing99/MEAN_Spot-then-recognize). Frames are
  `s01/s1_ne_01/image000123.jpg`, numbered as annotated;
- the first one, which has no table: a folder `HS/s1/micro/negative/s1_ne_01/` holds a
  micro-expression from its first frame to its last, and its name the emotion (tvaranka/meb).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from engines.datasets.base import Dataset, DatasetError, Problem, ProblemKind
from engines.datasets.labels import THREE
from engines.datasets.media import Media, Survey, best_media, survey
from engines.datasets.reading import Entry, Extent, RecordingKey, assemble
from engines.datasets.tables import Column, Record, find_table, read_sheets
from engines.events import EventKind

_COLUMNS = {
    "recording": Column(("Filename",), required=True),
    "onset": Column(("OnsetF",), required=True),
    "offset": Column(("OffsetF",), required=True),
    "onset2": Column(("Onset2F",), expected=False),
    "offset2": Column(("Offset2F",), expected=False),
    "onset3": Column(("Onset3F",), expected=False),
    "offset3": Column(("Offset3F",), expected=False),
    "first": Column(("FirstF",)),
    "last": Column(("LastF",), expected=False),
    "emotion": Column(("Emotion",)),
}

_EMOTIONS = MappingProxyType({"ne": "negative", "po": "positive", "sur": "surprise"})
_CLIP = re.compile(r"s(\d+)_([a-z]+)_\d+")
_CAMERAS = ("HS", "VIS", "NIR")


class Smic:
    """Adapter of the recordings of one of SMIC's cameras.

    Args:
        camera: `HS`, `VIS` or `NIR`.
        fps: The camera's frame rate.
    """

    label_maps: Mapping[int, Mapping[str, str]] = {3: THREE}

    def __init__(self, camera: str, fps: float) -> None:
        self.name = f"smic_{camera.lower()}"
        self.title = f"SMIC-{camera}"
        self.fps = fps
        self._camera = camera

    def read(self, folder: Path) -> Dataset:
        """Read the table, or the folders' names where there is none; see `DatasetAdapter.read`."""
        problems: list[Problem] = []
        found = survey(folder)
        extents: dict[RecordingKey, Extent] = {}
        file = found.table(rf"smic{self._camera.lower()}e?annotation.*", problems)
        if file is not None:
            entries, extents = _read_table(file, problems)
        else:
            entries = list(self._entries_of_folders(found))
            if not entries:
                raise DatasetError(
                    f"There is neither SMIC-{self._camera}-E_annotation.xlsx in {found.root} nor a "
                    f"folder like {self._camera}/s1/micro/negative/s1_ne_01; check the folder."
                )
        return assemble(self, found, entries, self._key_of, problems, extents=extents)

    def _entries_of_folders(self, found: Survey) -> Iterator[Entry]:
        copies: dict[RecordingKey, list[Media]] = defaultdict(list)
        for media in found.media:
            key = self._key_of(media.path)
            if key is not None and "micro" in media.path.parts and media.numbers:
                copies[key].append(media)
        for key, candidates in copies.items():
            clip = best_media(candidates, [])  # `assemble` chooses the same and notes the others
            cells = {"onset": clip.numbers[0], "offset": clip.numbers[-1]}
            record = Record(clip.path, None, MappingProxyType(cells))
            yield Entry(key, EventKind.MICRO, record, _emotion_in(key.name))

    def _key_of(self, path: Path) -> RecordingKey | None:
        words = [word for part in path.parts for word in re.split(r"[^A-Za-z]+", part)]
        cameras = [word for word in words if word in _CAMERAS]
        if cameras and cameras[-1] != self._camera:
            return None
        return _key_of_clip(path.name)


def _read_table(
    file: Path, problems: list[Problem]
) -> tuple[list[Entry], dict[RecordingKey, Extent]]:
    entries: list[Entry] = []
    extents: dict[RecordingKey, Extent] = {}
    for record in find_table(read_sheets(file), _COLUMNS, problems):
        name = record.text("recording")
        key = _key_of_clip(name)
        if key is None:
            message = f"{name!r} is no clip's name; the event is left out"
            problems.append(Problem(ProblemKind.UNKNOWN_WORD, file, message, record.row, 1))
            continue
        extents[key] = _extent(record, problems)
        emotion = record.text("emotion") or _emotion_in(name)
        entries.append(Entry(key, EventKind.MICRO, record, emotion))
        for further in ("2", "3"):
            if not record.text(f"onset{further}"):
                continue
            cells = {
                "onset": record.cells[f"onset{further}"],
                "offset": record.cells.get(f"offset{further}"),
            }
            event = Record(file, record.row, MappingProxyType(cells))
            entries.append(Entry(key, EventKind.MICRO, event, emotion))
    return entries, extents


def _extent(record: Record, problems: list[Problem]) -> Extent:
    try:
        first, last = record.frame("first"), record.frame("last")
    except ValueError as error:
        message = f"FirstF or LastF: {error}; taken from the frames"
        problems.append(Problem(ProblemKind.UNREADABLE_CELL, record.file, message, record.row))
        return Extent()
    if first is None:
        return Extent()
    return Extent(first, None if last is None else last - first + 1)


def _key_of_clip(name: str) -> RecordingKey | None:
    found = _CLIP.fullmatch(name)
    return RecordingKey(f"s{found[1].zfill(2)}", name) if found else None


def _emotion_in(name: str) -> str:
    return _EMOTIONS.get(name.split("_")[1], "")
