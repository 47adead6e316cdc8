"""The manager of an MPI job: a thread that carries calls to worker ranks and answers back, and sees who is lost."""

from __future__ import annotations

import itertools
import math
import sys
import threading
import time
import traceback
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from matloop.hpc.devices import Share
from matloop.hpc.dispatcher import Dispatcher
from matloop.hpc.isolate import unpack
from matloop.hpc.mpi_post import Post
from matloop.hpc.mpi_wire import MANAGER, Kind, Message, Wire, apart
from matloop.hpc.mpi_worker import LONGEST_NAP_S, SHORTEST_NAP_S, kill
from matloop.hpc.parcel import Kept, Parcel
from matloop.orchestrator.errors import MatloopError, WorkerLost

LOOK_S: Final = 0.1  # how often overdue workers and tasks are looked for
SWITCH_S: Final = 0.0003  # how long a message waits while the loop runs Python code; Python's own is 5 ms
GRACE_S: Final = 10.0  # from a failure of this thread to the end of the job, if the main thread does not end it before
LARGEST: Final = 2**30  # bytes of driver and trial that may be sent
STRIDE_S: Final = 1.0  # most that the clock of the leases advances from one look at the messages to the next


@dataclass(frozen=True, slots=True)
class _Call:
    future: Future[Any]
    timeout_s: float | None
    memory_gb: float | None
    parcel: Parcel
    repeatable: bool


class Manager:
    """Runs on rank 0, in a thread that alone uses the wire until it has stopped.

    Args:
        wire: to the workers.
        posts, shares: of every rank.
        lease_s: silence after which a worker is given up, s.

    Attributes:
        broken: of what the thread has died, which it has then printed.
    """

    def __init__(self, wire: Wire, posts: Sequence[Post], shares: Sequence[Share], lease_s: float) -> None:
        self._wire, self._posts = wire, posts
        self._names = [share.name(str(post)) for post, share in zip(posts, shares, strict=True)]
        self._dispatcher: Dispatcher[int, int] = Dispatcher(lease_s=lease_s)
        self._calls: dict[int, _Call] = {}
        self._unheard: deque[Message] = deque()
        self._numbers = itertools.count()
        self._inbox: deque[_Call | Callable[[], None]] = deque()
        self._now, self._looked_at, self._watch = 0.0, 0.0, time.monotonic()
        self._dead: set[int] = set()
        self._kept: defaultdict[int, Kept] = defaultdict(Kept)  # by worker
        self._paths: dict[int, list[str]] = {}  # told to each worker
        self._given_up: dict[int, bool] = {}  # silent workers; whether they have been called off since
        self._gone: set[int] = set()  # workers that have said BYE
        self._stopping = False
        self.broken: BaseException | None = None
        self._failing, self._over = threading.Lock(), threading.Event()
        for rank in range(1, wire.size):
            self._dispatcher.join(rank, self._now)
        self._thread = threading.Thread(target=self._run, name="matloop-mpi", daemon=True)
        self._thread.start()

    @property
    def workers(self) -> int:
        """Number of workers that are there.

        Raises:
            MatloopError: the thread has failed; so the loop hears of it although no evaluation returns any more.
        """
        self._check()
        return self._dispatcher.workers

    @property
    def ahead(self) -> int:
        """See `Dispatcher.ahead`."""
        return self._dispatcher.ahead

    def submit(
        self, parcel: Parcel, timeout_s: float | None, memory_gb: float | None, *, repeatable: bool = True
    ) -> Future[Any]:
        """Have a call made by a worker; may be called from any thread. Cancelled at once if the thread has failed.

        Raises:
            WorkerLost: no worker is left.
            MatloopError: the parcel is too large.
        """
        if parcel.size > LARGEST:
            raise MatloopError(
                f"expected an evaluation of at most {LARGEST / 2**30:g} GiB, got {parcel.size / 2**30:.2f} GiB of "
                "driver and trial, which MPI would carry to every worker; let the driver read its data from a file"
            )
        if not self._dispatcher.workers:
            raise WorkerLost(
                f"expected at least 1 of {self._wire.size - 1} worker ranks to be there, got 0: all were lost; "
                "everything recorded is safe, start the job again to go on"
            )
        call = _Call(Future(), timeout_s, memory_gb, parcel, repeatable)
        with self._failing:
            if self.broken is None:
                self._inbox.append(call)
                return call.future
        _cancel(call)
        return call.future

    def call_off(self, within_s: float = math.inf) -> None:
        """Cancel what has not begun, and have the workers end what runs; may be called from any thread.

        Args:
            within_s: most that this may take, s.
        """
        self._inbox.append(lambda: self._call_off(within_s))

    def stop(self) -> bool:
        """Dismiss the workers, which have nothing left to do, and return once they are gone.

        Returns:
            Whether the job can end as MPI has it, all ranks together.

        Raises:
            MatloopError: the thread has failed.
        """
        self._inbox.append(self._stop)
        self._over.wait()
        self._check()
        self._thread.join()
        return self._united()

    def _run(self) -> None:
        switch_s = sys.getswitchinterval()
        sys.setswitchinterval(min(switch_s, SWITCH_S))
        try:
            nap_s = SHORTEST_NAP_S
            while not (self._stopping and self._gone >= set(self._staying())):
                if self._turn():
                    nap_s = SHORTEST_NAP_S
                else:
                    time.sleep(nap_s)
                    nap_s = min(2 * nap_s, LONGEST_NAP_S)
            for rank in range(1, self._wire.size):
                if rank not in self._dead:
                    self._wire.send(rank, Kind.END, self._united())
            self._wire.flush(within_s=1.0)
        except BaseException as error:
            self._fail(error)
            time.sleep(GRACE_S)  # in which the main thread, if it can, closes the ledger and ends the job
            self._wire.abort()
        finally:
            self._over.set()
            sys.setswitchinterval(switch_s)

    def _fail(self, error: BaseException) -> None:
        """The job cannot go on: say so, and let nobody wait for an answer.

        Evaluations are cancelled, as at a stop, so that none of them counts as an attempt that failed.
        """
        trouble = f"{self._posts[MANAGER]}: the thread that carries messages has failed, so the job ends now; "
        stack = "".join(traceback.format_exception(error))
        with suppress(OSError, ValueError):  # the log may be what has failed
            print(f"{trouble}everything recorded is safe\n{stack}", file=sys.stderr, flush=True)
        with self._failing:
            self.broken = error
        for message in self._unheard:
            if message.kind == Kind.ANSWER:
                with suppress(Exception):  # whatever is wrong, the rest of this must be done
                    self._answered(message.source, *message.content)
        self._calls |= {next(self._numbers): order for order in self._inbox if isinstance(order, _Call)}
        self._cancel_all()
        self._over.set()

    def _check(self) -> None:
        if self.broken is not None:
            raise MatloopError(
                f"the thread that carries MPI messages has failed ({type(self.broken).__name__}: {self.broken}); "
                "everything recorded is safe, start the job again to go on"
            ) from self.broken

    def _united(self) -> bool:
        return not (self._wire.tolerant or self._dead or self._given_up)

    def _staying(self) -> list[int]:
        return [r for r in range(1, self._wire.size) if r not in self._dead and r not in self._given_up]

    def _turn(self) -> bool:
        """Deal with what has happened; returns whether anything has."""
        watch = time.monotonic()
        # if this process was stopped for a while, so were the workers' signs of life: they must be heard first
        self._now += min(watch - self._watch, STRIDE_S)
        self._watch = watch
        self._unheard.extend(self._wire.receive())
        heard = len(self._unheard)
        while self._unheard:
            self._hear(self._unheard.popleft())
        for rank in self._wire.failed():
            self._dead.add(rank)
            self._given_up.pop(rank, None)
            self._lose(rank, "its process died")
        if self._now - self._looked_at > LOOK_S:
            self._look()
        orders = len(self._inbox)
        for _ in range(orders):
            order = self._inbox.popleft()
            if isinstance(order, _Call):
                self._accept(order)
            else:
                order()
        self._dispatch()
        return heard > 0 or orders > 0

    def _dispatch(self) -> None:
        while (assignment := self._dispatcher.next(self._now)) is not None:
            call = self._calls.get(assignment.task)
            if call is None or not self._may_go(call, assignment.begins):
                self._calls.pop(assignment.task, None)
                self._dispatcher.cancel(assignment, self._now)
                continue
            self._show_the_way(assignment.worker)
            body, key, common = self._kept[assignment.worker].lighten(call.parcel)
            order = (assignment.task, call.timeout_s, call.memory_gb, body, key, apart(common))
            self._wire.send(assignment.worker, Kind.RUN, order)

    def _show_the_way(self, rank: int) -> None:
        """A worker's child must be able to import what can be imported here, such as modules beside the campaign."""
        if self._paths.get(rank) != sys.path:
            self._paths[rank] = list(sys.path)
            self._wire.send(rank, Kind.PATHS, self._paths[rank])

    def _may_go(self, call: _Call, begins: bool) -> bool:
        if call.future.running():  # it was given back by a worker that was thought to have begun it
            return True
        if begins or call.future.cancelled():
            return call.future.set_running_or_notify_cancel()
        return True  # it can be cancelled for as long as it waits

    def _hear(self, message: Message) -> None:
        rank = message.source
        if not self._dispatcher.heard(rank, self._now):
            self._hear_again(rank, message.kind)
        elif message.kind == Kind.ANSWER:
            self._answered(rank, *message.content)
        elif message.kind == Kind.BACK:
            self._dispatcher.give_back(rank, message.content, self._now)
        elif message.kind == Kind.BYE:
            self._gone.add(rank)

    def _hear_again(self, rank: int, kind: int) -> None:
        """A worker that was given up is there after all: once it has dropped everything, it is welcome."""
        if rank not in self._given_up:
            return
        if kind == Kind.READY and self._given_up[rank]:
            del self._given_up[rank]
            self._dispatcher.join(rank, self._now)
        elif not self._given_up[rank]:
            self._given_up[rank] = True
            self._wire.send(rank, Kind.CALL_OFF, math.inf)

    def _answered(self, rank: int, task: int, answer: bytes | memoryview) -> None:
        if not self._dispatcher.finish(rank, task, self._now):
            return
        begun = self._dispatcher.begun(rank)
        if begun in self._calls and not self._may_go(self._calls[begun], begins=True):
            del self._calls[begun]
        if (call := self._calls.pop(task, None)) is None:
            return
        try:
            call.future.set_result(unpack(answer))
        except BaseException as error:
            error.add_note(f"on {self._names[rank]}")
            call.future.set_exception(error)

    def _look(self) -> None:
        self._looked_at = self._now
        for rank, task in self._dispatcher.recalls(self._now):
            self._wire.send(rank, Kind.RECALL, task)
        for rank in self._dispatcher.overdue(self._now):
            self._given_up[rank] = False
            self._lose(rank, f"nothing was heard of it for {self._dispatcher.lease_s:g} s")
            if self._wire.tolerant:
                self._have_killed(rank)

    def _have_killed(self, rank: int) -> None:
        """A frozen rank would hold its device, and the job at its end; a rank of the same machine can kill it."""
        lost = self._posts[rank]
        if lost.machine == self._posts[MANAGER].machine:
            kill(lost.process, lost.born)
            return
        for other in self._staying():
            if self._posts[other].machine == lost.machine:
                self._wire.send(other, Kind.KILL, (lost.process, lost.born))
                return

    def _lose(self, rank: int, why: str) -> None:
        self._kept[rank] = Kept()
        begun = self._dispatcher.lose(rank).begun
        if begun is not None and (call := self._calls.pop(begun, None)) is not None:
            call.future.set_exception(WorkerLost(f"lost {self._names[rank]}: {why}"))
        if not self._dispatcher.workers:
            self._cancel_all()  # `submit` says why

    def _cancel_all(self) -> None:
        calls, self._calls = self._calls, {}
        for call in calls.values():
            _cancel(call)

    def _accept(self, call: _Call) -> None:
        if not self._dispatcher.workers:
            _cancel(call)
            return
        number = next(self._numbers)
        self._calls[number] = call
        self._dispatcher.submit(number, may_wait=call.repeatable)

    def _call_off(self, within_s: float) -> None:
        for number, call in list(self._calls.items()):
            if not call.future.running():
                _cancel(call)
                del self._calls[number]
        for rank in self._staying():
            self._wire.send(rank, Kind.CALL_OFF, within_s)

    def _stop(self) -> None:
        self._stopping = True
        for rank in self._staying():
            self._wire.send(rank, Kind.STOP)


def _cancel(call: _Call) -> None:
    """Take back what has not begun; what has ends with CancelledError too, but is not `cancelled()`."""
    if call.future.cancel():
        call.future.set_running_or_notify_cancel()
    else:
        call.future.set_exception(CancelledError("the job ended before the trial did"))
