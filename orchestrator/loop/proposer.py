"""A strategy away from the loop: it hears the news in batches, then proposes.

On a thread of its own, or in a process of its own: Python code on another thread takes turns with the loop, and numeric
code keeps it waiting for milliseconds at a time, which at hundreds of answers a second is most of the loop's time. A
process needs a strategy that can be made anew there (`maker`, see `matloop.orchestrator.protocols.Strategy`).
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Literal, ParamSpec, Protocol, TypeVar

import numpy as np

from matloop.orchestrator.errors import MatloopError, WorkerCrashed
from matloop.orchestrator.ledger.pending import Pending
from matloop.orchestrator.protocols import Strategy
from matloop.orchestrator.trial import Proposal, Trial, Unanswered

if TYPE_CHECKING:
    from matloop.hpc.isolate import Child

Mail = tuple[Literal["pending"], Unanswered] | tuple[Literal["told"], Trial]
"""What a strategy has to hear of: a proposal that is held ready, a trial that is pending, one that was answered."""

P = ParamSpec("P")
T = TypeVar("T")

BREAK_OFF_S: Final = 1.0
"""How long an ask that is broken off is waited for."""

FAREWELL_S: Final = 10.0
"""How long the end of a killed process is waited for."""

SWITCH_S = 0.0005
"""How long the loop's thread waits while another runs Python code; Python's own 5 ms is long at 400 answers/s."""


class Proposer(Protocol):
    """Does one piece of work at a time."""

    def start(self, mail: Sequence[Mail], n: int, rng: np.random.Generator) -> Future[list[Proposal]]:
        """Have the strategy hear the news and propose at most n points; the future raises ProposerDied if the strategy
        is lost."""
        ...

    def renew(self) -> None:
        """Make the lost strategy anew, told nothing."""
        ...

    def close(self) -> None:
        """Let go of the strategy."""
        ...


class Listener:
    """A strategy and what is pending, as far as it has heard."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._pending = Pending()

    def work(self, mail: Sequence[Mail], n: int, rng: np.random.Generator) -> list[Proposal]:
        """Hear the news, then propose."""
        for item in mail:
            apply(self._pending, item)
            if item[0] == "told":
                self._strategy.tell(item[1])
        return self._strategy.ask(n, self._pending, rng)[:n]


class ThreadProposer:
    """On a thread of this process.

    At the end, what is going on is broken off between two steps of Python; if that does not come in time, it is left
    behind. Neither the end of a study nor that of the interpreter waits for it.
    """

    def __init__(self, strategy: Strategy) -> None:
        self._listener = Listener(strategy)
        self._switch_s = sys.getswitchinterval()
        self._hand: Hand | None = None

    def start(self, mail: Sequence[Mail], n: int, rng: np.random.Generator) -> Future[list[Proposal]]:
        """See `Proposer`."""
        if self._hand is None:
            self._hand = Hand()
            sys.setswitchinterval(min(self._switch_s, SWITCH_S))
        return self._hand.submit(self._listener.work, mail, n, rng)

    def renew(self) -> None:
        """See `Proposer`; a thread does not die."""

    def close(self) -> None:
        """See `Proposer`."""
        if self._hand is not None:
            self._hand.release(BREAK_OFF_S, break_off=True)
            self._hand = None
            sys.setswitchinterval(self._switch_s)


class ProcessProposer:
    """In a process of its own, which is killed at the end whatever it is doing.

    Args:
        maker: gives the strategy, which has been told nothing; picklable.

    Raises:
        Exception: `maker` cannot be pickled.
    """

    def __init__(self, maker: Callable[[], Strategy]) -> None:
        from matloop.hpc.isolate import Child, pack

        self._employ = pack(_employ, maker)
        self._child: Child = Child()
        self._hand = Hand()
        self._ready: Future[bytes] = self._hand.submit(self._child.run, self._employ)

    def start(self, mail: Sequence[Mail], n: int, rng: np.random.Generator) -> Future[list[Proposal]]:
        """See `Proposer`."""
        return self._hand.submit(self._work, mail, n, rng)

    def renew(self) -> None:
        """See `Proposer`."""
        self._ready = self._hand.submit(self._child.run, self._employ)

    def close(self) -> None:
        """See `Proposer`."""
        self._child.stop()
        self._hand.release(FAREWELL_S)
        self._child.close()

    def _work(self, mail: Sequence[Mail], n: int, rng: np.random.Generator) -> list[Proposal]:
        from matloop.hpc.isolate import pack, unpack

        try:
            unpack(self._ready.result())
            proposals: list[Proposal] | None = unpack(self._child.run(pack(_work, mail, n, rng)))
        except WorkerCrashed as error:
            raise ProposerDied(str(error)) from error
        if proposals is None:
            raise ProposerDied("the process that asks the strategy had died, and was started again")
        return proposals


class ProposerDied(MatloopError):
    """The process of a strategy is gone, and with it what the strategy had been told."""


class Hand:
    """A thread that does one call after another, and that nobody has to wait for: not even the interpreter's end."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="ask", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a call made after those before it."""
        future: Future[T] = Future()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    result = fn(*args, **kwargs)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)

        self._calls.put(call)
        return future

    def release(self, within_s: float, *, break_off: bool = False) -> None:
        """Let go of the thread once it has made the call that it is making; what comes of that is dropped.

        Args:
            within_s: how long that is waited for, s.
            break_off: raise an exception in the thread, which strikes when it runs Python code.
        """
        with suppress(Empty):
            while True:
                self._calls.get_nowait()
        if break_off and self._busy:  # before it may end, so that it strikes within `_run`
            thread = ctypes.c_ulong(self._thread.ident or 0)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(_BrokenOff))
        self._calls.put(None)
        self._thread.join(within_s)
        if self._thread.is_alive():
            _left_behind.append(self._thread)

    def _run(self) -> None:
        with suppress(_BrokenOff):
            while (call := self._calls.get()) is not None:
                self._busy = True
                call()
                self._busy = False


class _BrokenOff(BaseException):
    """Strikes in a thread whose work nobody wants any more."""


_left_behind: list[threading.Thread] = []


def left_behind() -> bool:
    """Whether a thread still computes what nobody waits for; then it is wise to end the process without clearing up."""
    return any(thread.is_alive() for thread in _left_behind)


def apply(pending: Pending, item: Mail) -> None:
    """Keep what is pending up to date."""
    if item[0] == "pending":
        pending.add(item[1])
    else:
        pending.discard(item[1].id)


_employed: list[Listener] = []
"""In the process of a `ProcessProposer`: its strategy."""


def _employ(maker: Callable[[], Strategy]) -> None:
    _employed[:] = [Listener(maker())]


def _work(mail: Sequence[Mail], n: int, rng: np.random.Generator) -> list[Proposal] | None:
    """None if this process was started again and knows nothing."""
    return _employed[0].work(mail, n, rng) if _employed else None
