"""Parameters and mixtures side by side: a point has the keys of all of them, a vector the columns of all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Allowed, Array, Column, Drawing, Past
from matloop.orchestrator.trial import Point
from matloop.search_spaces.box import Box
from matloop.search_spaces.experiment.former import Former, former_of
from matloop.search_spaces.experiment.mixture import Mixture
from matloop.search_spaces.narrowing import mixtures as narrowing
from matloop.search_spaces.narrowing.wish import check_names
from matloop.search_spaces.parameter import suggest


class Product:
    """Every combination of a point of a box and one of each mixture.

    Args:
        box: of the parameters, or None.
        mixtures: any number.
        past: what is on record.

    Raises:
        ConfigError: there is nothing, or a name is used twice.
    """

    def __init__(self, box: Box | None, mixtures: Sequence[Mixture], past: Past | None = None) -> None:
        self.box, self.mixtures = box, tuple(mixtures)
        names = [name for part in (*((box,) if box else ()), *mixtures) for name in self._names(part)]
        found = [former_of(mixture, names, past or Past()) for mixture in mixtures]
        former = tuple(one for one in found if one is not None)
        self.parts: tuple[Box | Mixture | Former, ...] = ((box,) if box else ()) + self.mixtures + former
        if not self.parts:
            raise ConfigError("expected parameters or mixtures, got neither; add what can be varied")
        self._keys = [self._names(part) for part in self.parts]
        self.names = [name for keys in self._keys for name in keys]
        for name in self.names:
            if self.names.count(name) > 1:
                raise ConfigError(
                    f"expected different names for parameters and components, got {name!r} twice; rename one"
                )
        self.dimension = sum(part.dimension for part in self.parts)
        self._survey()
        self._ends = np.cumsum([part.dimension for part in self.parts])[:-1]

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """Keys that have a meaning only together: each parameter alone, and the components of each mixture."""
        alone = [(parameter.name,) for parameter in self.box.parameters] if self.box else []
        return alone + [mixture.components for mixture in self.mixtures]

    @property
    def units(self) -> dict[str, str]:
        """Unit of each key."""
        units = {parameter.name: parameter.unit for parameter in self.box.parameters} if self.box else {}
        return units | {name: mixture.unit for mixture in self.mixtures for name in mixture.components}

    @property
    def columns(self) -> tuple[Column, ...]:
        """Those of the parameters, then those of the mixtures."""
        return tuple(column for part in self.parts for column in part.columns)

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """Independent draws."""
        return self._join([part.sample(rng) for part in self.parts])

    def listed(self, most: int) -> list[dict[str, Any]] | None:
        """Every combination, each once; None if there are more than `most`."""
        points: list[dict[str, Any]] = [{}]
        for part in self.parts:
            own = part.listed(most)
            if own is None or len(own) * len(points) > most:
                return None
            points = [{**point, **values} for point in points for values in own]
        return points

    def draw(self, n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
        """n draws, evenly spread as far as parts know how to."""
        columns = [
            part.draw(n, rng) if isinstance(part, Drawing) else [part.sample(rng) for _ in range(n)]
            for part in self.parts
        ]
        return [self._join(values) for values in zip(*columns, strict=True)]

    def check(self, point: Point) -> None:
        """Raise InvalidPoint, naming the key."""
        for part, values in zip(self.parts, self._known(point), strict=True):
            part.check(values)

    def check_measured(self, point: Point, *, outside: bool = False) -> None:
        """As `check`, for what was really done."""
        if self.box and self.box.conditions and isinstance(point, Mapping):
            for condition in self.box.conditions:
                if condition.name in point:
                    condition.check(point[condition.name])
            point = {name: value for name, value in point.items() if name not in {c.name for c in self.box.conditions}}
        for part, values in zip(self.parts, self._known(point), strict=True):
            part.check_measured(values, outside=outside)

    def _known(self, point: Point) -> list[dict[str, Any]]:
        if not isinstance(point, Mapping):
            raise InvalidPoint(f"expected a mapping from name to value, got {point!r}")
        for name in point:
            if name not in self.names:
                raise InvalidPoint(f"unknown name {name!r}; {suggest(name, self.names)}", at=str(name))
        return self._split(point)

    def contains(self, point: Point) -> bool:
        """Whether a point belongs to it."""
        try:
            self.check(point)
        except InvalidPoint:
            return False
        return True

    def mutate(self, point: Point, rng: np.random.Generator) -> dict[str, Any]:
        """A copy with one part changed, chosen with the number of its keys, and each other with probability 1/(2d)."""
        values = self._split(point)
        sizes = np.array([len(value) * varied for value, varied in zip(values, self._varied, strict=True)], dtype=float)
        if not sizes.any():
            return dict(point)
        change = rng.random(len(sizes)) < sizes / (2 * sizes.sum())
        change[rng.choice(len(sizes), p=sizes / sizes.sum())] = True
        return self._join(
            [
                part.mutate(value, rng) if changed else dict(value)
                for part, value, changed in zip(self.parts, values, change, strict=True)
            ]
        )

    def cross(self, a: Point, b: Point, rng: np.random.Generator) -> dict[str, Any]:
        """A child of both in every part."""
        pairs = zip(self.parts, self._split(a), self._split(b), strict=True)
        return self._join([part.cross(first, second, rng) for part, first, second in pairs])

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) float64."""
        return np.hstack([part.encode(points) for part in self.parts])

    def decode(self, x: Array) -> dict[str, Any]:
        """Nearest point to (d,) float64, whatever the constraints."""
        if np.shape(x) != (self.dimension,):
            raise ValueError(f"expected x of shape ({self.dimension},), got {np.shape(x)}")
        return self._join(
            [part.decode(block) for part, block in zip(self.parts, np.split(np.asarray(x), self._ends), strict=True)]
        )

    def at(self, given: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]) -> Product:
        """The same under conditions; see `matloop.orchestrator.protocols.Situated`."""
        if self.box is None:
            return self
        part = copy(self)
        part.box = self.box.at(given, ranges)
        part.parts = (part.box, *self.parts[1:])
        part._survey()
        return part

    def narrowed(self, allowed: Mapping[str, Allowed]) -> Product:
        """The part with allowed values; see `matloop.orchestrator.protocols.Narrowable`."""
        check_names(allowed, self.names)
        amounts = {name for mixture in self.mixtures for name in mixture.components}
        settings = {name: wanted for name, wanted in allowed.items() if name not in amounts}
        part = copy(self)
        part.box = self.box.narrowed(settings) if self.box else None
        part.mixtures = tuple(narrowing.narrowed(mixture, allowed) for mixture in self.mixtures)
        own: tuple[Box | Mixture | Former, ...] = ((part.box,) if part.box else ()) + part.mixtures
        part.parts = own + self.parts[len(own) :]
        part._survey()
        return part

    def around(self, point: Point, within: float, free: Collection[str]) -> dict[str, Allowed]:
        """The neighbourhood of a point; see `matloop.orchestrator.protocols.Narrowable`."""
        check_names(free, self.names)
        found: dict[str, Allowed] = {}
        for part, values in zip(self.parts, self._split(point), strict=True):
            own = set(free) & set(self._names(part))
            if isinstance(part, Mixture):
                found |= narrowing.around(part, values, within, own)
            elif isinstance(part, Box):
                found |= part.around(values, within, own)
        return found

    def _survey(self) -> None:
        self.bounds: Array = np.hstack([part.bounds for part in self.parts])  # (2, d) float64: lower, upper
        self._varied = [not part.fixed for part in self.parts]

    def _split(self, point: Point) -> list[dict[str, Any]]:
        return [{name: point[name] for name in keys if name in point} for keys in self._keys]

    @staticmethod
    def _join(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {name: value for part in parts for name, value in part.items()}

    @staticmethod
    def _names(part: Box | Mixture | Former) -> tuple[str, ...]:
        if isinstance(part, Box):
            return tuple(parameter.name for parameter in part.parameters)
        return part.components if isinstance(part, Mixture) else ()
