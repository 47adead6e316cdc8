"""A listed space whose candidates are seen as descriptors: what pools of formulas and of crystals share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Allowed, Array, Column
from matloop.orchestrator.trial import Point
from matloop.search_spaces.narrowing.listed import ListedPart, around
from matloop.search_spaces.pool import Pool
from matloop.search_spaces.recalls import Recalls


class Described(Recalls, ABC):
    """A pool with columns of its own; a subclass sets both and encodes.

    Attributes:
        columns: what each column of an encoded point stands for.
    """

    _pool: Pool
    columns: tuple[Column, ...]

    @property
    def points(self) -> Sequence[Point]:
        """Every candidate, each once, in the order given."""
        return self._pool.points

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """A random candidate."""
        return self._pool.sample(rng)

    def check(self, point: Point) -> None:
        """Raise InvalidPoint, naming the column, unless the point is one of the candidates."""
        self._pool.check(point)

    def narrowed(self, allowed: Mapping[str, Allowed]) -> ListedPart:
        """The candidates with allowed values; see `matloop.orchestrator.protocols.Narrowable`."""
        return ListedPart(self, allowed)

    def around(self, point: Point, within: float, free: Collection[str]) -> dict[str, Allowed]:
        """The neighbourhood of a point, by descriptors; see `matloop.orchestrator.protocols.Narrowable`."""
        described = {column.parameter for column in self.columns if column.kind == "descriptor"}
        return around(self, described, point, within, free)

    @abstractmethod
    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) float64."""

    @staticmethod
    def _place(places: Mapping[str, int], column: str, point: Point) -> int:
        """Row of what a point names."""
        name = str(point.get(column, ""))
        if name not in places:
            raise InvalidPoint(f"expected {column} to be one of the candidates, got {name!r}; list it again", at=column)
        return places[name]

    @property
    def dimension(self) -> int:
        """Length of an encoded point."""
        return len(self.columns)


def one_of(**given: object) -> None:
    """Raise ConfigError unless exactly one of the options is given."""
    present = [name for name, value in given.items() if value is not None]
    if len(present) != 1:
        raise ConfigError(
            f"expected either {' or '.join(given)}, got {'both' if present else 'neither'}; give one of them"
        )
