"""Results from a table that a lab has filled in, by row and column, with everything that is wrong in it.

A row without a result is still to be done and passed over, so a file can be told again and again while it fills. Inputs
that differ from the recommended ones are what was really done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from matloop.orchestrator.errors import Problem
from matloop.orchestrator.lab.columns import MOST_PROBLEMS, Columns, titles_of
from matloop.orchestrator.lab.contents import contents
from matloop.orchestrator.lab.raw import as_results
from matloop.orchestrator.lab.results import Result
from matloop.orchestrator.lab.rows import Rows
from matloop.orchestrator.lab.sheets import NoTable, Reading, Sheet
from matloop.orchestrator.lab.sheets import read as read_sheet
from matloop.orchestrator.lab.tables import FAILED, Layout
from matloop.orchestrator.trial import Trial


@dataclass(slots=True)
class Filled:
    """What was read from a table.

    Attributes:
        results: of the rows that have one.
        rows: place of each in the file: 1 is the first row.
        columns: which there are.
        waiting: rows without a result.
        problems: what could not be read, by row and title.
        remarks: what people should know about how it was read.
    """

    results: list[Result] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    columns: Columns = field(default_factory=Columns)
    waiting: int = 0
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def placed(self, problems: Sequence[Problem]) -> list[Problem]:
        """Problems of `results` in terms of the file; what a missing column does to every row is said once."""
        found = [self._place(problem) for problem in problems]
        titled = {*self.columns.titles.values()}
        alike = Counter((p.column, p.text) for p in found)
        seen: set[tuple[str, str]] = set()
        kept = []
        for problem in found:
            what = problem.column, problem.text
            if problem.column and problem.column not in titled and alike[what] > 1:
                if what in seen:
                    continue
                seen.add(what)
                problem = replace(problem, message=f"{problem.message} (and so in {alike[what]} rows)")
            kept.append(problem)
        return kept

    def _place(self, problem: Problem) -> Problem:
        column = FAILED if problem.column == "failure" else problem.column
        return replace(problem, place=(self.rows[problem.row], self.columns.title(column)))


def read(content: bytes, layout: Layout, planned: Mapping[int, Trial], how: Reading | None = None) -> Filled:
    """Results from a file as spreadsheet programs write it: CSV or Excel.

    In CSV files comma, semicolon, tab or bar between cells, and any of the usual encodings. Decimal points or commas;
    rows and columns in any order, empty ones anywhere; a heading above the titles, and units in a row of their own.

    Args:
        content: of the file.
        layout: see `Layout`.
        planned: trials by id, whose inputs stand in for columns that are left out.
        how: what the file does not say itself.
    """
    how = how or Reading()
    try:
        sheet = read_sheet(content, titles_of(layout), how)
    except NoTable as error:
        return Filled(problems=[Problem(str(error), (1,))])
    return read_cells(as_results(sheet), layout, planned, how)


def read_cells(sheet: Sheet, layout: Layout, planned: Mapping[int, Trial], how: Reading | None = None) -> Filled:
    """Results from the cells of a table; see `read`."""
    table = contents(sheet, layout, how or Reading())
    filled = Filled(columns=table.columns, problems=table.problems, remarks=table.remarks)
    reader = Rows(layout, planned, filled.columns, filled.problems)
    for number, row in table.rows:
        if len(filled.problems) >= MOST_PROBLEMS:
            stop = "was not read, nor was what follows; correct the rows above first"
            filled.problems.append(Problem(stop, (number,)))
            break
        before = len(filled.problems)
        result = reader.read(number, row)
        if result is not None:
            filled.results.append(result)
            filled.rows.append(number)
        elif len(filled.problems) == before:
            filled.waiting += 1
    filled.remarks += reader.remarks()
    return filled
