"""Drafts for tables: formulas with conditions, columns of numbers and categories, signals in rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matloop.drivers.training.drafts import columns
from matloop.drivers.training.drafts.draft import Idea
from matloop.drivers.training.drafts.files import target_of
from matloop.drivers.training.sources.columns import nameless
from matloop.drivers.training.sources.frames import frame
from matloop.drivers.training.sources.signals import signal_columns


def formulas(path: Path, target: str | None = None) -> Idea:
    """A table with a column of formulas.

    Raises:
        ValueError: it has none.
    """
    table = frame(path)
    column = columns.formula(table)
    if column is None:
        raise ValueError(
            f"expected a column of chemical formulas in {path}, got {[*map(str, table.columns)]}; use --template table"
        )
    roles = columns.roles(table, column, target)
    known = [column, *roles.values()]
    others = [str(name) for name in table.columns if str(name) not in known and not nameless(name)]
    beside = [name for name in columns.conditions(table, others) if name != target]
    if target is None and beside == others:
        beside = others[:-1]
    goal = target_of(table, [*known, *beside], target)
    source: dict[str, Any] = {"kind": "formulas", "path": path, "column": column, "target": goal}
    if beside:
        source["features"] = beside
    source |= {"descriptor": "both", **roles}
    left = [name for name in others if name not in (*beside, goal)]
    comments = ["descriptor: fractions, attributes, both, or graph (with `space: graph_network`)"]
    hints = []
    if left:
        comments.append(f"features: known before measuring, predicted from as well; not used now: {', '.join(left)}")
        hints.append(
            f"columns that are not used: {', '.join(left)}; name those that are known beforehand in `features`"
        )
    return Idea(source, hints=[_target_hint(goal, target, others), *hints], comments=comments)


def table(path: Path, target: str | None = None) -> Idea:
    """A table of numbers and categories."""
    found = frame(path)
    roles = columns.roles(found, target)
    goal = target_of(found, list(roles.values()), target)
    others = [str(name) for name in found.columns if str(name) not in (*roles.values(), goal)]
    features = [name for name in others if columns.usable(found, name)]
    source = {"kind": "table", "path": path, "target": goal, "features": features, **roles}
    hints = [_target_hint(goal, target, others)]
    if left := [name for name in others if name not in features]:
        hints.append(
            f"columns that are not used, as they have too many different texts, none, or no name: {', '.join(left)}"
        )
    return Idea(source, hints=hints, comments=["features: leave out what is not known before the target is measured"])


def signals(path: Path, target: str | None = None) -> Idea:
    """A table with a signal in each row.

    Raises:
        ValueError: its columns are not named by numbers.
    """
    found = frame(path)
    signal = signal_columns(found)
    if len(signal) < 2:
        raise ValueError(
            f"expected columns in {path} that are named by numbers, such as angles, "
            f"got {[*map(str, found.columns)][:8]}"
        )
    roles = columns.roles(found, target, *signal)
    goal = target_of(found, [*signal, *roles.values()], target)
    return Idea({"kind": "signals", "path": path, "target": goal, **roles})


def _target_hint(goal: str, asked: str | None, others: list[str]) -> str:
    if asked is not None:
        return f"the column {goal!r} is predicted"
    more = ", ".join(name for name in others if name != goal)
    return f"the column {goal!r} is predicted{f'; another one by --target, of {more}' if more else ''}"
