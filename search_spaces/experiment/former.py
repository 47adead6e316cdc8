"""Components that a mixture does not have any more: a model is told how much of them there was, none is proposed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from matloop.orchestrator.protocols import Array, Column, Past
from matloop.orchestrator.trial import Point
from matloop.search_spaces.choices import is_number
from matloop.search_spaces.experiment.mixture import Mixture


class Former:
    """The part of a space that has columns and no keys.

    Args:
        mixture: that they belonged to.
        components: their names.
    """

    def __init__(self, mixture: Mixture, components: Sequence[str]) -> None:
        self._mixture, self._components = mixture, tuple(components)

    @property
    def dimension(self) -> int:
        """Number of components."""
        return len(self._components)

    @property
    def fixed(self) -> bool:
        """That nothing of it varies."""
        return True

    def listed(self, most: int) -> list[dict[str, Any]] | None:
        """The one combination of nothing."""
        return [{}]

    @property
    def columns(self) -> tuple[Column, ...]:
        """One for the share of each, in the mixture that it belonged to."""
        return tuple(Column(self._mixture.name, "mixture", component) for component in self._components)

    @property
    def bounds(self) -> Array:
        """(2, d) float64: 0."""
        return np.zeros((2, self.dimension))

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) float64: share of each component in what was measured."""
        rows = [self._mixture.shares(point, self._components) for point in points]
        return np.array(rows, dtype=np.float64).reshape(len(rows), self.dimension)

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """Nothing: they are 0."""
        return {}

    def check(self, point: Point) -> None:
        """Nothing to check."""

    def check_measured(self, point: Point, *, outside: bool = False) -> None:
        """Nothing to check."""

    def mutate(self, point: Point, rng: np.random.Generator) -> dict[str, Any]:
        """Nothing to change."""
        return {}

    def cross(self, a: Point, b: Point, rng: np.random.Generator) -> dict[str, Any]:
        """Nothing to change."""
        return {}

    def decode(self, x: Array) -> dict[str, Any]:
        """Nothing: they are 0."""
        return {}


def former_of(mixture: Mixture, names: Sequence[str], past: Past) -> Former | None:
    """Components that earlier sessions had in a mixture, and that some experiment had in it; None if there are none.

    Args:
        mixture: as it is now; it is the same as an earlier one if it shares a component with it.
        names: all keys of the space.
        past: what is on record.
    """
    found: dict[str, None] = {}
    for space in past.spaces:
        for options in (space.get("mixtures") or {}).values() if space.get("kind") == "experiment" else ():
            if set(options["components"]) & set(mixture.components):
                found |= dict.fromkeys(options["components"])
    gone = [name for name in found if name not in names and any(is_number(v) and v != 0 for v in past.values(name))]
    return Former(mixture, gone) if gone else None


def totals_of(components: Sequence[str], past: Past) -> list[float]:
    """Totals that earlier sessions gave a mixture, each once."""
    return list(
        dict.fromkeys(
            float(options.get("total") or 1.0)
            for space in past.spaces
            if space.get("kind") == "experiment"
            for options in (space.get("mixtures") or {}).values()
            if set(options["components"]) & set(components)
        )
    )
