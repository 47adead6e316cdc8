"""Random search: the baseline that every other strategy has to beat, and the filler that is always ready."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from matloop.orchestrator.protocols import Finite, Space
from matloop.orchestrator.strategies.tried import Reserved, Tried, exhausted, key
from matloop.orchestrator.trial import Point, Proposal, Trial, Unanswered

RETRIES = 100
"""Samples drawn in search of an untried point before a tried one is measured again."""


class Random:
    """Samples the space afresh for every proposal, without repeats where that can be told.

    Args:
        space: any space; one that is Finite is drawn from without replacement.
    """

    def __init__(self, *, space: Space) -> None:
        self._sampler = Sampler(space)
        self._tried = Tried()

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """Propose at most n random points; see `Strategy.ask`."""
        return self._ask(self._sampler, n, pending, rng)

    def ask_within(
        self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator, part: Space
    ) -> list[Proposal]:
        """The same from a part of the space; see `AsksWithin.ask_within`."""
        return self._ask(Sampler(part, repeats=False), n, pending, rng)

    def _ask(self, sampler: Sampler, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        reserved = self._tried.pending(pending)
        points = sampler.draw(n, self._tried, reserved, rng)
        if not points and not pending:
            raise exhausted()
        return [Proposal(point=p, reason="random sample", extra={"origin": "random"}) for p in points]

    def tell(self, trial: Trial) -> None:
        """Remember the point."""
        self._tried.add(trial)


class Sampler:
    """Random points that were not tried before.

    Args:
        space: any.
        repeats: whether a tried point is drawn if `RETRIES` samples of a space that is not Finite found nothing else.
    """

    def __init__(self, space: Space, *, repeats: bool = True) -> None:
        self._space, self._repeats = space, repeats
        self._points = list(space.points) if isinstance(space, Finite) else None
        self._keys = [key(p) for p in self._points or ()]

    def draw(self, n: int, tried: Tried, reserved: Reserved, rng: np.random.Generator) -> list[Point]:
        """Draw up to n distinct points; none if the space is Finite and each of its points was told or is pending.

        Args:
            n: how many, >= 1.
            tried: points told; repeated only if the space is not Finite and `RETRIES` samples found nothing else.
            reserved: keys of pending points, never repeated; the drawn points' keys are added.
            rng: source of randomness.
        """
        if self._points is None:
            points: list[Point] = []
            for _ in range(n):
                point = self._sample(tried, reserved, rng)
                if point is not None:
                    points.append(point)
                elif not self._repeats:  # used up
                    break
            return points
        chosen: list[int] = []
        if n * RETRIES < len(self._keys):  # a large pool is tossed into rather than gone through
            while len(chosen) < n and (i := self._toss(tried, reserved, rng)) is not None:
                chosen.append(i)
        if len(chosen) < n:
            free = [i for i, k in enumerate(self._keys) if k not in tried and k not in reserved]
            rest = rng.choice(len(free), size=min(n - len(chosen), len(free)), replace=False)
            chosen += [free[i] for i in rest]
        reserved.update(self._keys[i] for i in chosen)
        return [self._points[i] for i in chosen]

    def _toss(self, tried: Tried, reserved: Reserved, rng: np.random.Generator) -> int | None:
        """Index of a free point of the pool, now reserved; None if `RETRIES` tosses found none."""
        for i in rng.integers(len(self._keys), size=RETRIES).tolist():
            if self._keys[i] not in tried and self._keys[i] not in reserved:
                reserved.add(self._keys[i])
                return i
        return None

    def _sample(self, tried: Tried, reserved: Reserved, rng: np.random.Generator) -> Point | None:
        repeat = None
        for _ in range(RETRIES):
            point = self._space.sample(rng)
            point_key = key(point)
            if point_key in reserved:
                continue
            if point_key not in tried:
                repeat = point, point_key
                break
            if self._repeats:
                repeat = point, point_key
        if repeat is None:
            return None
        reserved.add(repeat[1])
        return repeat[0]
