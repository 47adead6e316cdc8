"""A kept-alive child process that makes calls within limits of time and memory.

Whatever a call does to its process (a segfault, `os._exit`, running out of memory, hanging in C code) ends that child
and nothing else; the next call gets a new one. Imports are paid once per child, not once per call.

Why not `multiprocessing` or a pool built on it: a child's environment (threads per process, no trace of the MPI
launcher) must be right before its first import, the user's main script must not run in it unasked, and the one who
waits for a call must also be the one who may kill it. For POSIX systems.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, Final

import psutil

from matloop.hpc import child
from matloop.orchestrator.errors import MemoryExceeded, WorkerCrashed
from matloop.orchestrator.job import MPI_RANK

GIB: Final = 2**30
TICK_S: Final = 0.1  # how often a running child's memory and pulse are looked at
LOADING_S: Final = 300.0  # what importing a call's code may take on top of its time limit
FAREWELL_S: Final = 5.0  # how long a dying child is waited for

COMMAND: Final = """\
import json, sys
call = json.loads(sys.argv[1])
sys.path[:] = call["sys_path"]
from matloop.hpc.child import serve
serve(**call)
"""
THREADS: Final = tuple(
    f"{library}_THREADS" for library in ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "NUMEXPR_NUM", "VECLIB_MAXIMUM")
)
LAUNCHER: Final = ("OMPI_", "PMIX_", "PMI_", "PRTE_", "HYDI_", "MPI_LOCAL")
"""What mpiexec tells its ranks; a child that kept it would pass for a rank of the same job."""


def pack(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> bytes:
    """Pickle a call for `Child.run`."""
    return pickle.dumps((fn, args, kwargs), pickle.HIGHEST_PROTOCOL)


def unpack(answer: bytes) -> Any:
    """Return the result within the bytes that `Child.run` returned, or raise the exception there."""
    succeeded, value = pickle.loads(answer)
    if succeeded:
        return value
    raise value


@dataclass(frozen=True)
class _Life:
    """One child process from birth to burial, and what it is reached by."""

    process: subprocess.Popen[bytes]
    calls: Connection
    lifeline: IO[bytes]  # the kernel kills the child's process group when this closes
    stacks: IO[bytes]

    def has_answer(self, within_s: float = 0.0) -> bool:
        """Whether there is something to receive, or nothing more will come. `Connection.poll` takes twice the time."""
        waiting = select.poll()
        waiting.register(self.calls.fileno(), select.POLLIN)
        return bool(waiting.poll(1000 * within_s))

    def kill(self) -> None:
        """Kill the process, its group and its other descendants, unless it is buried and the id may be another's."""
        if self.stacks.closed:
            return
        family = _family(self.process.pid) if self.process.returncode is None else []
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for member in family:
            with suppress(psutil.Error):
                member.kill()

    def bury(self) -> None:
        """Kill what is left and let go of everything; may be repeated."""
        self.kill()
        with suppress(subprocess.TimeoutExpired):  # stuck in the kernel: nothing more can be done about it
            self.process.wait(FAREWELL_S)
        self.calls.close()
        self.lifeline.close()
        self.stacks.close()

    def last_words(self) -> WorkerCrashed:
        """What to say of a child that died on its own."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)
        error = WorkerCrashed(f"the worker died during the trial: {_cause_of_death(self.process.returncode)}")
        self.stacks.seek(0)
        if stack := self.stacks.read().decode(errors="replace"):
            error.add_note(stack)
        return error


class Child:
    """A process that makes one call at a time; started at the first one, and again after each death.

    It leads a process group of its own, so a Ctrl-C in the terminal does not reach it, and the kernel kills the group
    when this process ends, however it ends. Programs that a call leaves running share that fate, unless they form a
    session of their own.

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
        self._life: _Life | None = None
        self._stopped = False

    def run(self, payload: bytes, *, timeout_s: float | None = None, memory_gb: float | None = None) -> bytes:
        """Make a call in the child.

        Args:
            payload: from `pack`.
            timeout_s: wall time from when the code is imported, s; None for no limit.
            memory_gb: resident memory of the child and its descendants, GiB, looked at ten times a second; None for
                no limit.

        Returns:
            Bytes for `unpack`.

        Raises:
            TimeoutError: the time limit passed; the child was killed.
            MemoryExceeded: the memory limit was passed; the child was killed.
            WorkerCrashed: the child died; the Python stack it died with is attached as a note where there is one.
            CancelledError: `stop` was called, or `cancelled` returned True.
        """
        life = self._alive()
        try:
            return self._exchange(life, payload, timeout_s, memory_gb)
        except (TimeoutError, MemoryExceeded, CancelledError):
            life.bury()
            raise
        except (EOFError, OSError):
            error = life.last_words()
            life.bury()
            if self._stopped:
                raise CancelledError("the executor was shut down during the trial") from None
            raise error from None

    def stop(self) -> None:
        """Kill the child and refuse further calls; may be called from any thread."""
        with self._lock:
            self._stopped = True
            if self._life is not None:
                self._life.kill()

    def dismiss(self) -> None:
        """Tell an idle child to end, and refuse further calls."""
        with self._lock:
            self._stopped = True
            if self._life is not None:
                self._life.calls.close()

    def close(self) -> None:
        """Dismiss an idle child, give it a moment to end in peace, and kill it otherwise."""
        self.dismiss()
        if self._life is not None:
            with suppress(subprocess.TimeoutExpired):
                self._life.process.wait(FAREWELL_S)
            self._life.bury()

    def _alive(self) -> _Life:
        with self._lock:
            if self._stopped:
                raise CancelledError("the executor was shut down before the trial began")
            if self._life is not None and self._life.process.poll() is not None:  # it may have died idle
                self._life.bury()
                self._life = None
            if self._life is None:
                self._life = _bear(environment(os.environ, self._threads) | self._environ, self._log)
            return self._life

    def _exchange(self, life: _Life, payload: bytes, timeout_s: float | None, memory_gb: float | None) -> bytes:
        life.calls.send_bytes((child.UNTIMED if timeout_s is None else child.TIMED) + payload)
        allowed_s = math.inf if timeout_s is None else timeout_s
        look_at = time.monotonic() + TICK_S
        deadline = time.monotonic() + LOADING_S + allowed_s
        while True:
            if life.has_answer(within_s=max(0.0, min(TICK_S, deadline - time.monotonic()))):
                if answer := life.calls.recv_bytes():
                    return answer
                deadline = time.monotonic() + allowed_s  # an empty message: the code is imported, the call begins
            elif life.process.poll() is not None and not life.has_answer():
                raise EOFError  # a descendant of the dead child holds the connection open
            elif self._cancelled():
                raise CancelledError("the executor was shut down during the trial")
            elif time.monotonic() >= deadline:
                raise TimeoutError(
                    f"took longer than its time limit of {timeout_s:g} s; raise `timeout_s` or make the trial smaller"
                )
            elif memory_gb is not None and (looked_at := time.monotonic()) >= look_at:
                used_gb = resident(life.process.pid) / GIB
                look_at = looked_at + 20 * (time.monotonic() - looked_at)  # spend at most 5 % of a core on looking
                if used_gb > memory_gb:
                    raise MemoryExceeded(
                        f"used {used_gb:.2f} GiB of memory, its limit is {memory_gb:g} GiB; raise `memory_gb` or make "
                        "the trial smaller"
                    )


def _bear(environ: dict[str, str], log: Path | None) -> _Life:
    if child.importing_main:
        raise RuntimeError(
            "a worker that was importing your script to find the submitted function came to start workers itself; "
            'put what the script does under `if __name__ == "__main__":`'
        )
    with ExitStack() as ours, ExitStack() as theirs:
        here, there = socket.socketpair()
        theirs.callback(there.close)
        calls = ours.enter_context(Connection(here.detach()))
        watched, held = os.pipe()
        theirs.callback(os.close, watched)
        lifeline = ours.enter_context(os.fdopen(held, "wb"))
        stacks = ours.enter_context(tempfile.TemporaryFile())
        output = None
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            output = theirs.enter_context(log.open("ab"))
        inherited = {"calls": there.fileno(), "lifeline": watched, "stacks": stacks.fileno()}
        origin = {"sys_path": [str(entry) or str(Path.cwd()) for entry in sys.path], "main": _main()}
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", COMMAND, json.dumps(inherited | origin)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environ,
            pass_fds=tuple(inherited.values()),
            start_new_session=True,
        )
        ours.pop_all()  # from here on the burial closes them
    return _Life(process, calls, lifeline, stacks)


def environment(outer: Mapping[str, str], threads: int) -> dict[str, str]:
    """A child's environment: this one, with its number of threads and without what says "I am an MPI rank"."""
    inner = dict(outer)
    if not inner.keys().isdisjoint(MPI_RANK):
        for name in outer:
            if name.startswith(LAUNCHER) and not name.startswith("OMPI_ALLOW_RUN_AS_ROOT"):
                del inner[name]
    return inner | dict.fromkeys(THREADS, str(threads))


def resident(pid: int) -> int:
    """Resident memory of a process and its descendants, bytes; shared pages count once per process."""
    total = 0
    for process in _family(pid):
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _cause_of_death(code: int | None) -> str:
    if code is None:
        return "it closed its connection"
    if code >= 0:
        return f"exit code {code}"
    if -code == signal.SIGKILL:
        return "SIGKILL; if nobody sent it, the machine ran out of memory: set `memory_gb` or use fewer slots"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def _main() -> dict[str, str]:
    """Where this process's main module came from, in the words of `multiprocessing.spawn.prepare`."""
    main = sys.modules["__main__"]
    if (spec := getattr(main, "__spec__", None)) is not None:
        return {"init_main_from_name": spec.name}
    if (path := getattr(main, "__file__", None)) is not None:
        return {"init_main_from_path": path}
    return {}
