"""Asynchronous successive halving: many points are measured with little effort, the best of them again with more.

A wrapper around any strategy. That one chooses points; here each is measured at the lowest fidelity first, and whenever
a result is among the best of its rung, the same point becomes a trial of the next rung, with a multiple of the effort.
Nobody waits for a rung to fill. A driver that left an artifact `checkpoint` is handed it, and goes on from there.

Unlike in the paper, never more than the given share of a rung is promoted: where points get better all the time, as
they should, nearly each would be among the best when it comes, and the effort would go to the highest rung.

Reference: L. Li, K. Jamieson, A. Rostamizadeh, E. Gonina, J. Ben-tzur, M. Hardt, B. Recht, A. Talwalkar, "A system for
massively parallel hyperparameter tuning", MLSys (2020).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from matloop.orchestrator.errors import ConfigError, SpaceExhausted
from matloop.orchestrator.options import at_least, without_limits
from matloop.orchestrator.protocols import Array, Strategy, filler_of, is_slow, maker_of
from matloop.orchestrator.strategies.evolution.dominance import crowding, dominates, levels
from matloop.orchestrator.strategies.tried import Reserved, Tried, key
from matloop.orchestrator.trial import Objective, Proposal, Trial, Unanswered, complete, losses

CHECKPOINT = "checkpoint"
WINDOW = 1000
"""Results of a rung that are compared, the latest ones: more would cost time at every ask."""
WINDOW_OF_SEVERAL = 150
"""The same with several objectives, where the time grows with the square."""


@dataclass(slots=True)
class Rung:
    """Results at one fidelity.

    Attributes:
        fidelity: share of the full effort, in (0, 1].
        measured: key of the point, trial and losses, oldest first.
        told: keys of all points that were told at this fidelity, failed ones too.
    """

    fidelity: float
    measured: deque[tuple[str, Trial, Array]]
    told: set[str] = field(default_factory=set)

    def best(self, n: int) -> list[tuple[str, Trial]]:
        """The n best results, best first."""
        order = ranked(np.array([row for _, _, row in self.measured])) if n else []
        return [self.measured[i][:2] for i in order[:n]]


class SuccessiveHalving:
    """Measures what another strategy proposes in rungs of rising fidelity.

    The inner strategy is told of each point once, with its result at the lowest fidelity: that is the one fidelity
    which all points have, so that what it learns compares like with like. Failed trials count as told, and are not
    measured again, unless a person has one repeated that is uncertain; then it is told of the measurement too.

    Args:
        strategy: chooses the points.
        objectives: with several, the best are those of the first fronts, the least crowded ones first.
        reduction: one of so many results goes on to the next rung, which has so many times the fidelity, >= 2.
        lowest: fidelity of the first rung, in (0, 1); the last one's is 1.

    Attributes:
        slow: whether the inner strategy is.

    Raises:
        ConfigError: an option out of range.
    """

    def __init__(
        self,
        *,
        strategy: Strategy,
        objectives: tuple[Objective, ...],
        reduction: int = 3,
        lowest: float = 1 / 9,
    ) -> None:
        at_least(2, reduction=reduction)
        without_limits("successive_halving", objectives)
        if not 0 < lowest < 1:
            raise ConfigError(f"expected lowest: a fidelity between 0 and 1, got {lowest}", at="lowest")
        self._strategy, self._objectives, self._reduction, self._lowest = strategy, objectives, reduction, lowest
        window = WINDOW if len(objectives) == 1 else WINDOW_OF_SEVERAL
        self._rungs = [Rung(share, deque(maxlen=window)) for share in _fidelities(lowest, reduction)]
        self._tried = Tried()
        self._uncertain: set[str] = set()  # keys of points that may be measured again if a person wants it
        self.slow = is_slow(strategy)

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """Propose promotions, and new points where there are fewer than n; see `Strategy.ask`."""
        proposals = self._promotions(n, self._tried.pending(pending))
        if len(proposals) == n:
            return proposals
        try:
            fresh = self._strategy.ask(n - len(proposals), pending, rng)
        except SpaceExhausted:
            if not proposals:
                raise
            return proposals
        return proposals + [replace(proposal, fidelity=self._rungs[0].fidelity) for proposal in fresh]

    def tell(self, trial: Trial) -> None:
        """Enter the trial in its rung, and pass it on if its point is new."""
        point_key = key(trial.point)
        rung = self._rung(trial)
        rung.told.add(point_key)
        if complete(trial, self._objectives):
            rung.measured.append((point_key, trial, losses([trial], self._objectives)[0]))
        if point_key not in self._tried or (trial.values is not None and point_key in self._uncertain):
            self._tried.add(trial)
            self._uncertain.discard(point_key)
            self._strategy.tell(trial)
        if trial.failure is not None and trial.failure.cause == "uncertain":
            self._uncertain.add(point_key)

    def filler(self) -> SuccessiveHalving | None:
        """The same around the inner strategy's filler, if it has one."""
        inner = filler_of(self._strategy)
        if inner is None:
            return None
        return SuccessiveHalving(
            strategy=inner, objectives=self._objectives, reduction=self._reduction, lowest=self._lowest
        )

    def maker(self) -> Callable[[], SuccessiveHalving] | None:
        """Makes the same anew, told nothing, if the inner strategy can be made anew."""
        inner = maker_of(self._strategy)
        if inner is None:
            return None
        return partial(_around, inner, objectives=self._objectives, reduction=self._reduction, lowest=self._lowest)

    def _rung(self, trial: Trial) -> Rung:
        """The highest that the trial's fidelity reaches."""
        share = 1.0 if trial.fidelity is None else trial.fidelity
        reached = [rung for rung in self._rungs if rung.fidelity <= share * (1 + 1e-9)]
        return reached[-1] if reached else self._rungs[0]

    def _promotions(self, n: int, reserved: Reserved) -> list[Proposal]:
        """At most n, from the highest rungs first."""
        found: list[Proposal] = []
        for lower, upper in reversed(list(zip(self._rungs, self._rungs[1:], strict=False))):
            for point_key, trial in self._promotable(lower, upper, reserved):
                if len(found) == n:
                    return found
                reserved.add(point_key)
                found.append(self._promote(trial, lower, upper))
        return found

    def _promotable(self, lower: Rung, upper: Rung, reserved: Reserved) -> Iterator[tuple[str, Trial]]:
        """The best that were not promoted yet, while fewer than one of every `reduction` were."""
        quota = len(lower.measured) // self._reduction
        waiting = {k for k, *_ in lower.measured if k not in upper.told and k not in reserved}
        left = quota - (len(lower.measured) - len(waiting))
        if left > 0:
            yield from [entry for entry in lower.best(quota) if entry[0] in waiting][:left]

    def _promote(self, trial: Trial, lower: Rung, upper: Rung) -> Proposal:
        checkpoint = trial.artifacts.get(CHECKPOINT)
        return Proposal(
            point=trial.point,
            reason=(
                f"promoted to {upper.fidelity:.0%} of the effort: trial {trial.id} is among the best "
                f"{len(lower.measured) // self._reduction} of {len(lower.measured)} at {lower.fidelity:.0%}"
            ),
            parents=(trial.id,),
            fidelity=upper.fidelity,
            extra={"origin": "promotion"},
            inputs={} if checkpoint is None else {CHECKPOINT: checkpoint},
        )


def ranked(rows: Array) -> list[int]:
    """Indices of (n, m) losses, best first: by front, within it the least crowded first; the earlier of equals."""
    if rows.shape[1] == 1:
        return [int(i) for i in np.argsort(rows[:, 0], kind="stable")]
    front = levels(dominates(rows[:, None], rows[None]))
    distance = np.zeros(len(rows))
    for level in range(int(front.max()) + 1):
        members = np.flatnonzero(front == level)
        distance[members] = crowding(rows[members])
    return [int(i) for i in np.lexsort((-distance, front))]


def _fidelities(lowest: float, reduction: int) -> list[float]:
    """From the lowest, each a multiple of the one before, to 1; the last step is the one that is not exact."""
    shares = [lowest]
    while shares[-1] * reduction < reduction**-0.5:
        shares.append(shares[-1] * reduction)
    return [*shares, 1.0]


def _around(
    inner: Callable[[], Strategy], *, objectives: tuple[Objective, ...], reduction: int, lowest: float
) -> SuccessiveHalving:
    return SuccessiveHalving(strategy=inner(), objectives=objectives, reduction=reduction, lowest=lowest)
