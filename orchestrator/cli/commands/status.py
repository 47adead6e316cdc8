"""`matloop status`: where a campaign stands, read from its ledger without disturbing its writer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from matloop.orchestrator.cli.changes import since_opened
from matloop.orchestrator.cli.progress import duration, per_time, quantity
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.composition.files import campaign_file, expanded
from matloop.orchestrator.composition.places import LEDGER, directory_of, has_record
from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.export.trials import objectives_of
from matloop.orchestrator.ledger.file import quoted
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.ledger.lock import read_holder
from matloop.orchestrator.ledger.slips import advice, slips
from matloop.orchestrator.report import ending, references
from matloop.orchestrator.report.study import studies
from matloop.orchestrator.report.text import SIGNS, compact, outcome
from matloop.orchestrator.trial import Objective, Trial, best, comparable, limited, missing

WAITING = 20  # recommendations that are listed


def locate(target: Path) -> Path:
    """Folder of a campaign, from that folder, its ledger, or its campaign file (run without `--dir`).

    Raises:
        MatloopError: no campaign has been run there.
    """
    target = expanded(target)
    if target.is_dir():
        directory = target
    elif target.name == LEDGER:
        directory = target.parent
    elif campaign_file(target).is_file():
        directory = directory_of(load(target))
    else:
        raise MatloopError(f"there is no {target}; give the folder of a campaign (runs/NAME) or its campaign file")
    return recorded(directory)


def recorded(directory: Path) -> Path:
    """The folder, if it holds a record.

    Raises:
        MatloopError: no campaign has been run there.
    """
    if not has_record(directory):
        raise MatloopError(
            f"no campaign has been run in {directory}; `matloop run` begins one, or `matloop recommend` where people "
            "measure; or give the folder of its results"
        )
    return directory


def show(directory: Path, console: Console) -> None:
    """Print the state of a campaign, and what its file would change if it was opened now."""
    history = read(directory / "ledger.db")
    console.print(page(history, holder(directory), time.time(), directory))
    for line in since_opened(directory, history):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if history.damage:
        console.print(Text(f"\n{damaged(history, directory)}", style="bold red"), soft_wrap=True)


def damaged(history: History, directory: Path) -> str:
    """That what is shown is not all, and what to do about it."""
    return (
        f"{directory / LEDGER} is damaged: {history.damage}. Shown are the {history.last_seq} events before that; "
        f"a copy with all that can be read: matloop repair {quoted(directory)}"
    )


def holder(directory: Path) -> str | None:
    """Who is writing the ledger; None if nobody is."""
    found = read_holder(directory / "ledger.db")
    return None if found is None or found.gone else str(found)  # killed before it could take its name out


def page(history: History, writer: str | None, now: float, campaign: Path | str = "DIR") -> RenderableType:
    """The state of a campaign, for printing; `campaign` is its folder, for commands to type."""
    session = history.sessions[-1] if history.sessions else None
    config: Mapping[str, Any] = session.config if session else {}
    seen = dict.fromkeys([*config.get("studies", {}), *(t.study for t in history.trials if t.study)])
    table = Table(
        title=str(config.get("name", "")), title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for column, justify in (("study", "left"), ("state", "left"), ("done", "right"), ("running", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for column in ("failed", "lost"):
        table.add_column(column, justify="right")
    for column in ("best", "rate"):
        table.add_column(column)
    for name in seen:
        table.add_row(*(Text(cell) for cell in _row(history, name, config.get("studies", {}).get(name, {}), writer)))
    parts: list[RenderableType] = [table, *_against(history)]
    waiting = [t for t in history.trials if t.state == "running" and _by_people(config, t.study)]
    if waiting:
        parts.append(Text("\nwaiting for results"))
        parts += [
            Text(f"  trial {t.id}: {compact(t.point)}, recommended {_ago(now - t.proposed_at)}")
            for t in waiting[:WAITING]
        ]
        if len(waiting) > WAITING:
            parts.append(Text(f"  and {len(waiting) - WAITING} more"))
    parts += _unfinished(history, config)
    for name in seen:
        slipped = slips(history.of(name), objectives_of(history, name))
        parts += [Text(f"\n{advice(slip, campaign)}", style="yellow") for slip in slipped]
    failures = Counter((t.study, t.failure.cause, t.failure.message) for t in history.trials if t.failure)
    if failures:
        parts.append(Text("\nfailures"))
        parts += [
            Text(f"  {count} × {study}: {cause}: {message}", style="red")
            for (study, cause, message), count in failures.most_common(10)
        ]
    if history.missing:
        parts.append(Text(f"\nlost with a damaged file: {len(history.missing)} trials", style="red"))
    parts += [Text(f"\n{line}", style="red") for line in ending.undecided(history, campaign)]
    parts += _corrections(history, now)
    if session:
        where = (
            f"being written by {writer}" if writer else f"nobody is writing; last ended: {session.ended or 'killed'}"
        )
        parts.append(Text(f"\n{where}; last event {_ago(now - session.last_at)}; started {len(history.sessions)} ×"))
    return Group(*parts)


def _against(history: History) -> list[RenderableType]:
    """Winners of searches beside their references."""
    found = studies(history)
    lines = [(study.name, references.against(study, found)) for study in found]
    return [Text(f"\n{name} against references: {line}") for name, line in lines if line]


def _unfinished(history: History, config: Mapping[str, Any]) -> list[RenderableType]:
    """Experiments of people of which some values are still to come."""
    people = {name: objectives_of(history, name) for name in config.get("studies", {}) if _by_people(config, name)}
    found = [(t, names) for t in history.trials if t.study in people and (names := missing(t, people[t.study]))]
    lines = [f"  trial {t.id}: {', '.join(names)} still to come; {outcome(t)}" for t, names in found[:WAITING]]
    if len(found) > WAITING:
        lines.append(f"  and {len(found) - WAITING} more")
    return [Text("\nmeasured in part"), *map(Text, lines)] if found else []


def _corrections(history: History, now: float) -> list[RenderableType]:
    """Results that were corrected or set aside, the latest first."""
    found = history.corrected()[::-1]
    lines = [
        f"  trial {amendment.trial}: {outcome(amendment.before)} → {outcome(after)}, {_ago(now - amendment.time)}"
        f"{f' by {amendment.by}' if amendment.by else ''}{f': {amendment.reason}' if amendment.reason else ''}"
        for amendment, after in found[:WAITING]
    ]
    if len(found) > WAITING:
        lines.append(f"  and {len(found) - WAITING} more")
    return [Text("\ncorrections"), *map(Text, lines)] if found else []


def _by_people(config: Mapping[str, Any], study: str) -> bool:
    driver = config.get("studies", {}).get(study, {}).get("driver", {})
    return bool(driver.get("kind") == "manual")


def _best(found: Trial, objectives: Sequence[Objective]) -> str:
    first = objectives[0]
    sign = SIGNS.get(found.censored.get(first.name, ""), "")
    return f"{first.name} {sign}{quantity((found.values or {})[first.name], first.unit)}"


def _unkept(finished: Sequence[Trial], objectives: Sequence[Objective]) -> str:
    """What there is to say where nothing is the best."""
    told = limited(objectives)
    return f"none has {' and '.join(f'{o.name} {o.limits}' for o in told)}" if told and comparable(finished) else ""


def _ago(seconds: float) -> str:
    return f"{duration(max(0.0, seconds))} ago"


def _row(history: History, name: str, config: Mapping[str, Any], writer: str | None) -> list[str]:
    trials = history.of(name)
    finished = [t for t in trials if t.state != "running"]
    running = len(trials) - len(finished)
    uncounted = history.uncounted(name)
    finished = [t for t in finished if t.state != "cancelled"]
    counted = [t for t in finished if t.id not in uncounted]
    total = (config.get("budget") or {}).get("trials")
    ended = history.ended(name)
    if ended:
        state = f"ended: {ended.get('reason', '')}"
    elif not trials:
        state = "not begun"
    elif config.get("driver", {}).get("kind") == "manual":
        state = "open"
    else:
        state = "running" if writer else "stopped"
    objectives = objectives_of(history, name)
    found = best(finished, objectives[0], objectives) if objectives else None
    elapsed_s = history.elapsed_s.get(name, 0.0)
    return [
        name,
        state,
        f"{len(counted)}/{total}" if total else str(len(counted)),
        str(running) if running else "",
        str(failed) if (failed := sum(t.failure is not None for t in finished)) else "",
        str(lost) if (lost := sum(history.trials[loss.trial].study == name for loss in history.lost)) else "",
        _best(found, objectives) if found else _unkept(finished, objectives),
        per_time(len(finished) / elapsed_s) if finished and elapsed_s > 0 else "",
    ]
