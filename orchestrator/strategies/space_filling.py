"""Space-filling design: a scrambled Sobol sequence covers a space evenly before any model knows where to look.

Reference: A. B. Owen, "Scrambling Sobol' and Niederreiter-Xing points", J. Complexity 14 (1998) 466.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import qmc

from matloop.orchestrator.protocols import Array, Finite, Space, Vectorised, require
from matloop.orchestrator.randomness import derive, derive_seed
from matloop.orchestrator.strategies.spread import Spread
from matloop.orchestrator.strategies.tried import Reserved, Tried, exhausted, key
from matloop.orchestrator.trial import Point, Proposal, Trial, Unanswered

SKIPS = 1024
"""Sequence members passed over in search of an untried one before a tried point is measured again."""


class SpaceFilling:
    """The k-th proposal is the k-th member of a fixed sequence, k being the number of trials told and pending.

    In a Finite space the sequence is a random permutation of its points; in a Vectorised one it is scrambled
    Sobol, decoded. Members that were tried already, as happens where Sobol points fall into the same discrete
    cell, are passed over.

    Args:
        space: Finite or Vectorised.
        seed: scrambles the sequence; the generator given to `ask` is not used.
    """

    def __init__(self, *, space: Space, seed: int) -> None:
        self._sequence: _Sobol | _Permutation = (
            _Permutation(space, seed)
            if isinstance(space, Finite)
            else _Sobol(require(space, Vectorised, "space_filling"), seed)  # type: ignore[type-abstract]
        )
        self._tried = Tried()
        self._told = 0
        self._points: list[Point] = []

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """Propose the next members of the sequence; see `Strategy.ask`."""
        reserved = self._tried.pending(pending)
        first = self._told + len(pending)
        proposals = []
        for k in range(first, first + n):
            found = self._sequence.untried(k, self._tried, reserved)
            if found is None:
                break
            reserved.add(key(found))
            reason = f"point {k + 1} of a {self._sequence.name}"
            proposals.append(Proposal(point=found, reason=reason, extra={"origin": "space_filling"}))
        if not proposals and not pending:
            raise exhausted()
        return proposals

    def ask_within(
        self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator, part: Space
    ) -> list[Proposal]:
        """Fill a part of the space, whatever the sequence; see `AsksWithin.ask_within`."""
        return Spread(part, self._points, self._tried).ask(n, pending, rng)

    def tell(self, trial: Trial) -> None:
        """Count the trial."""
        self._told += 1
        self._points.append(trial.point)
        self._tried.add(trial)


class _Sobol:
    name = "scrambled Sobol sequence"

    def __init__(self, space: Vectorised, seed: int) -> None:
        self._space = space
        self._engine = qmc.Sobol(d=space.dimension, scramble=True, rng=derive(seed, "space_filling"))
        self._unit: Array = np.empty((0, space.dimension))

    def untried(self, k: int, tried: Tried, reserved: Reserved) -> Point | None:
        """First untried member from k on; failing that the k-th, unless it is pending."""
        for i in range(k, k + SKIPS):
            point = self._point(i)
            point_key = key(point)
            if point_key not in reserved and point_key not in tried:
                return point
        return None if key(self._point(k)) in reserved else self._point(k)

    def _point(self, k: int) -> Point:
        while k >= len(self._unit):
            # powers of two keep the sequence balanced, and scipy silent
            self._unit = np.concatenate([self._unit, self._engine.random(max(64, len(self._unit)))])
        lower, upper = self._space.bounds
        return self._space.decode(lower + (upper - lower) * self._unit[k])


class _Permutation:
    name = "random permutation of the pool"

    def __init__(self, space: Finite, seed: int) -> None:
        points = list(space.points)
        order = np.random.default_rng(derive_seed(seed, "space_filling")).permutation(len(points))
        self._points = [points[i] for i in order]
        self._keys = [key(p) for p in self._points]

    def untried(self, k: int, tried: Tried, reserved: Reserved) -> Point | None:
        """First untried member, whatever k: a point told without having been asked for shifts nothing."""
        every = zip(self._points, self._keys, strict=True)
        return next((p for p, point_key in every if point_key not in tried and point_key not in reserved), None)
