"""Recommendations from a strategy in memory, beside a ledger that others write to: it is told every result once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from matloop.orchestrator.errors import InvalidPoint, MatloopError, NoPrediction
from matloop.orchestrator.lab.asking import Asking
from matloop.orchestrator.lab.wishes import Wishes
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.pending import Pending
from matloop.orchestrator.ledger.shared import SharedLedger
from matloop.orchestrator.loop.budget import Spending
from matloop.orchestrator.loop.study import Plan, Study
from matloop.orchestrator.measurement import is_number
from matloop.orchestrator.protocols import Batching, Predicting, Recalling, WithOutlook
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Proposal, Trial, limited

T = TypeVar("T")

UNKNOWN = (-1, -1)

MOST_AHEAD = 100
"""Experiments that an outlook looks ahead, at most."""


class Recommender:
    """Asks the strategy of one study; one thread at a time.

    Args:
        study: as built.
        plan: builds it again where the past has changed.
        ledger: which holds its trials.
        store: of the campaign's artifacts.
        seed: of the campaign; with the number of asks so far it determines every ask.
    """

    def __init__(self, study: Study, *, plan: Plan, ledger: SharedLedger, store: ArtifactStore, seed: int) -> None:
        self.study = study
        self.strategy = study.strategy
        self._plan, self._ledger, self._store, self._seed = plan, ledger, store, seed
        self._version = self._now()
        self._told = 0

    def ask(self, n: int, wishes: Wishes | None = None) -> tuple[int, list[Proposal]]:
        """The number of the ask, and at most n proposals within the budget that fulfil the wishes.

        Raises:
            ImpossibleWish: nothing does, or all that does was tried.
            MatloopError: the budget is spent, or the strategy has a bug or takes no wishes.
        """
        wishes = (wishes or Wishes()).among(self._limits)
        number, pending = self._update()
        allowed = self._allowed(n)
        rng = derive(self._seed, self.study.name, "strategy", number)
        with self._calling("ask"):
            if wishes:
                proposals = self._asking(pending, rng)(allowed, wishes)
            else:
                proposals = self.strategy.ask(allowed, pending, rng)[:allowed]
        for proposal in proposals:
            self._check(proposal)
        return number, proposals

    def outlook(self, delta: float | None = None, q: int = 1) -> dict[str, Any]:
        """See `matloop.orchestrator.lab.Lab.outlook`."""
        if delta is not None and not (is_number(delta) and delta > 0):
            raise MatloopError(f"expected delta, a number > 0 in the objective's unit, got {delta!r}")
        if isinstance(q, bool) or not isinstance(q, int) or not 1 <= q <= MOST_AHEAD:
            raise MatloopError(f"expected q, a whole number of experiments from 1 to {MOST_AHEAD}, got {q!r}")
        if not isinstance(self.strategy, WithOutlook):
            return {}
        number, _ = self._update()
        rng = derive(self._seed, self.study.name, "outlook", number, self._told)
        with self._calling("outlook"):
            found = self.strategy.outlook(rng, delta=delta, q=q)
        return {} if found is None else dict(found.as_json())

    @property
    def _limits(self) -> Mapping[str, int]:
        """What every batch has in common, by the study's driver."""
        driver = self.study.driver
        return driver.batch if isinstance(driver, Batching) else {}

    def _asking(self, pending: Pending, rng: np.random.Generator) -> Asking:
        with self._ledger.guard:
            trials = self._ledger.history.of(self.study.name)
        return Asking(self.study.space, self.strategy, trials=trials, pending=pending, rng=rng)

    def foresee(self, ask: Callable[[Predicting], T]) -> T:
        """What the strategy, told every result, answers to a question; nothing is recorded.

        Args:
            ask: puts the question.

        Raises:
            NoPrediction: the strategy has no model, or too few results for it.
        """
        self._update()
        if not isinstance(self.strategy, Predicting):
            raise NoPrediction(
                f"study {self.study.name!r}: the strategy {type(self.strategy).__name__} has no model that predicts; "
                "use the strategy bayesian or active_learning"
            )
        with self._calling("predict"):
            return ask(self.strategy)

    def _update(self) -> tuple[int, Pending]:
        """Tell the strategy what is new; give the number of the next ask and what is pending."""
        name = self.study.name
        with self._ledger.guard:
            self._ledger.catch_up()
            history, now = self._ledger.history, self._now()
            new = [history.trials[i] for i in history.finished[self._told :]]
            if now != self._version or not self._knows(new):
                self.study = self._plan.build(history, self._store)
                self.strategy, self._version, self._told = self.study.strategy, now, 0
                new = [history.trials[i] for i in history.finished]
            self._told = len(history.finished)
            pending = Pending()
            for trial in history.running(name):
                pending.add(trial)
            number = history.asks.get(name, 0)
        try:
            with self._calling("tell"):
                for trial in new:
                    if trial.study == name:
                        self.strategy.tell(trial)
        except BaseException:
            self._version = UNKNOWN  # it may have been told half of it
            raise
        return number, pending

    def _knows(self, trials: Sequence[Trial]) -> bool:
        """Whether the space has a place for what was done: it was told of all former choices when it was made."""
        space, name = self.study.space, self.study.name
        return not isinstance(space, Recalling) or all(space.knows(t.point) for t in trials if t.study == name)

    @contextmanager
    def _calling(self, method: str) -> Iterator[None]:
        """Turn a strategy's own bug into an error that says so."""
        try:
            yield
        except MatloopError:
            raise
        except Exception as error:
            raise MatloopError(
                f"study {self.study.name!r}: the strategy {type(self.strategy).__name__} failed in `{method}`: "
                f"{type(error).__name__}: {error}. All results are recorded; correct it and ask again"
            ) from error

    def _now(self) -> tuple[int, int]:
        """Changes where the past has changed, so that the strategy has to be told all of it again."""
        history = self._ledger.history
        return self._ledger.generation, len(history.amendments) + len(history.completions)

    def _allowed(self, n: int) -> int:
        """How many of n may be recommended within the budget; trials that were not done do not count against it."""
        study = self.study
        spending = Spending(study.budget, study.objectives[0], limited(study.objectives))
        with self._ledger.guard:
            recorded = self._ledger.history.of(study.name)
        trials = [trial for trial in recorded if trial.state != "cancelled" or trial.was_done]
        for trial in trials:
            if trial.state != "running":
                spending.tell(trial)
        if spent := spending.spent(proposed=len(trials), elapsed_s=0.0):
            raise MatloopError(f"the budget of study {study.name!r} is spent: {spent}; raise it to go on")
        allowance = spending.allowance(len(trials))
        return n if allowance is None else min(n, allowance)

    def _check(self, proposal: Proposal) -> None:
        try:
            self.study.space.check(proposal.point)
        except InvalidPoint as error:
            name = f"study {self.study.name!r}: {type(self.strategy).__name__}"
            raise MatloopError(f"{name} proposed what is not in the space: {error}") from error
