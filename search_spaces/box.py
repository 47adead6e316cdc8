"""A box of named parameters: real, integer and categorical ones, on linear or logarithmic scales, some conditional."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from matloop.orchestrator.errors import ConfigError, InvalidPoint, inside
from matloop.orchestrator.protocols import Allowed, Array, Column, Past
from matloop.orchestrator.trial import Point
from matloop.search_spaces.conditions import Condition, is_uncontrolled, read_condition
from matloop.search_spaces.narrowing.parameters import around, narrowed
from matloop.search_spaces.options import read_parameters
from matloop.search_spaces.parameter import Parameter, suggest
from matloop.search_spaces.recalls import Recalls


class Box(Recalls):
    """Space of points that give each active parameter a value within its range.

    Args:
        parameters: by name, in order: `{type: float | integer, low, high, log, step, digits, unit, when}`,
            `{type: categorical, choices, descriptors, unit, when}` or `{type: ordinal, choices, log, unit, when}`.
            `step` makes values low, low + step, …; `digits` leaves a float so many significant digits; an ordinal's
            choices have an order, and numbers among them their distances. `descriptors: {choice: [numbers]}` or
            `{choice: {descriptor: number}}` say how alike choices are,
            which are then encoded by them instead of one column each. `when: {other: [values]}` makes a parameter part
            of a point only where the earlier parameter `other` (not a float, and itself active) has one of the values;
            elsewhere it is absent. low = high, or a single choice, fixes a value. `before: VALUE` is what experiments
            on record had that do not say, since this was no parameter then; `renamed: {old: new}` gives choices on
            record their present names. `{uncontrolled: true, low, high, unit}` is measured and never set, such as the
            humidity: results say it, models learn it, points do not have it; low and high may be left out.
        descriptors: CSV files with descriptors of choices; the first column has the name of a categorical parameter and
            lists its choices, which need not be listed again.
        past: what is on record; filled in by matloop. Choices that are not to be had any more are encoded, and nothing
            else gives them.

    Raises:
        ConfigError: names the parameter and what to change.
    """

    def __init__(
        self,
        *,
        parameters: dict[str, dict[str, Any]],
        descriptors: list[Path] | None = None,
        past: Past | None = None,
    ) -> None:
        if not parameters:
            raise ConfigError("expected parameters: at least one name with its range, got none", at="parameters")
        read = {name: _uncontrolled(name, options) for name, options in parameters.items()}
        self.conditions = tuple(condition for condition in read.values() if condition is not None)
        self.given: Mapping[str, float] = {}
        settable = {name: _settable(options) for name, options in parameters.items() if read[name] is None}
        if not settable:
            raise ConfigError("expected a parameter that can be set, got uncontrolled ones alone", at="parameters")
        self.parameters: tuple[Parameter, ...] = read_parameters(settable, descriptors or (), past)
        self._with_before = [parameter for parameter in self.parameters if parameter.before is not None]

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """A point with each active parameter uniform on its scale."""
        return self._fill({}, rng)

    def draw(self, n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
        """n points, each distributed as those of `sample`, and together more evenly: a scrambled Sobol sequence.

        Reference: A. B. Owen, "Scrambling Sobol' and Niederreiter-Xing points", J. Complexity 14 (1998) 466.
        """
        from scipy.stats import qmc  # heavy, and telling results does without

        sequence = qmc.Sobol(len(self.parameters), rng=rng)
        rows = sequence.random_base2(max(n - 1, 1).bit_length())[:n]
        points = []
        for row in rows.tolist():
            point: dict[str, Any] = {}
            for parameter, u in zip(self.parameters, row, strict=True):
                if parameter.active(point):
                    point[parameter.name] = parameter.quantile(u)
            points.append(point)
        return points

    def check(self, point: Point) -> None:
        """Raise InvalidPoint, naming the parameter, for a value out of range, missing or out of place."""
        self._check(point, lambda parameter, value: parameter.check(value))

    def check_measured(self, point: Point, *, outside: bool = False) -> None:
        """As `check`, for what was really done: values may lie between steps, and outside if that is said."""
        for condition in self.conditions if isinstance(point, Mapping) else ():
            if condition.name in point:
                condition.check(point[condition.name])
        names = {condition.name for condition in self.conditions}
        done = {name: value for name, value in point.items() if name not in names} if names else point
        self._check(done, lambda parameter, value: parameter.check_measured(value, outside=outside))

    def _check(self, point: Point, check: Callable[[Parameter, Any], None]) -> None:
        if not isinstance(point, Mapping):
            raise InvalidPoint(f"expected a mapping from parameter to value, got {point!r}")
        names = [parameter.name for parameter in self.parameters]
        for name in point:
            if name not in names:
                raise InvalidPoint(f"unknown parameter {name!r}; {suggest(name, names)}", at=str(name))
        for parameter in self.parameters:
            active, present = parameter.active(point), parameter.name in point
            if active and not present:
                raise InvalidPoint(f"expected a value for {parameter.name}, got none; add it", at=parameter.name)
            if present and not active:
                conditions = {other: list(values) for other, values in parameter.when.items()}
                raise InvalidPoint(
                    f"expected {parameter.name} only when {conditions}, got it in {dict(point)}; remove it",
                    at=parameter.name,
                )
            if present:
                check(parameter, point[parameter.name])

    def mutate(self, point: Point, rng: np.random.Generator) -> dict[str, Any]:
        """A copy with each value changed with probability 1/d, and at least one of them.

        Parameters that the change makes part of the point are drawn at random. Of a point outside, what is outside is
        brought in: numbers to the nearest end, choices that are not to be had to another.
        """
        values = self._complete(point)
        active = [p for p in self.parameters if p.name in values and not p.fixed]
        if not active:
            return self._fill(values, rng)
        chosen = rng.random(len(active)) < 1 / len(active)
        chosen[rng.integers(len(active))] = True
        for parameter, change in zip(active, chosen, strict=True):
            if change:
                values[parameter.name] = parameter.mutate(values[parameter.name], rng)
        return self._fill(values, rng)

    def cross(self, a: Point, b: Point, rng: np.random.Generator) -> dict[str, Any]:
        """A child with each value from one parent or the other at random; what is outside is brought in."""
        values, a, b = {}, self._complete(a), self._complete(b)
        for parameter in self.parameters:
            owners = [parent for parent in (a, b) if parameter.name in parent]
            if owners:
                values[parameter.name] = owners[int(rng.integers(len(owners)))][parameter.name]
        return self._fill(values, rng)

    @property
    def fixed(self) -> bool:
        """Whether there is one point only."""
        return all(parameter.fixed for parameter in self.parameters)

    def listed(self, most: int) -> list[dict[str, Any]] | None:
        """Every point, each once; None if there are more than `most`."""
        points: list[dict[str, Any]] = [{}]
        for parameter in self.parameters:
            longer: list[dict[str, Any]] = []
            for point in points:
                if not parameter.active(point):
                    longer.append(point)
                elif parameter.values is None or len(longer) + parameter.values > most:
                    return None
                else:
                    longer += [{**point, parameter.name: parameter.value(i)} for i in range(parameter.values)]
            points = longer
        return points if len(points) <= most else None

    @property
    def dimension(self) -> int:
        """Length of an encoded point."""
        return sum(parameter.width for parameter in self.parameters) + len(self.conditions)

    @property
    def columns(self) -> tuple[Column, ...]:
        """What each column of an encoded point stands for."""
        own = [column for parameter in self.parameters for column in parameter.columns]
        return (*own, *(condition.column for condition in self.conditions))

    @property
    def bounds(self) -> Array:
        """(2, d) float64: 0 and 1, and 0 twice for what is not to be had any more; of a part, its own."""
        own = [parameter.bounds for parameter in self.parameters]
        return np.hstack([*own, *(c.bounds(self.given.get(c.name)) for c in self.conditions)])

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) float64: numbers on their own scale, choices one-hot, inactive parameters neutral.

        What may be planned is within [0, 1]. What was measured outside has its place there, and is never moved.

        Raises:
            InvalidPoint: a value has no place, see `Parameter.to_unit`.
        """
        rows = [
            [u for p in self.parameters for u in (p.to_unit(point[p.name]) if p.name in point else p.neutral())]
            + [c.to_unit(point.get(c.name, self.given.get(c.name))) for c in self.conditions]
            for point in (map(self._complete, points) if self._with_before else points)
        ]
        return np.array(rows, dtype=np.float64).reshape(len(rows), self.dimension)

    def decode(self, x: Array) -> dict[str, Any]:
        """Nearest valid point to (d,) float64 in [0, 1]."""
        if np.shape(x) != (self.dimension,):
            raise ValueError(f"expected x of shape ({self.dimension},), got {np.shape(x)}")
        blocks = np.split(np.asarray(x, dtype=np.float64), np.cumsum([p.width for p in self.parameters]))[:-1]
        point: dict[str, Any] = {}
        for parameter, columns in zip(self.parameters, blocks, strict=True):
            if parameter.active(point):
                point[parameter.name] = parameter.from_unit(columns)
        return point

    def at(self, given: Mapping[str, float], ranges: Mapping[str, tuple[float, float]] = MappingProxyType({})) -> Self:
        """The same under conditions; see `matloop.orchestrator.protocols.Situated`."""
        part = copy(self)
        part.given = {c.name: given[c.name] for c in self.conditions if c.name in given}
        part.conditions = tuple(
            replace(c, low=ranges[c.name][0], high=ranges[c.name][1]) if c.name in ranges else c
            for c in self.conditions
        )
        return part

    def narrowed(self, allowed: Mapping[str, Allowed]) -> Self:
        """The part with allowed values; see `matloop.orchestrator.protocols.Narrowable`."""
        part = copy(self)
        part.parameters = narrowed(self.parameters, allowed)
        return part

    def around(self, point: Point, within: float, free: Collection[str]) -> dict[str, Allowed]:
        """The neighbourhood of a point; see `matloop.orchestrator.protocols.Narrowable`."""
        return around(self.parameters, self._complete(point), within, free)

    def _complete(self, point: Point) -> dict[str, Any]:
        """A copy, with what experiments had that do not say."""
        values = dict(point)
        for parameter in self._with_before:
            if parameter.name not in values and parameter.active(values):
                values[parameter.name] = parameter.before
        return values

    def _fill(self, values: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The active ones among the values, as they can be planned, and random ones for active parameters without."""
        point: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.active(point):
                name = parameter.name
                point[name] = parameter.plan(values[name], rng) if name in values else parameter.sample(rng)
        return point


def _uncontrolled(name: str, options: Any) -> Condition | None:
    """The condition that options describe; None if they are those of a parameter."""
    with inside("parameters", name):
        return read_condition(name, options) if is_uncontrolled(name, options) else None


def _settable(options: Any) -> Any:
    """Options of a parameter, without that it is one."""
    if not isinstance(options, Mapping):
        return options
    return {key: value for key, value in options.items() if key != "uncontrolled"}
