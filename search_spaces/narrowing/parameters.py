"""Parameters that may have only some of their values for once, on the scale of the whole."""

from __future__ import annotations

import bisect
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Allowed, Array, Between
from matloop.orchestrator.trial import Point
from matloop.search_spaces.choices import Choices
from matloop.search_spaces.narrowing.wish import check_names, check_numbers, meets, without, words
from matloop.search_spaces.parameter import Parameter

_STEP = 0.1
"""Standard deviation of a mutated number, as a share of what is allowed."""

_ROUNDED = 1e-9
"""Of a range: what arithmetic leaves of a difference of nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NarrowParameter(Parameter):
    """A parameter of which a part is allowed.

    Attributes:
        whole: the parameter, whose encoding this one has.
        allowed: as it was asked for.
        listed: the values that are allowed, with the codes of the whole; None for numbers from `low` to `high`.
    """

    whole: Parameter
    allowed: Allowed
    listed: Choices | None

    @property
    def fixed(self) -> bool:
        """Whether one value alone is allowed."""
        return self.values == 1

    @property
    def values(self) -> int | None:
        """How many values are allowed; None if it is continuous."""
        if self.listed:
            return len(self.listed.values)
        return round((self.high - self.low) / self.step) + 1 if self.step else None

    def value(self, i: int) -> Any:
        """The i-th of them, from 0."""
        return self.listed.values[i] if self.listed else self._at(i)

    @property
    def bounds(self) -> Array:
        """(2, w) float64: lower and upper end of the codes of what is allowed, and of what is not part of a point."""
        codes = [self.to_unit(end) for end in (self.low, self.high)] if self.listed is None else self.listed.codes
        codes = np.vstack([codes, [self.neutral()] if self.when else np.empty((0, self.width))])
        return np.stack([codes.min(axis=0), codes.max(axis=0)])

    def check(self, value: Any) -> None:
        """As of the whole, and that the value is allowed."""
        self.whole.check(value)
        if not meets(value, self.allowed):
            raise InvalidPoint(f"expected {self.name} to be {words(self.allowed)}, got {value!r}", at=self.name)

    def check_measured(self, value: Any, *, outside: bool = False) -> None:
        """As of the whole."""
        self.whole.check_measured(value, outside=outside)

    def snap(self, value: Any) -> Any:
        """The nearest value that is allowed."""
        return self._nearest(self.whole.snap(value))

    def plan(self, value: Any, rng: np.random.Generator) -> Any:
        """As `snap`, for choices too."""
        return self.listed.plan(value, rng) if self.listed and self.coding else self.snap(value)

    def to_unit(self, value: Any) -> list[float]:
        """As of the whole."""
        return self.whole.to_unit(value)

    def from_unit(self, columns: Array) -> Any:
        """The allowed value that is nearest to columns of the whole."""
        return self.listed.decode(columns) if self.listed else self._nearest(self.whole.from_unit(columns))

    def neutral(self) -> list[float]:
        """As of the whole."""
        return self.whole.neutral()

    def quantile(self, u: float) -> Any:
        """The allowed value below which a share u of `sample`'s lie, u in [0, 1)."""
        if self.listed:
            return self.listed.values[int(u * len(self.listed.values))]
        low, high = self._edges()
        return self._nearest(self.whole.from_unit(np.array([low + u * (high - low)]).clip(0, 1)))

    def sample(self, rng: np.random.Generator) -> Any:
        """Uniform on the scale of the whole."""
        return self.listed.sample(rng) if self.listed else self.quantile(rng.random())

    def mutate(self, value: Any, rng: np.random.Generator) -> Any:
        """Another allowed value, near this one where there is an order; the same if there is only one."""
        if self.listed and self.coding:
            return self.listed.mutate(value, rng, _STEP)
        value = self._nearest(value)
        if self.listed:
            return self.listed.mutate(value, rng, _STEP)
        low, high = (self.to_unit(end)[0] for end in (self.low, self.high))
        u = abs(self.to_unit(value)[0] - low + rng.normal(0.0, _STEP * (high - low))) % (2 * (high - low))
        moved = self._nearest(self.whole.from_unit(np.array([low + min(u, 2 * (high - low) - u)])))
        if (self.step or self.digits) and moved == value:
            up = value <= self.low or (value < self.high and rng.random() < 0.5)
            return self._nearest(self.whole.beside(value, 1 if up else -1))
        return moved

    def _edges(self) -> tuple[float, float]:
        """On the scale of the whole, with half a step at either side, so that the ends count in full."""
        half = self.step / 2
        return self.to_unit(self.low - half)[0], self.to_unit(self.high + half)[0]

    def _nearest(self, value: Any) -> Any:
        if self.listed is None:
            return min(max(value, self.low), self.high)
        return value if value in self.listed else self.listed.decode(np.array(self.to_unit(value)))


def narrowed(parameters: Sequence[Parameter], allowed: Mapping[str, Allowed]) -> tuple[Parameter, ...]:
    """The parameters, those with wishes narrowed; the conditions of a parameter with a wish have to hold, too.

    Raises:
        InvalidPoint: names a parameter that there is not, or that can have no such value.
    """
    check_names(allowed, [parameter.name for parameter in parameters])
    wanted = dict(allowed)
    for parameter in reversed(parameters):  # conditions name earlier ones
        if parameter.name in wanted:
            for other, values in parameter.when.items():
                wanted[other] = _both(wanted.get(other), tuple(values), parameter.name, other)
    return tuple(_narrow(p, wanted[p.name]) if p.name in wanted else p for p in parameters)


def around(parameters: Sequence[Parameter], point: Point, within: float, free: Collection[str]) -> dict[str, Allowed]:
    """See `Narrowable.around`."""
    kept = without(point, free, [parameter.name for parameter in parameters])
    near = {p.name: _near(p, kept[p.name], within) for p in parameters if p.name in kept}
    return {name: allowed for name, allowed in near.items() if allowed is not None}


def _narrow(parameter: Parameter, allowed: Allowed) -> Parameter:
    known = {field.name: getattr(parameter, field.name) for field in fields(Parameter)}
    if parameter.coding:
        coding, rows = parameter.coding, _choices(parameter, allowed)
        choices = tuple(parameter.choices[i] for i in rows)
        others = [(value, np.array(coding.encode(value))) for value in (*coding.values, *coding.former)]
        listed = Choices(
            parameter.name,
            choices,
            coding.codes[rows],
            coding.columns,
            ordered=coding.ordered,
            former=others,
            renamed={old: new for (_, old), new in coding.renamed.items()},
        )
        return NarrowParameter(**known, whole=parameter, allowed=choices, listed=listed)
    check_numbers(parameter.name, allowed)
    if isinstance(allowed, Between):
        low, high = _ends(parameter, allowed)
        if low < high:
            return NarrowParameter(**{**known, "low": low, "high": high}, whole=parameter, allowed=allowed, listed=None)
        allowed = (low,)
    if parameter.type == "integer":
        allowed = tuple(int(value) if value == int(value) else value for value in allowed)
    for value in allowed:
        parameter.check(value)
    values = tuple(sorted(dict.fromkeys(parameter.snap(value) for value in allowed)))
    codes = np.array([parameter.to_unit(value) for value in values])
    listed = Choices(parameter.name, values, codes, parameter.columns, ordered=True)
    ends = {"low": values[0], "high": values[-1]}
    return NarrowParameter(**{**known, **ends}, whole=parameter, allowed=values, listed=listed)


def _choices(parameter: Parameter, allowed: Allowed) -> list[int]:
    """Places of the choices that are allowed."""
    rows = [i for i, value in enumerate(parameter.choices) if meets(value, allowed)]
    for value in () if isinstance(allowed, Between) else allowed:
        parameter.check(value)
    if not rows:
        raise InvalidPoint(
            f"expected {parameter.name} to be one of {list(parameter.choices)}, got {words(allowed)}", at=parameter.name
        )
    return rows


def _ends(parameter: Parameter, allowed: Between) -> tuple[Any, Any]:
    """The lowest and the highest value within a range that may be planned."""
    low, high = max(allowed.low, parameter.low), min(allowed.high, parameter.high)
    if low <= high:
        below, above = parameter.snap(_whole(parameter, low)), parameter.snap(_whole(parameter, high))
        below = below if below >= low - _slack(parameter) else parameter.beside(below, 1)
        above = above if above <= high + _slack(parameter) else parameter.beside(above, -1)
        if below <= above:
            return below, above
    step = f" in steps of {parameter.step:g}" if parameter.step else ""
    step += f" with {parameter.digits} significant digits" if parameter.digits else ""
    raise InvalidPoint(
        f"expected {parameter.name} within {parameter.low:g} to {parameter.high:g}{step}, got {words(allowed)}",
        at=parameter.name,
    )


def _near(parameter: Parameter, value: Any, within: float) -> Allowed | None:
    """What is near a value; None if that is not known, as the value is none of the parameter's."""
    if parameter.coding:
        if value not in parameter.choices:
            return None
        return tuple(_neighbours(parameter.coding, value, within)) if parameter.coding.ordered else (value,)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    value = min(max(value, parameter.low), parameter.high)
    centre = parameter.to_unit(value)[0]
    ends = [parameter.from_unit(np.array([u])) for u in (max(centre - within, 0.0), min(centre + within, 1.0))]
    steps = [parameter.beside(parameter.snap(value), side) for side in (-1, 1)]
    ends = [min(ends[0], steps[0]), max(ends[1], steps[1])]
    return Between(*ends)


def _neighbours(coding: Choices, value: Any, within: float) -> list[Any]:
    """Choices in an order that are near one of them, the next ones to either side at least."""
    order = sorted(range(len(coding.values)), key=lambda i: coding.codes[i, 0])
    codes = [float(coding.codes[i, 0]) for i in order]
    here = order.index(coding.values.index(value))
    first = min(bisect.bisect_left(codes, codes[here] - within - _ROUNDED), max(here - 1, 0))
    last = max(bisect.bisect_right(codes, codes[here] + within + _ROUNDED), min(here + 2, len(codes)))
    return [coding.values[i] for i in order[first:last]]


def _both(given: Allowed | None, needed: tuple[Any, ...], name: str, other: str) -> Allowed:
    """What fulfils a wish for a parameter and what another wish needs of it."""
    if given is None:
        return needed
    both = tuple(value for value in needed if meets(value, given))
    if not both:
        raise ConfigError(
            f"{name} is part of an experiment only where {other} is {words(needed)}, and {other} is wished to be "
            f"{words(given)}; drop one of the two wishes",
            at=name,
        )
    return both


def _whole(parameter: Parameter, value: float) -> Any:
    """An integer parameter has integers."""
    return math.floor(value + 0.5) if parameter.type == "integer" else float(value)


def _slack(parameter: Parameter) -> float:
    return _ROUNDED * (parameter.high - parameter.low)
