"""Dask: workers that come and go while a campaign runs, on this machine, through a batch system, or on several sites.

Each worker thread is a slot, with an isolated child of its own. The loss of a worker costs only the evaluations on it.
The cluster may be one that runs already (`address`), or one that lives as long as the campaign (`cluster`), such as a
`dask_jobqueue.SLURMCluster`, which submits its workers as jobs of their own.
"""

from __future__ import annotations

import importlib
import itertools
import math
import pickle
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Executor, Future
from concurrent.futures import wait as wait_for
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

from matloop.hpc.devices import Threads, divide, look
from matloop.hpc.isolate import Child, pack, unpack
from matloop.hpc.local import check_limits, limits_of
from matloop.hpc.parcel import Parcel
from matloop.orchestrator.errors import ConfigError, MissingExtra, WorkerLost

P = ParamSpec("P")
T = TypeVar("T")

COUNT_S: Final = 1.0  # how long a count of the workers is relied upon
CONNECT_S: Final = 60.0


class Dask(Executor):
    """The workers of a Dask cluster. matloop must be installed where they run, at the same version.

    Limits and exceptions are those of `matloop.hpc.local.Local`; beside them, a future raises WorkerLost for an
    evaluation that was lost with its worker. So that no evaluation is repeated unseen, the scheduler is told to give up
    a task at the first loss of its worker (`allowed_failures = 0`), which holds for other users of that scheduler too.

    Args:
        address: of a scheduler (`tcp://host:8786`), or a scheduler file.
        cluster: `class`: a cluster's class, such as `dask_jobqueue.SLURMCluster`, or `LocalCluster`; `scale`: how many
            workers, or `adapt`: from how many to how many, as there is work; all other keys are the class's options.
        slots: evaluations at once; by default one per worker thread that is there, however many that are at the time,
            and as many as there may be if the cluster adapts.
        timeout_s: wall time of a trial, s; None for no limit.
        memory_gb: resident memory of a trial, GiB; None for no limit.
        threads: CPU threads that numerical libraries in a trial may use; "auto" divides the cores that a worker may use
            among its threads.
        trials_per_child: trials after which a process is replaced by a fresh one; None for any number.
        trials_per_gpu: most trials at once on a GPU; None for as many as a worker has threads, 0 to use none. Workers
            on one machine do not know of each other: give each its GPUs (`CUDA_VISIBLE_DEVICES`, dask-cuda).
        log: file that takes what trials print, appended; None leaves it on the workers' output.

    Attributes:
        patience_s: most that a trial which is ended by `shutdown` may still take, s; else its own grace period counts.

    Raises:
        MissingExtra: dask.distributed is not installed.
        ConfigError: an option is wrong, or there is no scheduler at the address.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        cluster: Mapping[str, Any] | None = None,
        slots: int | None = None,
        timeout_s: float | None = None,
        memory_gb: float | None = None,
        threads: Threads = 1,
        trials_per_gpu: int | None = None,
        trials_per_child: int | None = None,
        log: Path | None = None,
    ) -> None:
        check_limits(timeout_s, memory_gb, threads, trials_per_gpu, trials_per_child)
        if (address is None) == (cluster is None):
            raise ConfigError("expected either `address` of a Dask scheduler or `cluster: {class: …}`")
        self._timeout_s, self._memory_gb = timeout_s, memory_gb
        self._crew = _Orders(
            uuid.uuid4().hex, threads, trials_per_gpu, log.absolute() if log else None, trials_per_child
        )
        self._slots, self._least_slots = slots, 1
        self._counted, self._counted_at = 0, -COUNT_S
        self._futures: dict[Future[Any], tuple[int, Any]] = {}
        self._called_off: set[Future[Any]] = set()
        self._numbers = itertools.count()
        self._closed = False
        self.patience_s = math.inf
        self._dismissing: threading.Thread | None = None
        self._lock = threading.Lock()
        self._cluster: Any = None
        if cluster is not None:
            self._cluster, self._least_slots = _start(cluster)
        self._client = _connect(address, self._cluster)

    @property
    def slots(self) -> int:
        """Evaluations at once, now."""
        if self._slots is not None:
            return self._slots
        if time.monotonic() - self._counted_at >= COUNT_S and not self._closed:
            self._counted = sum(self._client.nthreads().values())
            self._counted_at = time.monotonic()
        return max(self._least_slots, self._counted)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Make the call on the next free worker.

        Raises:
            RuntimeError: the executor was shut down.
        """
        if self._closed:
            raise RuntimeError("cannot submit after shutdown; make a new executor")
        outer: Future[T] = Future()
        try:
            parcel = pack(fn, *args, **kwargs)
        except Exception as error:
            outer.set_running_or_notify_cancel()
            outer.set_exception(error)
            return outer
        limits = limits_of(fn, self._timeout_s, self._memory_gb)
        number = next(self._numbers)
        inner = self._client.submit(_evaluate, number, parcel, limits, self._crew, sys.path, pure=False)
        with self._lock:
            self._futures[outer] = (number, inner)
        inner.add_done_callback(lambda done: self._pass_on(done, outer))
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the workers go, and end a cluster of one's own.

        Args:
            wait: return only once what was submitted is done.
            cancel_futures: drop what has not begun, and end what runs: it is sent SIGTERM and can save what it has, but
                what it returns then does not come back.
        """
        self._closed = True
        with self._lock:
            left = dict(self._futures)
        if cancel_futures:
            self._call_off(left)
        if wait:
            wait_for(list(left))
            self._close()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        """End after the work, or at once if the block is left by an exception."""
        self.shutdown(wait=True, cancel_futures=kind is not None)

    def _call_off(self, left: Mapping[Future[Any], tuple[int, Any]]) -> None:
        """Have the scheduler forget what is left, and the workers kill what runs. A future is cancelled if its call was
        certainly never begun."""
        with self._lock:
            self._called_off |= left.keys()
        self._client.cancel([inner for _, inner in left.values()], force=True)
        begun = self._dismiss()
        for outer, (number, _) in left.items():
            if outer.done():
                continue
            if begun is None or number in begun:
                outer.set_running_or_notify_cancel()
                outer.set_exception(CancelledError("the executor was shut down during the trial"))
            else:
                outer.cancel()
                outer.set_running_or_notify_cancel()

    def _pass_on(self, inner: Any, outer: Future[Any]) -> None:
        with self._lock:
            self._futures.pop(outer, None)
            if outer in self._called_off:  # what the scheduler says of it now is about that
                return
        if not outer.set_running_or_notify_cancel():
            return
        try:
            outer.set_result(unpack(_answer(inner)))
        except Exception as error:
            outer.set_exception(error)
        finally:
            inner.release()

    def _dismiss(self) -> set[int] | None:
        """End the children; a scheduler that is gone has none.

        Returns:
            Numbers of all calls that any worker has begun; None if one of them did not say.
        """
        try:
            said = self._client.run(_disband, self._crew.name, on_error="return")
        except (OSError, TimeoutError):
            return None
        known = [numbers for numbers in said.values() if isinstance(numbers, set)]
        return set().union(*known) if len(known) == len(said) else None

    def _close(self) -> None:
        if self._client.status == "closed":
            return
        if self._dismissing is not None:
            self._dismissing.join()
        self._dismiss()
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def _start(options: Mapping[str, Any]) -> tuple[Any, int]:
    """A cluster of one's own, and how many evaluations it wants to see waiting so that it grows."""
    given = dict(options)
    name, scale, adapt = given.pop("class", None), given.pop("scale", None), given.pop("adapt", None)
    if not isinstance(name, str):
        raise ConfigError("expected `cluster: {class: dask_jobqueue.SLURMCluster, …}`: the `class` is missing")
    bounds = isinstance(adapt, list) and len(adapt) == 2 and all(type(n) is int for n in adapt)
    if adapt is not None and not (bounds and 0 <= adapt[0] <= adapt[1] and adapt[1] > 0):
        raise ConfigError(f"expected `adapt: [least, most]` numbers of workers, got {adapt!r}")
    if scale is not None and (adapt is not None or type(scale) is not int or scale < 1):
        raise ConfigError(f"expected either `scale`, a number of workers, or `adapt`, got {scale!r} and {adapt!r}")
    module, _, cls = name.rpartition(".")
    distributed = _distributed()
    try:
        make = getattr(importlib.import_module(module) if module else distributed, cls)
    except ImportError as error:
        raise ConfigError(
            f"cannot import {module!r} of the cluster: {error}; install the package that has it"
        ) from error
    except AttributeError as error:
        raise ConfigError(f"{module or 'distributed'} has no class {cls!r}") from error
    try:
        cluster = make(**given)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} does not take these options: {error}") from error
    if adapt is not None:
        cluster.adapt(minimum=adapt[0], maximum=adapt[1])
    elif scale is not None:
        cluster.scale(scale)
    return cluster, adapt[1] if adapt is not None else 1


def _distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise MissingExtra("distributed") from error


def _connect(address: str | None, cluster: Any) -> Any:
    Client: Any = _distributed().Client
    place = {"address": cluster if address is None else address}
    if address is not None and Path(address).is_file():
        place = {"scheduler_file": address}
    try:
        client = Client(**place, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ConfigError(
            f"there is no Dask scheduler at {address}: {error}; start one with `dask scheduler`, or give a `cluster`"
        ) from error
    client.run_on_scheduler(_give_up_at_once)
    return client


def _give_up_at_once(dask_scheduler: Any) -> None:
    dask_scheduler.allowed_failures = 0


def _answer(inner: Any) -> bytes:
    """What a worker returned.

    Raises:
        WorkerLost: it died.
    """
    from distributed import KilledWorker

    try:
        answer: bytes = inner.result()
    except KilledWorker as error:
        worker = getattr(error, "last_worker", None)
        raise WorkerLost(f"lost the Dask worker {getattr(worker, 'address', 'that evaluated it')}") from error
    return answer


# --- on the workers --------------------------------------------------------------------------------------------------


class _Orders(NamedTuple):
    """What the executor tells its workers with every call."""

    name: str
    threads: Threads
    trials_per_gpu: int | None
    log: Path | None
    trials_per_child: int | None


class _Crew:
    """The children of one worker process, one a thread."""

    def __init__(self, orders: _Orders) -> None:
        from distributed import get_worker

        worker = get_worker()
        sights = [look()] * worker.state.nthreads
        self._place = f"Dask worker {worker.name} on {socket.gethostname()}"
        self._shares = divide(
            sights, threads=orders.threads, trials_per_gpu=orders.trials_per_gpu, where=f" on {self._place}"
        )
        self._log, self._calls = orders.log, orders.trials_per_child
        self._own = threading.local()
        self._children: list[Child] = []
        self._lock = threading.Lock()
        self._begun: set[int] = set()  # calls that run
        self._disbanded = False

    def run(self, number: int, parcel: Parcel, limits: tuple[float | None, float | None]) -> bytes:
        """Make a call in the child of this thread.

        Raises:
            CancelledError: the crew was disbanded.
        """
        with self._lock:
            if self._disbanded:
                raise CancelledError("the executor was shut down before the trial began")
            self._begun.add(number)
        try:
            return self.child().run(parcel, timeout_s=limits[0], memory_gb=limits[1])
        finally:
            with self._lock:
                if not self._disbanded:
                    self._begun.discard(number)

    def child(self) -> Child:
        """The child of this thread."""
        if not hasattr(self._own, "child"):
            with self._lock:
                share = self._shares[len(self._children) % len(self._shares)]
                environ = share.environment(self._place)
                self._own.child = Child(threads=share.threads, environ=environ, log=self._log, calls=self._calls)
                self._children.append(self._own.child)
        child: Child = self._own.child
        return child

    def disband(self) -> set[int]:
        """End all, what runs is asked to, first; say which calls ran."""
        with self._lock:
            self._disbanded = True
        for child in self._children:
            child.withdraw()
        for child in self._children:
            child.settle()
        for child in self._children:
            child.close()
        return self._begun


_crews: dict[str, _Crew] = {}
_crews_lock = threading.Lock()
_disbanded: set[str] = set()


def _evaluate(
    number: int,
    parcel: Parcel,
    limits: tuple[float | None, float | None],
    orders: _Orders,
    sys_path: list[str],
) -> bytes:
    """Make a call in the child of this thread; what a child may import is what the manager may."""
    try:
        with _crews_lock:
            if orders.name in _disbanded:
                raise CancelledError("the executor was shut down before the trial began")
            sys.path += [entry for entry in sys_path if entry not in sys.path and Path(entry).is_absolute()]
            if orders.name not in _crews:
                _crews[orders.name] = _Crew(orders)
            own = _crews[orders.name]
        return own.run(number, parcel, limits)
    except Exception as error:
        return pickle.dumps((False, error), pickle.HIGHEST_PROTOCOL)


def _disband(name: str) -> set[int]:
    with _crews_lock:
        _disbanded.add(name)
        crew = _crews.pop(name, None)
    return crew.disband() if crew is not None else set()
