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
from matloop.search_spaces.experiment.entrance import Entrance
from matloop.search_spaces.experiment.product import Product
from matloop.search_spaces.experiment.slide import Constraint

SURVEY = 400
"""Draws by which the share of the space that is allowed is estimated."""

ANCHORS = 48
"""Allowed points that are kept: one of them is within reach of any point outside."""

RARE = 0.02
"""Share of allowed points below which draws are walks rather than trials and errors."""

SCARCE = 0.2
"""Share below which all points are tried, of a space that has few."""

LISTED = 20_000
"""Points that are few."""

TRIES = 100
"""Random points from which a way inside is looked for before the constraints are refused."""

WALK = 60
"""Steps of a walk, or five for each dimension if these are more."""

APART = 12
"""Steps between two of many draws, which 48 walkers take in turn."""

SLIDES = 16
"""Steps of a walk that has to slide back onto the region after each; a quarter of it between two of many draws."""

NEXT = 3
"""Anchors that a vector outside is drawn to."""


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
        rng = derive("feasible")
        draws = [product.sample(rng) for _ in range(SURVEY)]
        violations = np.array([[c.violation(point) for c in constraints] for point in draws])
        positive = np.where((violations > 0) & np.isfinite(violations), violations, np.nan)
        scales = [float(np.nanmedian(v)) if np.isfinite(v).any() else 1.0 for v in positive.T]
        self._entrance = Entrance(product, constraints, scales)
        held = violations == 0
        allowed = [point for point, holds in zip(draws, held.all(axis=1), strict=True) if holds]
        self.share = len(allowed) / SURVEY
        self._every = self.listed(LISTED) if self.share < SCARCE else None
        self._every_codes = product.encode(self._every or ())
        self._anchors = self._every[:] if self._every else allowed
        rng.shuffle(self._anchors)
        self._anchors = self._anchors[:ANCHORS]
        if self.share < RARE and self._every is None:
            self._search(draws, rng)
        if not self._anchors:
            raise ConfigError(self._none(held), at="constraints")
        self._codes = product.encode(self._anchors)
        self._equations: tuple[Constraint, ...] = ()
        if self.share < RARE and self._every is None:
            self._spread(max(WALK, 6 * product.dimension), rng)
            self._equations = self._entrance.equations(self._anchors, rng)
            if self._equations:
                self._spread(SLIDES, rng)

    def holds(self, point: Point) -> bool:
        """Whether all constraints hold."""
        return self._entrance.holds(point)

    def listed(self, most: int) -> list[dict[str, Any]] | None:
        """Every allowed point, each once; None if the product has more than `most`."""
        points = self._product.listed(most)
        return None if points is None else [point for point in points if self.holds(point)]

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """A draw from the product, given that the constraints hold.

        Exactly so where they hold for at least 2 % of the space. Elsewhere, of a space with few points, any of the
        allowed ones. Else an anchor walks by moves that are as likely as their reverse and stay inside, which comes
        close to it; a move that leaves nothing but equations slides back.
        """
        if self.share >= RARE:
            for _ in range(math.ceil(20 / self.share)):
                point = self._product.sample(rng)
                if self.holds(point):
                    return point
        if self._every:
            return dict(self._every[int(rng.integers(len(self._every)))])
        steps = SLIDES if self._equations else max(WALK, 5 * self._product.dimension)
        return self._walk(self._anchors[int(rng.integers(len(self._anchors)))], steps, rng)

    def draw(self, n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
        """n draws like those of `sample`; where these are walks, one walk gives several, some steps apart."""
        if self.share >= RARE:
            some = self._product.draw(math.ceil(1.2 * n / self.share), rng)
            held = [point for point in some if self.holds(point)][:n]
            return held + [self.sample(rng) for _ in range(n - len(held))]
        if self._every:
            return [self.sample(rng) for _ in range(n)]
        first, later = (SLIDES, SLIDES // 4) if self._equations else (WALK, APART)
        walkers = [self._walk(anchor, first, rng) for anchor in self._anchors]
        found = list(walkers)
        while len(found) < n:
            walkers = [self._walk(point, later, rng) for point in walkers]
            found += walkers
        return [dict(found[i]) for i in rng.permutation(len(found))[:n]]

    def near(self, x: Array) -> dict[str, Any]:
        """An allowed point near (d,) float64: the nearest of the product, if that violates nothing.

        Else the nearest allowed one, of a space with few. Of others, where sliding down the violations ends. If that is
        not allowed once rounded to steps and few components: the nearest of where random changes lead from there, and
        where straight lines to the next anchors first enter. Then each parameter and mixture returns to where it was,
        if the constraints let it, and steps along the border lead nearer.
        """
        point = self._product.decode(x)
        if self.holds(point):
            return point
        if self._every:
            return dict(self._every[int(np.argmin(((self._every_codes - x) ** 2).sum(axis=1)))])
        found = self._entrance.slide(point)
        if not self.holds(found):
            reached = self._within_reach(found, x)
            found = reached[int(np.argmin(((self._product.encode(reached) - x) ** 2).sum(axis=1)))]
        return self._entrance.pull(self._entrance.restore(found, point), x)

    def mutate(self, point: Point, rng: np.random.Generator) -> dict[str, Any]:
        """A mutant of the product that is allowed; failing that, one that was made so."""
        for _ in range(WALK):
            mutant = self._step(point, self._codes, rng)
            if mutant is not None and mutant != point:
                return mutant
        for _ in range(20):
            slid = self._entrance.enter(self._product.mutate(point, rng), rng)
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

    def _search(self, draws: Sequence[Point], rng: np.random.Generator) -> None:
        """Fill up the anchors with what random points slide to; from more of them if none was found from the first."""
        for number, point in enumerate(draws[:TRIES]):
            if len(self._anchors) == ANCHORS or (number >= ANCHORS and self._anchors):
                return
            if (found := self._entrance.enter(point, rng)) is not None:
                self._anchors.append(found)

    def _none(self, held: np.ndarray[Any, np.dtype[np.bool_]]) -> str:
        shares = ", ".join(f"{c.text!r} at {h:.1%}" for c, h in zip(self._constraints, held.mean(axis=0), strict=True))
        alone = f"alone, of {SURVEY} random points, holds {shares}; relax one of them or widen the ranges"
        if self._every is not None:
            return f"expected a point at which all constraints hold, none of all that the space has does; {alone}"
        return (
            f"found no point at which all constraints hold in {SURVEY + TRIES} tries, {TRIES} of them from a random "
            f"point down the violations: there is none, or it is hard to find; {alone}"
        )

    def _spread(self, sweeps: int, rng: np.random.Generator) -> None:
        """Let the anchors walk from where they came in all over the region.

        Half of the moves are along differences of two others, which take after the region's shape (ter Braak,
        Statistics and Computing 16 (2006) 239).
        """
        for _ in range(sweeps):
            for i, anchor in enumerate(self._anchors):
                moved = self._step(anchor, np.delete(self._codes, i, axis=0), rng)
                if moved is not None:
                    self._anchors[i], self._codes[i] = moved, self._product.encode([moved])[0]

    def _walk(self, current: Point, steps: int, rng: np.random.Generator) -> dict[str, Any]:
        current = dict(current)
        for _ in range(steps):
            current = self._step(current, self._codes, rng) or current
        return current

    def _step(self, point: Point, codes: Array, rng: np.random.Generator) -> dict[str, Any] | None:
        """A change that stays inside: a mutation, or a move along the difference of two of the codes."""
        if rng.random() < 0.5 or len(codes) < 2:
            return self._inside(self._product.mutate(point, rng))
        i, j = rng.integers(len(codes), size=2)
        share = rng.uniform(-1, 1)
        x = self._product.encode([point])[0] + share * (codes[i] - codes[j])
        lower, upper = self._product.bounds
        outside = (x < lower) | (x > upper)
        if outside.any() and not self._equations:  # reflected, a move along a line would not be like its reverse
            return None
        x = np.where(outside, np.clip(np.where(x < lower, 2 * lower - x, 2 * upper - x), lower, upper), x)
        return self._inside(self._product.decode(x))

    def _inside(self, moved: dict[str, Any]) -> dict[str, Any] | None:
        """A moved point if it is allowed, or could be made so if only equations do not hold; else None.

        Slid back over a boundary, points would crowd there.
        """
        violated = [constraint for constraint in self._constraints if constraint.violation(moved) > 0]
        if violated and all(constraint in self._equations for constraint in violated):
            moved = self._entrance.slide(moved)
            violated = [] if self.holds(moved) else violated
        return None if violated else moved

    def _within_reach(self, slid: dict[str, Any], x: Array) -> list[dict[str, Any]]:
        """Allowed points on the way from a vector to the next anchors, and by random changes from where it slid to."""
        nearest = self._codes[np.argsort(((self._codes - x) ** 2).sum(axis=1), kind="stable")[:NEXT]]
        found = [self._entrance.towards(x, code, slide=bool(self._equations)) for code in nearest]
        descended = self._entrance.descend(slid, derive("near"))
        return found + ([descended] if descended is not None else [])
