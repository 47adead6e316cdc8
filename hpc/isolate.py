"""A kept-alive child process that makes calls within limits of time and memory.

Whatever a call does to its process (a segfault, `os._exit`, running out of memory, hanging in C code) ends that child
and nothing else; the next call gets a new one. Imports are paid once per child, not once per call.

Why not `multiprocessing` or a pool built on it: a child's environment (threads per process, no trace of the MPI
launcher) must be right before its first import, the user's main script must not run in it unasked, and the one who
waits for a call must also be the one who may kill it. See `matloop.hpc.process` for how it is started and reached.
"""

from __future__ import annotations

import math
import os
import pickle
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import Any

from matloop.hpc.exchange import Exchange
from matloop.hpc.parcel import Parcel
from matloop.hpc.process import FAREWELL_S, Process, environment, start
from matloop.orchestrator.errors import MemoryExceeded, NotBegun


def pack(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Parcel:
    """Pickle a call for `Child.run`."""
    return Parcel.of(fn, args, kwargs)


def unpack(answer: bytes | memoryview) -> Any:
    """Return the result within the bytes that `Child.run` returned, or raise the exception there."""
    succeeded, value = pickle.loads(answer)
    if succeeded:
        return value
    raise value


class Child:
    """A process that makes one call at a time; started at the first one, and again after each death.

    It leads a process group of its own, so a Ctrl-C in the terminal does not reach it, and it is killed when this
    process ends, however that ends: on Linux together with everything that it has ever started (see
    `matloop.hpc.guardian`), elsewhere together with what is still linked to it.

    A call in which memory runs out is made once more, in a fresh process, if it says that it is `repeatable` and the
    process had made calls before, which may have left something behind.

    Args:
        threads: CPU threads that numerical libraries in it may use.
        environ: what it finds in its environment besides what this process has.
        log: file that takes its standard output and error, appended; None leaves them where this process's go.
        cancelled: asked every now and then during a call, which is interrupted once it returns True.
        calls: how many a process makes before another takes its place; None for any number.

    Attributes:
        patience_s: most that an interrupted call may still take, s; else its own grace period counts.
    """

    def __init__(
        self,
        *,
        threads: int = 1,
        environ: Mapping[str, str] | None = None,
        log: Path | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        calls: int | None = None,
    ) -> None:
        self._threads, self._environ = threads, dict(environ or {})
        self._log, self._cancelled, self._calls = log, cancelled, calls
        self.patience_s = math.inf
        self._lock = threading.Lock()  # held to change any of these:
        self._process: Process | None = None
        self._stopped = False
        self._idle = threading.Event()
        self._idle.set()

    def run(self, parcel: Parcel, *, timeout_s: float | None = None, memory_gb: float | None = None) -> bytes:
        """Make a call in the child.

        Args:
            parcel: from `pack`.
            timeout_s: wall time from when the code is imported, s; None for no limit.
            memory_gb: memory of the child and its descendants, GiB, looked at ten times a second; None for no limit.

        Returns:
            Bytes for `unpack`. An interrupted call may still return a result.

        Raises:
            TimeoutError: the time limit passed, and so did the grace period.
            MemoryExceeded: the memory limit was passed; the child was killed.
            WorkerCrashed: the child died; the Python stack it died with is attached as a note where there is one.
            NotBegun: the child cannot be started, for want of memory, processes or files.
            CancelledError: `stop` or `withdraw` was called, or `cancelled` returned True.
        """
        try:
            return self._run(parcel, timeout_s, memory_gb, again=False)
        except _Spent:
            return self._run(parcel, timeout_s, memory_gb, again=True)
        finally:
            self._idle.set()

    def stop(self) -> None:
        """Kill the child and refuse further calls; may be called from any thread."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()

    def withdraw(self, within_s: float = math.inf) -> None:
        """Interrupt the call that is being made, and refuse further ones; may be called from any thread.

        Args:
            within_s: most that it may still take, s.
        """
        with self._lock:
            self._stopped, self.patience_s = True, min(self.patience_s, within_s)
            if self._process is not None and self._idle.is_set():
                self._process.kill()

    def settle(self) -> None:
        """Wait until no call is being made."""
        self._idle.wait()

    def dismiss(self) -> None:
        """Tell an idle child to end, and refuse further calls."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.channel.close()

    def close(self) -> None:
        """Dismiss an idle child, give it a moment to end in peace, and kill it otherwise."""
        self.dismiss()
        if self._process is not None:
            _part(self._process)

    def _run(self, parcel: Parcel, timeout_s: float | None, memory_gb: float | None, *, again: bool) -> bytes:
        process = self._alive()
        used = process.calls > 0
        exchange = Exchange(
            process,
            timeout_s=timeout_s,
            memory_gb=memory_gb,
            ending=self._ending,
            patience_s=lambda: self.patience_s,
        )
        try:
            answer = exchange.answer(process.kept.lighten(parcel).dump(), again=again)
        except (TimeoutError, CancelledError):
            process.bury()
            raise
        except MemoryExceeded as error:
            process.bury()
            raise (_Spent() if used and exchange.repeatable else error) from None
        except (EOFError, OSError):
            crash = process.last_words()
            process.bury()
            if self._stopped:
                raise CancelledError("the executor was shut down during the trial") from None
            raise (_Spent() if used and exchange.repeatable and process.was_killed else crash) from None
        if exchange.interrupted:
            process.bury()
        elif exchange.memory_ran_out and exchange.repeatable:
            process.bury()
            raise _Spent
        return answer

    def _ending(self) -> Exception | None:
        if self._stopped or self._cancelled():
            return CancelledError("the executor was shut down during the trial")
        return None

    def _alive(self) -> Process:
        with self._lock:
            if self._stopped:
                raise CancelledError("the executor was shut down before the trial began")
            if self._process is not None and self._calls is not None and self._process.calls >= self._calls:
                self._process.channel.close()
                _part(self._process)
                self._process = None
            if self._process is not None and self._process.gone:  # it may have died idle
                self._process.bury()
                self._process = None
            if self._process is None:
                try:
                    self._process = start(environment(os.environ, self._threads) | self._environ, self._log)
                except OSError as error:
                    raise NotBegun(f"cannot start a worker on {socket.gethostname()}: {error}") from error
            self._idle.clear()
            return self._process


class _Spent(Exception):
    """Memory ran out in a process that had made calls before."""


def _part(process: Process) -> None:
    """Let a child that has been told to end do so in peace."""
    with suppress(subprocess.TimeoutExpired):
        process.popen.wait(FAREWELL_S)
    process.bury()
