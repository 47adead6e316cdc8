"""One campaign on a pool: two random starts, then one candidate after the other, each told before the next is asked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import psutil

from experiments.pools import Table
from matloop.orchestrator.protocols import Strategy
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Proposal, Trial

STARTS = 2


class Recommender(Protocol):
    """Chooses among the candidates of a pool by their index."""

    def tell(self, index: int, value: float) -> None:
        """Learn the outcome of a candidate."""
        ...

    def ask(self) -> tuple[int, tuple[float, float] | None, float, float]:
        """Index, prediction (mean, std) if there is one, processor seconds, and the process's memory in MB."""
        ...


@dataclass(frozen=True)
class Run:
    """What a campaign did.

    Attributes:
        order: indices in the order measured, starts first.
        predictions: (mean, std) of each recommendation before it was measured, None for starts and where there is none.
        seconds: processor time of each recommendation.
        memory_mb: the largest resident size of the process.
    """

    order: list[int]
    predictions: list[list[float] | None]
    seconds: list[float]
    memory_mb: float

    def as_json(self) -> dict[str, Any]:
        """JSON-able; `Run(**run.as_json())` gives it back."""
        return asdict(self)


class Ours:
    """A strategy as a recommender; it is told what it predicted with the outcome, as in a campaign."""

    def __init__(self, strategy: Strategy, table: Table, seed: int) -> None:
        self.strategy, self.table, self.seed, self.asks = strategy, table, seed, 0
        self.indices = {_key(point): i for i, point in enumerate(table.space.points)}
        self.proposed: Proposal | None = None

    def tell(self, index: int, value: float) -> None:
        """See Recommender."""
        point, values = self.table.space.points[index], {self.table.objective.name: value}
        asked, self.proposed = self.proposed, None
        noted = {} if asked is None else {"prediction": asked.prediction, "extra": asked.extra}
        self.strategy.tell(
            Trial(
                id=self.asks, study="s", number=self.asks, point=point, seed=0, state="answered", values=values, **noted
            )
        )
        self.asks += 1

    def ask(self) -> tuple[int, tuple[float, float] | None, float, float]:
        """See Recommender."""
        begun = time.process_time()
        (proposal,) = self.strategy.ask(1, (), derive("ask", self.seed, self.asks))
        seconds = time.process_time() - begun
        self.proposed = proposal
        prediction, name = proposal.prediction, self.table.objective.name
        expected = (prediction.mean[name], prediction.std[name]) if prediction and name in prediction.std else None
        return self.indices[_key(proposal.point)], expected, seconds, psutil.Process().memory_info().rss / 2**20


def _key(point: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(point.values())


def replay(recommender: Recommender, table: Table, seed: int, budget: int) -> Run:
    """Run until the whole top of the pool is found or `budget` candidates are measured, starts included."""
    order = derive("starts", seed).choice(len(table.outcomes), STARTS, replace=False).tolist()
    predictions: list[list[float] | None] = [None] * STARTS
    times, memory = [], 0.0
    for index in order:
        recommender.tell(index, float(table.outcomes[index]))
    while len(order) < min(budget, len(table.outcomes)) and not table.top <= set(order):
        index, prediction, seconds, size = recommender.ask()
        assert index not in order, "measured twice"
        recommender.tell(index, float(table.outcomes[index]))
        order.append(index)
        predictions.append(list(prediction) if prediction else None)
        times.append(seconds)
        memory = max(memory, size)
    return Run(order, predictions, times, memory)
