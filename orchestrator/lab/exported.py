"""The record of a study as a table that `tell` reads: into the same lab, where all of it is known, and into others.

A trial has its number and a tag, as in `3@5f3a9c1b`. In its own record that is the trial; in another one it is an
experiment that was measured elsewhere, and is recognised when the table is told again. Numbers have all their digits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from matloop.orchestrator.lab.missing import is_missing
from matloop.orchestrator.lab.results import readings_of
from matloop.orchestrator.lab.rows import NO, YES
from matloop.orchestrator.lab.tables import COST, FAILED, NOISE, NOTE, TRIAL, Layout, csv_of, tag, workbook_of
from matloop.orchestrator.measurement import without_control_characters
from matloop.orchestrator.report.text import SIGNS
from matloop.orchestrator.trial import Trial, in_full

BY, WHEN = "# by", "# finished (UTC)"
"""Columns for people; what begins with # is passed over."""


def chosen(trials: Sequence[Trial]) -> list[Trial]:
    """Those that go into a table: what was measured in full, failed by itself, or waits for its result.

    What was cancelled or set aside is none of it, nor what a machine's fault kept from being measured.
    """
    return [
        t
        for t in trials
        if in_full(t) and (t.state in ("answered", "running") or (t.failure is not None and t.failure.informative))
    ]


def as_csv(trials: Sequence[Trial], layout: Layout) -> bytes:
    """A study's record as CSV."""
    titles, _, rows = _table(trials, layout)
    return csv_of(titles, rows)


def as_xlsx(trials: Sequence[Trial], layout: Layout) -> bytes:
    """A study's record as an Excel file.

    Raises:
        MissingExtra: openpyxl is not installed.
    """
    titles, names, rows = _table(trials, layout)
    return workbook_of(titles, names, rows, layout)


def _table(trials: Sequence[Trial], layout: Layout) -> tuple[list[str], list[str], list[list[Any]]]:
    """Titles, names of the columns, and rows."""
    trials = chosen(trials)
    names, titles = [TRIAL], [TRIAL]
    for name in (f.name for f in layout.fields):
        names.append(name)
        titles.append(layout.title(name))
    for objective in layout.objectives:
        spread = f"{objective.name} {NOISE}"
        most = max((len(readings_of(t).get(objective.name, ())) for t in trials), default=0)
        singles = [f"{objective.name} {i}" for i in range(1, most + 1)]
        names += [objective.name, spread, *singles]
        unit = f" ({objective.unit})" if objective.unit else ""
        titles += [layout.title(objective.name), layout.title(spread), *(f"{name}{unit}" for name in singles)]
    last, gone = [FAILED, NOTE, COST, BY, WHEN], former(trials, layout)
    rows = [[cells.get(name) for name in (*names, *last, *gone)] for cells in (_cells(t, layout) for t in trials)]
    return [*titles, *last, *(f"# {name}" for name in gone)], [*names, *last, *gone], rows


def former(trials: Sequence[Trial], layout: Layout) -> list[str]:
    """What was set in some of them and is no input any more; `tell` passes over its columns."""
    known = {f.name for f in layout.fields}
    return list(dict.fromkeys(name for trial in trials for name in trial.point if name not in known))


def _cells(trial: Trial, layout: Layout) -> dict[str, Any]:
    cells: dict[str, Any] = {
        TRIAL: tag(trial.id, trial.proposed_at),
        **trial.point,
        **trial.conditions,
        FAILED: _failed(trial),
        NOTE: trial.info.get("note"),
        COST: trial.cost,
        BY: trial.worker or None,
        WHEN: _moment(trial.finished_at),
    }
    for objective in layout.objectives:
        name = objective.name
        cells[name] = _value(trial, name)
        cells[f"{name} {NOISE}"] = trial.noise.get(name)
        cells |= {f"{name} {i}": value for i, value in enumerate(readings_of(trial).get(name, ()), 1)}
    return cells


def _value(trial: Trial, name: str) -> float | str | None:
    """What was measured; a limit as people write it."""
    value = (trial.values or {}).get(name)
    side = trial.censored.get(name)
    if value is None or side is None:
        return value
    digits = repr(value)
    return f"{SIGNS[side]} {digits}{'0' if re.fullmatch(r'-?[1-9][0-9]{0,2}[.][0-9]{3}', digits) else ''}"


def _failed(trial: Trial) -> str | None:
    """Why it failed, in words that are not taken for yes or no."""
    if trial.failure is None:
        return None
    text = without_control_characters(" ".join(trial.failure.message.split()))
    told = text.casefold()
    return f"failed: {text}" if told in NO or told in YES - {"failed"} or is_missing(text) else text


def _moment(unix_s: float | None) -> str | None:
    return None if unix_s is None else datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
