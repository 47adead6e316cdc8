"""Local processes: one kept-alive child per slot, so that no trial can harm another or the campaign."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from matloop.hpc.devices import Sight, Threads, divide, look
from matloop.hpc.isolate import Child, pack, unpack
from matloop.orchestrator.errors import ConfigError

P = ParamSpec("P")
T = TypeVar("T")


class Local(Executor):
    """Processes on this machine. What is submitted must be picklable.

    A callable's own `limits` (attributes `timeout_s` and `memory_gb`), where set, come before the executor's.
    A future raises TimeoutError, MemoryExceeded or WorkerCrashed for a trial that did not return, CancelledError for
    one that was ended by `shutdown(cancel_futures=True)`.

    Args:
        slots: trials at once; by default as many as the usable cores, and GPUs with `trials_per_gpu`, have room for.
        timeout_s: wall time of a trial, s; None for no limit.
        memory_gb: resident memory of a trial, GiB; None for no limit.
        threads: CPU threads that numerical libraries in a trial may use; "auto" for a slot's share of the cores.
        trials_per_gpu: most trials at once on a GPU; None for as many as there happen to be, 0 to use none.
        trials_per_child: trials after which a process is replaced by a fresh one; None for any number.
        log: file that takes what trials print, appended; None leaves it on this process's output.

    Attributes:
        slots: as above.
        patience_s: most that a trial which is ended by `shutdown` may still take, s; else its own grace period counts.

    Raises:
        ConfigError: an option is out of range.
    """

    def __init__(
        self,
        *,
        slots: int | None = None,
        timeout_s: float | None = None,
        memory_gb: float | None = None,
        threads: Threads = 1,
        trials_per_gpu: int | None = None,
        trials_per_child: int | None = None,
        log: Path | None = None,
    ) -> None:
        check_limits(timeout_s, memory_gb, threads, trials_per_gpu, trials_per_child)
        if slots is not None and slots < 1:
            raise ConfigError(f"expected slots >= 1, got {slots}; leave it out to use every core")
        sight = look()
        self.slots = slots if slots is not None else _slots(sight, threads, trials_per_gpu)
        shares = divide([sight] * self.slots, threads=threads, trials_per_gpu=trials_per_gpu)
        self._shares = iter(enumerate(shares))
        self._timeout_s, self._memory_gb = timeout_s, memory_gb
        self._log, self._calls = log, trials_per_child
        self.patience_s = math.inf
        self._children: list[Child] = []
        self._own = threading.local()
        self._equipping = threading.Lock()
        self._closing = threading.Lock()
        self._pool = ThreadPoolExecutor(self.slots, thread_name_prefix="matloop-slot", initializer=self._equip)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Make the call in the next free slot.

        Raises:
            RuntimeError: the executor was shut down.
        """
        return self._pool.submit(self._run, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the children once their work is done.

        Args:
            wait: return only then.
            cancel_futures: drop what has not begun, and end what runs: it is sent SIGTERM, and killed if it goes on for
                longer than its grace period; what it returns until then counts.
        """
        self._pool.shutdown(wait=False, cancel_futures=cancel_futures)
        if cancel_futures:
            for child in list(self._children):
                child.withdraw(self.patience_s)
        if wait:
            self._close()
        else:
            threading.Thread(target=self._close, daemon=True).start()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        """End after the work, or at once if the block is left by an exception."""
        self.shutdown(wait=True, cancel_futures=kind is not None)

    def _equip(self) -> None:
        with self._equipping:
            number, share = next(self._shares)
        environ = share.environment(f"slot {number} on {socket.gethostname()}")
        self._own.child = Child(threads=share.threads, environ=environ, log=self._log, calls=self._calls)
        self._children.append(self._own.child)

    def _run(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        timeout_s, memory_gb = limits_of(fn, self._timeout_s, self._memory_gb)
        child: Child = self._own.child
        result: T = unpack(child.run(pack(fn, *args, **kwargs), timeout_s=timeout_s, memory_gb=memory_gb))
        return result

    def _close(self) -> None:
        self._pool.shutdown(wait=True)
        with self._closing:
            for child in self._children:
                child.dismiss()
            for child in self._children:
                child.close()


def _slots(sight: Sight, threads: Threads, trials_per_gpu: int | None) -> int:
    """As many as there is room for."""
    by_cores = max(1, len(sight.cores) // (1 if threads == "auto" else threads))
    return min(by_cores, len(sight.gpus) * trials_per_gpu) if sight.gpus and trials_per_gpu else by_cores


def limits_of(fn: object, timeout_s: float | None, memory_gb: float | None) -> tuple[float | None, float | None]:
    """The time and memory limits of a call: its own where it has them, else those given."""
    own = getattr(fn, "limits", None)
    own_timeout_s, own_memory_gb = getattr(own, "timeout_s", None), getattr(own, "memory_gb", None)
    return (
        own_timeout_s if own_timeout_s is not None else timeout_s,
        own_memory_gb if own_memory_gb is not None else memory_gb,
    )


def check_limits(
    timeout_s: float | None,
    memory_gb: float | None,
    threads: Threads,
    trials_per_gpu: int | None = None,
    trials_per_child: int | None = None,
) -> None:
    """Raise ConfigError if a limit is out of range."""
    if threads != "auto" and threads < 1:
        raise ConfigError(f"expected threads >= 1 or `auto`, got {threads}")
    if trials_per_gpu is not None and trials_per_gpu < 0:
        raise ConfigError(f"expected trials_per_gpu >= 0, got {trials_per_gpu}; 0 keeps trials off the GPUs")
    if trials_per_child is not None and trials_per_child < 1:
        raise ConfigError(f"expected trials_per_child >= 1, got {trials_per_child}; leave it out for any number")
    if timeout_s is not None and not timeout_s > 0:
        raise ConfigError(f"expected timeout_s > 0, got {timeout_s}; leave it out for no limit")
    if memory_gb is not None and not memory_gb > 0:
        raise ConfigError(f"expected memory_gb > 0, got {memory_gb}; leave it out for no limit")
