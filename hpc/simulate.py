"""A simulated cluster under the real manager: the campaign loop, its ledger and the dispatcher run as they are.

A discrete-event simulation. What the manager does (ask, record, pickle, dispatch, learn) is really done and takes the
time that it really takes; what workers and the network do is an event at a time drawn at random. The simulated clock
advances by the manager's own real seconds while it works, and jumps to the next event while it has nothing to do. So a
manager that is too slow leaves simulated workers idle, as a real one would. Times in the ledger are simulated seconds.

What is not in it: the cost of MPI calls on the manager, contention on the file system and between trials of a node.
Heartbeats are taken as heard while a node lives. The process that asks a slow strategy gets only the time in which the
manager is at work, not that in which it waits, so it achieves less than in reality.
"""

from __future__ import annotations

import heapq
import math
import pickle
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from itertools import count
from queue import Empty
from typing import Any

import numpy as np

from matloop.hpc.dispatcher import Dispatcher
from matloop.hpc.isolate import pack, unpack
from matloop.orchestrator.errors import ConfigError, WorkerLost
from matloop.orchestrator.randomness import derive

Duration = Callable[[np.random.Generator], float]
"""Draws how long one evaluation takes, s, > 0."""


def lognormal(mean_s: float, sigma: float = 0.75) -> Duration:
    """Heavy-tailed durations.

    Args:
        mean_s: mean, s, > 0.
        sigma: standard deviation of the logarithm, >= 0; at 0.75 one evaluation in a hundred takes over four means.
    """
    if not (mean_s > 0 and sigma >= 0):
        raise ConfigError(f"expected mean_s > 0 and sigma >= 0, got {mean_s} and {sigma}")
    mu = math.log(mean_s) - sigma**2 / 2

    def draw(rng: np.random.Generator) -> float:
        return math.exp(mu + sigma * rng.standard_normal())

    return draw


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What is simulated.

    Attributes:
        nodes, workers_per_node: how many.
        duration: of an evaluation.
        latency_s: a message's way between manager and worker, s.
        node_mtbf_s: mean time between failures of one node, s, exponential; inf for none. Its workers' evaluations are
            lost with it.
        repair_s: time from a failure until the node's workers are there again, s; inf for never.
        notice_s: time from a failure until the manager knows, s.
    """

    nodes: int
    workers_per_node: int = 1
    duration: Duration
    latency_s: float = 1e-3
    node_mtbf_s: float = math.inf
    repair_s: float = math.inf
    notice_s: float = 1.0

    @property
    def workers(self) -> int:
        """How many there are while all nodes live."""
        return self.nodes * self.workers_per_node


@dataclass(frozen=True, slots=True)
class Sample:
    """Totals since the start, at one moment.

    Attributes:
        at_s: simulated time.
        manager_s: time for which the manager was at work.
        busy_s: worker-seconds spent on evaluations.
        lost_s: worker-seconds of those that were lost with the evaluation.
        down_s: worker-seconds of workers whose node had failed.
        answered: evaluations whose results the manager has had.
        failures: of nodes.
    """

    at_s: float
    manager_s: float
    busy_s: float
    lost_s: float
    down_s: float
    answered: int
    failures: int


class Inbox:
    """The campaign loop's inbox; to wait at it lets simulated time pass."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        """As `queue.SimpleQueue.put`."""
        self._items.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """As `queue.SimpleQueue.get`, in simulated time.

        Raises:
            Empty: the simulated time-out passed.
        """
        if not self._items:
            self._cluster.wait(self._items, math.inf if timeout is None else timeout)
        return self.get_nowait()

    def get_nowait(self) -> Any:
        """As `queue.SimpleQueue.get_nowait`."""
        if not self._items:
            self._cluster.wait(self._items, 0.0)
        if not self._items:
            raise Empty
        return self._items.popleft()


class _Timeline:
    """Worker-seconds of something of which there are now more and now fewer."""

    def __init__(self) -> None:
        self._count, self._moment = 0, 0.0

    def change(self, by: int, at_s: float) -> None:
        """There are so many more from `at_s` on; changes may come in any order."""
        self._count += by
        self._moment += by * at_s

    def until(self, at_s: float) -> float:
        """Worker-seconds until then, which is no earlier than any change."""
        return self._count * at_s - self._moment


@dataclass(slots=True)
class _Worker:
    """A simulated worker: what it is at, what waits there and since when; `life` counts its node's repairs."""

    life: int = 0
    up: bool = True
    task: int | None = None
    began_at: float = 0.0
    waiting: tuple[int, float] | None = None


class Cluster(Executor):
    """An executor whose workers are simulated; give `cluster.inbox` to the campaign and `cluster.clock` to its ledger.

    Args:
        machine: what is simulated.
        seed: of durations and failures.
        sample_s: simulated time between two `samples`, s.
        wall_s: simulated time at which the job ends: `on_end` is called, s.
        on_end: e.g. the clean stop of a job before its wall time.
        beat_s: time between two heartbeats of a worker, whose cost the manager bears, s.

    Attributes:
        inbox: see `Inbox`.
        samples: of the totals, every `sample_s`.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        seed: int = 0,
        sample_s: float = 60.0,
        wall_s: float = math.inf,
        on_end: Callable[[], None] = lambda: None,
        beat_s: float = 5.0,
    ) -> None:
        self.machine = machine
        self.inbox = Inbox(self)
        self.samples: list[Sample] = []
        self._rng = derive("simulated cluster", seed)
        self._dispatcher: Dispatcher[int, int] = Dispatcher(lease_s=math.inf)
        self._workers = [_Worker() for _ in range(machine.workers)]
        self._tasks: dict[int, tuple[Future[Any], Callable[[], Any]]] = {}
        self._number, self._order = count(), count()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._busy, self._down = _Timeline(), _Timeline()
        self._lost_s, self._answered, self._failures = 0.0, 0, 0
        self._beat_s, self._beaten_at, self._beating = beat_s, 0.0, 0
        self._now, self._manager_s = 0.0, 0.0
        self._running_since: float | None = time.perf_counter()
        for worker in range(machine.workers):
            self._dispatcher.join(worker, 0.0)
        self._sample(0.0, sample_s)
        self._next_failure(0.0)
        if wall_s < math.inf:
            self._at(wall_s, lambda at_s: on_end())

    @property
    def slots(self) -> int:
        """Workers that are there, as far as the manager knows."""
        return self._dispatcher.workers

    @property
    def ahead(self) -> int:
        """See `Dispatcher.ahead`."""
        return self._dispatcher.ahead

    def clock(self) -> float:
        """Simulated time, s from the start."""
        elapsed = 0.0 if self._running_since is None else time.perf_counter() - self._running_since
        return self._now + elapsed

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Pickle the call as for a real worker, and have a simulated one make it."""
        pack(fn, *args, **kwargs)
        future: Future[Any] = Future()
        task = next(self._number)
        self._tasks[task] = (future, lambda: fn(*args, **kwargs))
        self._dispatcher.submit(task)
        self._dispatch()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Cancel what is in flight, if asked to; simulated workers need no end."""
        if cancel_futures:
            tasks, self._tasks = self._tasks, {}
            for future, _ in tasks.values():
                future.cancel()

    def wait(self, items: deque[Any], timeout_s: float) -> None:
        """Let simulated time pass until something is in `items`, or for so long."""
        self._pause()
        try:
            self._heartbeats()
            self._pass(items, self._now + timeout_s)
        finally:
            self._resume()

    def _pass(self, items: deque[Any], deadline: float) -> None:
        while not items:
            due = self._now
            while self._events and self._events[0][0] <= due:
                at_s, _, event = heapq.heappop(self._events)
                event(at_s)
            if items or self._now >= deadline:
                break
            following = self._events[0][0] if self._events else math.inf
            self._now = max(self._now, min(following, deadline))

    # The manager's part: takes real time.

    def _dispatch(self) -> None:
        while (sent := self._dispatcher.next(self.clock())) is not None:
            self._pause()
            worker, arrives_at = self._workers[sent.worker], self._now + self.machine.latency_s
            if worker.up and worker.task is None:  # or done with the task behind which this one was to wait
                self._begin(sent.worker, sent.task, arrives_at)
            elif worker.up:
                worker.waiting = sent.task, arrives_at
            self._resume()

    def _receive(self, worker: int, task: int, answer: bytes) -> None:
        self._resume()
        if self._dispatcher.finish(worker, task, self.clock()) and task in self._tasks:
            future, _ = self._tasks.pop(task)
            self._answered += 1
            future.set_result(unpack(answer))
        self._dispatch()
        self._pause()

    def _notice(self, workers: range) -> None:
        self._resume()
        for worker in workers:
            begun = self._dispatcher.lose(worker).begun
            if begun is not None and begun in self._tasks:
                future, _ = self._tasks.pop(begun)
                future.set_exception(WorkerLost(f"simulated worker {worker} was lost with its node"))
        self._dispatch()
        self._pause()

    def _join(self, workers: range) -> None:
        self._resume()
        for worker in workers:
            self._dispatcher.join(worker, self.clock())
        self._dispatch()
        self._pause()

    def _heartbeats(self) -> None:
        due = int((self._now - self._beaten_at) / self._beat_s * self._dispatcher.workers)
        if due:
            self._beaten_at = self._now
            self._resume()
            for _ in range(min(due, len(self._workers))):
                self._beating = (self._beating + 1) % len(self._workers)
                self._dispatcher.heard(self._beating, self._now)
            self._pause()

    def _pause(self) -> None:
        assert self._running_since is not None
        elapsed = time.perf_counter() - self._running_since
        self._now += elapsed
        self._manager_s += elapsed
        self._running_since = None

    def _resume(self) -> None:
        self._running_since = time.perf_counter()

    # The workers' part: takes simulated time only.

    def _begin(self, number: int, task: int, at_s: float) -> None:
        worker, life = self._workers[number], self._workers[number].life
        worker.task, worker.began_at = task, at_s
        self._busy.change(+1, at_s)
        self._at(at_s + self.machine.duration(self._rng), lambda at_s: self._complete(number, life, at_s))

    def _complete(self, number: int, life: int, at_s: float) -> None:
        worker = self._workers[number]
        if worker.life != life or worker.task is None:
            return  # its node has failed meanwhile
        task, worker.task = worker.task, None
        self._busy.change(-1, at_s)
        if task in self._tasks:
            name = f"simulated{number // self.machine.workers_per_node}:{number}"
            answer = replace(self._tasks[task][1](), started_at=worker.began_at, finished_at=at_s, worker=name)
            message = pickle.dumps((True, answer), pickle.HIGHEST_PROTOCOL)
            self._at(at_s + self.machine.latency_s, lambda _: self._receive(number, task, message))
        if worker.waiting is not None:
            (waiting, arrived_at), worker.waiting = worker.waiting, None
            self._begin(number, waiting, max(at_s, arrived_at))

    def _next_failure(self, at_s: float) -> None:
        mean_s = self.machine.node_mtbf_s / self.machine.nodes
        if mean_s < math.inf:
            self._at(at_s + mean_s * self._rng.standard_exponential(), self._fail)

    def _fail(self, at_s: float) -> None:
        size = self.machine.workers_per_node
        node = int(self._rng.integers(self.machine.nodes))
        members = range(node * size, (node + 1) * size)
        if self._workers[members[0]].up:
            self._failures += 1
            for worker in (self._workers[i] for i in members):
                if worker.task is not None:
                    ended_at = max(at_s, worker.began_at)  # it may still have been on its way
                    self._busy.change(-1, ended_at)
                    self._lost_s += ended_at - worker.began_at
                worker.up, worker.life, worker.task, worker.waiting = False, worker.life + 1, None, None
            self._down.change(+size, at_s)
            self._at(at_s + self.machine.notice_s, lambda _: self._notice(members))
            if self.machine.repair_s < math.inf:
                self._at(at_s + max(self.machine.repair_s, self.machine.notice_s), lambda t: self._repair(members, t))
        self._next_failure(at_s)

    def _repair(self, members: range, at_s: float) -> None:
        for i in members:
            self._workers[i].up = True
        self._down.change(-len(members), at_s)
        self._join(members)

    def _sample(self, at_s: float, every_s: float) -> None:
        self.samples.append(
            Sample(
                at_s,
                self._manager_s,
                self._busy.until(at_s),
                self._lost_s,
                self._down.until(at_s),
                self._answered,
                self._failures,
            )
        )
        self._at(at_s + every_s, lambda t: self._sample(t, every_s))

    def _at(self, at_s: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), event))
