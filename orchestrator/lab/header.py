"""Where the titles of a table are: people put a heading above them, and units below."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from matloop.orchestrator.lab.missing import is_missing
from matloop.orchestrator.lab.titles import Meaning, Titles, UnknownTitle, WrongUnit
from matloop.orchestrator.lab.units import is_unit, same_unit

if TYPE_CHECKING:
    from matloop.orchestrator.lab.sheets import Cell

SEARCHED = 50
"""Rows among which the titles are looked for."""


@dataclass(slots=True)
class Header:
    """The titles of a table.

    Attributes:
        row: place among the rows; None if there is nothing at all.
        score: how many columns are known, how many of them in their own unit, and how many there are.
        units: place of a row that holds the units, None if there is none.
        heading: places of rows with something above the titles.
    """

    row: int | None = None
    score: tuple[int, int, int] = (0, 0, 0)
    units: int | None = None
    heading: list[int] = field(default_factory=list)


def cleaned(cell: Cell) -> str:
    """A title with single spaces."""
    text = cell if isinstance(cell, str) else cell.text
    return " ".join(unicodedata.normalize("NFC", text).split())


def find(rows: Sequence[Sequence[Cell]], titles: Titles) -> Header:
    """The row with the most titles that are known, the first of equals; if there are none, the first with anything."""
    best = Header()
    filled = [i for i, row in enumerate(rows[:SEARCHED]) if any(row)]
    for i in filled:
        score = _score(rows[i], titles)
        if best.row is None or score[0] > best.score[0]:
            best = Header(i, score)
    if best.row is None:
        return best
    meanings = [_meaning(cell, titles) for cell in rows[best.row]]
    after = next((i for i in filled if i > best.row), None)
    before = next((i for i in reversed(filled) if i < best.row), None)
    best.units = next((i for i in (after, before) if i is not None and _holds_units(rows[i], meanings, titles)), None)
    best.heading = [i for i in filled if i < best.row and i != best.units]
    return best


def _score(row: Sequence[Cell], titles: Titles) -> tuple[int, int, int]:
    names, right = set(), 0
    for cell in row:
        title = cleaned(cell)
        if not title or len(title) > 200 or title.startswith("#"):
            continue
        try:
            meaning = titles.find(title)
        except WrongUnit:
            names.add(title)
        except UnknownTitle:
            continue
        else:
            names.add(f"{meaning.name} {meaning.reading}")
            right += 1
    return len(names), right, len(row)


def _meaning(cell: Cell, titles: Titles) -> Meaning | None:
    try:
        return titles.find(cleaned(cell))
    except (UnknownTitle, WrongUnit):
        return None


def _holds_units(row: Sequence[Cell], meanings: Sequence[Meaning | None], titles: Titles) -> bool:
    """Whether a row says the unit of columns, at least of one, and nothing else."""
    found = 0
    for i, cell in enumerate(row):
        text = cleaned(cell)
        meaning = meanings[i] if i < len(meanings) else None
        if not text or meaning is None:
            continue
        unit = titles.columns[meaning.name]
        if unit and same_unit(text, unit):
            found += 1
        elif not (is_unit(text) or (is_missing(text) and not unit) or text in ("[-]", "(-)", "1")):
            return False
    return found > 0
