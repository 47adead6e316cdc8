"""A strategy away from the loop: it hears the news in batches, then proposes.

On a thread of its own, or in a process of its own: Python code on another thread takes turns with the loop, and numeric
code keeps it waiting for milliseconds at a time, which at hundreds of answers a second is most of the loop's time. A
process needs a strategy that can be made anew there (`maker`, see `matloop.orchestrator.protocols.Strategy`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from matloop.orchestrator.ledger.pending import Pending
from matloop.orchestrator.protocols import Strategy
from matloop.orchestrator.trial import Proposal, Trial, Unanswered

if TYPE_CHECKING:
    from matloop.hpc.isolate import Child

Mail = tuple[Literal["pending"], Unanswered] | tuple[Literal["told"], Trial]
"""What a strategy has to hear of: a proposal that is held ready, a trial that is pending, one that was answered."""

SWITCH_S = 0.0005
"""How long the loop's thread waits while another runs Python code; Python's own 5 ms is long at 400 answers/s."""


class Proposer(Protocol):
    """Does one piece of work at a time."""

    def start(self, mail: Sequence[Mail], n: int, rng: np.random.Generator) -> Future[list[Proposal]]:
        """Have the strategy hear the news and propose at most n points."""
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
    """On a thread of this process; a piece of work that is going on is waited for at the end."""

    def __init__(self, strategy: Strategy) -> None:
        self._listener = Listener(strategy)
        self._switch_s = sys.getswitchinterval()
        self._thread: ThreadPoolExecutor | None = None

    def start(self, mail: Sequence[Mail], n: int, rng: np.random.Generator) -> Future[list[Proposal]]:
        """See `Proposer`."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "ask")
            sys.setswitchinterval(min(self._switch_s, SWITCH_S))
        return self._thread.submit(self._listener.work, mail, n, rng)

    def close(self) -> None:
        """See `Proposer`."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
            self._thread = None
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

        self._child: Child = Child()
        self._thread = ThreadPoolExecutor(1, "ask")
        self._ready = self._thread.submit(self._child.run, pack(_employ, maker))

    def start(self, mail: Sequence[Mail], n: int, rng: np.random.Generator) -> Future[list[Proposal]]:
        """See `Proposer`; the future raises WorkerCrashed if the process died."""
        return self._thread.submit(self._work, mail, n, rng)

    def close(self) -> None:
        """See `Proposer`."""
        self._child.stop()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._child.close()

    def _work(self, mail: Sequence[Mail], n: int, rng: np.random.Generator) -> list[Proposal]:
        from matloop.hpc.isolate import pack, unpack

        unpack(self._ready.result())
        proposals: list[Proposal] = unpack(self._child.run(pack(_work, mail, n, rng)))
        return proposals


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


def _work(mail: Sequence[Mail], n: int, rng: np.random.Generator) -> list[Proposal]:
    if not _employed:
        raise RuntimeError("the process that asks the strategy was started again and knows nothing; run again to go on")
    return _employed[0].work(mail, n, rng)
