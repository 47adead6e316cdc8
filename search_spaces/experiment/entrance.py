"""The way from any point into the region where constraints hold, to a place near where it began."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from matloop.orchestrator.protocols import Array
from matloop.orchestrator.trial import Point
from matloop.search_spaces.experiment.product import Product
from matloop.search_spaces.experiment.slide import Constraint, Slider

DESCENT = 300
"""Random changes at most in search of an allowed point."""

HALVINGS = 8
"""Of the way to a known allowed point."""

PULLS = 4
"""Attempts to come nearer to where one wanted to be, along the border."""


class Entrance:
    """Slides, random changes and straight lines into a region.

    Args:
        product: of parameters and mixtures.
        constraints: at least one.
        scales: (c,) typical violations of the constraints, > 0.
    """

    def __init__(self, product: Product, constraints: Sequence[Constraint], scales: Sequence[float]) -> None:
        self._product, self._constraints, self._scales = product, tuple(constraints), tuple(scales)
        self._slider = Slider(product, constraints)

    def holds(self, point: Point) -> bool:
        """Whether all constraints hold."""
        return all(constraint.violation(point) == 0 for constraint in self._constraints)

    def equations(self, points: Sequence[Point], rng: np.random.Generator) -> tuple[Constraint, ...]:
        """Constraints that small changes of numbers always break, at a tenth of some allowed points at least."""
        return tuple(
            constraint
            for constraint in self._constraints
            if sum(self._slider.is_tight(constraint, point, rng) for point in points) >= len(points) / 10
        )

    def slide(self, point: Point) -> dict[str, Any]:
        """Where sliding down the violations ends, rounded to steps and few components; it need not be allowed.

        If rounding has left the region, what has steps then stays and the rest slides once more: of `a * b == 12` with
        steps of a, b follows.
        """
        slid = self._round(self._slider.slide(point))
        if self.holds(slid):
            return slid
        again = self._round(self._slider.slide(slid, within=True))
        return again if self.holds(again) else slid

    def enter(self, point: Point, rng: np.random.Generator) -> dict[str, Any] | None:
        """An allowed point near this one, or None if none was found."""
        return self.descend(self.slide(point), rng)

    def descend(self, current: dict[str, Any], rng: np.random.Generator) -> dict[str, Any] | None:
        """An allowed point that random changes lead to which violate less (Metropolis), or None."""
        energy = self._energy(current)
        for i in range(DESCENT):
            if energy == 0:
                return current
            candidate = self._product.mutate(current, rng)
            lower = self._energy(candidate)
            if lower <= energy or rng.random() < math.exp(-(lower - energy) / (0.2 * (1 - i / DESCENT))):
                current, energy = candidate, lower
        return current if energy == 0 else None

    def towards(self, x: Array, anchor: Array, *, slide: bool) -> dict[str, Any]:
        """The first allowed point found by halving the way from a vector outside to an allowed one.

        Where a way enters only at its end, as it does on equations, slides from it may lead to a nearer one.
        """
        outside, inside = 0.0, 1.0
        best = self._product.decode(anchor)
        for _ in range(HALVINGS):
            middle = (outside + inside) / 2
            point = self._product.decode(x + middle * (anchor - x))
            if slide and inside == 1.0 and not self.holds(point):
                point = self.slide(point)
            if self.holds(point):
                best, inside = point, middle
            else:
                outside = middle
        return best

    def pull(self, point: dict[str, Any], x: Array) -> dict[str, Any]:
        """An allowed point nearer to a (d,) vector outside than this one, if steps along the border lead to it."""
        code = self._product.encode([point])[0]
        share = 0.5
        for _ in range(PULLS):
            nearer = self.slide(self._product.decode(code + share * (x - code)))
            there = self._product.encode([nearer])[0]
            if self.holds(nearer) and ((there - x) ** 2).sum() < ((code - x) ** 2).sum():
                point, code = nearer, there
            else:
                share /= 2
        return point

    def restore(self, point: dict[str, Any], wished: Point) -> dict[str, Any]:
        """Give each parameter and mixture its wished value back where that stays inside."""
        for keys in self._product.groups:
            moved = {**point, **{key: wished[key] for key in keys if key in wished}}
            if moved != point and self._product.contains(moved) and self.holds(moved):
                point = moved
        return point

    def _round(self, point: Point) -> dict[str, Any]:
        return self._product.decode(self._product.encode([point])[0])

    def _energy(self, point: Point) -> float:
        """Sum of the violations, in typical ones; what cannot be computed counts ten."""
        violations = [c.violation(point) / scale for c, scale in zip(self._constraints, self._scales, strict=True)]
        return sum(min(violation, 10.0) for violation in violations)
