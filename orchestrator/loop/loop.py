"""The loop: ask, record, measure, record, tell. Nobody waits for a generation or a batch.

A proposal is durable before it is submitted, a result before the strategy hears of it. Replay tells and never asks,
so a campaign that was killed goes on as if it had not been.
"""

from __future__ import annotations

import gc
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np

from matloop.orchestrator.errors import (
    InvalidPoint,
    LedgerUnwritable,
    MatloopError,
    MemoryExceeded,
    SpaceExhausted,
    StrategyStalled,
    WorkerLost,
)
from matloop.orchestrator.interruption import GRACE_S
from matloop.orchestrator.ledger.ledger import Ledger
from matloop.orchestrator.loop.asker import asker_of
from matloop.orchestrator.loop.budget import Spending
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation
from matloop.orchestrator.loop.folders import Folders
from matloop.orchestrator.loop.inbox import Inbox, Item
from matloop.orchestrator.loop.stop import Stop
from matloop.orchestrator.loop.study import Observer, Study
from matloop.orchestrator.plain import writable
from matloop.orchestrator.protocols import WithGrace, WithQueue, WithSlots, grace_of, kept_by
from matloop.orchestrator.randomness import derive, derive_seed
from matloop.orchestrator.trial import Answer, Failure, Proposal, Trial

POLL_S = 0.5  # how often time budgets and observers are looked at while nothing happens
FULL_COLLECTION_EVERY = 100  # young ones: running evaluations keep many objects alive, so collect in full rarely
FAREWELL_S = 5.0  # what may be waited for at the end beyond grace periods
MOST_AT_ONCE = 500  # proposals or answers handled in a row, so that ten thousand slots fill while answers are recorded


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
    ) -> None:
        self.study, self.ledger, self.executor, self._slots = study, ledger, executor, slots
        self.seed, self.observer, self.stop = seed, observer, stop
        self._sized = executor if isinstance(executor, WithSlots) else None
        self._queueing = executor if isinstance(executor, WithQueue) else None
        self._graceful = executor if isinstance(executor, WithGrace) else None
        self.folders = Folders(artifacts.absolute().parent, kept_by(study.driver))
        self._folders_left: set[int] = set()  # of trials that are about to be finished
        self.inbox: Inbox = SimpleQueue() if inbox is None else inbox
        self.pending: dict[int, Trial] = {}
        self.retries: deque[Trial] = deque()
        self.in_flight: dict[int, float] = {}  # by trial: Unix time of submission, s
        self.barren = False  # the strategy waits for an answer
        self.hurry = False  # more is to be proposed at once
        self.conditions = Conditions(
            driver=study.driver, objectives=study.objectives, artifacts=artifacts, limits=study.limits
        )
        self.spending = Spending(study.budget, study.objectives[0])
        self.exhausted: str | None = None
        self.asker = asker_of(study, self.slots, self._wake)
        stop.wake = self._wake

    @property
    def slots(self) -> int:
        """Evaluations at once, for now: an executor may lose workers and win new ones."""
        if self._slots is not None:
            return self._slots
        return self._sized.slots if self._sized else 1

    def run(self) -> str:
        """Return why the study ended, or "interrupted"."""
        try:
            return self._run()
        finally:
            self.asker.close()
            self.folders.close(within_s=min(FAREWELL_S, max(0.0, self.stop.left_s)))

    def _run(self) -> str:
        history, name = self.ledger.history, self.study.name
        for trial in history.told(name):
            self._tell([trial])
        open_trials = history.running(name)
        if not open_trials and (ended := history.ended(name)) and self._spent() == ended["reason"]:
            return str(ended["reason"])
        self.ledger.note(name, "study_started", {"slots": self.slots})
        self.ledger.commit()
        young, middle, old = gc.get_threshold()
        gc.set_threshold(young, middle, max(old, FULL_COLLECTION_EVERY))
        try:
            self._tidy()
            self._reopen(open_trials)
            self.observer.study_started(self.study, history)
            reason = self._loop()
        except KeyboardInterrupt:
            self._withdraw()
            reason = "interrupted"
        except LedgerUnwritable:
            raise
        except BaseException:
            self._drain()
            raise
        finally:
            gc.set_threshold(young, middle, old)
        if reason != "interrupted":
            self._tidy()
            self.ledger.note(name, "study_ended", {"reason": reason})
            self.ledger.commit()
        self.observer.study_ended(name, reason)
        return reason

    def _loop(self) -> str:
        while True:
            end = self._end()
            if end != "interrupted":
                self._resubmit()
            if end is None:
                self._ask()
            self.observer.running(min(len(self.in_flight), self.slots), self.slots)
            if not self.in_flight:
                if end := self._end():
                    return end
                if not self.asker.busy:
                    raise StrategyStalled(
                        f"study {self.study.name!r}: {type(self.study.strategy).__name__} proposes nothing although "
                        "nothing is running; raise SpaceExhausted from `ask` when every point has been tried"
                    )
            self._record(self._wait())

    def _end(self) -> str | None:
        if self.stop.at_once:
            raise KeyboardInterrupt
        return "interrupted" if self.stop.stopping else self.exhausted or self._spent()

    def _spent(self) -> str | None:
        elapsed_s = self.ledger.history.elapsed_s.get(self.study.name, 0.0)
        return self.spending.spent(proposed=self._proposed(), elapsed_s=elapsed_s)

    def _proposed(self) -> int:
        return self.ledger.history.counts.get(self.study.name, 0)

    def _ask(self) -> None:
        free = self._room()
        allowance = self.spending.allowance(self._proposed())
        n = max(0, min(free, MOST_AT_ONCE) if allowance is None else min(free, MOST_AT_ONCE, allowance))
        if self.barren and self.in_flight:
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
        self.hurry = len(proposals) == MOST_AT_ONCE < free
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
        submitted_at = time.time()
        with self.stop.breakable():
            future = self.executor.submit(Evaluation(self.conditions, trial))
        self.in_flight[trial.id] = submitted_at
        future.add_done_callback(lambda done: self.inbox.put((trial, done)))

    def _reopen(self, trials: Sequence[Trial]) -> None:
        """Deal with what was in flight when the last session ended."""
        history = self.ledger.history
        recorded = {(loss.trial, loss.attempt) for loss in history.lost}
        finished = []
        for trial in trials:
            self.pending[trial.id] = trial
            self.asker.proposed(trial)
            if (trial.id, trial.attempt) in recorded or history.withdrawn(trial):
                self.retries.append(trial)
            else:
                failure = Failure(cause="lost", message="the manager stopped while it ran")
                now = history.sessions[-1].opened_at
                answer = Answer(failure=failure, started_at=trial.proposed_at, finished_at=now)
                finished.extend(self._lose(trial, answer))
        self._finish(finished)

    def _room(self) -> int:
        """Evaluations to submit: one per free slot, and those that the executor wants to have ready ahead."""
        ahead = self._queueing.ahead if self._queueing and self._slots is None else 0
        return self.slots + ahead - len(self.in_flight)

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

    def _wait(self) -> list[tuple[Trial, Future[Answer]]]:
        """What has come back; blocks until something has, or for `POLL_S`, unless there is a hurry."""
        items: list[Item] = []
        hurry, self.hurry = self.hurry, False
        with suppress(Empty):
            if not hurry:
                items.append(self.inbox.get(timeout=POLL_S))
            while len(items) < MOST_AT_ONCE:
                items.append(self.inbox.get_nowait())
        return [item for item in items if item is not None]

    def _record(self, done: Sequence[tuple[Trial, Future[Answer]]], *, tell: bool = True) -> None:
        finished = []
        for trial, future in done:
            answer = _result(future, self.in_flight.pop(trial.id, trial.proposed_at))
            if answer is not None and (answer.leaves_folder or answer.failure is not None):
                self._folders_left.add(trial.id)
            if answer is None:
                self.ledger.withdraw(trial)
                self.retries.append(trial)
            elif answer.failure is not None and answer.failure.retriable:
                finished.extend(self._lose(trial, answer))
            else:
                finished.append(self.ledger.answer(trial, answer))
        self._finish(finished, tell=tell)

    def _finish(self, finished: Sequence[Trial], *, tell: bool = True) -> None:
        self.ledger.commit()
        for trial in finished:
            self.pending.pop(trial.id, None)
            if trial.id in self._folders_left:
                self._folders_left.remove(trial.id)
                self.folders.release(trial.id, trial.state)
        if tell and finished:
            self._tell(finished)
        for trial in finished:
            self.observer.finished(trial)

    def _lose(self, trial: Trial, answer: Answer) -> list[Trial]:
        """An attempt died: try again, or make the failure the result. Returns the trial if that finished it."""
        assert answer.failure is not None
        self.ledger.lose(trial, answer.failure.message)
        if self.study.driver.repeatable and trial.attempt < self.study.attempts:
            self.retries.append(trial)
            return []
        return [self.ledger.answer(trial, answer)]

    def _tell(self, trials: Iterable[Trial]) -> None:
        self.barren = False
        with self._strategy_speaks("tell"):
            for trial in trials:
                self.spending.tell(trial)
                self.asker.tell(trial)

    def _drain(self) -> None:
        """Record what is in flight; the strategy is no longer told."""
        while self.in_flight:
            self._record(self._wait(), tell=False)

    def _withdraw(self) -> None:
        """Stop what is in flight; what comes back in its grace period is recorded."""
        signals = self.stop.count
        within_s = POLL_S
        if self._graceful is not None:
            own_s = grace_of(self.study.driver)
            within_s = max(0.0, min((GRACE_S if own_s is None else own_s) + FAREWELL_S, self.stop.left_s))
            self._graceful.patience_s = within_s
        self.executor.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + within_s
        while self.in_flight:
            for trial, future in self._wait():
                if _has_result(future):
                    self._record([(trial, future)], tell=False)
                else:
                    self.in_flight.pop(trial.id, None)
            if time.monotonic() >= deadline or self.stop.count > max(2, signals):
                break
        for trial in self.pending.values():
            if not self.ledger.history.withdrawn(trial):
                self.ledger.withdraw(trial)
        self.ledger.commit()

    def _tidy(self) -> None:
        """Let go of folders of this study that an earlier session, or an earlier attempt, left behind."""
        if self.folders.keep == "all":
            return
        trials = self.ledger.history.trials
        left = [trials[number] for number in self.folders.left_behind() if number < len(trials)]
        for trial in left:
            if trial.study == self.study.name and trial.state != "running":
                self.folders.release(trial.id, trial.state)

    def _wake(self) -> None:
        self.inbox.put(None)


def _result(future: Future[Answer], submitted_at: float) -> Answer | None:
    """A future's answer; None if it was cancelled."""
    try:
        return future.result()
    except CancelledError:
        return None
    except TimeoutError as error:
        failure = Failure(cause="timeout", message=str(error) or "took longer than its time limit")
    except MemoryExceeded as error:
        failure = Failure(cause="memory", message=str(error))
    except WorkerLost as error:
        failure = Failure(cause="lost", message=str(error))
    except Exception as error:
        text = writable("".join(traceback.format_exception(error)))
        failure = Failure(cause="crash", message=writable(f"{type(error).__name__}: {error}"), traceback=text)
    return Answer(failure=failure, started_at=submitted_at, finished_at=time.time())


def _has_result(future: Future[Answer]) -> bool:
    return not future.cancelled() and future.exception() is None
