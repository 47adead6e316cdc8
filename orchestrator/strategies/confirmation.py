"""Measures the best points of earlier studies again, the best first: by another seed, more closely, or for longer.

The best of many single measurements owes part of its place to luck, and what does best in short trainings need not do
so in long ones. Whatever is best here has proved it a second time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from matloop.orchestrator.errors import SpaceExhausted
from matloop.orchestrator.protocols import Space, holds
from matloop.orchestrator.strategies.tried import Tried, key
from matloop.orchestrator.trial import Objective, Proposal, Trial, Unanswered, rankable


class Confirmation:
    """Proposes points that have been measured, each once, in the order of their values of the first objective.

    The budget of the study says how many. A point that was measured several times counts by its best value; one outside
    the space, or that breaks a limit, is left out.

    Args:
        space: of the points.
        objectives: the first decides.
        data: trials of earlier studies.
    """

    def __init__(self, *, space: Space, objectives: tuple[Objective, ...], data: tuple[Trial, ...]) -> None:
        self._tried = Tried()
        self._best = _best_first(data, space, objectives)

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """See `Strategy.ask`."""
        reserved = self._tried.pending(pending)
        left = [
            (place, trial)
            for place, (point_key, trial) in enumerate(self._best.items(), start=1)
            if point_key not in self._tried and point_key not in reserved
        ]
        if not left and not pending:
            raise SpaceExhausted(
                "every point that earlier studies measured was measured again"
                if self._best
                else "the earlier studies have no values of a point in this space that keep all limits"
            )
        return [_proposal(place, trial) for place, trial in left[:n]]

    def tell(self, trial: Trial) -> None:
        """Remember the point."""
        self._tried.add(trial)


def _best_first(data: Sequence[Trial], space: Space, objectives: tuple[Objective, ...]) -> dict[str, Trial]:
    """The best trial at each point, by the point's key."""
    first = objectives[0]
    found: dict[str, Trial] = {}
    for trial in sorted(rankable(data, objectives), key=lambda t: first.loss((t.values or {})[first.name])):
        if holds(space, trial.point):
            found.setdefault(key(trial.point), trial)
    return found


def _proposal(place: int, trial: Trial) -> Proposal:
    reason = f"number {place} of the earlier points, trial {trial.id} of {trial.study}, measured again"
    return Proposal(point=trial.point, reason=reason, parents=(trial.id,), extra={"origin": "confirmation"})
