"""What a table holds: its columns, and its rows without titles, headings, units and comments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from matloop.orchestrator.errors import Problem
from matloop.orchestrator.lab.columns import Columns, columns_of, is_comment, see_marks, titles_of
from matloop.orchestrator.lab.header import find
from matloop.orchestrator.lab.sheets import Cell, Reading, Sheet
from matloop.orchestrator.lab.tables import Layout

MOST_LISTED = 10
"""Rows or titles in a remark."""


@dataclass(slots=True)
class Contents:
    """What a table holds.

    Attributes:
        columns: which there are.
        rows: number and cells of each that is not empty.
        problems: with the titles, by row and title; then there are no rows.
        remarks: what people should know about how it was read.
    """

    columns: Columns = field(default_factory=Columns)
    rows: list[tuple[int, Sequence[Cell]]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def contents(sheet: Sheet, layout: Layout, how: Reading) -> Contents:
    """Find the titles of a table, and what belongs to them."""
    titles = titles_of(layout)
    found = Contents(remarks=list(sheet.remarks))
    head = find(sheet.rows[: sheet.searched], titles)
    if head.row is None:
        text = "expected titles and rows, got an empty table; write titles into the first row"
        found.problems.append(Problem(text, (sheet.first,)))
        return found
    found.columns = columns_of(sheet, head, titles, how, found.problems)
    if found.problems:
        return found
    rows = [(sheet.first + i, row) for i, row in enumerate(sheet.rows) if i > head.row and i != head.units and any(row)]
    found.rows = [(number, row) for number, row in rows if not is_comment(row)]
    comments = [number for number, row in rows if is_comment(row)]
    found.remarks += _passed_over([sheet.first + i for i in head.heading], comments, found.columns)
    choices = [f.name for f in layout.fields if f.kind == "choice"]
    see_marks(found.columns, [row for _, row in found.rows], choices, sheet, how)
    return found


def listed(items: Sequence[object]) -> str:
    """Some of many, for a remark."""
    more = len(items) - MOST_LISTED
    return ", ".join(map(str, items[:MOST_LISTED])) + (f" and {more} more" if more > 0 else "")


def rows_listed(numbers: Sequence[int]) -> str:
    """`row 3`, or `rows 3, 5`."""
    return f"row{'s' if len(numbers) > 1 else ''} {listed(numbers)}"


def _passed_over(heading: Sequence[int], comments: Sequence[int], columns: Columns) -> list[str]:
    """What was not read."""
    remarks = []
    if heading:
        remarks.append(f"passed over what stands above the titles: {rows_listed(heading)}")
    if comments:
        remarks.append(f"passed over what begins with #: {rows_listed(comments)}")
    if columns.ignored:
        remarks.append(f"passed over columns that are not known: {listed(columns.ignored)}")
    return remarks
