"""Annotation tables: cells of xlsx, xls and csv files, and the table with named columns in them.

The libraries are asked for cells rather than for a data frame: row numbers stay those that a
spreadsheet shows, nothing is guessed about types or empty values (a subject `006`, an emotion
`None`), and merged cells are known as such.
"""

from __future__ import annotations

import csv
import io
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from engines.datasets.base import DatasetError, Problem, ProblemKind

Cells = list[list[Any]]

_MAX_HEADING_ROWS = 60
"""How far down a header row is looked for; SAMM has its licence above it."""

_NOT_GIVEN = frozenset({"", "/", "\\", "-", "n/a", "nan", "none"})


@dataclass(frozen=True, slots=True)
class Sheet:
    """The cells of one sheet; `rows[0]` is row 1 of the file."""

    file: Path
    name: str
    rows: Cells


@dataclass(frozen=True, slots=True)
class Column:
    """A column that an adapter reads.

    Attributes:
        headings: How it may be headed; case, spaces and punctuation do not matter.
        required: Whether no event can be read without it.
        expected: Whether its absence is worth a `Problem`.
    """

    headings: tuple[str, ...]
    required: bool = False
    expected: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a table, or what stands for one (`row` is None); `cells` has what was found."""

    file: Path
    row: int | None
    cells: Mapping[str, Any]

    def text(self, column: str) -> str:
        """A cell as text, empty where nothing is given; 6.0 reads `6`."""
        return text_of(self.cells.get(column))

    def frame(self, column: str) -> int | None:
        """A cell as a frame number; None where nothing is given.

        Raises:
            ValueError: The cell is neither empty nor a whole number.
        """
        text = self.text(column)
        if text.casefold() in _NOT_GIVEN:
            return None
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not number.is_integer():
            raise ValueError(f"{text!r} is no frame number")
        return int(number)


def text_of(value: object) -> str:
    """A cell's value as a coder would write it."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def read_sheets(file: Path) -> list[Sheet]:
    """Read all sheets of a table file.

    Cells that are merged down a column all carry the value of the merged cell.

    Args:
        file: An .xlsx, .xls or .csv file.

    Raises:
        DatasetError: The file cannot be read.
    """
    readers: Mapping[str, Callable[[Path], dict[str, Cells]]] = {
        ".xlsx": _read_xlsx,
        ".xls": _read_xls,
        ".csv": _read_csv,
    }
    try:
        return [Sheet(file, *sheet) for sheet in readers[file.suffix.lower()](file).items()]
    except ImportError as error:
        raise DatasetError(
            f"Reading {file} needs {error.name}; install it with pip install -r "
            "requirements-train.txt."
        ) from error
    except Exception as error:  # the parsers raise whatever the damage leads them into
        raise DatasetError(
            f"{file} cannot be read as a table ({error}); fetch it from its owners again."
        ) from error


def _read_xlsx(file: Path) -> dict[str, Cells]:
    import openpyxl  # noqa: PLC0415 - training alone reads spreadsheets

    book = openpyxl.load_workbook(file, data_only=True)
    sheets = {}
    for sheet in book.worksheets:
        rows = [list(row) for row in sheet.iter_rows(values_only=True)]
        for merged in sheet.merged_cells.ranges:
            _fill_down(rows, merged.min_row - 1, merged.max_row, merged.min_col - 1)
        sheets[sheet.title] = rows
    book.close()
    return sheets


def _read_xls(file: Path) -> dict[str, Cells]:
    import xlrd  # noqa: PLC0415

    # Formatting tells merged cells; warnings go where they do not mix with --json.
    book = xlrd.open_workbook(file, formatting_info=True, logfile=sys.stderr)
    sheets = {}
    for sheet in book.sheets():
        rows = [
            [
                None if kind in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK) else value
                for kind, value in zip(sheet.row_types(row), sheet.row_values(row), strict=True)
            ]
            for row in range(sheet.nrows)
        ]
        for top, bottom, left, _ in sheet.merged_cells:
            _fill_down(rows, top, bottom, left)
        sheets[sheet.name] = rows
    return sheets


def _read_csv(file: Path) -> dict[str, Cells]:
    data = file.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("gb18030")  # what Excel writes in China
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    return {file.stem: list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))}


def _fill_down(rows: Cells, top: int, bottom: int, column: int) -> None:
    for row in rows[top + 1 : bottom]:
        row[column] = rows[top][column]


def find_table(
    sheets: Sequence[Sheet], columns: Mapping[str, Column], problems: list[Problem]
) -> list[Record]:
    """Find the table that has the columns, and read its rows.

    The header is the row with most of the columns, in any sheet, the first of equals. Headings
    that are missing and rows that hold a remark only are added to `problems`.

    Args:
        sheets: Sheets of one file, at least one.
        columns: Name to column.
        problems: Takes what is wrong.

    Returns:
        The rows below the header that hold something; none when a required column is missing.
    """
    sheet, header, found = _best_header(sheets, columns)
    missing = [name for name in columns if name not in found]
    lost = [name for name in missing if columns[name].required]
    records = [] if sheet is None else list(_records(sheet, header, found))
    for name in missing:
        if not (columns[name].required or columns[name].expected):
            continue
        consequence = "no event could be read" if lost else "it is left empty"
        problems.append(
            Problem(
                ProblemKind.MISSING_COLUMN,
                sheets[0].file,
                f"there is no column {columns[name].headings[0]!r}; {consequence}",
                row=header + 1 if found else None,
                lost_events=len(records) if lost and name == lost[0] else 0,
            )
        )
    if lost:
        return []
    return list(_without_remarks(records, columns, problems))


def _best_header(
    sheets: Sequence[Sheet], columns: Mapping[str, Column]
) -> tuple[Sheet | None, int, dict[str, int]]:
    best: tuple[Sheet | None, int, dict[str, int]] = (None, 0, {})
    for sheet in sheets:
        for index, row in enumerate(sheet.rows[:_MAX_HEADING_ROWS]):
            places = {_plain(text_of(cell)): place for place, cell in reversed([*enumerate(row)])}
            found = {
                name: places[heading]
                for name, column in columns.items()
                for heading in map(_plain, column.headings)
                if heading in places
            }
            if len(found) > len(best[2]):
                best = (sheet, index, found)
    return best


def _records(sheet: Sheet, header: int, found: Mapping[str, int]) -> Iterator[Record]:
    for index, row in enumerate(sheet.rows[header + 1 :], start=header + 2):
        if any(text_of(cell) for cell in row):
            cells = {name: row[place] for name, place in found.items() if place < len(row)}
            yield Record(sheet.file, index, MappingProxyType(cells))


def _without_remarks(
    records: Sequence[Record], columns: Mapping[str, Column], problems: list[Problem]
) -> Iterator[Record]:
    required = [name for name, column in columns.items() if column.required]
    for record in records:
        if sum(bool(record.text(name)) for name in required) > 1:
            yield record
            continue
        text = " ".join(filter(None, map(text_of, record.cells.values())))
        problems.append(
            Problem(
                ProblemKind.REMARK,
                record.file,
                f"taken for a remark, not an event: {text[:60]!r}",
                record.row,
            )
        )


def positional_table(sheet: Sheet, names: Sequence[str]) -> list[Record]:
    """Read a sheet without a header, whose columns are known by their place.

    Args:
        sheet: The sheet.
        names: Names of its columns from the left.
    """
    return list(_records(sheet, -1, {name: place for place, name in enumerate(names)}))


def _plain(heading: str) -> str:
    return re.sub(r"\W|_", "", heading).casefold()
