"""Inputs that nobody sets and everybody can read: the humidity, the temperature of the room, the age of a bottle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.measurement import is_number
from matloop.orchestrator.protocols import Array, Column
from matloop.search_spaces.parameter import finite, suggest

_KEYS = ("type", "uncontrolled", "low", "high", "unit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One of them.

    Attributes:
        name: under which it is reported.
        unit: for people.
        low, high: ends of what is usual, which scale it; None if nobody knows, and what was met does.
    """

    name: str
    unit: str = ""
    low: float | None = None
    high: float | None = None

    @property
    def column(self) -> Column:
        """Of an encoded point."""
        return Column(self.name, "number")

    def to_unit(self, value: Any) -> float:
        """Place of a value, 0 to 1 within what is usual; the middle where it is not known."""
        if value is None:
            return 0.5
        self.check(value)
        low, high = (0.0, 1.0) if self.low is None or self.high is None else (self.low, self.high)
        return (float(value) - low) / (high - low)

    def check(self, value: Any) -> None:
        """Raise InvalidPoint, naming it, unless the value is a number; what is unusual may have been met."""
        if not is_number(value) or not finite(value):
            raise InvalidPoint(f"expected {self.name} to be a number, got {value!r}", at=self.name)

    def bounds(self, value: Any) -> Array:
        """(2, 1) float64: its range, or twice the value that it has."""
        return np.array([[0.0], [1.0]]) if value is None else np.full((2, 1), self.to_unit(value))


def is_uncontrolled(name: str, options: Any) -> bool:
    """Whether the options of a parameter say so.

    Raises:
        ConfigError: they say neither true nor false.
    """
    found = options.get("uncontrolled", False) if isinstance(options, Mapping) else False
    if not isinstance(found, bool):
        raise ConfigError(f"expected uncontrolled: true or false for {name!r}, got {found!r}", at="uncontrolled")
    return found


def read_condition(name: str, options: Mapping[str, Any]) -> Condition:
    """Check the options of one.

    Raises:
        ConfigError: names what to change.
    """
    for key in options:
        if key not in _KEYS:
            raise ConfigError(f"unknown key {key!r} in {name!r}, which is uncontrolled; {suggest(key, _KEYS)}", at=key)
    if options.get("type", "float") != "float":
        raise ConfigError(
            f"expected type: float for {name!r}, which is uncontrolled, got {options['type']!r}; give it as a number",
            at="type",
        )
    low, high = (options.get(key) for key in ("low", "high"))
    if (low is None) != (high is None) or (
        low is not None and not (is_number(low) and is_number(high) and finite(low) and finite(high) and low < high)
    ):
        raise ConfigError(f"expected low < high for {name!r}, or neither, got {low!r} and {high!r}", at="low")
    ends = {} if low is None else {"low": float(low), "high": float(options["high"])}
    return Condition(name=name, unit=str(options.get("unit") or "").strip(), **ends)
