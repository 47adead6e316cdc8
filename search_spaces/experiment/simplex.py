"""Amounts of components in units, few of which may be present at once: the nearest to any vector, and even draws."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Array
from matloop.search_spaces.experiment.amounts import project, project_whole
from matloop.search_spaces.experiment.lattice import Lattice

FEW = 20_000
"""Sets of components that are all thought of for the nearest amounts; of more, only those near the best so far."""

TRIES = 64
"""Draws from the whole simplex, in search of one within the limits."""

SWEEPS = 20
"""Exchanges for each component if none was."""

Set = npt.NDArray[np.bool_]
"""(m,) bool: the components that may be present."""


class Unreachable(ConfigError):
    """No amounts within the limits add up to the total."""


class Simplex:
    """The (m,) float64 vectors with a given sum, in which each component is either 0 or between its limits.

    Args:
        low, high: (m,) limits of a component that is present; low is the same for all that may be absent.
        forced: (m,) bool, whether a component must be present.
        total: the sum; a whole number if `whole`.
        least, most: number of components present; least counts only if low > 0.
        whole: whether amounts are whole numbers.

    Raises:
        Unreachable: there is no such vector.
        ConfigError: there are too many steps.
    """

    def __init__(
        self, *, low: Array, high: Array, forced: Set, total: float, least: int, most: int, whole: bool
    ) -> None:
        self._low, self._high, self._forced, self._total, self._whole = low, high, forced, total, whole
        self._least, self._most = least, most
        self._sizes = self._possible_sizes()
        if not self._sizes:
            raise Unreachable("no amounts add up to the total")
        optional = {(a, b) for a, b, must in zip(low, high, forced, strict=True) if not must}
        self._alike = len(optional) <= 1
        few = not self._alike and self._sets() <= FEW
        self._every = np.array(self._all_sets()) if few else None
        self.lattice = Lattice(np.maximum(low, 1), high, forced, int(total), least, most) if whole else None

    def sample(self, rng: np.random.Generator) -> Array:
        """Amounts drawn evenly; see `Mixture.sample` for what that means."""
        return self.lattice.sample(rng) if self.lattice else self._fill(self._any_set(rng), rng)

    def every(self, most: int) -> list[Array] | None:
        """All of them, each once; None if there are more than `most`."""
        if self.lattice is not None:
            return list(self.lattice.every()) if self.lattice.count <= most else None
        if self._sets() > min(most, FEW):
            return None
        sets = self._all_sets()
        return [self._only(chosen) for chosen in sets] if all(map(self._one_way, sets)) else None

    def _one_way(self, chosen: Set) -> bool:
        """Whether the limits leave one way to fill these components."""
        low, high = self._low[chosen], self._high[chosen]
        least, most = low.sum(), high.sum()
        slack = 1e-12 * self._total
        return bool((high - low > slack).sum() <= 1 or most <= self._total + slack or least >= self._total - slack)

    def _only(self, chosen: Set) -> Array:
        return self._within(self._low, chosen)

    def nearest(self, aim: Array) -> Array:
        """The vector nearest to (m,) float64 in the Euclidean sense.

        Which components are present is chosen exactly where all optional ones have the same limits (the largest are) or
        there are at most `FEW` possible sets; else by exchanging single components while that helps.
        """
        if self._every is not None:
            return self._nearest_of_all(aim, self._every)
        found = [(self._within(aim, s), s) for s in (self._largest(aim, size) for size in self._sizes)]
        best, chosen = min(found, key=lambda pair: _distance(aim, pair[0]))
        while not self._alike:
            found = [(self._within(aim, s), s) for s in self._exchanges(chosen)]
            better, other = min(found, key=lambda pair: _distance(aim, pair[0]), default=(best, chosen))
            if not _distance(aim, better) < _distance(aim, best) - 1e-12:
                break
            best, chosen = better, other
        return best

    def _nearest_of_all(self, aim: Array, sets: npt.NDArray[np.bool_]) -> Array:
        """The nearest over (k, m) bool sets; most are ruled out by their distance if there were no limits."""
        absent = (aim**2).sum() - sets @ aim**2
        shortest = absent + (self._total - sets @ aim) ** 2 / sets.sum(axis=1)
        best, distance = np.zeros(0), np.inf
        for i in np.argsort(shortest, kind="stable"):
            if shortest[i] > distance:
                break
            x = self._within(aim, sets[i])
            if _distance(aim, x) < distance:
                best, distance = x, _distance(aim, x)
        return best

    def _within(self, aim: Array, chosen: Set) -> Array:
        """The nearest amounts of these components."""
        x = np.zeros(len(aim))
        low, high = self._low[chosen], self._high[chosen]
        if self._whole:
            x[chosen] = project_whole(aim[chosen], low, high, int(self._total))
        else:
            x[chosen] = project(aim[chosen], low, high, self._total)
        return x

    def _possible_sizes(self) -> list[int]:
        """Numbers of components that can make up the total; without a minimum the largest holds all others."""
        optional = np.sort(self._high[~self._forced])[::-1]
        forced = int(self._forced.sum())
        possible = []
        for size in range(max(self._least, forced), self._most + 1):
            most = self._high[self._forced].sum() + optional[: size - forced].sum()
            least = self._low[self._forced].sum() + (size - forced) * self._optional_low()
            if least <= self._total * (1 + 1e-12) and most >= self._total * (1 - 1e-12):
                possible.append(size)
        return possible[-1:] if self._optional_low() == 0 else possible

    def _optional_low(self) -> float:
        """Least amount of a component that may be absent; the same for all of them."""
        return float(self._low[~self._forced].min()) if not self._forced.all() else 1.0

    def _sets(self) -> int:
        free, forced = int((~self._forced).sum()), int(self._forced.sum())
        return sum(comb(free, size - forced) for size in self._sizes)

    def _all_sets(self) -> list[Set]:
        free, forced = np.flatnonzero(~self._forced), int(self._forced.sum())
        sets = [self._with(list(some)) for size in self._sizes for some in combinations(free.tolist(), size - forced)]
        return [chosen for chosen in sets if self._enough(chosen)]

    def _with(self, optional: Sequence[int]) -> Set:
        chosen = self._forced.copy()
        chosen[list(optional)] = True
        return chosen

    def _enough(self, chosen: Set) -> bool:
        """Whether these components can reach the total."""
        return bool(self._high[chosen].sum() >= self._total * (1 - 1e-12))

    def _largest(self, aim: Array, size: int) -> Set:
        """The components of the largest amounts; if these cannot reach the total, some that may be larger."""
        free = np.flatnonzero(~self._forced)
        order = free[np.argsort(-aim[free], kind="stable")]
        chosen = self._with(order[: size - int(self._forced.sum())].tolist())
        while not self._enough(chosen):
            inside, outside = np.flatnonzero(chosen & ~self._forced), np.flatnonzero(~chosen)
            chosen[inside[np.argmin(self._high[inside])]] = False
            chosen[outside[np.argmax(self._high[outside])]] = True
        return chosen

    def _exchanges(self, chosen: Set) -> list[Set]:
        """Sets in which one optional component gave way to another."""
        found = []
        for i in np.flatnonzero(chosen & ~self._forced):
            for j in np.flatnonzero(~chosen):
                other = chosen.copy()
                other[[i, j]] = False, True
                if self._enough(other):
                    found.append(other)
        return found

    def _any_set(self, rng: np.random.Generator) -> Set:
        free, forced = np.flatnonzero(~self._forced), int(self._forced.sum())
        weights = np.array([float(comb(len(free), size - forced)) for size in self._sizes])
        for _ in range(1000):
            size = self._sizes[int(rng.choice(len(weights), p=weights / weights.sum()))]
            chosen = self._with(rng.choice(free, size - forced, replace=False).tolist() if size > forced else [])
            if self._enough(chosen):
                return chosen
        return self._largest(rng.random(len(self._low)), size)  # sets that reach the total are rare

    def _fill(self, chosen: Set, rng: np.random.Generator) -> Array:
        """Amounts uniform on the part of a simplex that the limits leave."""
        units = np.zeros(len(self._low))
        low, room = self._low[chosen], self._high[chosen] - self._low[chosen]
        left = max(self._total - low.sum(), 0.0)
        tries = left * rng.dirichlet(np.ones(len(low)), size=TRIES)
        within = np.flatnonzero((tries <= room).all(axis=1))
        if len(within):
            shares = tries[within[0]]
        elif room.sum() <= left * (1 + 1e-12):  # the limits leave one way
            shares = room
        else:  # exchanges between pairs, each uniform given the rest (Gibbs sampling)
            shares = room * (left / room.sum())
            n = SWEEPS * len(low)
            first = rng.integers(len(low), size=n)
            second = (first + rng.integers(1, len(low), size=n)) % len(low)
            for i, j, u in zip(first, second, rng.random(n), strict=True):
                both = shares[i] + shares[j]
                least, most = max(both - room[j], 0.0), min(room[i], both)
                shares[i] = least + u * (most - least)
                shares[j] = both - shares[i]
        units[chosen] = low + shares
        return units


def _distance(a: Array, b: Array) -> float:
    return float(((a - b) ** 2).sum())
