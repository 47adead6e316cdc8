"""Which of some measured or expected values are the best: by objective, on a front, or nearest to a target range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from matloop.orchestrator.report import statistics
from matloop.orchestrator.trial import Objective, Point, Trial, comparable, goals, rankable


class Order:
    """Which of some values are the best.

    Args:
        objectives: by those of which that are sought they are compared; by all if none is.
        target: lowest and highest value wanted, by objective; empty where the best are sought.
        n: how many are wanted of one objective, or near a target.
    """

    def __init__(self, objectives: Sequence[Objective], target: Mapping[str, tuple[float, float]], n: int) -> None:
        self.objectives, self.target, self.n = goals(objectives) or tuple(objectives), dict(target), n

    def __call__(self, values: Sequence[Mapping[str, float]]) -> list[int]:
        """Indices of the best, best first."""
        if not values:
            return []
        if self.target:
            return np.argsort(self._off(values), kind="stable")[: self.n].tolist()
        losses = np.array([[o.loss(one[o.name]) for o in self.objectives] for one in values])
        if len(self.objectives) > 1:
            return statistics.front(losses).tolist()
        return np.argsort(losses[:, 0], kind="stable")[: self.n].tolist()

    def _off(self, values: Sequence[Mapping[str, float]]) -> np.typing.NDArray[np.float64]:
        """(n,) distance to the target, each objective in spreads of its values."""
        total = np.zeros(len(values))
        for name, (low, high) in self.target.items():
            column = np.array([one[name] for one in values])
            total += np.maximum(np.maximum(low - column, column - high), 0.0) / (column.std() or 1.0)
        return total


def centre(trials: Sequence[Trial], objective: Objective, target: Mapping[str, tuple[float, float]]) -> Point | None:
    """The best measured point by one objective, which slices go through; None if it was not measured."""
    measured = rankable(trials, (objective,)) or [t for t in comparable(trials) if objective.name in (t.values or {})]
    wanted = {name: span for name, span in target.items() if name == objective.name}
    order = Order((objective,), wanted, 1)([t.values or {} for t in measured])
    return measured[order[0]].point if order else None
