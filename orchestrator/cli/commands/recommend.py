"""`matloop recommend`: the next experiments, as a table on the screen and as a file to be filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.lab import Lab
from matloop.orchestrator.lab.fields import shown
from matloop.orchestrator.ledger.file import quoted
from matloop.orchestrator.report import text
from matloop.orchestrator.report.interval import interval
from matloop.orchestrator.trial import Objective, Trial


def wishes(
    *,
    pending: bool,
    fixed: Sequence[str],
    around: int | None,
    within: float | None,
    vary: Sequence[str],
    same: Sequence[str],
    at_most: Sequence[str],
    given: Sequence[str],
) -> dict[str, Any]:
    """Options of the command as `Lab.recommend` takes them.

    Raises:
        MatloopError: an option is not written as it should be, or goes with --pending.
    """
    allowed: dict[str, Any] = {}
    for name, values in (_pair("--fixed", pair, "temperature=800") for pair in fixed):
        allowed.setdefault(name, []).append(values)
    most = {name: _count(name, count) for name, count in (_pair("--at-most", pair, "gas=2") for pair in at_most)}
    wished = {
        "fixed": {name: values[0] if len(values) == 1 else values for name, values in allowed.items()},
        "around": around,
        "within": within,
        "vary": vary,
        "same": same,
        "at_most": most,
        "given": dict(_pair("--given", pair, "humidity=55") for pair in given),
    }
    if pending and any(wished[name] not in (None, [], {}) for name in wished):
        raise MatloopError("expected wishes for new experiments, got them with --pending; leave that out")
    return wished


def recommend(
    lab: Lab,
    number: int | None,
    *,
    campaign: Path,
    csv: Path | None,
    xlsx: Path | None = None,
    by: str,
    wishes: Mapping[str, Any],
    console: Console,
) -> list[Trial]:
    """Recommend experiments, or show those that wait for results.

    Args:
        lab: open.
        campaign: what was opened.
        number: how many new ones; None for those that wait.
        csv: file to write; never overwritten, since somebody may have filled it in.
        xlsx: the same as an Excel file.
        by: who asks.
        wishes: see `Lab.recommend`.
        console: where they are printed.

    Raises:
        MatloopError: the file is there already, or see `Lab.recommend`.
        MissingExtra: openpyxl is not installed, and an Excel file is wanted.
    """
    if xlsx:
        lab.write_xlsx([])  # before anything is recommended
    files = [(file, write) for file, write in ((csv, lab.write_csv), (xlsx, lab.write_xlsx)) if file]
    with ExitStack() as undo:
        outs = []
        for file, _ in files:
            outs.append(_fresh(file))
            undo.callback(file.unlink)
            undo.callback(outs[-1].close)  # first of the two
        trials = lab.pending() if number is None else lab.recommend(number, by, **wishes)
        for (_, write), out in zip(files, outs, strict=True):
            out.write(write(trials))
            out.flush()
        undo.pop_all()
    for out in outs:
        out.close()
    if not trials:
        waits = "no recommendation waits for a result" if number is None else "the strategy waits for results first"
        console.print(f"nothing to show: {waits}")
        return trials
    console.print(page(trials, lab))
    if outlook := next((t.extra["outlook"] for t in reversed(trials) if "outlook" in t.extra), None):
        console.print(f"{outlook['text']}\n", highlight=False, markup=False)
    if lab.instructions:
        console.print(lab.instructions, highlight=False, markup=False)
    for file, _ in files:
        answer = f"matloop tell {quoted(campaign)} {quoted(file)}"
        message = f"{text.plural(len(trials), 'experiment')} → {file}; fill it in, then: {answer}"
        console.print(message, highlight=False, markup=False, soft_wrap=True)
    return trials


def page(trials: Sequence[Trial], lab: Lab) -> Table:
    """Trials as a table for people."""
    fields, layout = lab.layout.fields, lab.layout
    predicted = [o for o in lab.objectives if any(t.prediction and o.name in t.prediction.mean for t in trials)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("trial", justify="right")
    for field in fields:
        table.add_column(Text(layout.title(field.name)), justify="left" if field.choices else "right")
    for objective in predicted:
        table.add_column(Text(layout.title(objective.name)), justify="right")
    table.add_column("why")
    for trial in trials:
        cells = [str(trial.id), *(shown(trial.point[f.name]) if f.name in trial.point else "" for f in fields)]
        cells += [_expected(trial, objective) for objective in predicted]
        table.add_row(*map(Text, [*cells, trial.reason]))
    return table


def _pair(option: str, text: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name.strip() and equals and value.strip()):
        raise MatloopError(f"expected {option} {example}, or the like, got {text!r}")
    return name.strip(), value.strip()


def _count(name: str, text: str) -> int:
    if not text.isdecimal():
        raise MatloopError(f"expected --at-most {name}=2, or another whole number, got {text!r}")
    return int(text)


def _expected(trial: Trial, objective: Objective) -> str:
    """`412 (390 to 435)`: the prediction and where 90 % of measurements are expected."""
    if trial.prediction is None or objective.name not in trial.prediction.mean:
        return ""
    mean, bounds = text.number(trial.prediction.mean[objective.name]), interval(trial, objective.name)
    return f"{mean} ({text.number(bounds[0])} to {text.number(bounds[1])})" if bounds else mean


def _fresh(path: Path) -> IO[bytes]:
    try:
        return path.open("xb")
    except FileExistsError:
        raise MatloopError(f"{path} is already there and is not overwritten; choose another name") from None
    except OSError as error:
        raise MatloopError(f"cannot write {path}: {error.strerror}; choose another folder") from error
