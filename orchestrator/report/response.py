"""How the expected value answers to the inputs: slices through a point along one input, two inputs, or a mixture.

A slice changes the inputs that it is about and holds all others. The amounts of a mixture cannot be changed alone: the
others share what is left as they did before (Cox's direction). What a slice meets that may not be planned, because of a
constraint or a limit, is predicted all the same, and marked.

Reference: Cox, Biometrika 58 (1971) 155.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import InvalidPoint, MatloopError
from matloop.orchestrator.protocols import Column, Composed, Encodable, Finite, Labelled, Space, Vectorised
from matloop.orchestrator.report.forecast import Forecast
from matloop.orchestrator.report.inputs import Input, inputs_of, is_number
from matloop.orchestrator.trial import Point, Trial, comparable

Array = npt.NDArray[np.float64]

PLACES = 41
"""Of a slice along one number."""

SIDE = 25
"""Of a slice along two numbers, each way; a triangle has as many along each edge."""

NEAR = 0.25
"""Share of its range by which any other input of a measured point may differ where it is drawn beside a slice."""

SHOWN = 60
"""Measured points beside a slice, at most: the nearest."""

Ask = Callable[[Sequence[Point]], Sequence[Forecast]]
"""Forecasts of points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A measured point near a slice.

    Attributes:
        trial: it.
        distance: largest difference in any other input, as a share of its range, in [0, `NEAR`].
    """

    trial: Trial
    distance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Forecasts along some inputs.

    Attributes:
        inputs: one or two that change, or three components of a mixture.
        at: the point that the slice goes through.
        points: as predicted, row by row: the first input changes slowest.
        forecasts: of the points.
        allowed: whether each may be planned.
        shape: numbers of places along each input; of a triangle its edge, twice, without what lies beyond it.
        near: measured points beside it, nearest first.
    """

    inputs: tuple[Input, ...]
    at: Point
    points: tuple[Point, ...]
    forecasts: tuple[Forecast, ...]
    allowed: tuple[bool, ...]
    shape: tuple[int, ...]
    near: tuple[Near, ...]

    @property
    def greyed(self) -> npt.NDArray[np.bool_]:
        """(n,) bool: what is drawn as not to be planned; nothing where all of it is, as around a point outside."""
        allowed = np.array(self.allowed, dtype=bool)
        return ~allowed if allowed.any() else np.zeros(len(allowed), dtype=bool)

    @property
    def influence(self) -> float:
        """Range of the expected values in spreads of a measurement's expectation, the largest of all objectives."""
        return max(
            float(np.ptp(self.mean(name)) / max(np.ptp(self.bounds(name), axis=0).mean(), 1e-300))
            for name in self.forecasts[0].mean
        )

    def values(self, axis: int) -> list[Any]:
        """Value of one of the inputs at each of the points."""
        return [point[self.inputs[axis].name] for point in self.points]

    def mean(self, objective: str) -> Array:
        """(n,) float64: expected values at the points, objective's unit."""
        return np.array([one.mean[objective] for one in self.forecasts], dtype=np.float64)

    def bounds(self, objective: str) -> Array:
        """(2, n) float64: where 90 % of measurements are expected; the mean where the model does not say."""
        spans = [one.interval.get(objective, (one.mean[objective],) * 2) for one in self.forecasts]
        return np.array(spans, dtype=np.float64).reshape(-1, 2).T


class Responses:
    """Makes slices through points of one space.

    Args:
        space: whose inputs have names.
        ask: predicts; called once for each slice.
        trials: of the study, of which the measured ones are drawn beside slices.

    Attributes:
        inputs: of the space, by name.
    """

    def __init__(self, space: Space, ask: Ask, trials: Sequence[Trial]) -> None:
        self._space, self._ask = space, ask
        self._measured = comparable(trials)
        self.inputs: Mapping[str, Input] = {one.name: one for one in inputs_of(space)}

    @property
    def mixtures(self) -> dict[str, tuple[str, ...]]:
        """Components by mixture."""
        return {one.mixture: one.together for one in self.inputs.values() if one.kind == "amount"}

    def along(self, name: str, at: Point) -> Slice:
        """Along one input.

        Raises:
            MatloopError: there is no such input, or it is not part of the point.
        """
        one = self._input(name, at)
        values = places(one, PLACES, at[name])
        return self._slice((one,), at, [self._moved(at, {name: value}) for value in values], (len(values),))

    def plane(self, first: str, second: str, at: Point) -> Slice:
        """Along two numbers or amounts.

        Raises:
            MatloopError: there are no such inputs, they are choices, the same, or not part of the point.
        """
        pair = self._input(first, at), self._input(second, at)
        for one in pair:
            if one.kind == "choice":
                raise MatloopError(
                    f"expected two inputs that are numbers, got the choice {one.name!r}; take a slice along it alone"
                )
        if first == second:
            raise MatloopError(f"expected two different inputs, got {first!r} twice; name another one")
        columns = [places(one, SIDE, at[one.name]) for one in pair]
        points = [self._moved(at, {first: a, second: b}) for a in columns[0] for b in columns[1]]
        return self._slice(pair, at, points, (len(columns[0]), len(columns[1])))

    def triangle(self, mixture: str, at: Point, components: Sequence[str] | None = None) -> Slice:
        """Over three components of a mixture; what they add up to at the point stays the same.

        Args:
            mixture: its name.
            at: the point that it goes through.
            components: three of them; of a mixture of more, by default those with the most at the point.

        Raises:
            MatloopError: there is no such mixture, or it does not have these three components.
        """
        known = self.mixtures
        if mixture not in known:
            raise MatloopError(f"there is no mixture {mixture!r}; {_known(known)}")
        names = known[mixture]
        if components is None:
            most = sorted(names, key=lambda name: -float(at[name]))[:3]
            components = [name for name in names if name in most]
        if len(set(components)) != 3 or not set(components) <= set(names):
            raise MatloopError(
                f"expected three different components of {mixture} ({', '.join(names)}), got {', '.join(components)}"
            )
        three = tuple(self.inputs[name] for name in components)
        shared = sum(float(at[name]) for name in components) - sum(one.low for one in three)
        if not shared > 0:
            listed = ", ".join(components)
            raise MatloopError(f"expected some of {listed} at the point, got none; take other components")
        parts = [(i, j, SIDE - 1 - i - j) for i in range(SIDE) for j in range(SIDE - i)]
        points = [{**at, **_amounts(three, part, shared)} for part in parts]
        return self._slice(three, at, points, (SIDE, SIDE))

    def allowed(self, point: Point) -> bool:
        """Whether a point, put on the steps that can be set, may be planned."""
        if isinstance(self._space, Finite):
            return dict(point) in self._listed
        whole: object = self._space.product if isinstance(self._space, Composed) else self._space
        if not isinstance(whole, Vectorised):
            return True
        nearest = whole.decode(whole.encode([point])[0])  # whatever the constraints, which `check` knows
        try:
            self._space.check(nearest)
        except InvalidPoint:
            return False
        return nearest.keys() == point.keys() and all(
            _alike(self.inputs.get(name), value, nearest[name]) for name, value in point.items()
        )

    def near(self, at: Point, changing: Sequence[Input]) -> tuple[Near, ...]:
        """Measured points that differ from a point in other inputs than those that change by `NEAR` at most."""
        space = self._space
        if not self._measured or not isinstance(space, Encodable):
            return ()
        free = {name for one in changing for name in (one.name, one.mixture)} - {""}
        columns: Sequence[Column] = space.columns if isinstance(space, Labelled) else ()
        held = [i for i, column in enumerate(columns) if column.parameter not in free]
        apart = np.abs(self._codes - space.encode([at])[0])[:, held].max(axis=1, initial=0.0)
        order = [int(i) for i in np.argsort(apart, kind="stable") if apart[i] <= NEAR][:SHOWN]
        return tuple(Near(trial=self._measured[i], distance=float(apart[i])) for i in order)

    def _encodes(self, points: Sequence[Point]) -> bool:
        """Whether a model can be asked about all of them; a pool with features knows its own rows alone."""
        assert isinstance(self._space, Encodable)
        try:
            self._space.encode(list(points))
        except KeyError:
            return False
        return True

    @cached_property
    def _codes(self) -> Array:
        assert isinstance(self._space, Encodable)
        return np.asarray(self._space.encode([t.point for t in self._measured]))

    @cached_property
    def _listed(self) -> list[dict[str, Any]]:
        return [dict(point) for point in self._space.points] if isinstance(self._space, Finite) else []

    def _input(self, name: str, at: Point) -> Input:
        if name not in self.inputs:
            raise MatloopError(f"there is no input {name!r}; {_known(self.inputs)}")
        if name not in at:
            raise MatloopError(
                f"expected an input of the point that is cut through, got {name!r}, which is not part of it"
            )
        return self.inputs[name]

    def _moved(self, at: Point, values: Mapping[str, Any]) -> dict[str, Any]:
        """The point with other values, and what has to change with them."""
        moved = dict(at)
        amounts = {name: float(value) for name, value in values.items() if self.inputs[name].kind == "amount"}
        for mixture in {self.inputs[name].mixture for name in amounts}:
            moved |= self._shared(at, {n: v for n, v in amounts.items() if self.inputs[n].mixture == mixture})
        moved |= {name: value for name, value in values.items() if name not in amounts}
        return self._complete(moved, values)

    def _shared(self, at: Point, amounts: Mapping[str, float]) -> dict[str, float]:
        """Amounts of one mixture of which some are given, the others in the shares that they had."""
        one = self.inputs[next(iter(amounts))]
        others = [name for name in one.together if name not in amounts]
        left, before = one.total - sum(amounts.values()), sum(float(at[name]) for name in others)
        shares = {n: float(at[n]) / before if before > 0 else 1 / len(others) for n in others}
        return {**amounts, **{name: max(left, 0.0) * share for name, share in shares.items()}}

    def _complete(self, point: dict[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
        """Without inputs that no longer apply, and with a middle value of those that do now."""
        found = {name: value for name, value in point.items() if name not in self.inputs}
        for name, one in self.inputs.items():
            if one.applies({**found, **{n: v for n, v in point.items() if n not in self.inputs}}):
                found[name] = point[name] if name in point else places(one, 3)[1 if one.kind != "choice" else 0]
        return {name: found[name] for name in sorted(found, key=[*point, *found].index)}

    def _slice(self, inputs: tuple[Input, ...], at: Point, points: Sequence[Point], shape: tuple[int, ...]) -> Slice:
        return Slice(
            inputs=inputs,
            at=at,
            points=tuple(points),
            forecasts=tuple(self._ask(points)),
            allowed=tuple(self.allowed(point) for point in points),
            shape=shape,
            near=self.near(at, inputs),
        )


def telling(lines: Sequence[Slice]) -> tuple[str, str] | None:
    """The two numbers along whose slices the expected values change most; None if there are not two."""
    numbers = [cut for cut in lines if cut.inputs[0].kind != "choice" and len(cut.points) > 1]
    order = sorted(range(len(numbers)), key=lambda i: -numbers[i].influence)[:2]
    if len(order) < 2:
        return None
    first, second = (numbers[i].inputs[0].name for i in sorted(order))
    return first, second


def places(one: Input, count: int, reach: Any = None) -> list[Any]:
    """Values of an input from one end to the other: all of its choices, or so many numbers evenly on its scale.

    Args:
        one: it.
        count: of numbers.
        reach: a value that is to be among them even if it lies beyond the range.
    """
    if one.kind == "choice":
        return [*one.choices, *([reach] if reach is not None and one.outside(reach) else [])]
    low, high = one.low, one.high
    if is_number(reach) and (reach > 0 or not one.log):
        low, high = min(low, float(reach)), max(high, float(reach))
    spaced = np.geomspace if one.log else np.linspace
    values: Array = np.clip(spaced(low, high, count), low, high)
    if one.whole:
        return [int(value) for value in dict.fromkeys(np.round(values).tolist())]
    return [float(value) for value in values]


def _amounts(components: Sequence[Input], parts: Sequence[int], shared: float) -> dict[str, float]:
    """The least amount of each, and its part of what is shared beyond that."""
    return {one.name: one.low + shared * part / sum(parts) for one, part in zip(components, parts, strict=True)}


def _alike(one: Input | None, value: Any, nearest: Any) -> bool:
    """Whether a value is the nearest one that may be planned, but for steps."""
    if one is None or one.kind == "choice":
        return bool(value == nearest)
    steps = 0.51 if one.kind == "number" else 1.01  # amounts are rounded together
    slack = max(steps * one.step, 1e-6 * (one.high - one.low))
    return abs(float(value) - float(nearest)) <= slack


def _known(names: Mapping[str, object]) -> str:
    return f"known are {', '.join(names)}" if names else "there is none"
