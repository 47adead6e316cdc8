"""Recommendations as a table that a lab fills in with any spreadsheet program; `lab.filled` reads it back.

One row is one experiment. `trial` says which recommendation it is; a row without is an experiment of the lab's own.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.lab.fields import Field
from matloop.orchestrator.report.interval import interval
from matloop.orchestrator.spreadsheets import written
from matloop.orchestrator.trial import Objective, Trial

NOISE, PREDICTED, LOW, HIGH = "±", "predicted", "low", "high"
TRIAL, FAILED, NOTE, COST, REASON = "trial", "failed", "note", "cost", "reason"


def tag(trial_id: int, proposed_at: float) -> str:
    """Name of a trial in tables that leave its record, as in `3@5f3a9c1b`; no trial of another record has it."""
    return f"{trial_id}@{hashlib.sha256(repr(float(proposed_at)).encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Layout:
    """What the columns of a study's table are called."""

    fields: Sequence[Field]
    objectives: Sequence[Objective]

    def __post_init__(self) -> None:
        known = self.known()
        for name in dict.fromkeys(known):
            if known.count(name) > 1:
                raise ConfigError(f"expected other names than {name!r}, which is a column of every table; rename it")

    def title(self, name: str) -> str:
        """Name of a column with its unit, if it has one."""
        unit = self.unit(name)
        return f"{name} ({unit})" if unit else name

    def unit(self, name: str) -> str:
        """Unit of what a column holds; empty if it has none."""
        units = {f.name: f.unit for f in self.fields}
        for objective in self.objectives:
            units |= dict.fromkeys([objective.name, *_beside(objective)], objective.unit)
        return units.get(name, "")

    def known(self) -> list[str]:
        """All columns that a table may have."""
        names = [TRIAL, *(f.name for f in self.fields)]
        for objective in self.objectives:
            names += [*_beside(objective), objective.name]
        return [*names, FAILED, NOTE, COST, REASON]


def rows_of(trials: Sequence[Trial], layout: Layout, *, units: bool = True) -> tuple[list[str], list[list[Any]]]:
    """Titles, with or without units, and rows for recommendations; the columns of results are empty."""
    names = [TRIAL, *(f.name for f in layout.fields)]
    intervals = {o.name: [interval(trial, o.name) for trial in trials] for o in layout.objectives}
    predicted = [o for o in layout.objectives if any(intervals[o.name])]
    for objective in predicted:
        names += [f"{objective.name} {what}" for what in (PREDICTED, LOW, HIGH)]
    names += [name for o in layout.objectives for name in (o.name, f"{o.name} {NOISE}")] + [FAILED, NOTE, COST, REASON]
    rows = []
    for i, trial in enumerate(trials):
        cells: dict[str, Any] = {TRIAL: trial.id, REASON: trial.reason, **trial.point, **trial.conditions}
        for objective in predicted:
            low, high = intervals[objective.name][i] or (None, None)
            mean = trial.prediction.mean.get(objective.name) if trial.prediction else None
            cells |= {f"{objective.name} {what}": v for what, v in ((PREDICTED, mean), (LOW, low), (HIGH, high))}
        rows.append([cells.get(name) for name in names])
    return [layout.title(name) if units else name for name in names], rows


def write(trials: Sequence[Trial], layout: Layout) -> bytes:
    """Recommendations as CSV, with seven digits, which are what people read; see `csv_of`."""
    titles, rows = rows_of(trials, layout)
    return csv_of(titles, [[cell(value) for value in row] for row in rows])


def write_workbook(trials: Sequence[Trial], layout: Layout) -> bytes:
    """Recommendations as an Excel file; see `matloop.orchestrator.lab.workbooks.write`."""
    titles, rows = rows_of(trials, layout)
    return workbook_of(titles, rows_of(trials, layout, units=False)[0], rows, layout)


def workbook_of(titles: Sequence[str], names: Sequence[str], rows: Sequence[Sequence[Any]], layout: Layout) -> bytes:
    """A table as an Excel file; `names` are the columns that the titles stand for."""
    from matloop.orchestrator.lab.workbooks import Column, write

    choices = {f.name: f.choices for f in layout.fields}
    to_fill_in = {FAILED, NOTE, COST}
    to_fill_in |= {name for o in layout.objectives for name in (o.name, f"{o.name} {NOISE}")}
    columns = [Column(choices=choices.get(name, ()), to_fill_in=name in to_fill_in) for name in names]
    return write(titles, rows, columns)


def csv_of(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A table as CSV: UTF-8 with a byte-order mark, which spreadsheet programs want, commas, decimal points.

    Names, choices and reasons have an apostrophe where such a program would take them for a formula.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(map(written, titles))
    writer.writerows([written(value) for value in row] for row in rows)
    return out.getvalue().encode("utf-8-sig")


def _beside(objective: Objective) -> Iterator[str]:
    """Columns that go with an objective."""
    return (f"{objective.name} {what}" for what in (NOISE, PREDICTED, LOW, HIGH))


def cell(value: Any) -> Any:
    """As written to a file: seven digits are what people read."""
    return f"{value:.7g}" if isinstance(value, float) else "" if value is None else value
