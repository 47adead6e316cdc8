"""What is asked of one input, in words, and checks that all kinds of space share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from matloop.orchestrator.errors import InvalidPoint
from matloop.orchestrator.measurement import is_number
from matloop.orchestrator.protocols import Allowed, Between
from matloop.search_spaces.parameter import suggest


def words(allowed: Allowed) -> str:
    """`700 to 800`, `argon or nitrogen`."""
    if isinstance(allowed, Between):
        low, high = (shown(end) for end in (allowed.low, allowed.high))
        return f"at most {high}" if low == "−inf" else f"at least {low}" if high == "inf" else f"{low} to {high}"
    return " or ".join(map(shown, allowed))


def shown(value: Any) -> str:
    """A value as a person reads it."""
    return f"{value:.6g}".replace("-", "−") if isinstance(value, float) else str(value)


def check_names(names: Collection[str], known: Sequence[str]) -> None:
    """Raise InvalidPoint for a name that no input has."""
    for name in names:
        if name not in known:
            raise InvalidPoint(f"there is no input {name!r}; {suggest(name, list(known))}", at=str(name))


def check_numbers(name: str, allowed: Allowed) -> None:
    """Raise InvalidPoint unless numbers are asked for."""
    for value in () if isinstance(allowed, Between) else allowed:
        if not is_number(value):
            raise InvalidPoint(f"expected a number for {name}, got {value!r}", at=name)


def meets(value: Any, allowed: Allowed) -> bool:
    """Whether a value is one of those; true is not 1."""
    if isinstance(allowed, Between):
        return value in allowed
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in allowed)


def without(point: Mapping[str, Any], free: Collection[str], known: Sequence[str]) -> dict[str, Any]:
    """What of a point is to be kept."""
    check_names(free, known)
    return {name: value for name, value in point.items() if name not in free and name in known}
