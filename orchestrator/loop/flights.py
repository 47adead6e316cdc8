"""Evaluations that are with an executor: submitted, waited for, taken when they come back, ended when it is time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

from matloop.orchestrator.interruption import GRACE_S
from matloop.orchestrator.loop.evaluation import Evaluation
from matloop.orchestrator.loop.flight import Flight
from matloop.orchestrator.loop.inbox import Inbox, Item
from matloop.orchestrator.loop.stop import Stop
from matloop.orchestrator.protocols import Driver, WithGrace, WithQueue, WithSlots, grace_of
from matloop.orchestrator.trial import Answer, Trial

POLL_S: Final = 0.5  # how often time budgets and observers are looked at while nothing happens
MOST_AT_ONCE: Final = 500  # handled in a row, so that ten thousand slots fill while answers are recorded
FAREWELL_S = 1.0  # how long results are waited for that come while what runs is ended


class Flights:
    """Evaluations under way, by the ids of their trials.

    Args:
        executor: any.
        slots: evaluations at once; None for the executor's own number and what it wants to have ready ahead of it.
        stop: when to end them.
        inbox: where they report; for simulations.

    Attributes:
        hurry: not to wait, next time: more is to be done at once.
    """

    def __init__(self, executor: Executor, *, slots: int | None, stop: Stop, inbox: Inbox | None = None) -> None:
        self._executor, self._slots, self._stop = executor, slots, stop
        self._sized = executor if isinstance(executor, WithSlots) else None
        self._queueing = executor if isinstance(executor, WithQueue) else None
        self._graceful = executor if isinstance(executor, WithGrace) else None
        self._inbox: Inbox = SimpleQueue() if inbox is None else inbox
        self._by_trial: dict[int, Flight] = {}
        self.hurry = False

    @property
    def slots(self) -> int:
        """Evaluations at once, for now: an executor may lose workers and win new ones."""
        if self._slots is not None:
            return self._slots
        return self._sized.slots if self._sized else 1

    @property
    def room(self) -> int:
        """Evaluations to submit: one per free slot, and those that the executor wants to have ready ahead."""
        ahead = self._queueing.ahead if self._queueing and self._slots is None else 0
        return self.slots + ahead - len(self._by_trial)

    def __len__(self) -> int:
        return len(self._by_trial)

    def __iter__(self) -> Iterator[int]:
        return iter(self._by_trial)

    def __contains__(self, trial: object) -> bool:
        return trial in self._by_trial

    def submit(self, evaluation: Evaluation) -> None:
        """Begin one; KeyboardInterrupt may strike meanwhile."""
        trial, flight = evaluation.trial, Flight(time.time())
        with self._stop.breakable():
            self._by_trial[trial.id] = flight  # from here on it may have begun, whatever strikes
            try:
                future = flight.future = self._executor.submit(evaluation)
            except Exception:
                del self._by_trial[trial.id]
                raise
        future.add_done_callback(lambda done: self._inbox.put((trial, done)))

    def wait(self) -> list[tuple[Trial, Future[Answer]]]:
        """What has come back; blocks until something has, or for `POLL_S`, unless there is a hurry."""
        items: list[Item] = []
        hurry, self.hurry = self.hurry, False
        with suppress(Empty):
            if not hurry:
                items.append(self._inbox.get(timeout=POLL_S))
            while len(items) < MOST_AT_ONCE:
                items.append(self._inbox.get_nowait())
        return [item for item in items if item is not None]

    def now(self) -> list[tuple[Trial, Future[Answer]]]:
        """What has come back so far."""
        self.hurry = True
        return self.wait()

    def take(self, trial: int) -> Flight | None:
        """One that is under way no more; None if it was not."""
        return self._by_trial.pop(trial, None)

    def wake(self) -> None:
        """Return from `wait`; from any thread, and from signal handlers."""
        self._inbox.put(None)

    def end(self, driver: Driver) -> None:
        """End all, and give them the time that they have for it; what comes back stays to be taken."""
        self._stop.grace_s = self._farewell_s(driver)
        deadline = time.monotonic() + self._stop.grace_s
        self._executor.shutdown(wait=False, cancel_futures=True)
        futures = [flight.future for flight in self._by_trial.values() if flight.future is not None]
        count = self._stop.count
        left = [future for future in futures if not future.done()]
        while left and self._stop.count == count and (left_s := deadline - time.monotonic()) > 0:
            left = list(wait(left, min(POLL_S, left_s)).not_done)  # unless yet another signal comes

    def _farewell_s(self, driver: Driver) -> float:
        """How long results are waited for that come while what runs is ended; the executor is told what there is."""
        if self._graceful is None:
            return min(FAREWELL_S, self._stop.left_s / 2)
        self._graceful.patience_s = 0.8 * self._stop.left_s
        own_s = grace_of(driver)
        return min((GRACE_S if own_s is None else own_s) + 2 * FAREWELL_S, 0.9 * self._stop.left_s)
