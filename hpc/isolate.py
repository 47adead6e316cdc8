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
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from matloop.hpc import child
from matloop.hpc.parcel import Parcel
from matloop.hpc.process import FAREWELL_S, Process, environment, start
from matloop.orchestrator.errors import MemoryExceeded, NotBegun
from matloop.orchestrator.processes import resident

GIB: Final = 2**30
TICK_S: Final = 0.1  # how often a running child's memory and pulse are looked at
LOADING_S: Final = 300.0  # what importing a call's code may take on top of its time limit


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

    It leads a process group of its own, so a Ctrl-C in the terminal does not reach it, and the group is killed when
    this process ends, however it ends (on Linux by the kernel, elsewhere by a thread of the child). Programs that a
    call leaves running share that fate, unless they form a session of their own.

    Args:
        threads: CPU threads that numerical libraries in it may use.
        environ: what it finds in its environment besides what this process has.
        log: file that takes its standard output and error, appended; None leaves them where this process's go.
        cancelled: asked every now and then during a call, which is given up once it returns True.
    """

    def __init__(
        self,
        *,
        threads: int = 1,
        environ: Mapping[str, str] | None = None,
        log: Path | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._threads, self._environ = threads, dict(environ or {})
        self._log, self._cancelled = log, cancelled
        self._lock = threading.Lock()  # held to change either of these:
        self._process: Process | None = None
        self._stopped = False

    def run(self, parcel: Parcel, *, timeout_s: float | None = None, memory_gb: float | None = None) -> bytes:
        """Make a call in the child.

        Args:
            parcel: from `pack`.
            timeout_s: wall time from when the code is imported, s; None for no limit.
            memory_gb: resident memory of the child and its descendants, GiB, looked at ten times a second; None for
                no limit.

        Returns:
            Bytes for `unpack`.

        Raises:
            TimeoutError: the time limit passed; the child was killed.
            MemoryExceeded: the memory limit was passed; the child was killed.
            WorkerCrashed: the child died; the Python stack it died with is attached as a note where there is one.
            NotBegun: the child cannot be started, for want of memory, processes or files.
            CancelledError: `stop` was called, or `cancelled` returned True.
        """
        process = self._alive()
        try:
            return self._exchange(process, process.kept.lighten(parcel).dump(), timeout_s, memory_gb)
        except (TimeoutError, MemoryExceeded, CancelledError):
            process.bury()
            raise
        except (EOFError, OSError):
            error = process.last_words()
            process.bury()
            if self._stopped:
                raise CancelledError("the executor was shut down during the trial") from None
            raise error from None

    def stop(self) -> None:
        """Kill the child and refuse further calls; may be called from any thread."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()

    def dismiss(self) -> None:
        """Tell an idle child to end, and refuse further calls."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.calls.close()

    def close(self) -> None:
        """Dismiss an idle child, give it a moment to end in peace, and kill it otherwise."""
        self.dismiss()
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.popen.wait(FAREWELL_S)
            self._process.bury()

    def _alive(self) -> Process:
        with self._lock:
            if self._stopped:
                raise CancelledError("the executor was shut down before the trial began")
            if self._process is not None and self._process.popen.poll() is not None:  # it may have died idle
                self._process.bury()
                self._process = None
            if self._process is None:
                try:
                    self._process = start(environment(os.environ, self._threads) | self._environ, self._log)
                except OSError as error:
                    raise NotBegun(f"cannot start a worker on {socket.gethostname()}: {error}") from error
            return self._process

    def _exchange(self, process: Process, payload: bytes, timeout_s: float | None, memory_gb: float | None) -> bytes:
        process.calls.send_bytes((child.UNTIMED if timeout_s is None else child.TIMED) + payload)
        allowed_s = math.inf if timeout_s is None else timeout_s
        look_at = time.monotonic() + TICK_S
        deadline = time.monotonic() + LOADING_S + allowed_s
        while True:
            if process.has_answer(within_s=max(0.0, min(TICK_S, deadline - time.monotonic()))):
                if answer := process.calls.recv_bytes():
                    return answer
                deadline = time.monotonic() + allowed_s  # an empty message: the code is imported, the call begins
            elif process.popen.poll() is not None and not process.has_answer():
                raise EOFError  # a descendant of the dead child holds the connection open
            elif self._cancelled():
                raise CancelledError("the executor was shut down during the trial")
            elif time.monotonic() >= deadline:
                raise TimeoutError(
                    f"took longer than its time limit of {timeout_s:g} s; raise `timeout_s` or make the trial smaller"
                )
            elif memory_gb is not None and (looked_at := time.monotonic()) >= look_at:
                used_gb = resident(process.popen.pid) / GIB
                look_at = looked_at + 20 * (time.monotonic() - looked_at)  # spend at most 5 % of a core on looking
                if used_gb > memory_gb:
                    raise MemoryExceeded(
                        f"used {used_gb:.2f} GiB of memory, its limit is {memory_gb:g} GiB; raise `memory_gb` or make "
                        "the trial smaller"
                    )
