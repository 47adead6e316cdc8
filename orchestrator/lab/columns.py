"""The columns of a table that was filled in: which is which, and how the numbers in each are written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from matloop.orchestrator.errors import Problem
from matloop.orchestrator.lab.header import Header, cleaned
from matloop.orchestrator.lab.numbers import Marks, Typed, marks_in
from matloop.orchestrator.lab.sheets import Cell, Reading, Sheet
from matloop.orchestrator.lab.tables import FAILED, NOTE, REASON, TRIAL, Layout
from matloop.orchestrator.lab.titles import Meaning, Titles, UnknownTitle, WrongUnit
from matloop.orchestrator.lab.units import is_unit, same_unit

MOST_PROBLEMS = 200
"""Problems after which the rest of a table is not read: nobody reads more, and a file of another kind has millions."""

IGNORE = "--ignore-columns"
"""Option that passes over columns that are not known."""


@dataclass(slots=True)
class Columns:
    """The columns of a table.

    Attributes:
        places: of columns, by name.
        readings: places of columns with single readings, by objective, in order of their numbers.
        titles: as written, by place.
        passed_over: places of columns that are not read.
        ignored: titles of those that are passed over because they are not known.
        untitled: whether those without a title are passed over as well.
        marks: what is known about decimal marks, by place.
    """

    places: dict[str, int] = field(default_factory=dict)
    readings: dict[str, list[int]] = field(default_factory=dict)
    titles: dict[int, str] = field(default_factory=dict)
    passed_over: set[int] = field(default_factory=set)
    ignored: list[str] = field(default_factory=list)
    untitled: bool = False
    marks: dict[int, Marks] = field(default_factory=dict)

    def title(self, name: str) -> str:
        """Title of a column, or of the first reading; the name itself if there is none."""
        place = self.places.get(name, next(iter(self.readings.get(name, ())), None))
        return name if place is None else self.titles[place]


def titles_of(layout: Layout) -> Titles:
    """What the columns of a study's tables may be called."""
    measured = frozenset(objective.name for objective in layout.objectives)
    return Titles({name: layout.unit(name) for name in layout.known()}, measured)


def columns_of(sheet: Sheet, header: Header, titles: Titles, how: Reading, problems: list[Problem]) -> Columns:
    """What the titles of a table say; what is wrong with them is added to the problems."""
    assert header.row is not None
    row = sheet.first + header.row
    found = Columns(untitled=how.ignore_columns)
    numbers: dict[str, dict[int, int]] = {}
    for place, title in enumerate(map(cleaned, sheet.rows[header.row])):
        if len(problems) >= MOST_PROBLEMS:
            break
        if not title:
            continue
        if title.startswith("#"):
            found.passed_over.add(place)
            continue
        try:
            meaning = titles.find(title)
        except WrongUnit as error:
            problems.append(Problem(str(error), (row, title)))
            continue
        except UnknownTitle as error:
            if how.ignore_columns:
                found.passed_over.add(place)
                found.ignored.append(title)
            else:
                remedy = "correct the title, or put # before it to have the column passed over"
                message = str(error)
                if any(message == p.message for p in problems):  # all names, which are many
                    message = "there is no such column"
                problems.append(Problem(message, (row, title), remedy=remedy, command=IGNORE))
            continue
        found.titles[place] = title
        problems += _placed(found, numbers, meaning, place, (row, title))
    found.readings = {name: [places[number] for number in sorted(places)] for name, places in numbers.items()}
    if not found.titles and not problems:
        text = f"expected titles such as {', '.join(list(titles.columns)[:4])}, got none"
        problems.append(Problem(text, (row,), remedy="write them into the first row"))
    problems += _units_row(sheet, header, found, titles)
    return found


def see_marks(
    columns: Columns, rows: Sequence[Sequence[Cell]], choices: Collection[str], sheet: Sheet, how: Reading
) -> None:
    """See which decimal mark each column of numbers has.

    Args:
        columns: to be completed.
        rows: of experiments.
        choices: names of columns that hold choices.
        sheet: that the rows are from.
        how: what was told.
    """
    texts = {place: [row[place] for row in rows if place < len(row)] for place in columns.titles}
    text_columns = {columns.places.get(name) for name in (FAILED, NOTE, REASON, TRIAL, *choices)}
    own = {
        place: marks_in(cell for cell in cells if isinstance(cell, str))
        for place, cells in texts.items()
        if place not in text_columns
    }
    everywhere = {mark for marks in own.values() for mark in marks}
    mark = next(iter(everywhere)) if len(everywhere) == 1 else None if everywhere else sheet.usual
    for place in columns.titles:
        columns.marks[place] = Marks(told=how.mark, own=own.get(place, frozenset()), usual=mark)


def _placed(
    found: Columns, numbers: dict[str, dict[int, int]], meaning: Meaning, place: int, where: tuple[int, str]
) -> list[Problem]:
    """Note where a column is."""
    if meaning.reading is None:
        taken = meaning.name in found.places
        found.places.setdefault(meaning.name, place)
    else:
        places = numbers.setdefault(meaning.name, {})
        taken = meaning.reading in places
        places.setdefault(meaning.reading, place)
    if not taken:
        return []
    remedy = f"remove one, or number the readings of one experiment: {meaning.name} 1, {meaning.name} 2"
    return [Problem("expected each column once, got it twice", where, remedy=remedy)]


def _units_row(sheet: Sheet, header: Header, columns: Columns, titles: Titles) -> list[Problem]:
    """What is wrong with units in a row of their own."""
    if header.units is None:
        return []
    problems = []
    cells = sheet.rows[header.units]
    names = {place: name for name, place in columns.places.items()}
    names |= {place: name for name, places in columns.readings.items() for place in places}
    for place, name in names.items():
        unit = cleaned(cells[place]) if place < len(cells) else ""
        if unit and not same_unit(unit, titles.columns[name]) and (titles.columns[name] or is_unit(unit)):
            expected = repr(titles.columns[name]) if titles.columns[name] else "no unit"
            text = f"expected {name} in {expected}, got {unit!r}; convert the values and correct the unit"
            problems.append(Problem(text, (sheet.first + header.units, columns.titles[place])))
    return problems


def is_comment(row: Sequence[Cell]) -> bool:
    """Whether a row begins with # and is no experiment; `#N/A` and `#3` are content."""
    start = next((cell for cell in row if not isinstance(cell, str) or cell), "")
    if isinstance(start, Typed) or not start.startswith("#"):
        return False
    return not (start[1:2].isdigit() or start[1:].split("/")[0].upper() in ("N", "NA", "DIV", "REF!", "NV", "NULL!"))
