"""Non-dominated fronts and crowding of a population that changes by one individual at a time.

A newcomer moves only those that it pushes to the next front, so that ranks are kept up to date rather than worked out
anew: finding fronts afresh takes time in proportion to the square of the population, and DEAP about 1 s for 1,000.

References:
    K. Deb, A. Pratap, S. Agarwal, T. Meyarivan, "NSGA-II", IEEE Trans. Evol. Comput. 6 (2002) 182.
    K. Li, K. Deb, Q. Zhang, Q. Zhang, "Efficient nondomination level update method for steady-state evolutionary
    multiobjective optimization", IEEE Trans. Cybern. 47 (2017) 2838.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.protocols import Array

Indices = npt.NDArray[np.int64]


class Fronts:
    """Fronts of up to `capacity` individuals, each in a numbered place.

    Args:
        capacity: places, >= 1.
        objectives: m, >= 1.
    """

    def __init__(self, capacity: int, objectives: int) -> None:
        self._losses = np.full((capacity, objectives), np.nan)
        self._dominates = np.zeros((capacity, capacity), dtype=bool)  # [a, b]: a is nowhere worse than b, and better
        self._level = np.full(capacity, -1, dtype=np.int64)  # -1: the place is free
        self._crowding: dict[int, tuple[Indices, Array]] = {}  # by front, until it changes

    def add(self, place: int, losses: Array) -> None:
        """Put an individual with (m,) float64 losses into a free place."""
        living = self._level >= 0
        self._losses[place] = losses
        self._dominates[place] = living & dominates(losses, self._losses)
        self._dominates[:, place] = living & dominates(self._losses, losses)
        above = self._level[self._dominates[:, place]]
        level = int(above.max()) + 1 if len(above) else 0
        self._level[place] = level
        moved = np.array([place])
        while len(moved):
            self._crowding.pop(level, None)
            pushed = self._dominates[moved].any(axis=0) & (self._level == level)
            level += 1
            self._level[pushed] = level
            moved = np.flatnonzero(pushed)

    def remove(self, place: int) -> None:
        """Free a place. Those behind it may move up, unless it is in the last front."""
        level = self._level[place]
        heirs = self._dominates[place].any()
        self._level[place] = -1
        self._dominates[place] = self._dominates[:, place] = False
        if heirs:
            self._level[self._level >= 0] = levels(self._dominates[np.ix_(self._level >= 0, self._level >= 0)])
            self._crowding.clear()
        else:
            self._crowding.pop(int(level), None)

    def worst(self) -> int:
        """Place of the individual that is the first to go: the most crowded one of the last front."""
        places, distances = self._front(int(self._level.max()))
        return int(places[len(places) - 1 - np.argmin(distances[::-1])])

    def merit(self, place: int) -> tuple[float, float]:
        """Minus the front, and the crowding distance within it: larger is better."""
        level = int(self._level[place])
        places, distances = self._front(level)
        return -float(level), float(distances[np.searchsorted(places, place)])

    def _front(self, level: int) -> tuple[Indices, Array]:
        """Places in a front, in order, and their crowding distances."""
        if level not in self._crowding:
            places = np.flatnonzero(self._level == level)
            self._crowding[level] = places, crowding(self._losses[places])
        return self._crowding[level]


def dominates(a: Array, b: Array) -> npt.NDArray[np.bool_]:
    """Whether a is nowhere worse than b and somewhere better; (..., m) float64 each, broadcast."""
    return np.asarray((a <= b).all(axis=-1) & (a < b).any(axis=-1))


def levels(over: npt.NDArray[np.bool_]) -> Indices:
    """Front of each individual, 0 for the Pareto front.

    Args:
        over: (n, n) bool, whether the row's individual dominates the column's.
    """
    level = np.full(len(over), -1, dtype=np.int64)
    above = over.sum(axis=0)
    current = np.flatnonzero(above == 0)
    front = 0
    while len(current):
        level[current] = front
        above[current] = -1
        above -= over[current].sum(axis=0)
        current = np.flatnonzero(above == 0)
        front += 1
    return level


def crowding(losses: Array) -> Array:
    """Crowding distance of each member of one front: the sum over objectives of the gap between its neighbours.

    Args:
        losses: (n, m) float64.

    Returns:
        (n,) float64, each objective's gaps as a share of its range and the mean over objectives; inf at the ends.
    """
    n, m = losses.shape
    distances = np.zeros(n)
    order = np.arange(n)
    for values in losses.T:
        order = order[np.argsort(values[order], kind="stable")]
        ranked = values[order]
        distances[order[[0, -1]]] = np.inf
        span = ranked[-1] - ranked[0]
        if span > 0:
            distances[order[1:-1]] += (ranked[2:] - ranked[:-2]) / (m * span)
    return distances
