"""`matloop export --table`: the record of a study as a table that `matloop tell` reads."""

from __future__ import annotations

from pathlib import Path

import typer

from matloop.orchestrator.composition.config import load
from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.lab import exported
from matloop.orchestrator.lab.fields import fields_of
from matloop.orchestrator.lab.people import file_of, parts
from matloop.orchestrator.lab.tables import Layout
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.report import text


def write(directory: Path, history: History, file: Path, study: str | None) -> None:
    """Write the table of a study; nothing is changed in the record.

    Args:
        directory: of the results.
        history: that is in it.
        file: ends in .csv or .xlsx.
        study: which; may be left out if there is one alone.

    Raises:
        MatloopError: there are several studies, or what was tried in this one does not fit into cells.
        MissingExtra: openpyxl is not installed, and an Excel file is wanted.
    """
    writers = {".csv": exported.as_csv, ".xlsx": exported.as_xlsx}
    if file.suffix.lower() not in writers:
        raise MatloopError(f"expected a file that ends in .csv or .xlsx, got {file}; choose such a name")
    name = _study(history, study)
    found = parts(load(file_of(directory)), history, ArtifactStore(directory / "artifacts"), name)
    layout = Layout(fields_of(found.space), found.objectives)
    trials = history.of(name)
    gone = exported.former(exported.chosen(trials), layout)
    set_then = [trial.point[one] for trial in trials for one in gone if one in trial.point]
    if not all(isinstance(value, str | int | float) for value in set_then):
        raise MatloopError(
            f"what study {name!r} tries does not fit into the cells of a table; use --csv for its record"
        )
    content = writers[file.suffix.lower()](trials, layout)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    written = len(exported.chosen(trials))
    left = len(trials) - written
    note = f"; {left} without a result of their own left out" if left else ""
    note += f"; {', '.join(gone)}, no input any more, in columns that `tell` passes over" if gone else ""
    typer.echo(f"{text.plural(written, 'experiment')} → {file}{note}")


def _study(history: History, study: str | None) -> str:
    names = list(dict.fromkeys(trial.study for trial in history.trials if trial.study))
    if study is None and len(names) == 1:
        return names[0]
    if study in names:
        return str(study)
    got = ", ".join(names) or "none with trials"
    raise MatloopError(f"expected one study, got {got}; name one with --study")
