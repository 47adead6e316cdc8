"""Some of the points of a listed space, with the encoding of the whole."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.measurement import is_number
from matloop.orchestrator.protocols import Allowed, Array, Between, Column
from matloop.orchestrator.trial import Point
from matloop.search_spaces.narrowing.wish import check_names, meets, without, words


class Listed(Protocol):
    """What `pool`, `formulas` and `crystals` are."""

    @property
    def points(self) -> Sequence[Point]: ...
    @property
    def dimension(self) -> int: ...
    @property
    def columns(self) -> tuple[Column, ...]: ...
    def check(self, point: Point) -> None: ...
    def encode(self, points: Sequence[Point]) -> Array: ...


class ListedPart:
    """The points of a listed space that are as wished.

    Args:
        whole: whose encoding this one has.
        allowed: values by input.

    Raises:
        InvalidPoint: there is no such input, or none of its values is wished for.
        ConfigError: no point is left.
    """

    def __init__(self, whole: Listed, allowed: Mapping[str, Allowed]) -> None:
        self._whole, self._allowed = whole, dict(allowed)
        check_names(allowed, list(whole.points[0]))
        self.points: Sequence[Point] = tuple(p for p in whole.points if self._meets(p))
        if not self.points:
            for name, wanted in allowed.items():
                if not any(meets(point[name], wanted) for point in whole.points):
                    raise InvalidPoint(f"none of the candidates has {name} {words(wanted)}", at=name)
            raise ConfigError("none of the candidates is all that at once", at=next(iter(allowed)))

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """Any of them."""
        return dict(self.points[int(rng.integers(len(self.points)))])

    def check(self, point: Point) -> None:
        """As of the whole, and that the values are allowed."""
        self._whole.check(point)
        for name, wanted in self._allowed.items():
            if not meets(point[name], wanted):
                raise InvalidPoint(f"expected {name} to be {words(wanted)}, got {point[name]!r}", at=name)

    @property
    def dimension(self) -> int:
        """As of the whole."""
        return self._whole.dimension

    @property
    def columns(self) -> tuple[Column, ...]:
        """As of the whole."""
        return self._whole.columns

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) float64, as of the whole."""
        return self._whole.encode(points)

    def _meets(self, point: Point) -> bool:
        return all(meets(point[name], wanted) for name, wanted in self._allowed.items())


def around(
    space: Listed, described: Collection[str], point: Point, within: float, free: Collection[str]
) -> dict[str, Allowed]:
    """See `Narrowable.around`; `described` are inputs that a model sees by descriptors: of their values those that are
    most alike count as near, the share `within` of them."""
    kept = without(point, free, list(space.points[0]))
    return {name: _near(space, name, point, within, name in described) for name in kept}


def _near(space: Listed, name: str, point: Point, within: float, described: bool) -> Allowed:
    values = list(dict.fromkeys(other[name] for other in space.points))
    if described:
        return _alike(space, name, values, point, within)
    if not all(is_number(value) for value in values):
        return (point[name],)
    reach = within * (max(values) - min(values))
    low, high = point[name] - reach, point[name] + reach
    next_below = max((value for value in values if value < point[name]), default=low)
    next_above = min((value for value in values if value > point[name]), default=high)
    return Between(min(low, next_below), max(high, next_above))


def _alike(space: Listed, name: str, values: list[Any], point: Point, within: float) -> Allowed:
    distances = ((space.encode(space.points) - space.encode([point])) ** 2).sum(axis=1)
    nearest = dict.fromkeys(values, math.inf)
    for other, distance in zip(space.points, distances, strict=True):
        nearest[other[name]] = min(nearest[other[name]], float(distance))
    return tuple(sorted(values, key=nearest.__getitem__)[: max(math.ceil(within * len(values)), 2)])
