"""A lab's record as pandas DataFrames, and results from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from markupsafe import escape

from matloop.orchestrator.errors import MissingExtra
from matloop.orchestrator.lab.filled import Filled, read_cells
from matloop.orchestrator.lab.numbers import Typed
from matloop.orchestrator.lab.sheets import Cell, Reading, Sheet
from matloop.orchestrator.lab.tables import (
    COST,
    FAILED,
    HIGH,
    LOW,
    NOISE,
    NOTE,
    PREDICTED,
    REASON,
    TRIAL,
    Layout,
    rows_of,
)
from matloop.orchestrator.report import text
from matloop.orchestrator.report.interval import interval
from matloop.orchestrator.report.text import SIGNS
from matloop.orchestrator.trial import Trial, best, missing

if TYPE_CHECKING:
    from pandas import DataFrame

CENSORED = "censored"
"""Column beside an objective's, if any of its values is a limit only: whether the true one lies below or above."""

SHOWN = 8
"""Trials in the summary of a notebook."""


def recommended(trials: Sequence[Trial], layout: Layout) -> DataFrame:
    """Recommendations to be filled in; see `matloop.orchestrator.lab.Lab.recommend_frame`."""
    names, rows = rows_of(trials, layout, units=False)
    frame = _pandas().DataFrame(rows, columns=names).set_index(TRIAL)
    for objective in layout.objectives:
        for name in (objective.name, f"{objective.name} {NOISE}"):
            frame[name] = frame[name].astype(float)
    frame[COST] = frame[COST].astype(float)
    frame[[FAILED, NOTE]] = ""
    return frame


def history(trials: Sequence[Trial], layout: Layout) -> DataFrame:
    """Trials as rows with the trial as index.

    Columns are `state`, the inputs (what was done), `planned NAME` where somebody deviated, for every objective `NAME`,
    `NAME ±`, `NAME predicted`, `NAME low` and `NAME high`, then `failed`, `note`, `cost`, `by`, `origin`, `reason`,
    `proposed` and `finished` (UTC).
    """
    pandas = _pandas()
    rows = [_row(trial, layout) for trial in trials]
    deviating = [f.name for f in layout.fields if any(f"planned {f.name}" in row for row in rows)]
    names = [TRIAL, "state", *(f.name for f in layout.fields), *(f"planned {name}" for name in deviating)]
    for o in layout.objectives:
        names += [o.name, *(f"{o.name} {what}" for what in (NOISE, PREDICTED, LOW, HIGH))]
        names += [f"{o.name} {CENSORED}"] if any(o.name in trial.censored for trial in trials) else []
    names += ["failed", "note", "cost", "by", "origin", REASON, "proposed", "finished"]
    frame = pandas.DataFrame(rows, columns=names).set_index(TRIAL)
    for o in layout.objectives:
        columns = [o.name, *(f"{o.name} {what}" for what in (NOISE, PREDICTED, LOW, HIGH))]
        frame[columns] = frame[columns].astype(float)
    for name in ("proposed", "finished"):
        frame[name] = pandas.to_datetime(frame[name], utc=True)
    return frame


def filled(frame: DataFrame, layout: Layout, trials: Sequence[Trial], how: Reading | None = None) -> Filled:
    """Results from a DataFrame with the columns of `recommended`; rows are numbered from 0."""
    if frame.index.name in layout.known() and frame.index.name not in frame.columns:
        frame = frame.reset_index()
    titles = [str(column) for column in frame.columns]
    cells = [[_cell(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    sheet = Sheet(rows=[titles, *cells], first=-1, searched=1)
    table = read_cells(sheet, layout, {trial.id: trial for trial in trials}, how)
    table.problems = [replace(problem, place=(max(problem.row, 0), *problem.place[1:])) for problem in table.problems]
    return table


def summary(name: str, study: str, trials: Sequence[Trial], layout: Layout) -> str:
    """What a notebook shows of a lab: where it stands, and its last trials, as HTML."""
    objective = layout.objectives[0]
    pending = sum(trial.state == "running" for trial in trials)
    measured = sum(trial.values is not None for trial in trials)
    failed = sum(trial.failure is not None for trial in trials)
    found = best(trials, objective, layout.objectives)
    line = f"{measured} measured, {failed} failed, {pending} waiting for results"
    if partial := sum(bool(missing(trial, layout.objectives)) for trial in trials):
        line += f", {partial} measured in part"
    if found is not None and found.values is not None:
        value = text.measured(objective, found)
        line += f"; best {text.name(objective)} {value} (trial {found.id})"
    columns = [TRIAL, "state", *(f.name for f in layout.fields), *(o.name for o in layout.objectives)]
    head = "".join(f"<th>{escape(layout.title(column))}</th>" for column in columns)
    last = list(trials)[-SHOWN:]
    rows = [_row(trial, layout) | _limits(trial) for trial in last]
    cells = ["".join(f"<td>{escape(_shown(row.get(column)))}</td>" for column in columns) for row in rows]
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return (
        f"<div><strong>{escape(name)}</strong>, study {escape(study)}: {escape(line)}"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(trial: Trial, layout: Layout) -> dict[str, Any]:
    row: dict[str, Any] = {
        TRIAL: trial.id,
        "state": "pending" if trial.state == "running" else trial.state,
        **trial.point,
        **trial.conditions,
        "failed": trial.failure.message if trial.failure else "",
        "note": trial.info.get("note", ""),
        "cost": trial.cost,
        "by": trial.worker,
        "origin": trial.extra.get("origin", ""),
        REASON: trial.reason,
        "proposed": _time(trial.proposed_at),
        "finished": _time(trial.finished_at),
    }
    row |= {f"planned {name}": value for name, value in (trial.planned or {}).items()}
    for objective in layout.objectives:
        name = objective.name
        row[name] = (trial.values or {}).get(name)
        row[f"{name} {NOISE}"] = trial.noise.get(name)
        row[f"{name} {CENSORED}"] = trial.censored.get(name, "")
        row[f"{name} {PREDICTED}"] = trial.prediction.mean.get(name) if trial.prediction else None
        row[f"{name} {LOW}"], row[f"{name} {HIGH}"] = interval(trial, name) or (None, None)
    return row


def _limits(trial: Trial) -> dict[str, str]:
    """What is a limit only, as people write it."""
    return {name: f"{SIGNS[side]} {_shown((trial.values or {})[name])}" for name, side in trial.censored.items()}


def _time(unix_s: float | None) -> datetime | None:
    return None if unix_s is None else datetime.fromtimestamp(unix_s, tz=UTC)


def _cell(value: Any) -> Cell:
    """A cell, exactly; empty for what pandas takes for missing."""
    if hasattr(value, "item"):
        value = value.item()
    if (
        value is None
        or value is _pandas().NA
        or value is _pandas().NaT
        or (isinstance(value, float) and math.isnan(value))
    ):
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return Typed(value)
    return str(value).strip()


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return "" if value is None else str(value)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise MissingExtra("pandas") from error
    return pandas
