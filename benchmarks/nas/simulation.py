"""A campaign on simulated workers: a strategy is asked when a worker is free and told when an evaluation would end."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.protocols import Strategy
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Proposal, Trial
from nas.tables import Lookup


@dataclass
class Campaign:
    """Asynchronous: nobody waits for a batch, and a strategy knows what is in flight.

    Attributes:
        strategy: under test; it maximises or minimises "accuracy" as it was told when made.
        table: what is searched.
        seed: decides measurements and durations, and the strategy's generators.
        workers: simulated ones, >= 1.
    """

    strategy: Strategy
    table: Lookup
    seed: int
    workers: int

    def run(self, evaluations: int) -> npt.NDArray[np.int64]:
        """Rows in the order in which their evaluations ended, (evaluations,) int64."""
        measured, durations = self.table.measured(self.seed), self.table.durations(self.seed)
        running: list[tuple[float, int]] = []
        pending: dict[int, Trial] = {}
        ended: list[int] = []
        now, proposed, asks = 0.0, 0, 0
        while len(ended) < evaluations:
            free = self.workers - len(running)
            proposals = self.strategy.ask(free, tuple(pending.values()), derive("ask", self.seed, asks))
            asks += 1
            for proposal in proposals:
                pending[proposed] = _trial(proposal, proposed)
                heapq.heappush(running, (now + durations[self.table.row(proposal.point)], proposed))
                proposed += 1
            if not running:
                raise RuntimeError("the strategy proposed nothing although nothing is running")
            now, number = heapq.heappop(running)
            trial = pending.pop(number)
            row = self.table.row(trial.point)
            self.strategy.tell(_answered(trial, float(measured[row])))
            ended.append(row)
        return np.array(ended)

    def regrets(self, checkpoints: tuple[int, ...]) -> list[float]:
        """Regret after each number of evaluations, percentage points."""
        rows, measured = self.run(max(checkpoints)), self.table.measured(self.seed)
        return [self.table.regret(np.unique(rows[:n]), measured) for n in checkpoints]


def _trial(proposal: Proposal, number: int) -> Trial:
    return Trial(
        id=number,
        study="search",
        number=number,
        point=proposal.point,
        seed=number,
        reason=proposal.reason,
        parents=proposal.parents,
        extra=proposal.extra,
    )


def _answered(trial: Trial, value: float) -> Trial:
    return replace(trial, state="answered", values={"accuracy": value})
