"""`matloop predict`: what the model expects of the points in a table; `matloop best`: where the best is."""

from __future__ import annotations

import csv as tables
import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.lab import Lab, asked, predictions
from matloop.orchestrator.lab.fields import shown
from matloop.orchestrator.lab.sheets import Reading
from matloop.orchestrator.lab.tables import cell
from matloop.orchestrator.report import text
from matloop.orchestrator.report.forecast import Forecast
from matloop.orchestrator.spreadsheets import written

SHOWN = 50
"""Points on the screen; a file has all of them."""


def predict(
    lab: Lab, points: Path, how: Reading | None = None, *, csv: Path | None, console: Console
) -> list[Forecast]:
    """Predict the points in a table, show them, and write them to a file if one is named.

    Args:
        lab: open.
        points: table with a row for each, as `recommend --csv` writes it; only the inputs are read.
        how: what the table does not say itself.
        csv: file to write; never overwritten.
        console: where they are printed.

    Raises:
        MatloopError: a file cannot be read or written, or see `Lab.predict`.
    """
    try:
        content = points.read_bytes()
    except OSError as error:
        raise MatloopError(f"cannot read {points}: {error.strerror}; give a table, CSV or Excel") from error
    if csv is not None and csv.exists():
        raise MatloopError(f"{csv} is already there and is not overwritten; choose another name")
    known = predictions.measured_choices(lab)
    found = lab.forecast(asked.read(content, lab.layout, source=str(points), how=how, done=known))
    console.print(page(found[:SHOWN], lab))
    if len(found) > SHOWN:
        console.print(f"… and {len(found) - SHOWN:,} more" + ("" if csv else "; write all of them with --csv FILE"))
    if csv is not None:
        write(found, lab, csv)
        message = f"{text.plural(len(found), 'prediction')} → {csv}"
        console.print(message, highlight=False, markup=False, soft_wrap=True)
    return found


def write(found: Sequence[Forecast], lab: Lab, path: Path) -> None:
    """Write forecasts as CSV: UTF-8 with a byte-order mark, as `recommend --csv` does.

    Raises:
        MatloopError: the file is there already, or cannot be written.
    """
    titles, rows = predictions.rows_of(found, lab.layout)
    out = io.StringIO()
    writer = tables.writer(out)
    writer.writerow(map(written, titles))
    writer.writerows([written(cell(value)) for value in row] for row in rows)
    try:
        with path.open("xb") as file:
            file.write(out.getvalue().encode("utf-8-sig"))
    except FileExistsError:
        raise MatloopError(f"{path} is already there and is not overwritten; choose another name") from None
    except OSError as error:
        raise MatloopError(f"cannot write {path}: {error.strerror}; choose another folder") from error


def page(found: Sequence[Forecast], lab: Lab) -> Table:
    """Forecasts as a table for people: 90 % intervals in brackets."""
    layout = lab.layout
    fields = [f for f in layout.fields if any(f.name in one.point for one in found)]
    works, outside = any(one.works is not None for one in found), any(one.outside for one in found)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for field in fields:
        table.add_column(Text(layout.title(field.name)), justify="left" if field.choices else "right")
    for objective in lab.objectives:
        table.add_column(Text(layout.title(objective.name)), justify="right")
    for name in ("works",) * works + ("outside",) * outside:
        table.add_column(name)
    for one in found:
        cells = [shown(one.point[f.name]) if f.name in one.point else "" for f in fields]
        cells += [expected(one, objective.name) for objective in lab.objectives]
        cells += [text.percent(one.works) if one.works is not None else ""] * works + [one.outside] * outside
        table.add_row(*map(Text, cells))
    return table


def expected(one: Forecast, objective: str) -> str:
    """`412 (390 to 435)`: the prediction and where 90 % of measurements are expected."""
    if objective not in one.mean:
        return ""
    mean, bounds = text.number(one.mean[objective]), one.interval.get(objective)
    return f"{mean} ({text.number(bounds[0])} to {text.number(bounds[1])})" if bounds else mean
