"""Where people overrode the machine: deviations, measurements of their own, cancellations and corrections, by whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.report import text
from matloop.orchestrator.report.content import Block, Section, Table
from matloop.orchestrator.trial import Trial

ROWS = 200


@dataclass(frozen=True, slots=True)
class Override:
    """One of them.

    Attributes:
        at: Unix time, s.
        kind: deviated, reported, cancelled, amended or voided.
        by: person; empty if nobody was named.
        what: in words.
    """

    at: float
    trial: int
    study: str
    kind: str
    by: str
    what: str


def overrides(history: History) -> list[Override]:
    """In order of time."""
    found: list[Override] = []
    for trial in history.trials:
        at, note = trial.finished_at or trial.proposed_at, str(trial.info.get("note", ""))
        if trial.planned is not None:
            found.append(_of(trial, at, "deviated", changes(trial.planned, trial.point)))
        if trial.extra.get("origin") == "reported":
            found.append(_of(trial, at, "reported", text.compact(trial.point, 100)))
        if trial.state == "cancelled" and not trial.was_done and trial.id not in history.missing:
            found.append(_of(trial, at, "cancelled", note))
    for amendment, after in history.corrected():
        kind = "voided" if after.state == "cancelled" else "amended"
        what = "; ".join(filter(None, (_corrected(amendment.before, after), amendment.reason)))
        found.append(Override(amendment.time, after.id, after.study, kind, amendment.by, what))
    return sorted(found, key=lambda o: (o.at, o.trial))


def section(history: History) -> Section | None:
    """A table, the latest last; None if the machine was always followed."""
    found = overrides(history)
    if not found:
        return None
    several = len({o.study for o in found}) > 1
    head = ("when", *(("study",) if several else ()), "trial", "", "who", "what")
    rows = [
        (text.moment(o.at), *((o.study,) if several else ()), str(o.trial), o.kind, o.by or "–", text.clip(o.what, 160))
        for o in found[-ROWS:]
    ]
    words = {
        "deviated": "did something else than was recommended",
        "reported": "measured a point of their own",
        "cancelled": "cancelled a recommendation",
        "amended": "corrected a result",
        "voided": "set a result aside",
    }
    counts = {kind: sum(o.kind == kind for o in found) for kind in words}
    times = [f"{text.plural(n, 'time')} {words[kind]}" for kind, n in counts.items() if n]
    caption = f"People {', '.join(times)}. The record keeps what was recommended and what was first reported."
    if len(found) > ROWS:
        caption += f" The latest {ROWS} of {len(found):,}."
    blocks: tuple[Block, ...] = (Table(head, rows, "l" + "l" * several + "rlll", caption, wide=True),)
    return Section("Who overrode what", blocks)


def changes(planned: Mapping[str, Any], done: Mapping[str, Any]) -> str:
    """What is different, entry by entry."""
    parts = []
    for name in dict.fromkeys([*planned, *done]):
        if planned.get(name) != done.get(name):
            old, new = (
                text.compact({name: p[name]}).partition(" = ")[2] if name in p else "–" for p in (planned, done)
            )
            parts.append(f"{name} {old} → {new}")
    return ", ".join(parts)


def _of(trial: Trial, at: float, kind: str, what: str) -> Override:
    return Override(at, trial.id, trial.study, kind, trial.worker, what)


def _corrected(old: Trial, new: Trial) -> str:
    results = text.outcome(old), text.outcome(new)
    parts = [" → ".join(results)] if results[0] != results[1] else []
    if old.cost != new.cost:
        parts.append(f"cost {'–' if old.cost is None else text.number(old.cost)} → {text.number(new.cost or 0.0)}")
    if old.point != new.point:
        parts.append(changes(old.point, new.point))
    return ", ".join(parts) or "nothing that counts"
