"""What a parameter's options say about the record: values from before it was one, choices renamed or removed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Past
from matloop.search_spaces.choices import is_number
from matloop.search_spaces.parameter import Parameter, among

WITH_PARAMETERS = ("box", "experiment")
"""Kinds of spaces whose options have parameters."""


def before(parameter: Parameter, value: Any) -> Any:
    """What experiments had that do not say; a number may have the parameter's unit behind it."""
    if value is None:
        return None
    if isinstance(value, str) and parameter.coding is None:
        value = _number(parameter, value)
    try:
        parameter.check_measured(value, outside=True)
    except InvalidPoint as error:
        raise ConfigError(f"before of parameter {parameter.name!r} is no value of it: {error}", at="before") from error
    return value


def _number(parameter: Parameter, text: str) -> float:
    bare = text.removesuffix(parameter.unit).strip() if parameter.unit else text.strip()
    try:
        return int(bare) if bare.lstrip("+-").isdecimal() else float(bare)
    except ValueError:
        unit = f" in {parameter.unit}" if parameter.unit else ""
        raise ConfigError(
            f"expected before of parameter {parameter.name!r} to be a number{unit}, got {text!r}; "
            f"write it without a unit{' or with that one' if unit else ''}",
            at="before",
        ) from None


def reach(fixed: float, values: Sequence[Any], log: bool) -> float:
    """Distance that counts as the range of a fixed number: from it to the farthest value on record, else 1."""
    numbers = [float(value) for value in values if is_number(value) and (value > 0 or not log)]
    apart = [abs(math.log(v) - math.log(fixed)) if log else abs(v - fixed) for v in numbers]
    return max(apart, default=0.0) or 1.0


def earlier(name: str, past: Past) -> list[Mapping[str, Any]]:
    """Options of a parameter in earlier sessions, the oldest first."""
    spaces = [space for space in past.spaces if space.get("kind") in WITH_PARAMETERS]
    found = [(space.get("parameters") or {}).get(name) for space in spaces]
    return [options for options in found if isinstance(options, Mapping)]


def former(values: Sequence[Any], choices: Sequence[Any], new_names: Mapping[Any, Any]) -> list[Any]:
    """Values on record that are no choice, under any name; each once."""
    found: list[Any] = []
    for value in values:
        if not among(value, (*choices, *new_names, *found)):
            found.append(value)
    return found


def renamed(name: str, options: Mapping[str, Any], choices: Sequence[Any]) -> dict[Any, Any]:
    """Choice by the name that it has on record."""
    found = options.get("renamed")
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise ConfigError(
            f"expected renamed: {{old name: new name}} for parameter {name!r}, got {found!r}", at="renamed"
        )
    for old, new in found.items():
        if not among(new, choices) or among(old, choices):
            raise ConfigError(
                f"expected renamed of parameter {name!r} to lead from a former choice to one of {list(choices)}, got "
                f"{old!r}: {new!r}; list the new name under choices, and the old one no more",
                at=("renamed", old),
            )
    return dict(found)
