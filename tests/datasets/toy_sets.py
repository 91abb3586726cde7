"""Small data sets with invented values, laid out as the owners of the real ones do."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openpyxl
import xlwt

Rows = list[list[Any]]

NOTHING = None


@dataclass
class ToySet:
    """A data set to be written.

    Attributes:
        adapter: Name of its adapter.
        tables: File name to sheets, each a list of rows.
        frames: Folder to names of the pictures in it.
        table: The file, sheet and row (from 0) where the events begin.
        columns: Place of each column that tests change.
        events: How many events are annotated.
    """

    adapter: str
    tables: dict[str, dict[str, Rows]]
    frames: dict[str, list[str]]
    table: tuple[str, str, int]
    columns: dict[str, int]
    events: int
    recordings: int
    subjects: tuple[str, ...]

    @property
    def rows(self) -> Rows:
        """The rows of the events, to be changed in place."""
        file, sheet, first = self.table
        return self.tables[file][sheet][first:]

    def row(self, index: int) -> list[Any]:
        """The row of one event."""
        file, sheet, first = self.table
        return self.tables[file][sheet][first + index]

    def row_number(self, index: int) -> int:
        """The row of one event as a spreadsheet counts."""
        return self.table[2] + index + 1

    def set(self, index: int, column: str, value: Any) -> None:
        """Change one cell."""
        self.row(index)[self.columns[column]] = value

    def write(self, root: Path) -> Path:
        """Write tables and pictures."""
        for name, sheets in self.tables.items():
            write_table(root / name, sheets)
        for folder, names in self.frames.items():
            write_pictures(root / folder, names)
        return root


def write_table(path: Path, sheets: dict[str, Rows]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".xls":
        old = xlwt.Workbook()
        for title, rows in sheets.items():
            sheet = old.add_sheet(title)
            for i, row in enumerate(rows):
                for j, value in enumerate(row):
                    if value is not None:
                        sheet.write(i, j, value)
        old.save(str(path))
        return
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)


PICTURE = np.full((6, 8), 128, np.uint8)
ENCODED = {kind: cv2.imencode(kind, PICTURE)[1].tobytes() for kind in (".jpg", ".png")}


def write_pictures(folder: Path, names: Iterable[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(ENCODED[Path(name).suffix])


def toy_set(name: str) -> ToySet:
    """A fresh copy of one of `TOY_SETS`."""
    return copy.deepcopy(TOY_SETS[name])


def _casme2() -> ToySet:
    file = "CASME2-coding-20140508.xlsx"
    header = [
        "Subject", "Filename", NOTHING, "OnsetFrame", "ApexFrame", "OffsetFrame", NOTHING,
        "Action Units", "Estimated Emotion",
    ]  # fmt: skip
    rows = [
        [1, "EP02_01f", NOTHING, 46, 59, 86, NOTHING, "4+L7", "disgust"],
        [1, "EP03_02", NOTHING, 11, 20, 31, NOTHING, 12, "happiness"],
        [17, "EP05_09", NOTHING, 5, 9, 24, NOTHING, "1+2", "surprise"],
        [17, "EP15_03", NOTHING, 5, 9, 24, NOTHING, "15+17", "sadness"],
    ]
    return ToySet(
        "casme2",
        {file: {"Sheet1": [header, *rows]}},
        {
            "CASME2_RAW_selected/sub01/EP02_01f": [f"img{n}.jpg" for n in range(46, 87)],
            "CASME2_RAW_selected/sub01/EP03_02": [f"img{n}.jpg" for n in range(11, 32)],
            "CASME2_RAW_selected/sub17/EP05_09": [f"img{n}.jpg" for n in range(1, 30)],
            "CASME2_RAW_selected/sub17/EP15_03": [f"img{n}.jpg" for n in range(1, 30)],
        },
        (file, "Sheet1", 1),
        {"recording": 1, "onset": 3, "apex": 4, "offset": 5, "action_units": 7, "emotion": 8},
        events=4,
        recordings=4,
        subjects=("sub01", "sub17"),
    )


_SAMM_HEADER = [
    "Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame",
    "Duration", "Micro", "Action Units", "Estimated Emotion", "Objective Classes", "Notes",
]  # fmt: skip


def _samm() -> ToySet:
    file = "SAMM_Micro_FACS_Codes_v2.xlsx"
    licence = [["SAMM, invented for a test"], *([[NOTHING]] * 12)]
    rows = [
        [6, "006_1_2", 1, 5562, 5575, 5600, 39, "Micro - 1/2", "R12 + R15", "Contempt", "VII", ""],
        [6, "006_1_3", 1, 101, 110, 120, 20, "Micro - 1/2", "12A", "Happiness", "I", ""],
        [37, "037_3_1", 3, 7, 17, 27, 21, "Micro - 1/2", "4+7", "Other", "IV", "a note"],
    ]
    return ToySet(
        "samm",
        {file: {"MICRO_ONLY": [*licence, _SAMM_HEADER, *rows]}},
        {
            "SAMM/006/006_1_2": [f"006_{n:05d}.jpg" for n in range(5562, 5601)],
            "SAMM/006/006_1_3": [f"006_{n:05d}.jpg" for n in range(101, 121)],
            "SAMM/037/037_3_1": [f"037_{n:04d}.jpg" for n in range(1, 31)],
        },
        (file, "MICRO_ONLY", 14),
        {"recording": 1, "onset": 3, "apex": 4, "offset": 5, "action_units": 8, "emotion": 9},
        events=3,
        recordings=3,
        subjects=("006", "037"),
    )


_SMIC_HEADER = [
    "Subject", "Filename", NOTHING, "OnsetF", "OffsetF", "TotalMF1", "Onset2F", "Offset2F",
    "TotalMF2", "Onset3F", "Offset3F", "TotalMF3", "FirstF", "LastF", "TotalVL", "Emotion",
]  # fmt: skip


def _smic(camera: str, table: str) -> ToySet:
    none = [NOTHING] * 3
    rows = [
        [1, "s1_ne_01", NOTHING, 120, 131, 12, *none, *none, 110, 149, 40, "negative"],
        [1, "s1_po_02", NOTHING, 205, 212, 8, 220, 226, 7, *none, 200, 229, 30, "positive"],
        [20, "s20_sur_01", NOTHING, 33, 40, 8, *none, *none, 30, 44, 15, "surprise"],
    ]
    root = f"{camera}_long/SMIC-{camera}-E/{camera}"
    return ToySet(
        f"smic_{camera.lower()}",
        {f"{camera}_long/{table}": {"Sheet1": [_SMIC_HEADER, *rows]}},
        {
            f"{root}/s01/s1_ne_01": [f"image{n:06d}.jpg" for n in range(110, 150)],
            f"{root}/s01/s1_po_02": [f"image{n:06d}.jpg" for n in range(200, 230)],
            f"{root}/s20/s20_sur_01": [f"image{n:06d}.jpg" for n in range(30, 45)],
        },
        (f"{camera}_long/{table}", "Sheet1", 1),
        {"recording": 1, "onset": 3, "offset": 4, "emotion": 15},
        events=4,
        recordings=3,
        subjects=("s01", "s20"),
    )


def _cas_me_2() -> ToySet:
    file = "CAS(ME)^2code_final.xlsx"
    events = [
        [1, "disgust1_1", 12, 15, 20, "4+9", "negative", "micro-expression", "disgust"],
        [1, "disgust1_2", 22, 30, 39, 4, "negative", "macro-expression", "disgust"],
        [2, "happy2_1", 3, 8, 28, "6+12", "positive", "macro-expression", "happiness"],
        [2, "disgust1_1", 5, 7, 9, "", "others", "micro-expression", "sadness"],
    ]
    subjects = [[15, "s15", 1], [16, "s16", 2]]
    videos = [["0101", "disgust1"], [502, "happy2"]]  # one code has lost its zero, as they do
    frames = [f"img{n:03d}.jpg" for n in range(1, 41)]
    return ToySet(
        "cas_me_2",
        {file: {"CASFEcode_final": events, "naming rule1": subjects, "naming rule2": videos}},
        {
            "rawpic/s15/15_0101disgustingteeth": frames,
            "rawpic/s16/16_0101disgustingteeth": frames,
            "rawpic/s16/16_0502funnyerrors": frames,
            "rawpic/s16/16_0503unnyfarting": frames,
            "selectedpic/s15/disgust1_1": [f"img{n}.jpg" for n in range(12, 21)],
        },
        (file, "CASFEcode_final", 0),
        {
            "recording": 1,
            "onset": 2,
            "apex": 3,
            "offset": 4,
            "action_units": 5,
            "emotion": 6,
            "kind": 7,
        },
        events=4,
        recordings=4,
        subjects=("s15", "s16"),
    )


def _cas_me_3() -> ToySet:
    file = "annotation/CAS(ME)3_part_A_v2.xls"
    shared = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU"]
    rows = [
        ["spNO.1", "a", 5, 9, 14, "4+L7", "Micro-expression", "IV"],
        ["spNO.1", "a", 20, 30, 38, "12", "Macro-expression", "I"],
        ["spNO.10", "J", 6, 9, 12, "T28+14", "Micro-expression", "VII"],
    ]
    labels = [
        [*shared, "Objective class", "emotion"],
        ["spNO.1", "a", 5, 9, 14, "4+L7", "IV", "disgust"],
        ["spNO.10", "j", 6, 9, 12, "T28+14", "VII", "Others"],
    ]
    return ToySet(
        "cas_me_3",
        {
            file: {"label": [[*shared, "Expression type", "Objective class"], *rows]},
            "annotation/cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx": {"label": labels, "Sheet1": []},
        },
        {
            "part_A/spNO.1/a/color": [f"{n}.jpg" for n in range(1, 41)],
            "part_A/spNO.1/a/depth": [f"{n}.png" for n in range(1, 41)],
            "part_A/spNO.1/b/color": [f"{n}.jpg" for n in range(1, 11)],
            "part_A/spNO.10/j/color": [f"{n}.jpg" for n in range(4, 20)],
        },
        (file, "label", 1),
        {
            "recording": 1,
            "onset": 2,
            "apex": 3,
            "offset": 4,
            "action_units": 5,
            "kind": 6,
        },
        events=3,
        recordings=3,
        subjects=("spNO.1", "spNO.10"),
    )


def _samm_lv() -> ToySet:
    file = "SAMM_LongVideos_V3_Release.xlsx"
    header = [
        "Subject", "Filename", "Inducement Code", "Onset", "Apex", "Offset", "Duration", "Type",
        "Action Units", "Notes",
    ]  # fmt: skip
    rows = [
        [6, "006_1_2", 1, 22.0, 30.0, 40.0, 19, "Micro - 1/2", "R12", ""],
        [6, "006_1_3", 1, 10.0, 30.0, 58.0, 49, "Macro", "12", ""],
        [7, "007_2_1", 1, 1.0, 20.0, 50.0, 50, "Macro", "4", ""],
    ]
    emotions = [[6, "006_1_2", 1, 22, 30, 40, 19, "Micro - 1/2", "R12", "Contempt", "VII", ""]]
    frames = {
        name: [f"{name}_{n:04d}.jpg" for n in range(1, 61)] for name in ("006_1", "007_2", "007_3")
    }
    return ToySet(
        "samm_lv",
        {
            file: {"FACS_Movement_Only": [["SAMM Long Videos"], *([[NOTHING]] * 8), header, *rows]},
            "SAMM_Micro_FACS_Codes_v2.xlsx": {"MICRO_ONLY": [_SAMM_HEADER, *emotions]},
        },
        {f"SAMM_longvideos/{name}": names for name, names in frames.items()},
        (file, "FACS_Movement_Only", 10),
        {
            "recording": 1,
            "onset": 3,
            "apex": 4,
            "offset": 5,
            "action_units": 8,
            "kind": 7,
        },
        events=3,
        recordings=3,
        subjects=("006", "007"),
    )


TOY_SETS = {
    toy.adapter: toy
    for toy in (
        _casme2(),
        _samm(),
        _smic("HS", "SMIC-HS-E_annotation.xlsx"),
        _smic("VIS", "SMIC_VIS_E_annotation.xlsx"),
        _smic("NIR", "SMIC-NIR-E_annotation.xlsx"),
        _cas_me_2(),
        _cas_me_3(),
        _samm_lv(),
    )
}
