"""Points to be predicted, from a table in a file with the columns of `recommend --csv`; only the inputs are read."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from matloop.orchestrator import spreadsheets
from matloop.orchestrator.errors import Problem, RejectedPoints
from matloop.orchestrator.lab.filled import _choice, _split, _text
from matloop.orchestrator.lab.predictions import MOST, OUTSIDE, WORKS
from matloop.orchestrator.lab.tables import Layout


def read(content: bytes, layout: Layout, source: str = "") -> list[dict[str, Any]]:
    """Points of a CSV file as spreadsheet programs write them, one a row; rows without any input are passed over.

    Args:
        content: of the file.
        layout: what its columns are called; those of results and predictions are passed over.
        source: name of the file for messages.

    Raises:
        RejectedPoints: every problem by row, from 1, and title.
    """
    try:
        delimiter, cells = _split(_text(content), layout)
    except (csv.Error, UnicodeDecodeError) as error:
        raise RejectedPoints([Problem(f"expected a table in CSV format, got {error}", (1,))], source=source) from error
    place = next((i for i, row in enumerate(cells) if any(cell.strip() for cell in row)), None)
    problems: list[Problem] = []
    columns = {} if place is None else _columns(cells[place], layout, problems, place + 1)
    if problems:
        raise RejectedPoints(problems, source=source)
    points: list[dict[str, Any]] = []
    for row, texts in enumerate(cells[(place or 0) + 1 :], (place or 0) + 2):
        point = _point(row, texts, columns, layout, problems, comma=delimiter == ";")
        if point:
            points.append(point)
    if not points and not problems:
        names = ", ".join(f.name for f in layout.fields)
        problems.append(Problem(f"expected a table with titles ({names}) and a point in each row, got none", (1,)))
    if len(points) > MOST:
        problems.append(Problem(f"expected at most {MOST:,} points, got {len(points):,}; ask for them in parts", (1,)))
    if problems:
        raise RejectedPoints(problems, source=source)
    return points


def _columns(titles: Sequence[str], layout: Layout, problems: list[Problem], row: int) -> dict[str, int]:
    """Places of the inputs by name; all that are needed must be there."""
    found: dict[str, int] = {}
    for i, content in enumerate(titles):
        title = " ".join(unicodedata.normalize("NFC", spreadsheets.read(content.strip())).split())
        if not title or title.startswith("#") or title in (WORKS, OUTSIDE):
            continue
        try:
            name, _ = layout.find(title)
        except ValueError as error:
            problems.append(Problem(str(error), (row, title)))
            continue
        if name in found:
            problems.append(Problem("expected each column once, got it twice; remove one", (row, title)))
        found[name] = i
    inputs = {f.name: found[f.name] for f in layout.fields if f.name in found}
    needed = [f.name for f in layout.fields if f.default is None and not f.when]
    missing = [name for name in needed if name not in inputs]
    if missing and not problems:
        text = f"expected a column for each input, got none for {', '.join(map(layout.title, missing))}"
        problems.append(Problem(text, (row,), remedy="add what is missing, with the value that it is to have"))
    return inputs


def _point(
    row: int, texts: Sequence[str], columns: Mapping[str, int], layout: Layout, problems: list[Problem], *, comma: bool
) -> dict[str, Any]:
    """The inputs in a row that are not empty."""
    point: dict[str, Any] = {}
    for field in layout.fields:
        place = columns.get(field.name, len(texts))
        text = texts[place].strip() if place < len(texts) else ""
        if not text:
            continue
        if comma and text.count(",") == 1 and "." not in text:  # with semicolons between cells it is a decimal one
            text = text.replace(",", ".")
        try:
            point[field.name] = _choice(field, text) if field.choices else field.read(text)
        except ValueError as error:
            problems.append(Problem(str(error), (row, layout.title(field.name))))
    absent = [f.name for f in layout.fields if f.name not in point and f.default is None and f.applies(point)]
    if point and absent and not any(problem.row == row for problem in problems):
        problems += [Problem("expected a value, got none", (row, layout.title(name))) for name in absent]
    return point
