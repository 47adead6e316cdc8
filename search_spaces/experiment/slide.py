"""From a point that violates constraints to one nearby that does not, by sliding down the violations' slopes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from matloop.orchestrator.protocols import Array
from matloop.orchestrator.trial import Point
from matloop.search_spaces.experiment.amounts import project
from matloop.search_spaces.experiment.mixture import Mixture
from matloop.search_spaces.experiment.product import Product

STEPS = 60
"""Slides at most."""

CLOSE = 8
"""Places close by at which an equation is told from an inequality: at the border of one, half of them are inside."""

NEAR = 1e-4
"""Of a range: how close."""

PROBE = 1e-6
"""Of a range: the step by which slopes are estimated."""


class Constraint(Protocol):
    """What a point must fulfil besides its ranges."""

    @property
    def text(self) -> str: ...

    @property
    def names(self) -> tuple[str, ...]:
        """Keys that it mentions; empty if it may look at any."""
        ...

    def violation(self, point: Point) -> float:
        """0 where it holds, else > 0."""
        ...


class Slider:
    """Cyclic projection onto constraints (Kaczmarz' method), each linearised where it is violated (Newton's).

    Numbers are taken as continuous meanwhile, in shares of their ranges, and amounts of a mixture keep their total and
    their limits. With linear constraints a slide ends on the boundary, straight opposite of where it began.
    """

    def __init__(self, product: Product, constraints: Sequence[Constraint]) -> None:
        self._product, self._constraints = product, constraints
        self._ranges: dict[str, tuple[float, float]] = {}
        self._stepped: set[str] = set()
        for parameter in product.box.parameters if product.box else ():
            if parameter.coding is None:
                self._ranges[parameter.name] = parameter.low, parameter.high
            if parameter.step or parameter.fixed:
                self._stepped.add(parameter.name)
        self._mixtures: dict[str, Mixture] = {}
        for mixture in product.mixtures:
            for name in mixture.components:
                self._mixtures[name] = mixture
                self._ranges[name] = 0.0, mixture.total
                if mixture.step is not None:
                    self._stepped.add(name)

    def slide(self, point: Point, *, within: bool = False) -> Point:
        """A point near this one that violates less, most often nothing.

        Args:
            point: of the product.
            within: whether numbers in steps stay as they are, and components that are absent stay absent. Without, the
                end may lie between steps and have too many components.
        """
        values = dict(point)
        still = self._stepped if within else set()
        rooms = {mixture: _room(mixture, point, within) for mixture in self._product.mixtures}
        for step in range(STEPS):
            violated = [c for c in self._constraints if c.violation(values) > 0]
            order = violated[step % len(violated) :] + violated[: step % len(violated)] if violated else []
            slope = next((slope for c in order if (slope := self._slope(c, values, still)) is not None), None)
            if slope is None:  # all hold, or nothing that can slide
                break
            amount, moves = slope
            for name, move in moves.items():
                low, high = self._ranges[name]
                values[name] = min(max(values[name] - amount * move * (high - low), low), high)
            for mixture in dict.fromkeys(self._mixtures[name] for name in moves if name in self._mixtures):
                amounts = np.array([values[name] for name in mixture.components])
                least, most = rooms[mixture]
                values |= zip(mixture.components, project(amounts, least, most, mixture.total).tolist(), strict=True)
        return values

    def is_tight(self, constraint: Constraint, point: Point, rng: np.random.Generator) -> bool:
        """Whether a constraint that holds at a point holds at none of some places close by."""
        names = [
            name for name in constraint.names if name in point and name in self._ranges and name not in self._stepped
        ]
        if not names:
            return False
        for _ in range(CLOSE):
            moved = dict(point)
            for name, step in zip(names, rng.normal(0.0, NEAR, len(names)).tolist(), strict=True):
                low, high = self._ranges[name]
                moved[name] += step * (high - low)
            if constraint.violation(moved) == 0:
                return False
        return True

    def _slope(self, constraint: Constraint, values: Point, still: set[str]) -> tuple[float, dict[str, float]] | None:
        """How far to go, and in which direction, in shares of the ranges; None where there is no slope."""
        here = constraint.violation(values)
        slopes: dict[str, float] = {}
        for name in constraint.names:
            if name in self._ranges and name in values and name not in still:
                low, high = self._ranges[name]
                probe = PROBE * (high - low)
                up = constraint.violation({**values, name: values[name] + probe}) - here
                down = constraint.violation({**values, name: values[name] - probe}) - here
                slope = (max(up, 0.0) if up >= down else -max(down, 0.0)) / PROBE  # uphill there is no kink
                ends = name not in self._mixtures and values[name] == (low if slope > 0 else high)
                slopes[name] = 0.0 if ends else slope  # at the end of its range others have to move
        for mixture in self._product.mixtures:  # only directions that keep the total
            if any(slopes.get(name) for name in mixture.components):
                mean = sum(slopes.get(name, 0.0) for name in mixture.components) / mixture.dimension
                slopes |= {name: slopes.get(name, 0.0) - mean for name in mixture.components}
        square = sum(slope * slope for slope in slopes.values())  # infinite, where a power would be an error
        if not np.isfinite(square) or square == 0 or not np.isfinite(here):
            return None
        return here / square, slopes


def _room(mixture: Mixture, point: Point, within: bool) -> tuple[Array, Array]:
    """Least and most amounts, in a slide, of each component."""
    low, high = mixture.bounds * mixture.total
    if not within:
        return low, high
    amounts = np.array([point[name] for name in mixture.components])
    if mixture.step is not None:
        return amounts, amounts
    present = amounts > 0
    return np.where(present, np.maximum(low, mixture.minimum), 0.0), np.where(present, high, 0.0)
