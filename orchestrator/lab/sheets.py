"""The cells of a table that a lab has filled in, whatever file they come in: CSV here, Excel in `workbooks`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from matloop.orchestrator import spreadsheets
from matloop.orchestrator.lab.header import SEARCHED, Header, find
from matloop.orchestrator.lab.numbers import Mark, Typed
from matloop.orchestrator.lab.titles import Titles

Cell = str | Typed
"""Text, stripped, or a number that a program keeps as one; empty text for nothing."""

DELIMITERS = (",", ";", "\t", "|")

MOST_COLUMNS = 16_384
"""Columns of a table, as in Excel."""

ENCODINGS = {"cp1252": "Windows-1252", "mac_roman": "Mac Roman", "cp850": "DOS code page 850"}
"""What is tried if a file is not in Unicode: the first in which most titles are known."""

OTHER_FILES = {
    b"\xd0\xcf\x11\xe0": "an Excel file of the old kind (.xls)",
    b"%PDF": "a PDF",
    b"{\\rtf": "a text document",
}
"""How files begin that may be taken for a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a table is to be read, where it does not say so itself.

    Attributes:
        sheet: of an Excel file; empty for the first that is visible.
        decimal: what stands before the decimals; None to see from the columns.
        ignore_columns: whether columns that are not known are passed over.
    """

    sheet: str = ""
    decimal: Literal["comma", "point"] | None = None
    ignore_columns: bool = False

    @property
    def mark(self) -> Mark | None:
        """The decimal mark that was told."""
        return None if self.decimal is None else "," if self.decimal == "comma" else "."


@dataclass(slots=True, kw_only=True)
class Sheet:
    """Cells of a table.

    Attributes:
        rows: titles among them.
        first: number of the first row, for messages.
        searched: number of rows among which the titles are.
        usual: decimal mark that goes with the separator of cells; see `Marks`.
        remarks: what people should know about how it was read.
    """

    rows: Sequence[Sequence[Cell]]
    first: int = 1
    searched: int = SEARCHED
    usual: Mark | None = "."
    remarks: list[str] = field(default_factory=list)


class NoTable(ValueError):
    """A file holds no table that can be read."""


def read(content: bytes, titles: Titles, how: Reading) -> Sheet:
    """Cells of a file as spreadsheet programs write them; CSV and Excel are told apart by content.

    Raises:
        NoTable: it is neither, or damaged.
        MissingExtra: it is an Excel file, and what reads those is not installed.
    """
    if content.startswith(b"PK\x03\x04"):
        from matloop.orchestrator.lab.workbooks import read as read_workbook

        return read_workbook(content, titles, how.sheet)
    for beginning, kind in OTHER_FILES.items():
        if content.startswith(beginning):
            raise NoTable(f"expected a table in CSV or Excel format, got {kind}; save it as .xlsx or .csv")
    if how.sheet:
        raise NoTable(f"expected an Excel file with a sheet {how.sheet!r}, got text; leave the sheet out")
    try:
        return _delimited(content, titles)
    except (csv.Error, UnicodeDecodeError) as error:
        raise NoTable(f"expected a table in CSV format, got {error}; save it as .csv or .xlsx again") from error


def _delimited(content: bytes, titles: Titles) -> Sheet:
    found = [(encoding, text, *_best(text, titles)) for encoding, text in _texts(content)]
    encoding, text, delimiter, _ = max(found, key=lambda each: each[3].score)
    head, _, rest = text.partition("\n")
    rows = [[_cell(cell) for cell in row] for row in _cells(rest if _declared(head) else text, delimiter)]
    remarks = [f"the file is not in Unicode; read as {ENCODINGS[encoding]}"] if encoding in ENCODINGS else []
    return Sheet(rows=rows, usual="," if delimiter == ";" else ".", remarks=remarks)


def _best(text: str, titles: Titles) -> tuple[str, Header]:
    """The delimiter that gives the most columns that are known."""
    head, _, rest = text.partition("\n")
    if declared := _declared(head):
        return declared, find(_head(rest, declared), titles)
    found: dict[str, Header] = {}
    failed: csv.Error | NoTable | None = None
    for delimiter in DELIMITERS:
        try:
            found[delimiter] = find(_head(text, delimiter), titles)
        except (csv.Error, NoTable) as error:
            failed = failed or error
    best = max(found.items(), key=lambda item: item[1].score, default=None)
    if best is None or (failed and not best[1].score[1]):
        assert failed is not None
        raise failed
    return best


def _declared(head: str) -> str:
    """The separator that Excel's own first line names; empty if there is no such line."""
    line = head.strip("\r").strip('"')
    return line[-1] if line.lower().startswith("sep=") and len(line) == 5 else ""


def _cells(text: str, delimiter: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def _head(text: str, delimiter: str) -> list[list[str]]:
    """The rows among which the titles are.

    Raises:
        NoTable: one of them has more cells than a table may have columns.
    """
    rows = list(islice(_cells(text, delimiter), SEARCHED))
    if (widest := max(map(len, rows), default=0)) > MOST_COLUMNS:
        raise NoTable(f"expected a table of at most {MOST_COLUMNS:,} columns, got {widest:,}; give a row to each trial")
    return [[_cell(cell) for cell in row] for row in rows]


def _cell(text: str) -> str:
    return spreadsheets.read(text.strip())


def _texts(content: bytes) -> Iterator[tuple[str, str]]:
    """The file as text, with its encoding; several if that is in doubt."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield "utf-16", content.decode("utf-16")
        return
    start = content[:400]
    if start.count(0) > len(start) // 3:  # every other byte of Latin letters
        encoding = "utf-16-le" if start[1::2].count(0) >= start[::2].count(0) else "utf-16-be"
        yield encoding, content.decode(encoding)
        return
    try:
        yield "utf-8", content.decode("utf-8-sig")
    except UnicodeDecodeError:
        for encoding in ENCODINGS:
            try:
                yield encoding, content.decode(encoding)
            except UnicodeDecodeError:
                continue
