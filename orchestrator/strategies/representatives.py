"""Which of many points stand for all of them: chosen one after another, so that any first few do so, too.

The next point is the one that brings the chosen ones nearest to the whole in energy distance: it is close to many, and
far from those chosen before (Mak & Joseph, "Support points", Annals of Statistics 46 (2018) 2562; greedily, as kernel
herding does: Chen, Welling & Smola, UAI 2010). So the chosen ones follow the distribution of the whole. Maximin choices
would lie on its border instead: in eight components, on the faces of the simplex.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.protocols import Array

CENTRAL = 0.25
"""Share of the points, the most central ones, of which the first is any: all seeds would begin alike otherwise."""

CHUNK = 2**21
"""Distances held at once."""


class Distances:
    """How far points are apart: by their groups of columns one by one, and by all together.

    Each half of a distance is 1 on average over the reference. The first keeps every parameter evenly spread and every
    choice equally often used, the second keeps points apart in all parameters together.

    Args:
        reference: (m, d) float64, encoded points that stand for the space.
        groups: columns that have a meaning only together, such as the shares of a mixture.
    """

    def __init__(self, reference: Array, groups: Sequence[Sequence[int]]) -> None:
        spreads = [(list(group), float(reference[:, group].var(axis=0).sum())) for group in groups]
        varied = [(group, spread) for group, spread in spreads if spread > 1e-18]
        order = [i for group, _ in varied for i in group]
        widths = np.array([len(group) for group, _ in varied], dtype=int)
        self._columns = np.array(order, dtype=int)
        self._scale = np.repeat([1 / np.sqrt(2 * spread * len(varied)) for _, spread in varied], widths)
        self._origin = reference[:, self._columns].mean(axis=0)
        ends = np.cumsum(widths)
        alone = widths == 1
        self._alone = (ends - 1)[alone]
        self._several = [
            slice(end - width, end) for end, width in zip(ends.tolist(), widths.tolist(), strict=True) if width > 1
        ]
        self._weights = np.ones(len(self._alone)), np.ones(len(self._several)), 1.0
        self._reference = self.scale(reference)
        self._weigh()

    def scale(self, x: Array) -> Array:
        """(n, d) -> (n, w) float64, in which all groups have the same spread."""
        scaled: Array = (x[:, self._columns] - self._origin) * self._scale
        return scaled

    def mean(self, x: Array) -> Array:
        """(n, w) scaled -> (n,) mean distance to the reference."""
        return self.total(x, self._reference) / max(len(self._reference), 1)

    def total(self, x: Array, others: Array) -> Array:
        """(n, w) and (k, w), scaled -> (n,) sum of the distances to all the others."""
        alone, several, all_of_them = self._weights
        sums = np.zeros(len(x))
        for weight, i in zip(alone, self._alone, strict=True):
            sums += weight * _total_along(x[:, i], others[:, i])
        rows = max(1, CHUNK // max(len(others), 1))
        for start in range(0, len(x), rows):
            part = x[start : start + rows]
            for weight, block in zip(several, self._several, strict=True):
                sums[start : start + rows] += weight * _apart(part[:, block], others[:, block]).sum(axis=1)
            sums[start : start + rows] += all_of_them * _apart(part, others).sum(axis=1)
        return sums

    def _weigh(self) -> None:
        """Weights by which each group, and all groups together, add 1/2 on average, shared among the groups."""
        x = self._reference
        pairs = max(len(x) ** 2, 1)
        groups = max(len(self._alone) + len(self._several), 1)
        alone = np.array([_total_along(x[:, i], x[:, i]).sum() for i in self._alone]) / pairs
        several = np.array([_apart(x[:, block], x[:, block]).sum() for block in self._several]) / pairs
        together = float(_apart(x, x).sum()) / pairs
        self._weights = 0.5 / (groups * alone), 0.5 / (groups * several), 0.5 / together if together > 0 else 0.0


class Representatives:
    """Points chosen one after another out of candidates.

    Args:
        candidates: (n, d) float64, encoded, n >= 1.
        distances: of the space.
        before: (k, d) float64, chosen already, which need not be among the candidates.
        rng: chooses the first, if there was none before.
    """

    def __init__(self, candidates: Array, distances: Distances, before: Array, rng: np.random.Generator) -> None:
        self._distances, self._rng = distances, rng
        self._x = distances.scale(candidates)
        self._centrality = distances.mean(self._x)
        self._apart = distances.total(self._x, distances.scale(before)) if len(before) else np.zeros(len(candidates))
        self._count = len(before)
        self._free: npt.NDArray[np.bool_] = np.ones(len(candidates), dtype=bool)

    def __next__(self) -> int:
        """Index of the next candidate.

        Raises:
            StopIteration: all are chosen.
        """
        if not self._free.any():
            raise StopIteration
        if self._count:
            loss = self._centrality - self._apart / (self._count + 1)
            chosen = int(np.argmin(np.where(self._free, loss, np.inf)))
        else:
            most = max(1, int(CENTRAL * len(self._x)))
            chosen = int(self._rng.choice(np.argsort(self._centrality, kind="stable")[:most]))
        self._free[chosen] = False
        self._apart += self._distances.total(self._x, self._x[chosen : chosen + 1])
        self._count += 1
        return chosen


def _total_along(x: Array, others: Array) -> Array:
    """(n,) and (k,) -> (n,) sum over k of |x - other|, by sorting."""
    if len(others) == 1:
        gaps: Array = np.abs(x - others[0])
        return gaps
    ordered = np.sort(others)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    below = np.searchsorted(ordered, x)
    found: Array = x * below - sums[below] + (sums[-1] - sums[below]) - x * (len(ordered) - below)
    return found


def _apart(x: Array, others: Array) -> Array:
    """(n, w) and (k, w) -> (n, k) Euclidean distances."""
    if len(others) == 1:
        gaps: Array = np.sqrt(((x - others[0]) ** 2).sum(axis=1))[:, None]
        return gaps
    squares = (x**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None] - 2 * x @ others.T
    distances: Array = np.sqrt(np.maximum(squares, 0.0))
    return distances
