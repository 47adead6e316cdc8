"""Points to be predicted, from a table in a file with the columns of `recommend --csv`; only the inputs are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from matloop.orchestrator.errors import Problem, RejectedPoints
from matloop.orchestrator.lab.columns import Columns, titles_of
from matloop.orchestrator.lab.contents import contents
from matloop.orchestrator.lab.missing import is_missing
from matloop.orchestrator.lab.numbers import TwoNumbers
from matloop.orchestrator.lab.predictions import MOST, completed, objections
from matloop.orchestrator.lab.sheets import Cell, NoTable, Reading
from matloop.orchestrator.lab.sheets import read as read_sheet
from matloop.orchestrator.lab.tables import Layout


def read(
    content: bytes,
    layout: Layout,
    source: str = "",
    how: Reading | None = None,
    done: Mapping[str, Sequence[Any]] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Points of a file as spreadsheet programs write it, one a row; rows without any input are passed over.

    Args:
        content: of the file, CSV or Excel; read as tables of results are, see `matloop.orchestrator.lab.filled`.
        layout: what its columns are called; those of results and predictions are passed over.
        source: name of the file for messages.
        how: what the file does not say itself.
        done: choices that were measured, by input; they are known although they may no longer be chosen.

    Raises:
        RejectedPoints: every problem by row, from 1, and title.
        MissingExtra: it is an Excel file, and openpyxl is not installed.
    """
    how = how or Reading()
    try:
        table = contents(read_sheet(content, titles_of(layout), how), layout, how)
    except NoTable as error:
        raise RejectedPoints([Problem(str(error), (1,))], source=source) from error
    problems = [*table.problems]
    if not problems:
        problems += _missing(table.columns, layout, table.rows[0][0] - 1 if table.rows else 1)
    points = []
    if not problems:
        points = [
            point for row, cells in table.rows if (point := _point(row, cells, table.columns, layout, problems, done))
        ]
    if not points and not problems:
        names = ", ".join(f.name for f in layout.fields)
        problems.append(Problem(f"expected a table with titles ({names}) and a point in each row, got none", (1,)))
    if len(points) > MOST:
        problems.append(Problem(f"expected at most {MOST:,} points, got {len(points):,}; ask for them in parts", (1,)))
    if problems:
        raise RejectedPoints(problems, source=source)
    return points


def _missing(columns: Columns, layout: Layout, row: int) -> list[Problem]:
    """Inputs without a column, of those that every point needs."""
    needed = [f.name for f in layout.fields if f.default is None and not f.when and not f.uncontrolled]
    missing = [name for name in needed if name not in columns.places]
    if not missing:
        return []
    text = f"expected a column for each input, got none for {', '.join(map(layout.title, missing))}"
    return [Problem(text, (row,), remedy="add what is missing, with the value that it is to have")]


def _point(
    row: int,
    cells: Sequence[Cell],
    columns: Columns,
    layout: Layout,
    problems: list[Problem],
    done: Mapping[str, Sequence[Any]],
) -> dict[str, Any]:
    """The inputs in a row that are not empty."""
    point: dict[str, Any] = {}
    for field in layout.fields:
        place = columns.places.get(field.name, len(cells))
        cell = cells[place] if place < len(cells) else ""
        if isinstance(cell, str) and is_missing(cell) and cell not in map(str, field.choices):
            continue
        try:
            point[field.name] = field.read(cell, columns.marks[place])
        except TwoNumbers as error:
            problems.append(Problem(str(error), (row, columns.titles[place]), command="--decimal"))
        except ValueError as error:
            problems.append(Problem(str(error), (row, columns.titles[place])))
    if point and not any(problem.row == row for problem in problems):
        for problem in objections(completed(point, layout.fields), layout.fields, row, done):
            problems.append(replace(problem, place=(row, layout.title(problem.column))))
    return point
