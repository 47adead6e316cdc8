"""Which worker does what: pure bookkeeping, without messages and without a clock, so that it can be simulated.

Whoever carries the messages (`matloop.hpc.mpi`, `matloop.hpc.simulate`) reports events with the time at which they
happened, sends out what `next` gives, and asks now and then for what is `overdue` or to be recalled (`recalls`). Every
call is O(1), or O(1) per item that it returns, whatever the number of workers.

**A task is placed ahead of time only where that pays.** An idle worker always comes first. One task may wait at a
worker behind the one at work, which hides the way to the manager and back, a few milliseconds. Behind a short task that
is worth much; behind a ten-minute one it gains nothing, keeps the waiting one from a worker that is free sooner, and
makes the strategy decide before it knows the answers of those ten minutes. So it is done only while recent tasks took
less than `SHORT_S` on average, and only behind a task that began less than `SHORT_S` ago. Durations have heavy tails:
a task that has waited at a worker for longer than that is called back.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

W = TypeVar("W", bound=Hashable)
T = TypeVar("T", bound=Hashable)

SHORT_S: Final = 0.5  # without a task ahead, each costs milliseconds of waiting: under 1 % of anything longer
HIDDEN_S: Final = 0.02  # what whoever submits may take to hear of an answer and to make the next task of it
DEEPEST: Final = 16  # tasks per worker that are worth having ready, however short they are
RECENT: Final = 32  # answers over which the mean duration is taken


@dataclass(frozen=True, slots=True)
class Assignment(Generic[W, T]):
    """A task to be sent to a worker.

    Attributes:
        begins: whether the worker is free for it; if not, it waits there behind another.
    """

    worker: W
    task: T
    begins: bool


@dataclass(frozen=True, slots=True)
class Loss(Generic[T]):
    """What a lost worker had.

    Attributes:
        begun: the task at work, which is lost with it; None if it was idle.
        waiting: tasks that waited there; they are queued again, first in line.
    """

    begun: T | None
    waiting: tuple[T, ...]


@dataclass(slots=True)
class _Seat(Generic[T]):
    """What one worker has."""

    tasks: deque[T] = field(default_factory=deque)  # the first is at work, the second waits
    began_at: float = 0.0


class Dispatcher(Generic[W, T]):
    """Workers come and go; each task submitted is finished once, or reported lost once.

    Args:
        lease_s: silence after which a worker is overdue, s.
        ahead: whether a task may wait at a busy worker (see above).
    """

    def __init__(self, *, lease_s: float, ahead: bool = True) -> None:
        self.lease_s = lease_s
        self._may_wait = ahead
        self._seats: dict[W, _Seat[T]] = {}
        self._queue: OrderedDict[T, None] = OrderedDict()
        self._idle: OrderedDict[W, None] = OrderedDict()
        self._single: OrderedDict[W, None] = OrderedDict()  # with one task; the one that began first comes first
        self._never_waits: set[T] = set()  # of those queued
        self._waiting: dict[T, W] = {}  # at which worker
        self._patient: OrderedDict[T, float] = (
            OrderedDict()
        )  # since when it waits, if not called back; the oldest first
        self._heard: OrderedDict[W, float] = OrderedDict()  # the most silent first
        self._mean_s, self._finished = 0.0, 0

    @property
    def workers(self) -> int:
        """Number of workers."""
        return len(self._seats)

    @property
    def idle(self) -> int:
        """Number of workers that have nothing."""
        return len(self._idle)

    @property
    def queued(self) -> int:
        """Number of tasks that are with no worker."""
        return len(self._queue)

    @property
    def ahead(self) -> int:
        """Number of tasks worth having beyond one per worker, for now: what is done in `HIDDEN_S`, at least one each.

        None for a single worker: the order of its answers, and so of all decisions, stays exactly reproducible.
        """
        if len(self._seats) < 2 or not self._short():
            return 0
        return len(self._seats) * min(DEEPEST, max(1, round(HIDDEN_S / max(self._mean_s, 1e-6))))

    def join(self, worker: W, now: float) -> None:
        """A worker is there, idle; one that was lost may come again.

        Raises:
            ValueError: it is there already.
        """
        if worker in self._seats:
            raise ValueError(f"expected a worker that is not there yet, got {worker!r}; `lose` it first")
        self._seats[worker] = _Seat()
        self._idle[worker] = None
        self._heard[worker] = now

    def submit(self, task: T, *, may_wait: bool = True) -> None:
        """Queue a task.

        Args:
            task: it.
            may_wait: whether it may wait at a busy worker. Nobody else knows whether that worker has begun it when the
                worker is lost, so what must not be done twice may not.
        """
        self._queue[task] = None
        if not may_wait:
            self._never_waits.add(task)

    def next(self, now: float) -> Assignment[W, T] | None:
        """The next thing to send, taken as sent; None if there is none. To be called until then after every event."""
        if not self._queue:
            return None
        if self._idle:
            worker, _ = self._idle.popitem(last=False)
            task, _ = self._queue.popitem(last=False)
            self._never_waits.discard(task)
            self._seats[worker].tasks.append(task)
            self._begin(worker, now)
            return Assignment(worker, task, begins=True)
        if next(iter(self._queue)) in self._never_waits:
            return None
        while self._single and self._may_wait and self._short():
            worker, _ = self._single.popitem(last=False)  # it is listed again when it begins its next task
            if now - self._seats[worker].began_at < SHORT_S:
                task, _ = self._queue.popitem(last=False)
                self._seats[worker].tasks.append(task)
                self._waiting[task] = worker
                self._patient[task] = now
                return Assignment(worker, task, begins=False)
        return None

    def begun(self, worker: W) -> T | None:
        """The task at work; None if the worker is idle or not there."""
        seat = self._seats.get(worker)
        return seat.tasks[0] if seat and seat.tasks else None

    def heard(self, worker: W, now: float) -> bool:
        """There is a sign of life; returns whether the worker is one of ours."""
        if worker not in self._heard:
            return False
        self._heard[worker] = now
        self._heard.move_to_end(worker)
        return True

    def finish(self, worker: W, task: T, now: float) -> bool:
        """A worker has answered; what waits there begins.

        Returns:
            Whether the answer counts. It does not if the worker had been given up, or no longer has the task.
        """
        seat = self._seats.get(worker)
        if seat is None or not seat.tasks or seat.tasks[0] != task:
            return False
        self._finished += 1
        self._mean_s += (now - seat.began_at - self._mean_s) / min(self._finished, RECENT)
        self.heard(worker, now)
        self._vacate(worker, now)
        return True

    def give_back(self, worker: W, task: T, now: float) -> bool:
        """A worker returns a task that it has not begun; it is queued again, first in line.

        It may be the one that is thought to be at work: the worker was asked for it while it waited, and answered the
        one before in the meantime.

        Returns:
            Whether the worker had it.
        """
        if self.begun(worker) == task:
            self._vacate(worker, now)
        elif self._waiting.get(task) == worker and worker in self._seats:
            self._stand_up(task)
            self._seats[worker].tasks.remove(task)
        else:
            return False
        self._requeue(task)
        self.heard(worker, now)
        return True

    def cancel(self, assignment: Assignment[W, T], now: float) -> None:
        """Forget a task that was assigned just now and not sent."""
        if assignment.begins:
            self._vacate(assignment.worker, now)
        else:
            self._stand_up(assignment.task)
            self._seats[assignment.worker].tasks.remove(assignment.task)

    def recalls(self, now: float) -> list[tuple[W, T]]:
        """Tasks that have waited at a worker for too long, each named once: to be asked back (`give_back`).

        A worker that has begun it in the meantime finishes it, and nothing is to be done.
        """
        found = []
        while self._patient:
            task, since = next(iter(self._patient.items()))
            if now - since < SHORT_S:
                break
            del self._patient[task]
            found.append((self._waiting[task], task))
        return found

    def overdue(self, now: float) -> list[W]:
        """Workers not heard of for `lease_s`; to be asked after all that was received has been reported."""
        found = []
        for worker, at in self._heard.items():
            if now - at < self.lease_s:
                break
            found.append(worker)
        return found

    def lose(self, worker: W) -> Loss[T]:
        """A worker is gone, or given up: its late answers will not count. For one that is not there, nothing happens.

        A worker that leaves of its own will does so when it is idle, or loses what it had begun.
        """
        seat = self._seats.pop(worker, None)
        if seat is None:
            return Loss(None, ())
        self._heard.pop(worker)
        self._idle.pop(worker, None)
        self._single.pop(worker, None)
        begun = seat.tasks.popleft() if seat.tasks else None
        for task in seat.tasks:
            self._stand_up(task)
            self._requeue(task)
        return Loss(begun, tuple(seat.tasks))

    def _short(self) -> bool:
        return self._finished > 0 and self._mean_s < SHORT_S

    def _begin(self, worker: W, now: float) -> None:
        self._seats[worker].began_at = now
        if len(self._seats[worker].tasks) == 1:
            self._single[worker] = None

    def _vacate(self, worker: W, now: float) -> None:
        """The worker's first task is done with."""
        tasks = self._seats[worker].tasks
        tasks.popleft()
        self._single.pop(worker, None)
        if tasks:
            self._stand_up(tasks[0])
            self._begin(worker, now)
        else:
            self._idle[worker] = None

    def _stand_up(self, task: T) -> None:
        """It waits no longer."""
        del self._waiting[task]
        self._patient.pop(task, None)

    def _requeue(self, task: T) -> None:
        self._queue[task] = None
        self._queue.move_to_end(task, last=False)
