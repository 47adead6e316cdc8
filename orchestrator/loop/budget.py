"""When a study has had enough: trials, time, cost, a target reached, no progress, or nothing but failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from matloop.orchestrator.trial import Objective, Trial, in_full, keeps_limits, only_worse


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits of a study; the first one reached ends it.

    Attributes:
        trials: number of proposals.
        seconds: wall time over all sessions, s.
        cost: sum of the measurements' costs, in the study's unit; a trial without a stated cost counts 1.
        target: value of the first objective that is good enough, in its unit, measured at full fidelity.
        patience: number of answers in a row, at full fidelity, that do not improve the first objective.
        failures: number of failures in a row, within one session, that is taken for a broken driver.
    """

    trials: int | None = None
    seconds: float | None = None
    cost: float | None = None
    target: float | None = None
    patience: int | None = None
    failures: int = 20


@dataclass(slots=True)
class Spending:
    """How much of the budget is gone: a fold over the finished trials, in any order but for the runs in a row.

    Attributes:
        finished: number of trials.
        answered: number of those with values.
        failed: ids of those that failed; what is cancelled or uncertain is no failure.
        row: of these, the last ones in a row.
        crashes: evaluations since the last answer whose worker crashed and that are therefore uncertain.
        cost: so far, in the study's unit.
        objectives: all of the study; what breaks a limit of theirs is no progress.
        best: value of the first objective, in its unit, at full fidelity and within all limits.
        since_best: answers in a row that were no better.
    """

    budget: Budget
    objective: Objective
    objectives: Sequence[Objective] = ()
    finished: int = 0
    answered: int = 0
    failed: list[int] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    crashes: int = 0
    cost: float = 0.0
    best: float | None = None
    since_best: int = 0

    def tell(self, trial: Trial) -> None:
        """Count a finished trial; of one that was cancelled or set aside only what it has cost."""
        self.finished += 1
        if trial.state != "cancelled" or trial.was_done:
            self.cost += 1.0 if trial.cost is None else trial.cost
        if trial.values is None:
            if trial.failure is not None and trial.failure.cause != "uncertain":
                self.failed.append(trial.id)
                self.row.append(trial.id)
            return
        self.answered += 1
        if self.row or self.crashes:
            self.begin_row()
        if not in_full(trial) or self.objective.name not in trial.values:
            return
        if only_worse(trial, self.objective) or not keeps_limits(trial, self.objectives):
            self.since_best += 1
            return
        value = trial.values[self.objective.name]
        if self.best is None or self.objective.loss(value) < self.objective.loss(self.best):
            self.best, self.since_best = value, 0
        else:
            self.since_best += 1

    @property
    def broken(self) -> bool:
        """Whether so many failed in a row that the driver is taken for broken."""
        return len(self.row) + self.crashes >= self.budget.failures

    def begin_row(self) -> None:
        """Count failures in a row from here on."""
        self.row.clear()
        self.crashes = 0

    def allowance(self, proposed: int) -> int | None:
        """How many more trials may be proposed; None if their number is not limited."""
        return None if self.budget.trials is None else max(0, self.budget.trials - proposed)

    def spent(self, *, proposed: int, elapsed_s: float) -> str | None:
        """Why no more may be proposed; None if more may."""
        b, loss = self.budget, self.objective.loss
        if b.target is not None and self.best is not None and loss(self.best) <= loss(b.target):
            return f"target reached: {self.objective.name} {self.best:.6g}"
        if self.broken:
            return f"{b.failures} failures in a row"
        if b.trials is not None and proposed >= b.trials:
            return f"{b.trials} trials"
        if b.cost is not None and self.cost >= b.cost:
            return f"cost {self.cost:.6g}"
        if b.seconds is not None and elapsed_s >= b.seconds:
            return f"{b.seconds:.6g} s"
        if b.patience is not None and self.since_best >= b.patience:
            return f"no better {self.objective.name} in {b.patience} answers"
        return None
