"""Changes of parameters, and what each does to the points on record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matloop.orchestrator.composition.changes.change import Change, among, arrow, kept, lie, of, shown, unit_change
from matloop.orchestrator.measurement import is_number
from matloop.orchestrator.trial import Point

NUMBERS = ("float", "integer")
Options = Mapping[str, Any]
Parameter = Any
"""Of a space; see `matloop.search_spaces.parameter`."""


def changes(
    before: Mapping[str, Options],
    after: Mapping[str, Options],
    parameters: Sequence[Parameter],
    points: Sequence[Point],
    others: Sequence[str] = (),
) -> Iterator[Change]:
    """One line for each change.

    Args:
        before: options by name, as recorded.
        after: options by name.
        parameters: as the options after make them.
        points: of the results.
        others: keys of points that belong to something else, such as components of a mixture.
    """
    known = {parameter.name: parameter for parameter in parameters}
    said = {p.name: p.before for p in parameters if p.before is not None}
    complete = [{**said, **point} for point in points]
    for name, parameter in known.items():
        lacking = sum(name not in p and parameter.active(c) for p, c in zip(points, complete, strict=True))
        if name not in before:
            yield _added(parameter, lacking, len(points))
        elif before[name] != after.get(name):
            yield from _changed(parameter, before[name], after.get(name) or {}, points, lacking)
    for name in before:
        if name not in known and name not in others:
            yield _removed(name, before[name], points)


def _added(parameter: Parameter, lacking: int, total: int) -> Change:
    name, unit = parameter.name, f" {parameter.unit}" if parameter.unit else ""
    if not lacking:
        return Change(f"`{name}` added: {f'no result of {total} needs it' if total else of(0, 0)}", keys=(name,))
    if parameter.before is not None:
        read = "is" if lacking == 1 else "are"
        return Change(
            f"`{name}` added: {of(lacking, total)} {read} read as {shown(parameter.before)}{unit}", keys=(name,)
        )
    do = "does" if lacking == 1 else "do"
    return Change(f"`{name}` added: {of(lacking, total)} {do} not say what it was", _ask_before(parameter), (name,))


def _ask_before(parameter: Parameter) -> str:
    example = parameter.coding.values[0] if parameter.coding else parameter.low
    return f"add to it the value that they had, such as `before: {shown(example)}`"


def _removed(name: str, options: Options, points: Sequence[Point]) -> Change:
    values: list[Any] = []
    for point in points:
        if name in point and not among(point[name], values):
            values.append(point[name])
    if not values:
        return Change(f"`{name}` removed: no result has it", keys=(name,))
    if len(values) == 1:
        return Change(f"`{name}` removed: every result that has it had {shown(values[0])}; it is taken to stay so")
    numeric = options.get("type") in NUMBERS
    seen = f"{shown(min(values))} to {shown(max(values))}" if all(map(is_number, values)) else shown(values)
    last = next(point[name] for point in reversed(points) if name in point)
    value = f"low: {shown(last)}, high: {shown(last)}" if numeric else f"choices: [{shown(last)}]"
    rest = "".join(f", {key}: {shown(options[key])}" for key in ("unit", "when") if options.get(key))
    option = f"`{name}: {{type: {options['type']}, {value}{rest}}}`"
    count = sum(name in point for point in points)
    return Change(
        f"`{name}` removed: {of(count, len(points))} had {seen}, and the model has to know it",
        f"keep it with the one value that it has from now on, such as {option}",
        (name,),
    )


def _changed(
    parameter: Parameter, before: Options, after: Options, points: Sequence[Point], lacking: int
) -> Iterator[Change]:
    name, total = parameter.name, len(points)
    values = [point[name] for point in points if name in point]
    if before.get("type") != after.get("type"):
        yield Change(
            f"`{name}`: type {arrow(before.get('type'), after.get('type'))}: {_outside(parameter, values, total)}"
        )
    elif parameter.coding:
        yield from _choices(parameter, before, after, values, total)
    else:
        yield from _range(parameter, before, after, values, total)
    if found := unit_change(name, before, after, len(values), (name,)):
        yield found
    if before.get("when") != after.get("when") or (before.get("before") is not None and parameter.before is None):
        if lacking and parameter.before is None:
            do = "does" if lacking == 1 else "do"
            text = f"`{name}` belongs to more experiments than before: {of(lacking, total)} {do} not say what it was"
            yield Change(text, _ask_before(parameter), (name,))
        elif before.get("when") != after.get("when"):
            yield Change(f"`{name}`: when {arrow(before.get('when') or 'always', after.get('when') or 'always')}")
    elif before.get("before") != after.get("before"):
        text = f"{of(lacking, total)} that do not say" if lacking else "no result needs it"
        yield Change(f"`{name}`: before {arrow(before.get('before'), after.get('before'))}: {text}", keys=(name,))


def _outside(parameter: Parameter, values: Sequence[Any], total: int) -> str:
    """How many lie outside what may be planned now."""
    if parameter.coding:
        count = sum(value not in parameter.coding for value in values)
        return f"{of(count, total)} had none of its choices{kept(count)}"
    count = sum(not (is_number(value) and parameter.low <= value <= parameter.high) for value in values)
    return f"{of(count, total)} {lie(count)} outside{kept(count)}"


def _range(
    parameter: Parameter, before: Options, after: Options, values: Sequence[Any], total: int
) -> Iterator[Change]:
    name = parameter.name
    moved = [
        f"{end} {arrow(before.get(end), after.get(end))}"
        for end in ("low", "high")
        if before.get(end) != after.get(end)
    ]
    if moved:
        yield Change(f"`{name}`: {', '.join(moved)}: {_outside(parameter, values, total)}", keys=(name,))
    if before.get("step") != after.get("step"):
        between = sum(not _on_step(parameter, value) for value in values if is_number(value))
        stay = f"; {'it is' if between == 1 else 'they are'} kept as measured" if between else ""
        text = f"{of(between, total)} {lie(between)} between the steps{stay}"
        yield Change(f"`{name}`: step {arrow(before.get('step'), after.get('step'))}: {text}", keys=(name,))
    if bool(before.get("log")) != bool(after.get("log")):
        scale = "logarithmic" if parameter.log else "linear"
        none = sum(is_number(value) and value <= 0 for value in values) if parameter.log else 0
        if none:
            have = "has a value" if none == 1 else "have values"
            yield Change(
                f"`{name}`: scale made {scale}: {of(none, total)} {have} of 0 or less, which it cannot take",
                f"leave `log: true` out, or set {'it' if none == 1 else 'them'} aside with `matloop void`",
                (name,),
            )
        else:
            yield Change(f"`{name}`: scale made {scale}: {of(len(values), total)} stand on it", keys=(name,))


def _on_step(parameter: Parameter, value: float) -> bool:
    if not parameter.step:
        return True
    place = (value - parameter.low) / parameter.step
    return abs(place - round(place)) <= 1e-6


def _choices(
    parameter: Parameter, before: Options, after: Options, values: Sequence[Any], total: int
) -> Iterator[Change]:
    name, coding = parameter.name, parameter.coding
    assert coding is not None
    listed = _listed(before)
    new_names: Mapping[Any, Any] = after.get("renamed") or {}
    for old, new in new_names.items():
        if not among(old, list(before.get("renamed") or {})):
            count = sum(among(value, [old]) for value in values)
            yield Change(f"`{name}`: {shown(old)} is now called {shown(new)}: {of(count, total)} had it", keys=(name,))
    gone = [choice for choice in listed if choice not in coding and not among(choice, list(new_names))]
    added = [choice for choice in coding.values if not among(choice, [*listed, *new_names.values()])] if listed else []
    for choice in gone:
        count = sum(among(value, [choice]) for value in values)
        text = f"`{name}`: {shown(choice)} removed: {of(count, total)} had it"
        if count:
            text += f"; {'it is' if count == 1 else 'they are'} kept for the model, {shown(choice)} is proposed no more"
            if added and len(gone) == 1:
                remedy = f"`renamed: {{{shown(choice)}: {shown(added[0])}}}`"
                text += f" (if {shown(added[0])} is only another name of it: {remedy})"
        yield Change(text, keys=(name,))
    for choice in added:
        count = sum(among(value, [choice]) for value in values)
        yield Change(f"`{name}`: {shown(choice)} added: {of(count, total)} had it", keys=(name,))
    others = sum(value not in coding and not among(value, [*gone, *new_names]) for value in values)
    if others and not listed:
        yield Change(f"`{name}`: {of(others, total)} had none of its choices{kept(others)}", keys=(name,))
    same = [choice for choice in listed if choice in coding]
    if coding.ordered and same != [choice for choice in coding.values if among(choice, same)]:
        yield Change(f"`{name}`: order {arrow(listed, coding.values)}: the model sees its choices otherwise")
    if before.get("descriptors") != after.get("descriptors") and not (gone or added):
        yield Change(f"`{name}`: descriptors changed: the model sees its choices otherwise")
    if bool(before.get("log")) != bool(after.get("log")):
        yield Change(f"`{name}`: scale made {'logarithmic' if after.get('log') else 'linear'}")


def _listed(options: Options) -> list[Any]:
    """Choices that the options list; none if a file does."""
    return list(options.get("choices") or options.get("descriptors") or [])
