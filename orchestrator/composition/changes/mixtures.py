"""Changes of mixtures and constraints, and what each does to the points on record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matloop.orchestrator.composition.changes.change import Change, among, arrow, kept, lie, of, shown, unit_change
from matloop.orchestrator.errors import InvalidPoint
from matloop.orchestrator.measurement import is_number
from matloop.orchestrator.trial import Point

LIMITING = ("at_most", "at_least", "minimum", "step", "limits")

Options = Mapping[str, Any]
Mixture = Any
"""Of a space; see `matloop.search_spaces.experiment.mixture`."""

Constraint = Any
"""Of a space; see `matloop.search_spaces.experiment.slide`."""


def changes(
    before: Mapping[str, Options], after: Mapping[str, Options], mixtures: Sequence[Mixture], points: Sequence[Point]
) -> Iterator[Change]:
    """One line for each change of a mixture.

    Args:
        before: options by name, as recorded.
        after: options by name.
        mixtures: as the options after make them.
        points: of the results.
    """
    for mixture in mixtures:
        if mixture.name not in before:
            yield _added(mixture, points)
        elif before[mixture.name] != after[mixture.name]:
            yield from _changed(mixture, before[mixture.name], after[mixture.name], points)
    now = {component for mixture in mixtures for component in mixture.components}
    for name, options in before.items():
        if name not in after:
            yield from _removed(name, options, now, points)


def _added(mixture: Mixture, points: Sequence[Point]) -> Change:
    keys, name, total = mixture.components, mixture.name, len(points)
    lacking = sum(not any(component in point for component in keys) for point in points)
    if not lacking:
        return Change(f"mixture `{name}` added: {'every result has amounts of it' if total else of(0, 0)}", keys=keys)
    do = "does" if lacking == 1 else "do"
    if mixture.before:
        return Change(
            f"mixture `{name}` added: {of(lacking, total)} {do} not say and had {shown(mixture.before)}", keys=keys
        )
    example = f"`before: {{{keys[0]}: {shown(mixture.total)}}}`"
    text = f"mixture `{name}` added: {of(lacking, total)} {do} not say what it was"
    return Change(text, f"add to it the amounts that they had, such as {example}", keys)


def _removed(name: str, options: Options, now: set[str], points: Sequence[Point]) -> Iterator[Change]:
    gone = [component for component in options["components"] if component not in now]
    amounts = {component: [p[component] for p in points if component in p] for component in gone}
    varied = [component for component, values in amounts.items() if any(not among(v, values[:1]) for v in values)]
    text = f"mixture `{name}` removed: {'no result had any of it' if not any(amounts.values()) else ''}"
    if not varied:
        yield Change(text if text[-1] != " " else f"{text}every result had the same; it is taken to stay so")
        return
    last = next(point for point in reversed(points) if any(component in point for component in gone))
    limits = {component: [last.get(component, 0), last.get(component, 0)] for component in options["components"]}
    yield Change(
        f"{text}results had different amounts of {', '.join(varied)}, and the model has to know them",
        f"keep it with the amounts that it has from now on, such as `limits: {shown(limits)}`",
        tuple(gone),
    )


def _changed(mixture: Mixture, before: Options, after: Options, points: Sequence[Point]) -> Iterator[Change]:
    name, total = mixture.name, len(points)
    for component in mixture.components:
        if component not in before["components"]:
            some = sum(is_number(point.get(component)) and point[component] > 0 for point in points)
            lacking = sum(component not in point for point in points)
            amount = shown(mixture.before.get(component, 0))
            had = f"{of(lacking, total)} had {amount} of it" if lacking else f"{of(some, total)} had some"
            yield Change(f"`{component}` added to mixture `{name}`: {had}", keys=(component,))
    for component in before["components"]:
        if component not in mixture.components:
            some = sum(is_number(point.get(component)) and point[component] != 0 for point in points)
            stay = "; the model goes on knowing how much, it is proposed no more" if some else ""
            yield Change(
                f"`{component}` removed from mixture `{name}`: {of(some, total)} had some{stay}", keys=(component,)
            )
    old = float(before.get("total") or 1.0)
    if old != mixture.total:
        text = f"mixture `{name}`: total {arrow(old, mixture.total)}"
        yield Change(f"{text}: amounts on record that add up to {shown(old)} are taken as shares of that")
    if any(before.get(key) != after.get(key) for key in LIMITING):
        which = ", ".join(
            f"{key} {arrow(before.get(key), after.get(key))}" for key in LIMITING if before.get(key) != after.get(key)
        )
        count = sum(not _fits(mixture, point) for point in points)
        yield Change(
            f"mixture `{name}`: {which}: {of(count, total)} {lie(count)} outside{kept(count)}", keys=mixture.components
        )
    if (before.get("before") or {}) != (after.get("before") or {}):
        yield Change(f"mixture `{name}`: before {arrow(before.get('before'), after.get('before'))}")
    if found := unit_change(f"mixture {name}", before, after, total, mixture.components):
        yield found


def _fits(mixture: Mixture, point: Point) -> bool:
    """Whether amounts could be proposed now."""
    try:
        mixture.check({component: point.get(component, 0.0) for component in mixture.components})
    except InvalidPoint:
        return False
    return True


def constraint_changes(
    before: Sequence[str], after: Sequence[str], constraints: Sequence[Constraint], points: Sequence[Point]
) -> Iterator[Change]:
    """One line for each constraint that came or went."""
    for text in before:
        if text not in after:
            yield Change(f"constraint `{text}` removed")
    for text, constraint in zip(after, constraints, strict=True):
        if text not in before:
            count = sum(_violates(constraint, point) for point in points)
            violate = "violates" if count == 1 else "violate"
            yield Change(f"constraint `{text}` added: {of(count, len(points))} {violate} it{kept(count)}")


def _violates(constraint: Constraint, point: Point) -> bool:
    """Of a point that may lack what the constraint mentions: then it does not."""
    try:
        return constraint.violation(point) > 0
    except (LookupError, TypeError, ValueError):
        return False
