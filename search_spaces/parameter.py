"""One coordinate of a box: its scale, its values, when it applies, and how it is read from a campaign file."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from orchestrator.errors import ConfigError, InvalidPoint
from orchestrator.protocols import Array
from orchestrator.trial import Point
from search_spaces.columns import Column

_STEP = 0.1  # standard deviation of a mutated number, as a share of its range
_KEYS = {
    "float": ("type", "low", "high", "log", "unit", "when"),
    "integer": ("type", "low", "high", "log", "unit", "when"),
    "categorical": ("type", "choices", "unit", "when"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One coordinate.

    Attributes:
        name: key in a point.
        type: of its value.
        low, high: ends of the range, both included; 0 and 0 for a categorical one.
        log: whether its scale is logarithmic.
        choices: values of a categorical one, else empty.
        unit: for people.
        when: values of earlier parameters, by name, that all must hold for this one to be part of a point.
    """

    name: str
    type: Literal["float", "integer", "categorical"]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()
    unit: str = ""
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Number of columns in an encoded point: one for a number, one for each choice."""
        return len(self.choices) or 1

    @property
    def columns(self) -> tuple[Column, ...]:
        """What each column of an encoded value stands for."""
        if self.type == "categorical":
            return tuple(Column(self.name, "category", str(choice)) for choice in self.choices)
        return (Column(self.name, "number"),)

    def active(self, point: Point) -> bool:
        """Whether the parameter belongs to a point with these earlier values."""
        return all(other in point and _among(point[other], values) for other, values in self.when.items())

    def check(self, value: Any) -> None:
        """Raise InvalidPoint, naming the parameter, unless it may have the value."""
        if self.type == "categorical":
            if not _among(value, self.choices):
                raise InvalidPoint(f"expected {self.name} to be one of {list(self.choices)}, got {value!r}")
            return
        kind = numbers.Integral if self.type == "integer" else numbers.Real
        if isinstance(value, bool) or not isinstance(value, kind) or not self.low <= float(value) <= self.high:
            word = "an integer" if self.type == "integer" else "a number"
            raise InvalidPoint(f"expected {self.name} to be {word} in [{self.low:g}, {self.high:g}], got {value!r}")

    def to_unit(self, value: Any) -> list[float]:
        """Columns of a value, each in [0, 1]; every integer has a share of the same length on its scale."""
        if self.type == "categorical":
            return [float(_same(value, choice)) for choice in self.choices]
        low, high = self._ends()
        u = (self._scale(float(value)) - low) / (high - low)
        return [min(max(u, 0.0), 1.0)]

    def from_unit(self, columns: Array) -> Any:
        """Nearest value to columns within [0, 1]."""
        if self.type == "categorical":
            return self.choices[int(np.argmax(columns))]
        low, high = self._ends()
        scaled = low + float(columns[0]) * (high - low)
        value = math.exp(scaled) if self.log else scaled
        if self.type == "integer":
            return int(min(max(round(value), self.low), self.high))
        return min(max(value, self.low), self.high)

    def neutral(self) -> list[float]:
        """Columns that stand for "not part of the point": the middle, and no choice more than another."""
        return [1 / len(self.choices)] * len(self.choices) if self.choices else [0.5]

    def sample(self, rng: np.random.Generator) -> Any:
        """Uniform on the parameter's own scale."""
        if self.type == "categorical":
            return self.choices[int(rng.integers(len(self.choices)))]
        return self.from_unit(rng.random(1))

    def mutate(self, value: Any, rng: np.random.Generator) -> Any:
        """Another choice, or a number a normal step away that is reflected at the ends of the range."""
        if self.type == "categorical":
            others = [choice for choice in self.choices if not _same(choice, value)]
            return others[int(rng.integers(len(others)))] if others else value
        u = abs(self.to_unit(value)[0] + rng.normal(0.0, _STEP)) % 2.0
        moved = self.from_unit(np.array([min(u, 2.0 - u)]))
        if self.type == "integer" and moved == value:
            step = 1 if value == self.low or (value < self.high and rng.random() < 0.5) else -1
            return value + step
        return moved

    def _ends(self) -> tuple[float, float]:
        margin = 0.5 if self.type == "integer" else 0.0
        return self._scale(self.low - margin), self._scale(self.high + margin)

    def _scale(self, value: float) -> float:
        return math.log(value) if self.log else value


def read_parameter(name: str, options: Any, earlier: Mapping[str, Parameter], names: Sequence[str]) -> Parameter:
    """Check one parameter's options.

    Args:
        name: of the parameter.
        options: as `Box` describes them.
        earlier: parameters that it may depend on.
        names: of all parameters, for messages.

    Raises:
        ConfigError: names the parameter and what to change.
    """
    if not isinstance(options, Mapping) or options.get("type") not in _KEYS:
        got = options.get("type") if isinstance(options, Mapping) else options
        raise ConfigError(f"expected parameter {name!r} to have type: float, integer or categorical, got {got!r}")
    kind = options["type"]
    for key in options:
        if key not in _KEYS[kind]:
            raise ConfigError(f"unknown key {key!r} in parameter {name!r} of type {kind}; {suggest(key, _KEYS[kind])}")
    when = _conditions(name, options.get("when") or {}, earlier, names)
    unit = str(options.get("unit", ""))
    if kind == "categorical":
        return Parameter(name=name, type=kind, choices=_choices(name, options.get("choices")), unit=unit, when=when)
    low, high = _range(name, kind, options)
    return Parameter(
        name=name, type=kind, low=low, high=high, log=bool(options.get("log", False)), unit=unit, when=when
    )


def _range(name: str, kind: str, options: Mapping[str, Any]) -> tuple[float, float]:
    ends = []
    for key in ("low", "high"):
        value = options.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ConfigError(f"expected a finite number for {key} of parameter {name!r}, got {value!r}")
        if kind == "integer" and value != int(value):
            raise ConfigError(f"expected a whole number for {key} of integer parameter {name!r}, got {value!r}")
        ends.append(int(value) if kind == "integer" else float(value))
    low, high = ends
    if low >= high:
        raise ConfigError(f"expected low < high for parameter {name!r}, got {low} and {high}; swap or widen them")
    if not isinstance(options.get("log", False), bool):
        raise ConfigError(f"expected log: true or false for parameter {name!r}, got {options['log']!r}")
    if options.get("log") and low <= 0:
        raise ConfigError(f"expected low > 0 for parameter {name!r} with log: true, got {low}; raise low or drop log")
    return low, high


def _choices(name: str, choices: Any) -> tuple[Any, ...]:
    plain = (str, int, float, bool)
    if not isinstance(choices, list | tuple) or not choices or not all(isinstance(c, plain) for c in choices):
        raise ConfigError(f"expected choices: a list of texts or numbers for parameter {name!r}, got {choices!r}")
    for i, choice in enumerate(choices):
        if _among(choice, choices[:i]):
            raise ConfigError(f"expected different choices for parameter {name!r}, got {choice!r} twice; remove one")
    return tuple(choices)


def _conditions(
    name: str, when: Any, earlier: Mapping[str, Parameter], names: Sequence[str]
) -> dict[str, tuple[Any, ...]]:
    if not isinstance(when, Mapping):
        raise ConfigError(f"expected when: {{other: [values]}} for parameter {name!r}, got {when!r}")
    conditions = {}
    for other, values in when.items():
        if other not in earlier:
            remedy = f"declare it before {name!r}; two that wait for each other cannot be" if other in names else ""
            raise ConfigError(
                f"expected when of parameter {name!r} to name an earlier parameter, got {other!r}; "
                f"{remedy or suggest(other, tuple(earlier))}"
            )
        condition = earlier[other]
        if condition.type == "float":
            raise ConfigError(
                f"expected when of parameter {name!r} to name an integer or categorical parameter, got {other!r}, "
                "a float; make it integer or categorical"
            )
        values = tuple(values) if isinstance(values, list | tuple) else (values,)
        if not values:
            raise ConfigError(f"expected when of parameter {name!r} to list values of {other!r}, got none; add one")
        for value in values:
            try:
                condition.check(value)
            except InvalidPoint as error:
                raise ConfigError(f"when of parameter {name!r} can never hold: {error}") from error
        conditions[other] = values
    return conditions


def suggest(name: object, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {list(known)}"


def _same(a: object, b: object) -> bool:
    """Equality that tells true from 1."""
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def _among(value: object, values: Sequence[object]) -> bool:
    return any(_same(value, other) for other in values)
