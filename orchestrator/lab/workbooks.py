"""Tables as Excel files (.xlsx), in and out.

A cell that is merged with others counts for every row that it covers. Formulas count by what they showed when the file
was last saved. Numbers stay the numbers that they are.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from matloop.orchestrator import spreadsheets
from matloop.orchestrator.errors import MissingExtra
from matloop.orchestrator.lab.header import find
from matloop.orchestrator.lab.numbers import Typed
from matloop.orchestrator.lab.sheets import Cell, NoTable, Sheet
from matloop.orchestrator.lab.titles import Titles
from matloop.orchestrator.measurement import without_control_characters

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

LARGEST = 32 * 2**20
"""Bytes of all that is packed into a file."""

WIDEST = 60
"""Characters of a column."""

_DAMAGE = (
    zipfile.BadZipFile, zlib.error, SyntaxError, KeyError, IndexError, ValueError, TypeError, AttributeError, OSError,
    EOFError, NotImplementedError, OverflowError, RecursionError, AssertionError,
)  # fmt: skip
"""What reading a file may raise that is no Excel file, or is damaged; XML that is none is a SyntaxError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What is special about a column: values to choose from, and whether it is to be filled in."""

    choices: tuple[Any, ...] = ()
    to_fill_in: bool = False


def read(content: bytes, titles: Titles, name: str = "") -> Sheet:
    """Cells of a sheet.

    Args:
        content: of the file.
        titles: by which a sheet that holds no table is known.
        name: of the sheet; empty for the first that is visible.

    Raises:
        NoTable: it is no Excel file, is damaged or too large, or has no such sheet.
        MissingExtra: openpyxl is not installed.
    """
    _openpyxl()
    try:
        formulas = _inspected(content)
        with _quiet():
            return _read(content, titles, name, formulas)
    except NoTable:
        raise
    except _DAMAGE as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise NoTable(
            f"expected an Excel file (.xlsx), got one that cannot be read ({reason}); save it again"
        ) from error


def _read(content: bytes, titles: Titles, name: str, formulas: bool) -> Sheet:
    openpyxl = _openpyxl()
    book = openpyxl.load_workbook(io.BytesIO(content), data_only=True, keep_links=False)
    sheet = _chosen(book, name)
    written = openpyxl.load_workbook(io.BytesIO(content), keep_links=False)[sheet.title] if formulas else None
    cells = {place: cell for place, cell in sheet._cells.items() if cell.value is not None}
    if written is not None and (
        lost := [c for p, c in written._cells.items() if c.data_type == "f" and p not in cells]
    ):
        raise NoTable(
            f"expected what the formula in cell {lost[0].coordinate} gives, got the formula alone; "
            "open the file in a spreadsheet program, which works it out, and save it"
        )
    values = {place: _cell(cell) for place, cell in cells.items()}
    last = max((row for row, _ in values), default=0)
    for merged in sheet.merged_cells.ranges:
        held = values.get((merged.min_row, merged.min_col))
        if held is None:
            continue
        for row in range(merged.min_row, min(merged.max_row, last) + 1):
            values[row, merged.min_col] = held
    found = Sheet(rows=_rows(values), usual=None, remarks=_remarks(book, sheet, values))
    _suggest(book, sheet, found, titles)
    return found


def write(titles: Sequence[str], rows: Sequence[Sequence[Any]], columns: Sequence[Column]) -> bytes:
    """A table as an Excel file.

    Titles stay in sight, columns are as wide as what they hold, choices are lists to choose from, and what is to be
    filled in is marked. Text that could be taken for a formula has an apostrophe, as in CSV files.

    Args:
        titles: of the columns.
        rows: numbers stay numbers, None is an empty cell.
        columns: what is special about each column.

    Raises:
        MissingExtra: openpyxl is not installed.
    """
    openpyxl = _openpyxl()
    styles = openpyxl.styles
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "experiments"
    head = styles.PatternFill("solid", start_color="DDE6EE")
    open_ = styles.PatternFill("solid", start_color="FFF8DC")
    for i, title in enumerate(titles, 1):
        cell = sheet.cell(1, i, _text(title))
        cell.font, cell.fill = styles.Font(bold=True), head
        cell.alignment = styles.Alignment(wrap_text=True, vertical="top")
    for j, row in enumerate(rows, 2):
        for i, (value, column) in enumerate(zip(row, columns, strict=True), 1):
            cell = sheet.cell(j, i, value if _is_number(value) or value is None else _text(str(value)))
            if isinstance(value, float):
                cell._value = repr(value)  # openpyxl would keep sixteen digits of it, which may be another number
            if column.to_fill_in:
                cell.fill = open_
    for i in range(len(columns)):
        letter = openpyxl.utils.get_column_letter(i + 1)
        longest = max([len(str(titles[i])), *(len(str(row[i])) for row in rows if row[i] is not None)])
        sheet.column_dimensions[letter].width = min(WIDEST, longest + 3)
    sheet.freeze_panes = "B2"
    _offer(openpyxl, book, sheet, columns, len(rows))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _offer(openpyxl: Any, book: Any, sheet: Any, columns: Sequence[Column], rows: int) -> None:
    """Lists to choose from, which a hidden sheet holds, since there may be many and they may have commas."""
    offered = [(i, column.choices) for i, column in enumerate(columns, 1) if column.choices]
    if not offered or not rows:
        return
    lists = book.create_sheet("choices")
    lists.sheet_state = "hidden"
    for place, (i, choices) in enumerate(offered, 1):
        for j, choice in enumerate(choices, 1):
            lists.cell(j, place, choice if _is_number(choice) else _text(str(choice)))
        source, target = openpyxl.utils.get_column_letter(place), openpyxl.utils.get_column_letter(i)
        rule = openpyxl.worksheet.datavalidation.DataValidation(
            type="list", formula1=f"=choices!${source}$1:${source}${len(choices)}", allow_blank=True
        )
        rule.error = "Choose one of the list."
        rule.showErrorMessage = True
        sheet.add_data_validation(rule)
        rule.add(f"{target}2:{target}{rows + 1}")


def _inspected(content: bytes) -> bool:
    """Whether there are formulas; looked for before the file is unpacked for good.

    Raises:
        NoTable: it is another kind of file, or is made to take all memory.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = archive.infolist()
        if "xl/workbook.xml" not in archive.namelist():
            raise NoTable(
                "expected an Excel file (.xlsx), got an archive of another kind; save the table as .xlsx or .csv"
            )
        if sum(info.file_size for info in infos) > LARGEST:
            raise NoTable(
                f"expected at most {LARGEST // 2**20} MB when unpacked, got more; save the table alone as .csv"
            )
        formulas = False
        for info in infos:
            if info.filename.endswith((".xml", ".rels")):
                text = archive.read(info)
                if b"<!DOCTYPE" in text.replace(b"\0", b""):
                    raise NoTable("expected an Excel file (.xlsx), got one with a document type in it; save it again")
                formulas |= (
                    info.filename.startswith("xl/worksheets/") and re.search(rb"<(?:\w+:)?f[ >/]", text) is not None
                )
    return formulas


def _chosen(book: Any, name: str) -> Any:
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    if not name:
        return next((sheet for sheet in sheets.values() if sheet.sheet_state == "visible"), book.worksheets[0])
    alike = [title for title in sheets if title.casefold() == name.strip().casefold()]
    if name in sheets or len(alike) == 1:
        return sheets[name if name in sheets else alike[0]]
    raise NoTable(f"expected a sheet {name!r}, got {', '.join(map(repr, sheets))}; name one of these")


def _suggest(book: Any, sheet: Any, found: Sheet, titles: Titles) -> None:
    """Point to another sheet if this one has none of the titles that are known.

    Raises:
        NoTable: it has none, and another sheet is there.
    """
    others = [one.title for one in book.worksheets if one is not sheet and one.sheet_state == "visible"]
    if others and not find(found.rows, titles).score[0]:
        expected = ", ".join(list(titles.columns)[:3])
        raise NoTable(
            f"expected titles such as {expected} in the sheet {sheet.title!r}, got none; there are also "
            f"{', '.join(map(repr, others))}: name the sheet"
        )


def _cell(cell: Any) -> Cell:
    value = cell.value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return Typed(value, percent="%" in re.sub(r'"[^"]*"|\\.|\[[^\]]*\]', "", cell.number_format or ""))
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    return spreadsheets.read(str(value).strip())


def _rows(values: dict[tuple[int, int], Cell]) -> list[list[Cell]]:
    rows: list[list[Cell]] = [[] for _ in range(max((row for row, _ in values), default=0))]
    for (row, column), value in sorted(values.items(), key=lambda item: item[0]):
        cells = rows[row - 1]
        cells.extend([""] * (column - 1 - len(cells)))
        cells.append(value)
    return rows


def _remarks(book: Any, sheet: Any, values: dict[tuple[int, int], Cell]) -> list[str]:
    remarks = []
    if len([one for one in book.worksheets if one.sheet_state == "visible"]) > 1:
        remarks.append(f"read the sheet {sheet.title!r}; there are others")
    hidden = sorted({row for row, _ in values if row in sheet.row_dimensions and sheet.row_dimensions[row].hidden})
    if hidden:
        named = ", ".join(map(str, hidden[:10])) + (", …" if len(hidden) > 10 else "")
        remarks.append(f"hidden rows were read as well: {named}")
    return remarks


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(text: str) -> str:
    return str(spreadsheets.written(without_control_characters(text)))


@contextmanager
def _quiet() -> Iterator[None]:
    """What a file holds beside the cells, and will not be kept, is nobody's concern here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _openpyxl() -> Any:
    try:
        import openpyxl
    except ImportError as error:
        raise MissingExtra("openpyxl") from error
    return openpyxl
