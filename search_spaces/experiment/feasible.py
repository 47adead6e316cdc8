"""The part of a product of spaces where constraints hold: even draws from it, and the way into it from outside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Array
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Point
from matloop.search_spaces.experiment.product import Product
from matloop.search_spaces.experiment.slide import Constraint, Slider

SURVEY = 400
"""Draws by which the share of the space that is allowed is estimated."""

ANCHORS = 48
"""Allowed points that are kept: one of them is within reach of any point outside."""

RARE = 0.02
"""Share of allowed points below which draws are walks rather than trials and errors."""

WALK = 60
"""Steps of a walk, or five for each dimension if these are more."""

MOBILE = 0.05
"""Share of moves that must stay inside for a walk to get anywhere."""

DESCENT = 300
"""Random changes at most in search of an allowed point."""

NEXT = 3
"""Anchors that a vector outside is drawn to."""

HALVINGS = 8
"""Of the way to an anchor."""


class Feasible:
    """Where all constraints hold.

    Args:
        product: of parameters and mixtures.
        constraints: at least one.

    Attributes:
        share: of the space that is allowed, estimated.

    Raises:
        ConfigError: no point was found at which all constraints hold; says which hold rarely.
    """

    def __init__(self, product: Product, constraints: Sequence[Constraint]) -> None:
        self._product, self._constraints = product, tuple(constraints)
        self._slider = Slider(product, constraints)
        rng = derive("feasible")
        draws = [product.sample(rng) for _ in range(SURVEY)]
        violations = np.array([[c.violation(point) for c in constraints] for point in draws])
        positive = np.where((violations > 0) & np.isfinite(violations), violations, np.nan)
        self._scales = [float(np.nanmedian(v)) if np.isfinite(v).any() else 1.0 for v in positive.T]
        held = violations == 0
        allowed = [point for point, holds in zip(draws, held.all(axis=1), strict=True) if holds]
        self.share = len(allowed) / SURVEY
        self._anchors = allowed[:ANCHORS]
        for point in draws[:ANCHORS] if self.share < RARE else ():
            if len(self._anchors) < ANCHORS and (found := self._enter(point, rng)) is not None:
                self._anchors.append(found)
        if not self._anchors:
            shares = ", ".join(f"{c.text!r} at {h:.1%}" for c, h in zip(constraints, held.mean(axis=0), strict=True))
            raise ConfigError(
                f"found no point at which all constraints hold; alone, of {SURVEY} random points, holds {shares}; "
                "relax one of them or widen the ranges",
                at="constraints",
            )
        self._codes = product.encode(self._anchors)
        self._mobile = self.share < RARE and self._spread(rng) > MOBILE

    def holds(self, point: Point) -> bool:
        """Whether all constraints hold."""
        return all(constraint.violation(point) == 0 for constraint in self._constraints)

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """A draw from the product, given that the constraints hold.

        Exactly so where they hold for at least 2 % of the space. Elsewhere an anchor walks by moves that are as likely
        as their reverse and stay inside, which comes close to it; or, where hardly any move does, a random point slides
        in.
        """
        if self.share >= RARE:
            for _ in range(math.ceil(20 / self.share)):
                point = self._product.sample(rng)
                if self.holds(point):
                    return point
        current = None if self._mobile else self._enter(self._product.sample(rng), rng)
        current = dict(self._anchors[int(rng.integers(len(self._anchors)))]) if current is None else current
        for _ in range(max(WALK, 5 * self._product.dimension)):
            current = self._step(current, self._codes, rng) or current
        return current

    def near(self, x: Array) -> dict[str, Any]:
        """An allowed point near (d,) float64: the nearest of the product, if that violates nothing.

        Else where sliding down the violations ends. If that is not allowed once rounded to steps and few components:
        the nearest of where random changes lead from there, and where straight lines to the next anchors first enter.
        Then each parameter and mixture returns to where it was, if the constraints let it.
        """
        point = self._product.decode(x)
        if self.holds(point):
            return point
        slid = self._slide(point)
        if not self.holds(slid):
            codes = self._codes[np.argsort(((self._codes - x) ** 2).sum(axis=1), kind="stable")[:NEXT]]
            found = [self._towards(x, code) for code in codes]
            descended = self._descend(slid, derive("near"))
            found += [descended] if descended is not None else []
            slid = found[int(np.argmin(((self._product.encode(found) - x) ** 2).sum(axis=1)))]
        return self._return(slid, point)

    def mutate(self, point: Point, rng: np.random.Generator) -> dict[str, Any]:
        """A mutant of the product that is allowed; failing that, one that was made so."""
        for _ in range(WALK):
            mutant = self._step(point, self._codes, rng)
            if mutant is not None and mutant != point:
                return mutant
        for _ in range(20):
            slid = self._enter(self._product.mutate(point, rng), rng)
            if slid is not None and slid != point:
                return slid
        return self.sample(rng)

    def cross(self, a: Point, b: Point, rng: np.random.Generator) -> dict[str, Any]:
        """A child in the product that is allowed; failing that, a point near one."""
        child = dict(a)
        for _ in range(10):
            child = self._product.cross(a, b, rng)
            if self.holds(child):
                return child
        return self.near(self._product.encode([child])[0])

    def _enter(self, point: Point, rng: np.random.Generator) -> dict[str, Any] | None:
        """An allowed point near this one, or None."""
        return self._descend(self._slide(point), rng)

    def _slide(self, point: Point) -> dict[str, Any]:
        return self._product.decode(self._product.encode([self._slider.slide(point)])[0])

    def _descend(self, current: dict[str, Any], rng: np.random.Generator) -> dict[str, Any] | None:
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

    def _energy(self, point: Point) -> float:
        """Sum of the violations, in typical ones; what cannot be computed counts ten."""
        violations = [c.violation(point) / scale for c, scale in zip(self._constraints, self._scales, strict=True)]
        return sum(min(violation, 10.0) for violation in violations)

    def _spread(self, rng: np.random.Generator) -> float:
        """Let the anchors walk from where they came in all over the region; the share of moves that stay inside.

        Half of the moves are along differences of two others, which take after the region's shape (ter Braak,
        Statistics and Computing 16 (2006) 239).
        """
        sweeps, moves = max(WALK, 6 * self._product.dimension), 0
        for _ in range(sweeps):
            for i, anchor in enumerate(self._anchors):
                moved = self._step(anchor, np.delete(self._codes, i, axis=0), rng)
                if moved is not None:
                    self._anchors[i], self._codes[i] = moved, self._product.encode([moved])[0]
                    moves += 1
        return moves / (sweeps * len(self._anchors))

    def _step(self, point: Point, codes: Array, rng: np.random.Generator) -> dict[str, Any] | None:
        """A change that stays inside: a mutation, or a move along the difference of two of the codes."""
        if rng.random() < 0.5 or len(codes) < 2:
            moved = self._product.mutate(point, rng)
            return moved if self.holds(moved) else None
        i, j = rng.integers(len(codes), size=2)
        share = rng.uniform(-1, 1) * rng.random()
        x = self._product.encode([point])[0] + share * (codes[i] - codes[j])
        lower, upper = self._product.bounds
        if (x < lower).any() or (x > upper).any():  # reflected, a move along a line would not be like its reverse
            return None
        moved = self._product.decode(x)
        return moved if self.holds(moved) else None

    def _towards(self, x: Array, anchor: Array) -> dict[str, Any]:
        """The first allowed point found by halving the way from a vector outside to an anchor."""
        outside, inside = 0.0, 1.0
        best = self._product.decode(anchor)
        for _ in range(HALVINGS):
            middle = (outside + inside) / 2
            point = self._product.decode(x + middle * (anchor - x))
            if self.holds(point):
                best, inside = point, middle
            else:
                outside = middle
        return best

    def _return(self, point: dict[str, Any], wished: Point) -> dict[str, Any]:
        """Give each parameter and mixture its wished value back where that stays inside."""
        for keys in self._product.groups:
            moved = {**point, **{key: wished[key] for key in keys if key in wished}}
            if moved != point and self._product.contains(moved) and self.holds(moved):
                point = moved
        return point
