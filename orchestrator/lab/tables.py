"""Recommendations as a table that a lab fills in with any spreadsheet program; `lab.filled` reads it back.

One row is one experiment. `trial` says which recommendation it is; a row without is an experiment of the lab's own.
"""

from __future__ import annotations

import csv
import difflib
import io
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.lab.fields import Field
from matloop.orchestrator.report.interval import interval
from matloop.orchestrator.spreadsheets import written
from matloop.orchestrator.trial import Objective, Trial

NOISE, PREDICTED, LOW, HIGH = "±", "predicted", "low", "high"
TRIAL, FAILED, NOTE, COST, REASON = "trial", "failed", "note", "cost", "reason"


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

    def find(self, title: str) -> tuple[str, str | None]:
        """The column that a title means, and the unit that it gives.

        Raises:
            ValueError: there is no such column, or its unit is another one.
        """
        known = self.known()
        if title in known:
            return title, None
        name, bracket, unit = title.rpartition("(")
        name, unit = name.strip(), unit.removesuffix(")").strip()
        if not (bracket and title.endswith(")") and name in known):
            close = difflib.get_close_matches(name or title, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            raise ValueError(f"there is no such column; {hint} Put # before it to have it passed over")
        if _plain(unit) != _plain(self.unit(name)):
            expected = repr(self.unit(name)) if self.unit(name) else "no unit"
            raise ValueError(f"expected {name} in {expected}, got {unit!r}; convert the values and correct the title")
        return name, unit


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
    """Recommendations as CSV: UTF-8 with a byte-order mark, which spreadsheet programs want, commas, decimal points.

    Names, choices and reasons have an apostrophe where such a program would take them for a formula.
    """
    titles, rows = rows_of(trials, layout)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(map(written, titles))
    writer.writerows([written(cell(value)) for value in row] for row in rows)
    return out.getvalue().encode("utf-8-sig")


def _beside(objective: Objective) -> Iterator[str]:
    """Columns that go with an objective."""
    return (f"{objective.name} {what}" for what in (NOISE, PREDICTED, LOW, HIGH))


def cell(value: Any) -> Any:
    """As written to a file: seven digits are what people read."""
    return f"{value:.7g}" if isinstance(value, float) else "" if value is None else value


def _plain(unit: str) -> str:
    return unicodedata.normalize("NFKC", unit).replace("º", "°").replace(" ", "")
