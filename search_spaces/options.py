"""Parameters as a campaign file describes them: options checked, errors with the parameter's name and the remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from matloop.orchestrator.errors import ConfigError, InvalidPoint, inside
from matloop.orchestrator.protocols import Past
from matloop.search_spaces.choices import Choices
from matloop.search_spaces.parameter import Parameter, finite, suggest
from matloop.search_spaces.recorded import before, earlier, former, reach, renamed
from matloop.search_spaces.table import read_table

_ALL = ("type", "unit", "when", "before", "unit_before")
_NUMBER = (*_ALL, "low", "high", "log", "step")
_KEYS = {
    "float": (*_NUMBER, "digits"),
    "integer": _NUMBER,
    "categorical": (*_ALL, "choices", "descriptors", "renamed"),
    "ordinal": (*_ALL, "choices", "log", "renamed"),
}

_PLAIN = (str, int, float, bool)

Rows = Mapping[Any, Mapping[str, float]]
"""Choice to descriptor to value."""

FINEST = 1e-9
"""Least step, and least range, as a share of the larger end: finer ones a float does not tell apart reliably."""

MOST_DIGITS = 12
"""Significant digits that can be asked for: of more, arithmetic leaves traces."""

LARGEST = {"float": 1e100, "integer": 2**53}
"""Magnitudes beyond which arithmetic would overflow, or a float not hold every integer."""


def read_parameters(
    parameters: Mapping[str, Any], files: Sequence[Path], past: Past | None = None
) -> tuple[Parameter, ...]:
    """Check the options of all parameters.

    Args:
        parameters: name to options, as `Box` describes them.
        files: tables of descriptors: the first column has the name of a categorical parameter and lists its choices,
            the others are descriptors.
        past: what is on record.

    Raises:
        ConfigError: names the parameter or the file, and what to change.
    """
    tables: dict[str, Rows] = {}
    for i, path in enumerate(files):
        with inside("descriptors", i):
            name, rows = _descriptors(Path(path))
        if name not in parameters:
            raise ConfigError(
                f"expected the first column of {path} to have the name of a parameter, got {name!r}; "
                f"{suggest(name, list(parameters))}",
                at="descriptors",
            )
        if name in tables:
            raise ConfigError(
                f"expected one table of descriptors for parameter {name!r}, got another in {path}", at="descriptors"
            )
        tables[name] = rows
    known: dict[str, Parameter] = {}
    past = past or Past()
    for name, options in parameters.items():
        with inside("parameters", name):
            known[name] = read_parameter(name, options, known, tuple(parameters), tables, past)
        if name in tables and not (isinstance(options, Mapping) and options.get("type") == "categorical"):
            raise ConfigError(
                f"expected parameter {name!r}, which has descriptors, to be categorical; change its type",
                at=("parameters", name),
            )
    return tuple(known.values())


def _descriptors(path: Path) -> tuple[str, Rows]:
    table = read_table(path)
    name, *labels = table
    if not labels:
        raise ConfigError(f"expected descriptors in {path} beside the column {name!r}, got none; add columns")
    for label in labels:
        if any(isinstance(value, str) for value in table[label]):
            raise ConfigError(f"expected numbers in column {label!r} of {path}, got texts; drop it or correct them")
    if len(set(table[name])) < len(table[name]):
        raise ConfigError(f"expected every choice once in column {name!r} of {path}; remove the repeated ones")
    return name, {choice: {label: float(table[label][i]) for label in labels} for i, choice in enumerate(table[name])}


def read_parameter(
    name: str,
    options: Any,
    earlier: Mapping[str, Parameter],
    names: Sequence[str],
    tables: Mapping[str, Rows],
    past: Past,
) -> Parameter:
    """Check one parameter's options.

    Args:
        name: of the parameter.
        options: as `Box` describes them.
        earlier: parameters that it may depend on.
        names: of all parameters, for messages.
        tables: parameter to choice to descriptor to value, of those whose descriptors come from a file.
        past: what is on record.

    Raises:
        ConfigError: names the parameter and what to change.
    """
    if not isinstance(options, Mapping) or options.get("type") not in _KEYS:
        got = options.get("type") if isinstance(options, Mapping) else options
        raise ConfigError(
            f"expected parameter {name!r} to have type: float, integer, categorical or ordinal, got {got!r}"
        )
    if not isinstance(name, str) or not name or name != name.strip():
        raise ConfigError(
            f"expected names of parameters to be texts without spaces around them, got {name!r}; quote it"
        )
    kind = options["type"]
    for key in options:
        if key not in _KEYS[kind]:
            raise ConfigError(
                f"unknown key {key!r} in parameter {name!r} of type {kind}; {suggest(key, _KEYS[kind])}", at=key
            )
    when = _conditions(name, options.get("when") or {}, earlier, names)
    unit = read_unit(f"parameter {name!r}", options.get("unit"))
    if not isinstance(options.get("log", False), bool):
        raise ConfigError(f"expected log: true or false for parameter {name!r}, got {options['log']!r}", at="log")
    log = bool(options.get("log", False))
    read_unit(f"parameter {name!r}", options.get("unit_before"), at="unit_before")
    if kind in ("ordinal", "categorical"):
        coding = (_ordinal if kind == "ordinal" else _categorical)(name, options, tables.get(name), past)
        parameter = Parameter(name=name, type="categorical", coding=coding, unit=unit, when=when)
    else:
        low, high = _range(name, kind, options)
        step = _step(name, kind, low, high, options)
        span = reach(low, past.values(name), log) if low == high else 1.0
        ends: dict[str, Any] = {"low": low, "high": high, "log": log, "step": step, "reach": span}
        digits = _digits(name, (low, high), options)
        parameter = Parameter(name=name, type=kind, **ends, digits=digits, unit=unit, when=when)
    return replace(parameter, before=before(parameter, options.get("before")))


def read_unit(owner: str, unit: Any, at: str = "unit") -> str:
    """Unit as text; empty for None, and numbers such as 1 are let through."""
    if unit is not None and (isinstance(unit, bool) or not isinstance(unit, str | int | float)):
        raise ConfigError(f"expected {at} of {owner} to be a text such as 'mg/l', got {unit!r}; quote it", at=at)
    return "" if unit is None else str(unit).strip()


def _range(name: str, kind: str, options: Mapping[str, Any]) -> tuple[float, float]:
    ends = []
    for key in ("low", "high"):
        value = options.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not finite(value):
            raise ConfigError(f"expected a finite number for {key} of parameter {name!r}, got {value!r}", at=key)
        if kind == "integer" and value != int(value):
            raise ConfigError(f"expected a whole number for {key} of integer parameter {name!r}, got {value!r}", at=key)
        if abs(value) > LARGEST[kind]:
            raise ConfigError(
                f"expected {key} of {kind} parameter {name!r} within ±{LARGEST[kind]:g}, got {value:g}; "
                "change its unit",
                at=key,
            )
        ends.append(int(value) if kind == "integer" else float(value))
    low, high = ends
    if low > high:
        raise ConfigError(f"expected low <= high for parameter {name!r}, got {low} and {high}; swap them")
    if 0 < high - low < FINEST * max(abs(low), abs(high)):
        raise ConfigError(
            f"expected a range of parameter {name!r} that numbers of this size can resolve, got {low!r} to {high!r}; "
            "write it as the difference from a reference"
        )
    if options.get("log") and low <= 0:
        raise ConfigError(
            f"expected low > 0 for parameter {name!r} with log: true, got {low}; raise low or drop log", at="low"
        )
    return low, high


def _step(name: str, kind: str, low: float, high: float, options: Mapping[str, Any]) -> float:
    """Distance of neighbours, 0 if continuous."""
    if options.get("step") is None:
        return 1 if kind == "integer" else 0.0
    step = options["step"]
    if isinstance(step, bool) or not isinstance(step, int | float) or not (finite(step) and step > 0):
        raise ConfigError(f"expected step > 0 for parameter {name!r}, got {step!r}", at="step")
    if kind == "integer" and step != int(step):
        raise ConfigError(f"expected a whole number for step of integer parameter {name!r}, got {step!r}", at="step")
    if kind == "float" and step < FINEST * max(abs(low), abs(high)):
        raise ConfigError(
            f"expected a step of parameter {name!r} that can be told from none, got {step:g} from {low:g} to {high:g}; "
            "leave it out",
            at="step",
        )
    if options.get("log"):
        raise ConfigError(
            f"expected either step or log for parameter {name!r}, got both; "
            "list the values as an ordinal with log: true",
            at="step",
        )
    steps = (Decimal(repr(high)) - Decimal(repr(low))) / Decimal(repr(step))
    if abs(steps - round(steps)) > Decimal("1e-9"):
        last = low + math.floor(steps) * step
        raise ConfigError(
            f"expected high of parameter {name!r} to be a whole number of steps of {step:g} from {low:g}, "
            f"got {high:g}; {last:g} would be",
            at="high",
        )
    return int(step) if kind == "integer" else float(step)


def _digits(name: str, ends: Sequence[float], options: Mapping[str, Any]) -> int:
    """Significant digits, 0 if all."""
    digits = options.get("digits")
    if digits is None:
        return 0
    if isinstance(digits, bool) or not isinstance(digits, int) or not 1 <= digits <= MOST_DIGITS:
        raise ConfigError(
            f"expected digits of parameter {name!r}: significant digits, 1 to {MOST_DIGITS}, got {digits!r}",
            at="digits",
        )
    if options.get("step") is not None:
        raise ConfigError(f"expected either step or digits for parameter {name!r}, got both; remove one", at="digits")
    for key, end in zip(("low", "high"), ends, strict=True):
        nearest = float(f"{end:.{digits - 1}e}")
        if not math.isclose(nearest, end, rel_tol=1e-12):
            raise ConfigError(
                f"expected {key} of parameter {name!r} with {digits} significant digits, got {end!r}; "
                f"{nearest!r} would be",
                at=key,
            )
    return digits


def _ordinal(name: str, options: Mapping[str, Any], table: Rows | None, past: Past) -> Choices:
    values = _choices(name, options.get("choices"))
    orders = [list(o["choices"]) for o in earlier(name, past) if isinstance(o.get("choices"), list | tuple)]
    names = renamed(name, options, values)
    return Choices.in_order(name, values, log=bool(options.get("log")), earlier=orders, renamed=names)


def _categorical(name: str, options: Mapping[str, Any], table: Rows | None, past: Past) -> Choices:
    inline = options.get("descriptors")
    if inline is None and table is None:
        values = _choices(name, options.get("choices"))
        new_names = renamed(name, options, values)
        seen = [*past.values(name), *([options["before"]] if isinstance(options.get("before"), _PLAIN) else [])]
        return Choices.unordered(name, values, former(seen, values, new_names), renamed=new_names)
    if inline is not None and table is not None:
        raise ConfigError(
            f"expected descriptors of parameter {name!r} either here or in a file, got both; remove one",
            at="descriptors",
        )
    rows = dict(table) if table is not None else _rows(name, inline)
    listed = list(rows) if options.get("choices") is None else list(_choices(name, options["choices"]))
    for choice in listed:
        if choice not in rows:
            raise ConfigError(
                f"expected descriptors of choice {choice!r} of parameter {name!r}, got none; "
                f"{suggest(choice, list(rows))}",
                at="descriptors",
            )
    choices = _choices(name, listed)
    names = list(rows[choices[0]])
    new_names = renamed(name, options, choices)
    known = {**_known_descriptors(name, past), **rows}
    gone = [
        (value, [known[value][label] for label in names])
        for value in former(past.values(name), choices, new_names)
        if value in known and known[value].keys() == set(names)
    ]
    described = {choice: list(rows[choice].values()) for choice in choices}
    return Choices.described(name, described, names, gone, renamed=new_names)


def _known_descriptors(name: str, past: Past) -> dict[Any, Mapping[str, float]]:
    """Descriptors that earlier sessions gave in the campaign file; the latest of each choice."""
    known: dict[Any, Mapping[str, float]] = {}
    for options in earlier(name, past):
        if options.get("type") == "categorical" and options.get("descriptors"):
            known |= _rows(name, options["descriptors"])
    return known


def _rows(name: str, inline: Any) -> Rows:
    """Descriptors as written in a campaign file: {choice: [numbers]} or {choice: {descriptor: number}}."""
    if not isinstance(inline, Mapping) or not inline:
        raise ConfigError(
            f"expected descriptors: {{choice: [numbers]}} for parameter {name!r}, got {inline!r}", at="descriptors"
        )
    rows: dict[Any, dict[str, float]] = {}
    for choice, given in inline.items():
        if isinstance(given, list | tuple):
            given = {f"descriptor {i + 1}": value for i, value in enumerate(given)}
        if not isinstance(given, Mapping) or not given:
            raise ConfigError(
                f"expected descriptors of choice {choice!r} of {name!r} to be numbers, got {given!r}",
                at=("descriptors", choice),
            )
        for label, value in given.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not finite(value):
                raise ConfigError(
                    f"expected a finite number for {label} of choice {choice!r} of {name!r}, got {value!r}",
                    at=("descriptors", choice),
                )
        rows[choice] = {str(label): float(value) for label, value in given.items()}
        first = next(iter(rows.values()))
        if rows[choice].keys() != first.keys():
            raise ConfigError(
                f"expected every choice of parameter {name!r} to have the descriptors {list(first)}, "
                f"got {list(rows[choice])} for {choice!r}",
                at=("descriptors", choice),
            )
    order = next(iter(rows.values()))
    return {choice: {label: row[label] for label in order} for choice, row in rows.items()}


def _choices(name: str, choices: Any) -> tuple[Any, ...]:
    if not isinstance(choices, list | tuple) or not choices or not all(isinstance(c, _PLAIN) for c in choices):
        raise ConfigError(
            f"expected choices: a list of texts or numbers for parameter {name!r}, got {choices!r}", at="choices"
        )
    for choice in choices:
        if isinstance(choice, int | float) and not abs(choice) <= LARGEST["float"]:
            raise ConfigError(
                f"expected finite choices for parameter {name!r}, got {choice!r}; remove it", at="choices"
            )
    seen: set[tuple[bool, Any]] = set()
    for choice in choices:
        if (isinstance(choice, bool), choice) in seen:
            raise ConfigError(
                f"expected different choices for parameter {name!r}, got {choice!r} twice; remove one", at="choices"
            )
        seen.add((isinstance(choice, bool), choice))
    return tuple(choices)


def _conditions(
    name: str, when: Any, earlier: Mapping[str, Parameter], names: Sequence[str]
) -> dict[str, tuple[Any, ...]]:
    if not isinstance(when, Mapping):
        raise ConfigError(f"expected when: {{other: [values]}} for parameter {name!r}, got {when!r}", at="when")
    conditions = {}
    for other, values in when.items():
        if other not in earlier:
            remedy = f"declare it before {name!r}; two that wait for each other cannot be" if other in names else ""
            raise ConfigError(
                f"expected when of parameter {name!r} to name an earlier parameter, got {other!r}; "
                f"{remedy or suggest(other, tuple(earlier))}",
                at=("when", other),
            )
        condition = earlier[other]
        if condition.type == "float":
            raise ConfigError(
                f"expected when of parameter {name!r} to name an integer or categorical parameter, got {other!r}, "
                "a float; make it integer or categorical",
                at=("when", other),
            )
        values = tuple(values) if isinstance(values, list | tuple) else (values,)
        if not values:
            raise ConfigError(
                f"expected when of parameter {name!r} to list values of {other!r}, got none; add one",
                at=("when", other),
            )
        for value in values:
            try:
                condition.check(value)
            except InvalidPoint as error:
                raise ConfigError(f"when of parameter {name!r} can never hold: {error}", at=("when", other)) from error
        conditions[other] = values
    return conditions
