"""All mixtures in whole units, counted and drawn evenly without being listed."""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Array

LARGEST = 2_000_000
"""Entries of the table of counts; some 100 bytes each where counts exceed 64 bits."""


class Lattice:
    """Ways to fill components with whole units, by dynamic programming over components.

    Args:
        low, high: (m,) units of a component that is present; low >= 1.
        forced: (m,) whether it must be present.
        total: units in all.
        least, most: number of components present.

    Attributes:
        count: number of mixtures, exact.

    Raises:
        ConfigError: the steps are too fine for the table.
    """

    def __init__(
        self, low: Array, high: Array, forced: npt.NDArray[np.bool_], total: int, least: int, most: int
    ) -> None:
        m = len(low)
        if (m + 1) * (most + 1) * (total + 1) > LARGEST:
            raise ConfigError(
                f"expected at most {LARGEST // ((m + 1) * (most + 1))} steps in the total of {m} components, "
                f"got {total}; take a coarser step, or none"
            )
        self._low, self._high = low.astype(int), high.astype(int)
        self._forced = forced
        self._total, self._least, self._most = total, least, most
        exact: Any = np.int64 if comb(total + m - 1, m - 1) * 2**m < 2**62 else object
        # ways[i, c, r]: of sharing out r units among the components from i on, c of them present
        ways = np.zeros((m + 1, most + 1, total + 1), dtype=exact)
        ways[m, 0, 0] = 1
        for i in range(m - 1, -1, -1):
            if not forced[i]:
                ways[i] = ways[i + 1]
            ways[i, 1:] += _windows(ways[i + 1, :-1], self._low[i], self._high[i])
        self._ways = ways
        self.count = sum(int(ways[0, c, total]) for c in range(least, most + 1))

    def sample(self, rng: np.random.Generator) -> Array:
        """Any of the mixtures, all equally likely: (m,) float64, whole numbers."""
        units = np.zeros(len(self._low))
        left = self._total
        present = self._least + _draw(self._ways[0, self._least : self._most + 1, left], rng)
        for i in range(len(units)):
            later = self._ways[i + 1]
            amounts = np.arange(self._low[i], min(self._high[i], left) + 1) if present else np.arange(0)
            absent = [0 if self._forced[i] else later[present, left]]
            choice = _draw(np.concatenate([absent, later[present - 1, left - amounts]]), rng)
            if choice:
                units[i] = amounts[choice - 1]
                left -= int(amounts[choice - 1])
                present -= 1
        return units

    def every(self) -> Array:
        """(n, m) float64: all of the mixtures, each once; n is `count`, so ask for that first."""
        rows: list[tuple[tuple[int, ...], int, int]] = [
            ((), c, self._total) for c in range(self._least, self._most + 1)
        ]
        for i in range(len(self._low)):
            later = self._ways[i + 1]
            rows = [
                ((*units, amount), present - (amount > 0), left - amount)
                for units, present, left in rows
                for amount in self._amounts(i, present, left)
                if later[present - (amount > 0), left - amount]
            ]
        return np.array([units for units, present, left in rows if not present and not left], dtype=np.float64)

    def _amounts(self, i: int, present: int, left: int) -> list[int]:
        """Units that component i may have if so many components are still to be present and so many units are left."""
        absent = [] if self._forced[i] else [0]
        return absent + (list(range(self._low[i], min(self._high[i], left) + 1)) if present else [])


def _windows(ways: npt.NDArray[Any], low: int, high: int) -> npt.NDArray[Any]:
    """(c, r) -> (c, r): sums of ways[:, r − high] to ways[:, r − low]."""
    size = ways.shape[1]
    sums = np.zeros((len(ways), size + 1), dtype=ways.dtype)
    np.cumsum(ways, axis=1, out=sums[:, 1:])
    ends = np.arange(size)
    return sums[:, np.maximum(ends - low + 1, 0)] - sums[:, np.maximum(ends - high, 0)]


def _draw(weights: npt.NDArray[Any], rng: np.random.Generator) -> int:
    """Index with probability proportional to its weight."""
    largest = max(weights)
    shares = np.cumsum([float(weight / largest) for weight in weights])
    return int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))
