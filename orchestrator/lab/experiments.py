"""Experiments that people do: recommend what to do next, take results as they come, lose nothing.

Any number of clients may use one ledger at once, in as many processes: command line, notebooks, servers. The ledger is
locked for the moment of a write and never while a model is fitted.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from matloop.orchestrator.composition import build
from matloop.orchestrator.composition.config import Config
from matloop.orchestrator.errors import MatloopError, Problem, RejectedResults
from matloop.orchestrator.lab.people import parts, parts_as_before, record, study_of_people
from matloop.orchestrator.lab.recommender import Recommender
from matloop.orchestrator.lab.results import Entry, Recorded, Result, require_text
from matloop.orchestrator.lab.rules import Rules
from matloop.orchestrator.ledger import corrections
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.decisions import decide
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.shared import WAIT_S, SharedLedger
from matloop.orchestrator.ledger.slips import advice, slips
from matloop.orchestrator.loop.study import Study
from matloop.orchestrator.measurement import LONGEST_NAME, LONGEST_TEXT
from matloop.orchestrator.protocols import Guiding, Space
from matloop.orchestrator.randomness import derive_seed
from matloop.orchestrator.trial import Objective, Proposal, Trial

ROUNDS = 8
"""How often the strategy is asked beside other clients; if one of them was quicker each time, they wait for once."""


class Experiments:
    """One study whose experiments people do; safe to use from several threads.

    Args:
        config: the campaign.
        directory: for its results; created if absent.
        study: which of its studies; may be left out if only one is measured by people.
        accept_changes: go on although the campaign has changed since the last time.
        clock: Unix time, s.
        wait_s: how long other writers are waited for, s.

    Attributes:
        config: the campaign.
        directory: folder of the campaign, with its ledger.
        parts: name, space, driver and objectives of the study.
        rules: what results must fulfil.

    Raises:
        ConfigError: the campaign is wrong, or no such study is measured by people.
        ConfigChanged: it differs from what the ledger was started with, with the diff.
        LedgerLocked: another process, such as `matloop run`, is writing for long.
    """

    def __init__(
        self,
        config: Config,
        *,
        directory: Path,
        study: str | None = None,
        accept_changes: bool = False,
        clock: Callable[[], float] = time.time,
        wait_s: float = WAIT_S,
    ) -> None:
        self.config = config
        self.directory = directory
        self._clock = clock
        self._store = ArtifactStore(directory / "artifacts")
        self._asking = threading.Lock()
        self._ledger = SharedLedger(directory / "ledger.db", clock=clock, wait_s=wait_s)
        try:
            before = None if accept_changes else parts_as_before(config, self._ledger.history, self._store, study)
            self._validated = before is None
            if before is None:
                study = self._validate(study, accept_changes)
            found = before or parts(config, self._ledger.history, self._store, str(study))
        except BaseException:
            self._ledger.close()
            raise
        self.parts = found
        self.rules = Rules(
            study=found.study,
            space=found.space,
            objectives=found.objectives,
            ranges=found.driver.ranges if isinstance(found.driver, Guiding) else {},
        )

    def _validate(self, study: str | None, accept_changes: bool) -> str:
        studies, resolved = build.validate(self.config)
        name = study_of_people(studies, study)
        self._ledger.join(resolved, record(self.config), accept_change=accept_changes)
        return name

    @cached_property
    def _recommender(self) -> Recommender:
        """The strategy, which is made when it is first asked: that takes seconds, and telling does without."""
        name = self.parts.study
        if not self._validated:
            self._validate(name, False)
            self._validated = True
        plan = {plan.name: plan for plan in build.plans(self.config)}[name]
        study = plan.build(self._ledger.history, self._store)
        return Recommender(study, plan=plan, ledger=self._ledger, store=self._store, seed=self.config.seed)

    @property
    def study(self) -> Study:
        """Space, objectives, driver, budget and strategy."""
        if "_recommender" in self.__dict__:  # without waiting for a model that is being fitted
            return self._recommender.study
        with self._asking:
            return self._recommender.study

    @property
    def space(self) -> Space:
        """What may be done."""
        return self.parts.space

    @property
    def instructions(self) -> str:
        """Shown beside every recommendation."""
        return self.parts.driver.instructions if isinstance(self.parts.driver, Guiding) else ""

    @property
    def name(self) -> str:
        """Of the campaign."""
        return self.config.name

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is measured."""
        return self.parts.objectives

    @property
    def history(self) -> History:
        """What is on record, as far as it has been read; see `refresh`. Not to be changed."""
        return self._ledger.history

    def refresh(self) -> int:
        """Take over what other clients have recorded; say how many events that were."""
        return self._ledger.catch_up()

    def trials(self) -> list[Trial]:
        """All trials of the study, in order."""
        with self._ledger.guard:
            self._ledger.catch_up()
            return self.history.of(self.parts.study)

    def pending(self) -> list[Trial]:
        """Recommendations that nothing has been heard of, in order."""
        with self._ledger.guard:
            self._ledger.catch_up()
            return self.history.running(self.parts.study)

    def recommend(self, n: int = 1, by: str = "") -> list[Trial]:
        """Recommend the next experiments; they are on the disk before they are returned.

        Args:
            n: how many, >= 1.
            by: who asks.

        Returns:
            At most n; none if the strategy waits for results.

        Raises:
            SpaceExhausted: there is nothing left to try.
            MatloopError: the budget is spent.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise MatloopError(f"expected n, a whole number >= 1, got {n!r}")
        require_text("by", by, LONGEST_NAME)
        name = self.parts.study
        with self._asking:
            for _ in range(ROUNDS):
                ask, proposals = self._recommender.ask(n)
                with self._ledger.turn():
                    if self.history.asks.get(name, 0) == ask:
                        return [self._propose(proposal, ask, by) for proposal in proposals]
            with self._ledger.turn():
                ask, proposals = self._recommender.ask(n)
                return [self._propose(proposal, ask, by) for proposal in proposals]

    def record(
        self, results: Sequence[Result], by: str = "", *, amend: bool = False, allow_outside: bool = False
    ) -> list[Recorded]:
        """Record results; all of them are on the disk when this returns, or none.

        Args:
            results: in any order; those on record already are not recorded again.
            by: who reports.
            amend: let a different result take the place of a recorded one; the record keeps both.
            allow_outside: take values outside the plausible ranges.

        Returns:
            The finished trials, in the order of the results.

        Raises:
            RejectedResults: every problem by row, from 0, and column.
        """
        require_text("by", by, LONGEST_NAME)
        results = list(results)
        _reject(self.review(results, amend=amend, allow_outside=allow_outside)[1])  # without keeping others waiting
        with self._ledger.turn():
            entries, problems = self._review(results, amend, allow_outside)
            _reject(problems)
            return [Recorded(self._write(entry, by), entry.action) for entry in entries]

    def review(
        self, results: Sequence[Result], *, amend: bool = False, allow_outside: bool = False
    ) -> tuple[list[Entry], list[Problem]]:
        """What `record` would do with results, and what is wrong with them; nothing is recorded."""
        with self._ledger.guard:
            self._ledger.catch_up()
            return self._review(results, amend, allow_outside)

    def doubts(self) -> dict[int, list[str]]:
        """What looks like a slip of the pen, by trial: sentences that say why, and what corrects it."""
        found: dict[int, list[str]] = {}
        for slip in slips(self.trials(), self.objectives):
            found.setdefault(slip.trial, []).append(advice(slip, self.directory))
        return found

    def cancel(self, trial_id: int, by: str = "", reason: str = "") -> Trial:
        """Record that a recommendation will not be done; harmless when repeated.

        Raises:
            MatloopError: there is no such trial, or it has a result.
        """
        require_text("by", by, LONGEST_NAME)
        require_text("reason", reason, LONGEST_TEXT)
        with self._ledger.turn():
            trial = self._trial(trial_id)
            if trial.state == "cancelled":
                return trial
            if trial.state != "running":
                raise MatloopError(f"trial {trial_id} has a result already; amend or void that instead")
            return self._ledger.cancel(trial, at=self._clock(), worker=by, reason=reason)

    def undecided(self) -> list[Trial]:
        """Trials of any study of the campaign that may have happened, on which a person has yet to decide."""
        with self._ledger.guard:
            self._ledger.catch_up()
            return self.history.undecided()

    def decide(self, trial_id: int, verdict: str, by: str = "", reason: str = "") -> Trial:
        """Decide on one of them; see `matloop.orchestrator.ledger.decisions.decide`.

        Raises:
            MatloopError: there is nothing to decide on it, or it was decided before.
            LedgerLocked: the campaign runs.
        """
        require_text("by", by, LONGEST_NAME)
        require_text("reason", reason, LONGEST_TEXT)
        with self._ledger.turn():
            return decide(self._ledger, trial_id, verdict, by=by, reason=reason)

    def void(self, trial_id: int, by: str = "", reason: str = "") -> Trial:
        """Set the result of an experiment aside: it teaches nothing any more, and its cost stays; the record keeps it.

        Args:
            trial_id: of an experiment with a result.
            by: who says so.
            reason: why; not empty.

        Raises:
            MatloopError: there is no such trial, it has no result, or there is no reason.
        """
        with self._ledger.turn():
            self._trial(trial_id)
            return corrections.void(self._ledger, trial_id, reason=reason, by=by, at=self._clock())

    def outlook(self, delta: float | None = None, q: int = 1) -> dict[str, Any]:
        """What further experiments are worth, by the strategy's model; empty if it cannot say. May take seconds.

        Args:
            delta: least difference that counts, > 0, in the objective's unit; None for one of the size of the noise.
            q: number of experiments to come, from 1 to 100.

        Raises:
            MatloopError: delta or q is out of range.
        """
        with self._asking:
            return self._recommender.outlook(delta, q)

    def close(self) -> None:
        """Let go of the ledger; harmless when called twice."""
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, study={self.parts.study!r}, directory={str(self.directory)!r})"

    def _trial(self, trial_id: int) -> Trial:
        trials = self.history.trials
        known = isinstance(trial_id, int) and 0 <= trial_id < len(trials)
        if not known or trials[trial_id].study != self.parts.study:
            raise MatloopError(f"there is no trial {trial_id!r}; see `matloop status` for the pending ones")
        return trials[trial_id]

    def _propose(self, proposal: Proposal, ask: int, by: str) -> Trial:
        if by:
            proposal = dataclasses.replace(proposal, extra={**proposal.extra, "asked_by": by})
        return self._ledger.propose(self.parts.study, proposal, seed=self._seed(), ask=ask)

    def _seed(self) -> int:
        return derive_seed(self.config.seed, self.parts.study, self.history.counts.get(self.parts.study, 0))

    def _review(self, results: Sequence[Result], amend: bool, allow_outside: bool) -> tuple[list[Entry], list[Problem]]:
        before = {amendment.trial: amendment.before for amendment in self.history.amendments}
        return self.rules.review(results, self.history.trials, before, amend=amend, allow_outside=allow_outside)

    def _write(self, entry: Entry, by: str) -> Trial:
        now, trial = self._clock(), entry.trial
        if trial is None:
            assert entry.point is not None
            extra = {"origin": "reported", **({"request": entry.result.request} if entry.result.request else {})}
            trial = self._ledger.report(self.parts.study, entry.point, seed=self._seed(), extra=extra)
            return self._ledger.answer(trial, entry.result.answer(by=by, started_at=now, finished_at=now))
        if entry.action == "known":
            return trial
        answer = entry.result.answer(by=by, started_at=trial.proposed_at, finished_at=now)
        write = self._ledger.amend if entry.action == "amended" else self._ledger.answer
        return write(trial, answer, point=entry.point)


def _reject(problems: Sequence[Problem]) -> None:
    if problems:
        raise RejectedResults(problems)
