"""The loop: ask, record, measure, record, tell. Nobody waits for a generation or a batch.

A proposal is durable before it is submitted, a result before the strategy hears of it. Replay tells and never asks,
so a campaign that was killed goes on as if it had not been.
"""

from __future__ import annotations

import gc
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from matloop.orchestrator.errors import (
    InvalidPoint,
    LedgerUnwritable,
    MatloopError,
    SpaceExhausted,
    StrategyStalled,
)
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.ledger import Ledger
from matloop.orchestrator.loop.asker import asker_of
from matloop.orchestrator.loop.budget import Spending
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation
from matloop.orchestrator.loop.flight import no_answer, outcome
from matloop.orchestrator.loop.flights import MOST_AT_ONCE, Flights
from matloop.orchestrator.loop.folders import Folders
from matloop.orchestrator.loop.held import Held
from matloop.orchestrator.loop.inbox import Inbox
from matloop.orchestrator.loop.outage import Outage
from matloop.orchestrator.loop.patience import PATIENCE_S, Patience
from matloop.orchestrator.loop.restarts import Ending, Rules, again, ending_of, follows, uncertain
from matloop.orchestrator.loop.stop import Stop
from matloop.orchestrator.loop.study import Observer, Study
from matloop.orchestrator.loop.transfer import Unbegun
from matloop.orchestrator.protocols import kept_by
from matloop.orchestrator.randomness import derive, derive_seed
from matloop.orchestrator.trial import Answer, Proposal, Trial, limited

FULL_COLLECTION_EVERY = 100  # young ones: running evaluations keep many objects alive, so collect in full rarely
TIDYING_S = 5.0  # how long the removal of trials' folders is waited for at the end

INTERRUPTED = "interrupted"
STOPPED = "it was stopped while it ran"
ALL_RECORDED = "a last try went through: everything that came back is recorded"


class Loop:
    """One study on its way from its recorded history to its end."""

    def __init__(
        self,
        study: Study,
        *,
        ledger: Ledger,
        executor: Executor,
        slots: int | None,
        seed: int,
        artifacts: Path,
        observer: Observer,
        stop: Stop,
        inbox: Inbox | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.study, self.ledger, self.seed, self.observer, self.stop = study, ledger, seed, observer, stop
        self.flights = Flights(executor, slots=slots, stop=stop, inbox=inbox)
        self.folders = Folders(artifacts.absolute().parent, kept_by(study.driver))
        self.pending: dict[int, Trial] = {}
        self.retries: deque[Trial] = deque()
        self.repeats: deque[Trial] = deque(ledger.history.to_repeat(study.name))
        self.barren = False  # the strategy waits for an answer
        self.said = False  # that it is stopping
        self.conditions = Conditions(
            driver=study.driver,
            objectives=study.objectives,
            artifacts=artifacts,
            limits=study.limits,
            patience=Patience.among(self.flights.slots, patience_s),
        )
        storing, beginning = (Outage(patience_s=patience_s, observer=observer, stop=stop) for _ in range(2))
        self.held = Held(
            ArtifactStore(artifacts), storing=storing, beginning=beginning, repeatable=study.driver.repeatable
        )
        self.rules = Rules(repeatable=study.driver.repeatable, attempts=study.attempts)
        self.uncounted = len(ledger.history.uncounted(study.name))
        self.spending = Spending(study.budget, study.objectives[0], limited(study.objectives))
        self.exhausted: str | None = None
        self.asker = asker_of(study, self.flights.slots, self.flights.wake, lambda: ledger.history.told(study.name))
        stop.wake = self.flights.wake

    def run(self) -> str:
        """Return how it ended: "finished", "nothing answered", "failures in a row" or "interrupted"."""
        try:
            return self._run()
        except KeyboardInterrupt:  # before anything was begun
            return INTERRUPTED
        finally:
            self.asker.close()
            self.folders.close(within_s=min(TIDYING_S, self.stop.left_s / 2))

    def _run(self) -> str:
        history, name = self.ledger.history, self.study.name
        for trial in history.told(name):
            self._tell([trial])
        self.spending.begin_row()  # what was wrong then may have been put right
        open_trials = history.running(name)
        if not open_trials and (ended := history.ended(name)) and self._spent() == ended["reason"]:
            return self._outcome()
        self.ledger.note(name, "study_started", {"slots": self.flights.slots})
        self.ledger.commit()
        young, middle, old = gc.get_threshold()
        gc.set_threshold(young, middle, max(old, FULL_COLLECTION_EVERY))
        try:
            self.folders.tidy(history.trials, name)
            self._reopen(open_trials)
            self.observer.study_started(self.study, history)
            reason = self._loop()
        except KeyboardInterrupt:
            self._withdraw()
            self.held.check()
            reason = INTERRUPTED
        except LedgerUnwritable as error:
            self._last_try(error)
            raise
        except BaseException as error:
            self._drain(error)
            raise
        finally:
            gc.set_threshold(young, middle, old)
        ending = INTERRUPTED if reason == INTERRUPTED else self._outcome()
        if ending != INTERRUPTED:
            self.folders.tidy(history.trials, name)
            free = {"failures in a row": self.spending.row, "nothing answered": self.spending.failed}.get(ending)
            self.ledger.note(name, "study_ended", {"reason": reason} | ({"uncharged": free} if free else {}))
            self.ledger.commit()
        self.observer.study_ended(name, reason)
        return ending

    def _outcome(self) -> str:
        """How the study has ended."""
        if self.spending.broken:
            return "failures in a row"
        return "finished" if self.spending.answered else "nothing answered"

    def _loop(self) -> str:
        while True:
            end = self._end()
            if end != INTERRUPTED:
                self._resubmit()
            elif self.flights and not self.said:
                self.said = True
                self.observer.notice(f"stopping: {_waited_for(len(self.flights))}")
            if end is None and not self.held.any:
                self._repeat()
                self._ask()
            slots = self.flights.slots
            self.observer.running(min(len(self.flights), slots), slots)
            if not self.flights and not self.held.results:
                end = self._end()
                if end == INTERRUPTED or (end and not self.held.any):
                    return end
                if not self.asker.busy and not self.held.any:
                    raise StrategyStalled(
                        f"study {self.study.name!r}: {type(self.study.strategy).__name__} proposes nothing although "
                        "nothing is running; raise SpaceExhausted from `ask` when every point has been tried"
                    )
            self._record(self.flights.wait())
            self.held.check()

    def _end(self) -> str | None:
        if self.stop.at_once:
            raise KeyboardInterrupt
        if self.stop.stopping and (self.flights or self.retries):
            return INTERRUPTED
        return self.exhausted or self._spent() or (INTERRUPTED if self.stop.stopping else None)

    def _spent(self) -> str | None:
        elapsed_s = self.ledger.elapsed_s(self.study.name)
        return self.spending.spent(proposed=self._proposed() - self.uncounted, elapsed_s=elapsed_s)

    def _proposed(self) -> int:
        return self.ledger.history.counts.get(self.study.name, 0)

    def _wanted(self) -> int:
        """How many more to propose now."""
        allowance = self.spending.allowance(self._proposed() - self.uncounted)
        room = min(self._room(), MOST_AT_ONCE)
        return max(0, room if allowance is None else min(room, allowance))

    def _repeat(self) -> None:
        """Begin what a person wants repeated, before anything new."""
        if self.repeats:
            chosen = [self.repeats.popleft() for _ in range(min(self._wanted(), len(self.repeats)))]
            self._begin([again(trial) for trial in chosen], ask=-1)

    def _ask(self) -> None:
        n = self._wanted()
        if self.barren and self.flights:
            return
        name, ask = self.study.name, self.ledger.history.asks.get(self.study.name, 0)

        def random(role: str) -> np.random.Generator:
            return derive(self.seed, name, role, ask)

        try:
            with self._strategy_speaks("ask"):
                proposals = self.asker.ask(n, random)
        except SpaceExhausted as end:
            self.exhausted = f"space exhausted: {end}"
            return
        self.barren = n > 0 and not proposals and not self.asker.busy
        self.flights.hurry = len(proposals) == MOST_AT_ONCE < self._room()
        self._begin(proposals, ask)

    def _begin(self, proposals: Sequence[Proposal], ask: int) -> None:
        trials = [self._propose(proposal, ask) for proposal in proposals]
        self.ledger.commit()
        for trial in trials:
            self.observer.proposed(trial)
            self._submit(trial)

    @contextmanager
    def _strategy_speaks(self, method: str) -> Iterator[None]:
        """Turn a strategy's own bug into a clear end, with the traceback in the ledger."""
        name = self.study.name
        try:
            with self.stop.breakable():
                yield
        except MatloopError:
            raise
        except Exception as error:
            self.ledger.note(name, "strategy_failed", {"traceback": traceback.format_exc()})
            self.ledger.commit()
            raise MatloopError(
                f"study {name!r}: the strategy {type(self.study.strategy).__name__} failed in `{method}`: "
                f"{type(error).__name__}: {error}. All results are recorded; correct it and run again"
            ) from error

    def _propose(self, proposal: Proposal, ask: int) -> Trial:
        try:
            self.study.space.check(proposal.point)
        except InvalidPoint as error:
            raise MatloopError(
                f"study {self.study.name!r}: {type(self.study.strategy).__name__} proposed a point outside the space: "
                f"{error}"
            ) from error
        seed = derive_seed(self.seed, self.study.name, self._proposed())
        trial = self.ledger.propose(self.study.name, proposal, seed=seed, ask=ask)
        self.pending[trial.id] = trial
        self.asker.proposed(trial)
        return trial

    def _submit(self, trial: Trial) -> None:
        self.flights.submit(Evaluation(self.conditions, trial))

    def _reopen(self, trials: Sequence[Trial]) -> None:
        """Deal with what was in flight when the last session ended."""
        history = self.ledger.history
        recorded = {(loss.trial, loss.attempt) for loss in history.lost}
        finished = []
        for trial in trials:
            self.pending[trial.id] = trial
            self.asker.proposed(trial)
            answer = no_answer("the manager stopped while it ran", trial.proposed_at, history.sessions[-1].opened_at)
            begun = history.may_have_begun(trial)
            known = (trial.id, trial.attempt) in recorded or history.withdrawn(trial)
            ending: Ending = "stop" if history.withdrawn(trial) else "death"
            finished += self._settle(trial, ending, answer, begun=begun, recorded=known)
        self._finish(finished)

    def _room(self) -> int:
        """Evaluations to submit."""
        return self.held.room(self.flights.room, self.flights)

    def _resubmit(self) -> None:
        restarted: list[Trial] = []
        while self.retries and self._room() > len(restarted):
            trial = self.retries.popleft()
            attempt = trial.attempt + (not self.ledger.history.withdrawn(trial))
            restarted.append(self.ledger.restart(trial, attempt=attempt))
        self.ledger.commit()
        for trial in restarted:
            self.pending[trial.id] = trial
            self._submit(trial)

    def _record(self, done: Sequence[tuple[Trial, Future[Answer]]], *, tell: bool = True) -> None:
        finished: list[Trial] = []
        answers: list[tuple[Trial, Answer]] = []
        for trial, future in done:
            flight = self.flights.take(trial.id)
            assert flight is not None
            answer = outcome(future, flight.submitted_at)
            if answer is None or answer.leaves_folder or answer.failure is not None:
                self.folders.leave(trial.id)
            if answer is None:
                finished += self._settle(trial, "stop", no_answer(STOPPED, flight.submitted_at), begun=flight.begun)
            else:
                answers.append((trial, answer))
        for trial, answer in self.held.ready(answers):
            begun = not isinstance(answer, Unbegun)
            finished += self._settle(trial, ending_of(answer), answer, begun=begun)
        self._finish(finished, tell=tell)

    def _settle(
        self, trial: Trial, ending: Ending, answer: Answer, *, begun: bool = True, recorded: bool = False
    ) -> list[Trial]:
        """Do what follows the end of an attempt; return the trial if that finished it.

        Args:
            trial: it.
            ending: how the attempt ended.
            answer: what there is of it.
            begun: whether a worker may have begun it.
            recorded: whether its end is on record already.
        """
        following = follows(ending, begun=begun, attempt=trial.attempt, rules=self.rules)
        if ending == "death" and not recorded:
            assert answer.failure is not None
            self.ledger.lose(trial, answer.failure.message)
        if following == "again":
            if ending == "stop" and not recorded:
                self.ledger.withdraw(trial, begun=begun)
            self.retries.append(trial)
            return []
        if following == "uncertain":
            self.spending.crashes += answer.failure is not None and answer.failure.cause == "crash"
            answer = uncertain(answer)
        return [self.ledger.answer(trial, answer)]

    def _finish(self, finished: Sequence[Trial], *, tell: bool = True) -> None:
        self.ledger.commit()
        for trial in finished:
            self.pending.pop(trial.id, None)
            self.folders.answered(trial)
        try:
            if tell and finished:
                self._tell(finished)
        finally:
            for trial in finished:
                self.observer.finished(trial)

    def _tell(self, trials: Iterable[Trial]) -> None:
        self.barren = False
        with self._strategy_speaks("tell"):
            for trial in trials:
                self.spending.tell(trial)
                self.asker.tell(trial)

    def _drain(self, error: BaseException) -> None:
        """Say what is wrong and record what is in flight, until it is to be stopped; the strategy hears no more."""
        count = self.stop.count
        if self.flights:
            self.observer.notice(f"{error or type(error).__name__}\n{_waited_for(len(self.flights))}")
        while self.flights or self.held.results:
            if self.stop.count > count or self.stop.at_once:
                return self._withdraw()
            self._record(self.flights.wait(), tell=False)
        self._let_go()

    def _withdraw(self) -> None:
        """End what is in flight; what came back before is recorded, and measurements that come while it is ended."""
        self.held.give_up()
        self._record(self.flights.now(), tell=False)
        self.flights.end(self.study.driver)
        self._let_go()

    def _let_go(self) -> None:
        """Record of everything that has no answer whether it may have begun."""
        finished: list[Trial] = []
        answers: list[tuple[Trial, Answer]] = []
        waiting = {trial.id for trial in self.retries}
        for trial in [trial for trial in self.pending.values() if trial.id not in waiting]:
            flight = self.flights.take(trial.id)
            self.folders.leave(trial.id)
            if flight is None:
                finished += self._settle(trial, "stop", no_answer(STOPPED, trial.proposed_at), begun=False)
            elif measured := flight.measured:
                answers.append((trial, measured))
            else:
                finished += self._settle(trial, "stop", no_answer(STOPPED, flight.submitted_at), begun=flight.begun)
        for trial, answer in self.held.ready(answers):
            finished += self._settle(trial, "answer", answer)
        self._finish(finished, tell=False)

    def _last_try(self, error: LedgerUnwritable) -> None:
        """The ledger was given up: append what came back in the meantime, and record what there is room for."""
        self.held.give_up()
        with suppress(LedgerUnwritable):
            self._record(self.flights.now(), tell=False)
        left = self.ledger.commit_what_fits()
        error.add_note(f"of what came back meanwhile, {left} events are not recorded" if left else ALL_RECORDED)


def _waited_for(running: int) -> str:
    """That so many evaluations are waited for, and how to end that."""
    if running == 1:
        return "1 evaluation runs and is waited for; Ctrl-C or SIGTERM ends it"
    return f"{running} evaluations run and are waited for; Ctrl-C or SIGTERM ends them"
