"""MPI: rank 0 runs the campaign, every other rank evaluates in an isolated child of its own.

Start it with `mpiexec -n N matloop run campaign.yaml`: N - 1 slots, on as many machines as the launcher spans. A trial
that crashes or hangs costs its child, not its rank; the loss of a rank ends the job, which the ledger makes cheap.
A Ctrl-C goes to mpiexec, and Open MPI's then kills every rank at once; for a clean stop send SIGINT to rank 0.

Built on mpi4py.futures (Rogowski et al., IEEE TPDS 34(2), 2023, doi:10.1109/TPDS.2022.3225481).
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar

from hpc.isolate import Child, pack, unpack
from hpc.local import check_limits, limits_of
from orchestrator.errors import ConfigError, MissingExtra

P = ParamSpec("P")
T = TypeVar("T")

IDLE_S: Final = 0.002  # longest nap between two looks for messages: what it costs in latency it saves in idle cores

_child: Child | None = None  # a worker rank's own


class Mpi(Executor):
    """The ranks of an MPI job. To be entered by every rank, before anything is opened for writing::

        with Mpi(timeout_s=600) as executor:
            if executor is None:  # a worker rank, and rank 0 has left its block
                return
            ...

    Limits and exceptions are those of `hpc.local.Local`.

    Args:
        timeout_s: wall time of a trial, s; None for no limit.
        memory_gb: resident memory of a trial, GiB; None for no limit.
        threads: CPU threads that numerical libraries in a trial may use.
        log: file that takes what trials print, appended; None leaves it on the ranks' output.

    Attributes:
        slots: number of worker ranks; 0 until entered.

    Raises:
        ConfigError: an option is out of range.
    """

    def __init__(
        self,
        *,
        timeout_s: float | None = None,
        memory_gb: float | None = None,
        threads: int = 1,
        log: Path | None = None,
    ) -> None:
        check_limits(timeout_s, memory_gb, threads)
        self.slots = 0
        self._timeout_s, self._memory_gb = timeout_s, memory_gb
        self._threads, self._log = threads, log
        self._pool: Any = None
        self._closed = False
        self._called_off: list[Any] = []

    def __enter__(self) -> Mpi | None:  # type: ignore[override]
        """Return the executor on rank 0; on other ranks serve until rank 0 has left its block, then return None.

        Raises:
            MissingExtra: mpi4py is not installed.
            ConfigError: there is no worker rank.
        """
        try:
            from mpi4py import MPI
            from mpi4py.futures import MPICommExecutor
        except ImportError as error:
            raise MissingExtra("mpi4py", "mpi") from error
        world = MPI.COMM_WORLD
        if world.size < 2:
            raise ConfigError(
                "expected at least 2 MPI ranks (a manager and a worker), got 1; start with `mpiexec -n 2` or more, "
                "or choose `executor: {kind: local}`"
            )
        self.slots = world.size - 1
        self._stop = world.Dup()
        self._context = MPICommExecutor(world, root=0, backoff=IDLE_S)
        if world.rank == 0:
            self._pool = self._context.__enter__()
            return self
        self._serve()
        return None

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        """On rank 0, end the job: after its work, or at once if the block is left by an exception."""
        if self._pool is not None:
            self.shutdown(wait=True, cancel_futures=kind is not None)
            self._call_off()
            self._context.__exit__(kind, value, tb)
            for request in self._called_off:
                request.wait()
            self._stop.Free()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Make the call on the next free worker rank.

        Raises:
            RuntimeError: the executor was shut down, or not entered.
        """
        if self._closed or self._pool is None:
            raise RuntimeError("cannot submit outside the executor's `with` block or after shutdown")
        outer: Future[T] = Future()
        try:
            payload = pack(fn, *args, **kwargs)
        except Exception as error:
            outer.set_running_or_notify_cancel()
            outer.set_exception(error)
            return outer
        inner = self._pool.submit(_evaluate, payload, *limits_of(fn, self._timeout_s, self._memory_gb))
        inner.add_done_callback(lambda done: _pass_on(done, outer))
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse further work.

        Args:
            wait: return only once what was submitted is done.
            cancel_futures: drop what has not begun, and have the workers kill what runs.
        """
        self._closed = True
        if self._pool is None:
            return
        if cancel_futures:
            self._call_off()
        self._pool.shutdown(wait=wait, cancel_futures=cancel_futures)

    def _call_off(self) -> None:
        """Tell each worker rank, once, to kill what it runs."""
        if not self._called_off:
            self._called_off = [self._stop.isend(None, dest=rank) for rank in range(1, self.slots + 1)]

    def _serve(self) -> None:
        global _child
        _child = Child(threads=self._threads, log=self._log, cancelled=lambda: bool(self._stop.iprobe(source=0)))
        # Rank 0 decides what these mean. Handlers, unlike SIG_IGN, are not inherited by the child.
        before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._context.__enter__()  # serves
        finally:
            _child.close()
            for number, handler in before.items():
                signal.signal(number, handler)
        self._stop.recv(source=0)
        self._stop.Free()


def _evaluate(payload: bytes, timeout_s: float | None, memory_gb: float | None) -> bytes:
    """Runs on a worker rank, which passes bytes on and so imports nothing of the trial's."""
    assert _child is not None
    return _child.run(payload, timeout_s=timeout_s, memory_gb=memory_gb)


def _pass_on(inner: Future[bytes], outer: Future[T]) -> None:
    if inner.cancelled():
        outer.cancel()
    if not outer.set_running_or_notify_cancel():
        return
    try:
        outer.set_result(unpack(inner.result()))
    except Exception as error:
        outer.set_exception(error)
