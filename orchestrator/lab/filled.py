"""Results from a table that a lab has filled in, by row and column, with everything that is wrong in it.

A row without a result is still to be done and passed over, so a file can be told again and again while it fills. Inputs
that differ from the recommended ones are what was really done.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from matloop.orchestrator import spreadsheets
from matloop.orchestrator.errors import Problem
from matloop.orchestrator.lab.fields import Field
from matloop.orchestrator.lab.numbers import number
from matloop.orchestrator.lab.results import Result, same
from matloop.orchestrator.lab.rules import no_trial
from matloop.orchestrator.lab.tables import COST, FAILED, NOISE, NOTE, TRIAL, Layout, cell
from matloop.orchestrator.measurement import limit
from matloop.orchestrator.plain import to_json
from matloop.orchestrator.trial import Side, Trial

YES, NO = {"yes", "y", "x", "true", "1", "failed"}, {"no", "n", "false", "0"}
DELIMITERS = (",", ";", "\t")

MOST_PROBLEMS = 200
"""Problems after which the rest of a table is not read: nobody reads more, and a file of another kind has millions."""


@dataclass(slots=True)
class Filled:
    """What was read from a table.

    Attributes:
        results: of the rows that have one.
        rows: place of each in the file: 1 is the first row, the titles.
        titles: of the columns, by name.
        passed_over: places of columns whose titles begin with #.
        waiting: rows without a result.
        problems: what could not be read, by row and title.
    """

    results: list[Result] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    titles: dict[str, str] = field(default_factory=dict)
    passed_over: set[int] = field(default_factory=set)
    waiting: int = 0
    problems: list[Problem] = field(default_factory=list)

    def place(self, problem: Problem) -> Problem:
        """A problem of `results` in terms of the file."""
        column = FAILED if problem.column == "failure" else problem.column
        return replace(problem, place=(self.rows[problem.row], self.titles.get(column, column)))


def read(content: bytes, layout: Layout, planned: Mapping[int, Trial]) -> Filled:
    """Results from a CSV file as spreadsheet programs write them.

    Comma, semicolon or tab between cells; decimal points or commas; any of the usual encodings; rows and columns in
    any order, empty ones anywhere.

    Args:
        content: of the file.
        layout: see `Layout`.
        planned: trials by id, whose inputs stand in for columns that are left out.
    """
    try:
        delimiter, cells = _split(_text(content), layout)
    except (csv.Error, UnicodeDecodeError) as error:
        return Filled(problems=[Problem(f"expected a table in CSV format, got {error}", (1,))])
    return read_cells(cells, layout, planned, decimal_comma=delimiter == ";")


def read_cells(
    cells: Sequence[Sequence[str]],
    layout: Layout,
    planned: Mapping[int, Trial],
    *,
    decimal_comma: bool = False,
    first: int = 1,
) -> Filled:
    """Results from the cells of a table, titles first; see `read`. `first` is the place of the titles."""
    filled = Filled()
    place = next((i for i, row in enumerate(cells) if any(cell.strip() for cell in row)), None)
    if place is None:
        filled.problems.append(Problem("expected titles and rows, got an empty table", (first,)))
        return filled
    columns = _columns(cells[place], layout, filled, first + place)
    if filled.problems:
        return filled
    reader = _Rows(layout, planned, columns, filled, decimal_comma)
    for row, content in enumerate(cells[place + 1 :], first + place + 1):
        if len(filled.problems) >= MOST_PROBLEMS:
            text = "was not read, nor was what follows; correct the rows above first"
            filled.problems.append(Problem(text, (row,)))
            break
        texts = [cell.strip() for cell in content]
        if any(texts):
            reader.read(row, texts)
    return filled


class _Rows:
    """Reads one row after another."""

    def __init__(
        self, layout: Layout, planned: Mapping[int, Trial], columns: Mapping[int, str], filled: Filled, comma: bool
    ) -> None:
        self.layout, self.planned, self.columns, self.filled, self.comma = layout, planned, columns, filled, comma
        self.inputs = {f.name: f for f in layout.fields if f.name in columns.values()}
        self.copies: Counter[str] = Counter()

    def read(self, row: int, texts: Sequence[str]) -> None:
        cells = {name: texts[i] if i < len(texts) else "" for i, name in self.columns.items()}
        problems: list[Problem] = []
        untitled = (i for i, text in enumerate(texts) if text and not self._known(i))
        if (i := next(untitled, None)) is not None:
            more = sum(1 for _ in untitled)
            others = f", nor above {more} more" if more else ""
            text = f"expected a title above {texts[i][:40]!r} in column {i + 1}, got none{others}"
            problems.append(Problem(text, (row,)))
        result = self._result(row, cells, problems)
        self.filled.problems += problems
        if result is None:
            self.filled.waiting += not problems
        elif not problems:
            self.filled.results.append(result)
            self.filled.rows.append(row)

    def _known(self, place: int) -> bool:
        return place in self.columns or place in self.filled.passed_over

    def _result(self, row: int, cells: Mapping[str, str], problems: list[Problem]) -> Result | None:
        """None if there is no result in the row."""
        objectives = [o.name for o in self.layout.objectives]
        failure = _failure(cells.get(FAILED, ""))
        if not failure and not any(
            cells.get(name) for o in self.layout.objectives for name in (o.name, f"{o.name} {NOISE}")
        ):
            return None
        trial = self._number(row, TRIAL, cells, problems)
        if trial is not None and trial != math.floor(trial):
            problems.append(Problem(f"expected the number of a trial, got {cells[TRIAL]!r}", (row, self._title(TRIAL))))
        elif trial is not None and int(trial) not in self.planned:
            problems.append(replace(no_trial(int(trial)), place=(row, self._title(TRIAL))))
            return None
        written = {name: self._measured(row, name, cells, problems) for name in objectives}
        values = {name: value for name, (value, _) in written.items()}
        noise = {name: self._number(row, f"{name} {NOISE}", cells, problems) for name in objectives}
        told = {name: value for name, value in values.items() if value is not None}
        result = Result(
            trial=None if trial is None else int(trial),
            values=None if failure and not told else told,
            noise={name: value for name, value in noise.items() if value is not None},
            censored={name: side for name, (_, side) in written.items() if side is not None},
            failure=failure,
            note=cells.get(NOTE, ""),
            cost=self._number(row, COST, cells, problems),
        )
        point = self._point(row, result.trial, cells, problems)
        return _with_point(result, point, self.copies)

    def _point(
        self, row: int, trial: int | None, cells: Mapping[str, str], problems: list[Problem]
    ) -> dict[str, Any] | None:
        """What was done; None if the row does not say."""
        if not any(cells.get(name) for name in self.inputs):
            return None
        planned = self.planned[trial].point if trial is not None and trial in self.planned else {}
        point = {name: value for name, value in planned.items() if name not in self.inputs}
        for name, column in self.inputs.items():
            if not cells[name]:
                continue
            try:
                value = _choice(column, cells[name]) if column.choices else column.read(self._decimal(cells[name]))
            except ValueError as error:
                problems.append(Problem(str(error), (row, self._title(name))))
            else:
                point[name] = planned[name] if name in planned and same(value, planned[name]) else value
        return point

    def _measured(
        self, row: int, name: str, cells: Mapping[str, str], problems: list[Problem]
    ) -> tuple[float | None, Side | None]:
        """A number, and the side of the true value where the cell has a limit such as "< 0.1"."""
        written = cells.get(name, "")
        bare, side = limit(written)
        value = self._number(row, name, {**cells, name: bare or written}, problems)
        return value, side if value is not None else None

    def _number(self, row: int, name: str, cells: Mapping[str, str], problems: list[Problem]) -> float | None:
        text = cells.get(name, "")
        if not text:
            return None
        try:
            return number(self._decimal(text), self.layout.unit(name))
        except ValueError as error:
            problems.append(Problem(str(error), (row, self._title(name))))
            return None

    def _decimal(self, text: str) -> str:
        """With semicolons between cells a comma is a decimal one."""
        return text.replace(",", ".") if self.comma and text.count(",") == 1 and "." not in text else text

    def _title(self, name: str) -> str:
        return self.filled.titles.get(name, name)


def _with_point(result: Result, point: Mapping[str, Any] | None, copies: Counter[str]) -> Result:
    """The result with its point; one without a trial is known again by its content when the file is told again."""
    if result.trial is not None:
        return replace(result, point=point)
    told = [point, result.values, result.noise, result.failure, result.note, result.cost]
    content = to_json(told + ([result.censored] if result.censored else []))
    copies[content] += 1
    digest = hashlib.sha256(f"{copies[content]} {content}".encode(errors="replace")).hexdigest()[:32]
    return replace(result, point=point, request=f"row {digest}")


def _columns(titles: Sequence[str], layout: Layout, filled: Filled, row: int) -> dict[int, str]:
    """Names of columns by place."""
    columns: dict[int, str] = {}
    for i, content in enumerate(titles):
        if len(filled.problems) >= MOST_PROBLEMS:
            break
        title = " ".join(unicodedata.normalize("NFC", spreadsheets.read(content.strip())).split())
        if title.startswith("#"):
            filled.passed_over.add(i)
        if not title or title.startswith("#"):
            continue
        try:
            name, _ = layout.find(title)
        except ValueError as error:
            filled.problems.append(Problem(str(error), (row, title)))
            continue
        if name in filled.titles:
            filled.problems.append(Problem("expected each column once, got it twice; remove one", (row, title)))
        columns[i] = name
        filled.titles[name] = title
    if not columns and not filled.problems:
        text = f"expected titles such as {', '.join(layout.known()[:4])}, got none"
        filled.problems.append(Problem(text, (row,)))
    return columns


def _split(text: str, layout: Layout) -> tuple[str, list[list[str]]]:
    """The delimiter that gives the most columns that are known, and the cells."""
    head, _, rest = text.partition("\n")
    declared = head.strip().strip('"').lower()
    if declared.startswith("sep=") and len(declared) == 5:  # Excel's own first line
        return declared[-1], _cells(rest, declared[-1])
    found, failed = {}, None
    for delimiter in DELIMITERS:
        try:
            found[delimiter] = _cells(text, delimiter)
        except csv.Error as error:
            failed = failed or error
    best = max(found.items(), key=lambda item: _recognised(item[1], layout), default=None)
    if failed and (best is None or not _recognised(best[1], layout)[0]):
        raise failed
    assert best is not None
    return best


def _cells(text: str, delimiter: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def _recognised(cells: Sequence[Sequence[str]], layout: Layout) -> tuple[int, int]:
    titles = next((row for row in cells if any(cell.strip() for cell in row)), [])
    known = set(layout.known())
    return sum(title.partition("(")[0].strip() in known for title in titles), len(titles)


def _text(content: bytes) -> str:
    """Decode what spreadsheet programs write."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def _choice(field: Field, text: str) -> Any:
    """The choice that a text means, as it was written to a table or as people write it.

    Raises:
        ValueError: it means none.
    """
    text = spreadsheets.read(text)
    alike = [choice for choice in field.choices if str(choice).casefold() == text.casefold()]
    written = [choice for choice in field.choices if str(cell(choice)) == text]
    return field.read(str(alike[0] if len(alike) == 1 else written[0] if written else text))


def _failure(text: str) -> str:
    """Why it failed; empty if it did not."""
    if text.lower() in NO:
        return ""
    return "failed" if text.lower() in YES else text
