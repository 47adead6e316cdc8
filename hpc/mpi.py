"""MPI: rank 0 runs the campaign, every other rank evaluates in an isolated child of its own.

Start it with `mpiexec -n N matloop run campaign.yaml`: N - 1 slots, on as many machines as the launcher spans. A trial
that crashes or hangs costs its child, not its rank. Under Open MPI's `mpiexec --with-ft ulfm` a rank that dies or
freezes costs its own evaluation, which is begun again elsewhere; otherwise it ends the job, which the ledger makes
cheap. Messages pass point to point and nobody waits for anybody; see `matloop.hpc.dispatcher` for who does what.
"""

from __future__ import annotations

import math
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for
from pathlib import Path
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar

from matloop.hpc.devices import Share, Threads, divide
from matloop.hpc.isolate import Child, pack
from matloop.hpc.local import check_limits, limits_of
from matloop.hpc.mpi_manager import Manager
from matloop.hpc.mpi_post import Post, muster
from matloop.hpc.mpi_wire import MANAGER, Wire, abandon, library
from matloop.hpc.mpi_worker import Worker
from matloop.orchestrator.errors import ConfigError, MatloopError
from matloop.orchestrator.job import ANNOUNCEMENTS, started_with
from matloop.orchestrator.processes import POSIX

P = ParamSpec("P")
T = TypeVar("T")

LEASE_S: Final = 30.0
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, *ANNOUNCEMENTS)


class Mpi(Executor):
    """The ranks of an MPI job. To be entered by every rank, before anything is opened for writing::

        with Mpi(timeout_s=600) as executor:
            if executor is None:  # a worker rank, and rank 0 has left its block
                return
            ...

    Limits and exceptions are those of `matloop.hpc.local.Local`; beside them, a future raises WorkerLost for an
    evaluation that was lost with its rank.

    Args:
        timeout_s: wall time of a trial, s; None for no limit.
        memory_gb: resident memory of a trial, GiB; None for no limit.
        threads: CPU threads that numerical libraries in a trial may use; "auto" for a rank's share of the cores.
        trials_per_gpu: most worker ranks on a GPU; None for as many as there happen to be, 0 to use none.
        trials_per_child: trials after which a rank's process for them is replaced; None for any number.
        lease_s: a rank that is silent for so long is given up, s; it shows itself every fifth of it.
        log: file that takes what trials print, appended; None leaves it on the ranks' output.

    Attributes:
        patience_s: most that a trial which is ended by `shutdown` may still take, s; else its own grace period counts.

    Raises:
        ConfigError: an option is out of range, or this is Windows.
    """

    def __init__(
        self,
        *,
        timeout_s: float | None = None,
        memory_gb: float | None = None,
        threads: Threads = 1,
        trials_per_gpu: int | None = None,
        trials_per_child: int | None = None,
        lease_s: float = LEASE_S,
        log: Path | None = None,
    ) -> None:
        if not POSIX:
            raise ConfigError("MPI needs Linux; choose `executor: {kind: local}` here, or run this on a cluster")
        check_limits(timeout_s, memory_gb, threads, trials_per_gpu, trials_per_child)
        if not lease_s > 0:
            raise ConfigError(f"expected lease_s > 0, got {lease_s}; {LEASE_S:g} is the default")
        self._timeout_s, self._memory_gb = timeout_s, memory_gb
        self._threads, self._trials_per_gpu = threads, trials_per_gpu
        self._lease_s, self._log, self._calls = lease_s, log, trials_per_child
        self.patience_s = math.inf
        self._wire: Wire | None = None
        self._manager: Manager | None = None
        self._closed = False
        self._futures: set[Future[Any]] = set()

    @property
    def slots(self) -> int:
        """Evaluations at once: the worker ranks that are there; 0 until entered, and never again."""
        return max(1, self._manager.workers) if self._manager is not None else 0

    @property
    def ahead(self) -> int:
        """Evaluations worth submitting beyond `slots`, for now; see `matloop.hpc.dispatcher`."""
        return self._manager.ahead if self._manager is not None else 0

    def __enter__(self) -> Mpi | None:  # type: ignore[override]
        """Return the executor on rank 0; on other ranks serve until rank 0 has left its block, then return None.

        Raises:
            MatloopError: there is no MPI library that mpi4py can load, or a rank cannot tell what its machine has.
            ConfigError: there is no worker rank, or there are more on a machine than its GPUs may have.
        """
        world = library().COMM_WORLD
        if world.size < 2 and (started := started_with(os.environ)) > 1:
            raise ConfigError(
                f"expected one MPI job of {started} ranks, got {started} processes that do not know of each other: the "
                "launcher and mpi4py use different MPI libraries; start with the mpiexec of mpi4py's own, or see "
                "`srun --mpi=list` for what Slurm can start"
            )
        if world.size < 2:
            raise ConfigError(
                "expected at least 2 MPI ranks (a manager and a worker), got 1; start with `mpiexec -n 2` or more, "
                "or choose `executor: {kind: local}`"
            )
        try:
            posts = muster(world)
            shares = self._divide(posts)
        except MatloopError as error:
            error.everywhere = True
            raise
        self._wire = Wire(world)
        if world.rank == MANAGER:
            self._manager = Manager(self._wire, posts, shares, self._lease_s)
            return self
        self._serve(self._wire, posts[world.rank], shares[world.rank])
        return None

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        """On rank 0, end the job: after its work, or at once if the block is left by an exception.

        If that goes wrong, the launcher ends all ranks, with an exit code other than 0.
        """
        if self._manager is None or self._wire is None:
            return
        try:
            self.shutdown(wait=True, cancel_futures=kind is not None)
            united = self._manager.stop()
        except BaseException:
            told = self._manager.broken
            if told is None or (value is not None and value.__cause__ is not told):
                traceback.print_exc()
            self._wire.abort()
            raise
        _part(self._wire, united)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Make the call on the next free worker rank.

        Raises:
            RuntimeError: the executor was shut down, or not entered.
            WorkerLost: no worker is left.
        """
        if self._closed or self._manager is None:
            raise RuntimeError("cannot submit outside the executor's `with` block or after shutdown")
        try:
            parcel = pack(fn, *args, **kwargs)
        except Exception as error:
            failed: Future[T] = Future()
            failed.set_running_or_notify_cancel()
            failed.set_exception(error)
            return failed
        timeout_s, memory_gb = limits_of(fn, self._timeout_s, self._memory_gb)
        repeatable = bool(getattr(fn, "repeatable", True))
        future = self._manager.submit(parcel, timeout_s, memory_gb, repeatable=repeatable)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse further work.

        Args:
            wait: return only once what was submitted is done.
            cancel_futures: drop what has not begun, and have the workers end what runs (see `Local.shutdown`).
        """
        self._closed = True
        if self._manager is None:
            return
        if cancel_futures:
            self._manager.call_off(self.patience_s)
        if wait:
            wait_for(list(self._futures))

    def _divide(self, posts: Sequence[Post]) -> list[Share]:
        """The share of each rank, on all ranks alike, so that an error is one on all of them; none for the manager."""
        shares = [Share()] * len(posts)
        machines: dict[int, list[Post]] = {}
        for post in posts[MANAGER + 1 :]:
            machines.setdefault(post.machine, []).append(post)
        for crew in machines.values():
            divided = divide(
                [post.sight for post in crew],
                threads=self._threads,
                trials_per_gpu=self._trials_per_gpu,
                where=f" on {crew[0].host}",
            )
            for post, share in zip(crew, divided, strict=True):
                shares[post.rank] = share
        return shares

    def _serve(self, wire: Wire, post: Post, share: Share) -> None:
        def child(cancelled: Callable[[], bool]) -> Child:
            environ = share.environment(str(post))
            return Child(threads=share.threads, environ=environ, log=self._log, cancelled=cancelled, calls=self._calls)

        # Rank 0 decides what these mean. Handlers, unlike SIG_IGN, are not inherited by the child.
        before = {number: signal.signal(number, lambda *_: None) for number in STOP_SIGNALS}
        try:
            united = Worker(wire, child, self._lease_s).serve()
        except Exception:
            traceback.print_exc()
            wire.abort()
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        _part(wire, united)


def _part(wire: Wire, united: bool) -> None:
    if united:
        wire.close()
    else:
        abandon()
