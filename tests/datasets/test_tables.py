from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import xlwt
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.datasets.base import DatasetError, Problem, ProblemKind
from engines.datasets.tables import Column, Record, find_table, read_sheets
from tests.datasets.toy_sets import write_table

COLUMNS = {
    "clip": Column(("Filename",), required=True),
    "onset": Column(("Onset Frame", "OnsetF"), required=True),
    "units": Column(("Action Units",)),
    "class": Column(("Objective Class",), expected=False),
}
HEADER = ["Filename", "Onset Frame", "Action Units"]


def find(path: Path) -> tuple[list[Record], list[Problem]]:
    problems: list[Problem] = []
    return find_table(read_sheets(path), COLUMNS, problems), problems


def read(path: Path, rows: list[list[Any]]) -> tuple[list[Record], list[Problem]]:
    write_table(path, {"one": rows})
    return find(path)


@pytest.mark.parametrize("extension", ["xlsx", "xls"])
def test_rows_keep_the_numbers_that_a_spreadsheet_shows(tmp_path: Path, extension: str) -> None:
    rows = [[None], ["A title"], [], HEADER, ["a", 5, "4"], [], ["b", 7.0, None]]
    records, problems = read(tmp_path / f"t.{extension}", rows)
    assert [record.row for record in records] == [5, 7]
    assert [record.text("clip") for record in records] == ["a", "b"]
    assert [record.frame("onset") for record in records] == [5, 7]
    assert records[1].text("units") == ""
    assert problems == []


@pytest.mark.parametrize("heading", ["onset frame", "Onset_Frame ", "ONSETFRAME", "OnsetF"])
def test_headings_may_be_written_in_other_ways(tmp_path: Path, heading: str) -> None:
    records, problems = read(
        tmp_path / "t.xlsx", [["Filename", heading, "Action Units"], ["a", 5, ""]]
    )
    assert records[0].frame("onset") == 5
    assert problems == []


def test_the_sheet_with_the_columns_is_found(tmp_path: Path) -> None:
    write_table(
        tmp_path / "t.xlsx", {"notes": [["read", "me"]], "data": [HEADER, ["a", 5, ""]], "z": []}
    )
    records, _ = find(tmp_path / "t.xlsx")
    assert [record.text("clip") for record in records] == ["a"]


def test_cells_merged_down_a_column_share_their_value_in_xlsx(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in [["Codes, 2014", None, None], HEADER, ["a", 5, ""], [None, 7, ""], [None, 9, ""]]:
        book.active.append(row)
    book.active.merge_cells("A1:C1")
    book.active.merge_cells("A3:A5")
    book.save(tmp_path / "t.xlsx")
    records, problems = find(tmp_path / "t.xlsx")
    assert [record.text("clip") for record in records] == ["a", "a", "a"]
    assert problems == []


def test_cells_merged_down_a_column_share_their_value_in_xls(tmp_path: Path) -> None:
    book = xlwt.Workbook()
    sheet = book.add_sheet("one")
    for column, heading in enumerate(HEADER):
        sheet.write(0, column, heading)
    sheet.write_merge(1, 2, 0, 0, "a")
    sheet.write(1, 1, 5)
    sheet.write(2, 1, 7)
    book.save(str(tmp_path / "t.xls"))
    records, _ = find(tmp_path / "t.xls")
    assert [(record.text("clip"), record.frame("onset")) for record in records] == [
        ("a", 5),
        ("a", 7),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_as_spreadsheets_save_it(tmp_path: Path, encoding: str, delimiter: str) -> None:
    lines = [delimiter.join(row) for row in [HEADER, ["微表情", "5", "4+7"], ["b", "007", ""]]]
    (tmp_path / "t.csv").write_bytes("\r\n".join(lines).encode(encoding))
    records, problems = find(tmp_path / "t.csv")
    assert [(r.text("clip"), r.frame("onset"), r.row) for r in records] == [
        ("微表情", 5, 2),
        ("b", 7, 3),
    ]
    assert problems == []


@pytest.mark.parametrize("value", [None, "", " / ", "-", "\\", "N/A", "NaN"])
def test_a_frame_that_is_not_given(tmp_path: Path, value: str | None) -> None:
    records, _ = read(tmp_path / "t.xlsx", [HEADER, ["a", 5, ""], ["b", value, "7"]])
    assert Record(tmp_path, 1, {"onset": value}).frame("onset") is None
    assert len(records) >= 1


@pytest.mark.parametrize("value", ["5-7", 5.5, "inf", datetime(2014, 5, 8), "five", "#REF!"])
def test_a_cell_that_is_no_frame_number(value: object) -> None:
    with pytest.raises(ValueError, match="is no frame number"):
        Record(Path("t.xlsx"), 1, {"onset": value}).frame("onset")


def test_a_missing_required_column_loses_the_events(tmp_path: Path) -> None:
    records, problems = read(
        tmp_path / "t.xlsx", [["Filename", "Start", "Action Units"], ["a", 5, ""], ["b", 7, ""]]
    )
    assert records == []
    (problem,) = problems
    assert problem.kind is ProblemKind.MISSING_COLUMN
    assert (problem.row, problem.lost_events) == (1, 2)
    assert str(problem) == (
        f"{tmp_path / 't.xlsx'}, row 1: there is no column 'Onset Frame'; no event could be read"
    )


def test_a_missing_other_column_is_left_empty(tmp_path: Path) -> None:
    records, problems = read(tmp_path / "t.xlsx", [["Filename", "Onset Frame"], ["a", 5]])
    assert records[0].text("units") == ""
    (problem,) = problems
    assert problem.message == "there is no column 'Action Units'; it is left empty"
    assert problem.lost_events == 0


def test_no_header_at_all(tmp_path: Path) -> None:
    records, problems = read(tmp_path / "t.xlsx", [["a", 5, "4"]])
    assert records == []
    assert {problem.kind for problem in problems} == {ProblemKind.MISSING_COLUMN}


def test_remarks_are_not_events_and_not_hidden(tmp_path: Path) -> None:
    rows = [HEADER, ["a", 5, ""], ["* approximate", None, None], [None, None, None, "see text"]]
    records, problems = read(tmp_path / "t.xlsx", rows)
    assert len(records) == 1
    assert [(problem.kind, problem.row) for problem in problems] == [
        (ProblemKind.REMARK, 3),
        (ProblemKind.REMARK, 4),
    ]


@pytest.mark.parametrize("extension", ["xlsx", "xls"])
@pytest.mark.parametrize("content", [b"", b"<html>log in first</html>", b"PK\x03\x04", b"\xd0\xcf"])
def test_a_file_that_is_no_table(tmp_path: Path, extension: str, content: bytes) -> None:
    path = tmp_path / f"t.{extension}"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="cannot be read as a table"):
        read_sheets(path)


@pytest.mark.parametrize("extension", ["xlsx", "xls"])
@given(damage=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6))
@settings(max_examples=25, deadline=None)
def test_a_damaged_file_is_read_or_refused(
    extension: str, damage: list[tuple[float, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damaged") / f"t.{extension}"
    write_table(path, {"one": [HEADER, ["a", 5, "4"]]})
    content = bytearray(path.read_bytes())
    for place, value in damage:
        content[int(place * len(content))] = value
    path.write_bytes(content)
    try:
        read_sheets(path)
    except DatasetError as error:
        assert "cannot be read as a table" in str(error)  # noqa: PT017 - either outcome is right
