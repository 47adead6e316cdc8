"""Random search: the baseline that every other strategy has to beat, and the filler that is always ready."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from matloop.orchestrator.protocols import Finite, Space
from matloop.orchestrator.strategies.tried import DRAWS, Listing, Reserved, Tried, exhausted, key
from matloop.orchestrator.trial import Point, Proposal, Trial, Unanswered

RETRIES = 100
"""Samples drawn in search of an untried point before the space is listed, if it has few points."""


class Random:
    """Samples the space afresh for every proposal, never one that was tried.

    Args:
        space: any space; one that is Finite is drawn from without replacement.
    """

    def __init__(self, *, space: Space) -> None:
        self._space = space
        self._sampler = Sampler(space)
        self._tried = Tried()

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """Propose at most n random points; see `Strategy.ask`."""
        return self._ask(self._sampler, n, pending, rng)

    def ask_within(
        self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator, part: Space
    ) -> list[Proposal]:
        """The same from a part of the space; see `AsksWithin.ask_within`."""
        return self._ask(Sampler(part), n, pending, rng)

    def _ask(self, sampler: Sampler, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        reserved = self._tried.pending(pending)
        points = sampler.draw(n, self._tried, reserved, rng)
        if not points and not pending:
            raise exhausted(self._space)
        return [Proposal(point=p, reason="random sample", extra={"origin": "random"}) for p in points]

    def tell(self, trial: Trial) -> None:
        """Remember the point."""
        self._tried.add(trial)


class Sampler:
    """Random points that were not tried before."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._listing = Listing(space)
        self._finite = isinstance(space, Finite)

    def draw(self, n: int, tried: Tried, reserved: Reserved, rng: np.random.Generator) -> list[Point]:
        """Draw up to n distinct points; fewer if no more are left.

        None are left where a space that has few points was tried whole. In any other, `DRAWS` random points without a
        new one count as the end.

        Args:
            n: how many, >= 1.
            tried: points told, never repeated.
            reserved: keys of pending points, never repeated; the drawn points' keys are added.
            rng: source of randomness.
        """
        chosen: list[Point] = []
        if not self._finite or n * RETRIES < len(self._listing.keys):  # a large pool is tossed into
            while len(chosen) < n and (point := self._toss(RETRIES, tried, reserved, rng)) is not None:
                chosen.append(point)
        if len(chosen) == n:
            return chosen
        if self._listing.points is not None:
            return chosen + self._rest(n - len(chosen), tried, reserved, rng)
        while len(chosen) < n and (point := self._toss(DRAWS, tried, reserved, rng)) is not None:
            chosen.append(point)
        return chosen

    def _rest(self, n: int, tried: Tried, reserved: Reserved, rng: np.random.Generator) -> list[Point]:
        """Any n of what is left of a list, now reserved."""
        left = self._listing.untried(tried, reserved)
        points = [left[i] for i in rng.choice(len(left), size=min(n, len(left)), replace=False)]
        reserved.update(key(point) for point in points)
        return points

    def _toss(self, retries: int, tried: Tried, reserved: Reserved, rng: np.random.Generator) -> Point | None:
        """A random untried point, now reserved; None if none was among so many."""
        for _ in range(retries):
            point, point_key = self._any(rng)
            if point_key not in tried and point_key not in reserved:
                reserved.add(point_key)
                return point
        return None

    def _any(self, rng: np.random.Generator) -> tuple[Point, str]:
        if self._finite and self._listing.points is not None:
            i = int(rng.integers(len(self._listing.keys)))
            return self._listing.points[i], self._listing.keys[i]
        point = self._space.sample(rng)
        return point, key(point)
