"""One child process from its start to its end: how it is started and reached on each operating system, and killed.

Where descriptors can be inherited one by one (POSIX), the child gets its end of a socket, of the pipe that tells it of
this process's end, and the file that takes its last stack. Elsewhere it gets that pipe as its standard input, finds
there where to call back, and its last stack goes to its standard error.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import IO, Any, Final

from matloop.hpc import child
from matloop.hpc.channel import Channel, ConnectionChannel, SocketChannel
from matloop.hpc.parcel import Kept
from matloop.orchestrator.errors import WorkerCrashed
from matloop.orchestrator.job import MPI_RANK
from matloop.orchestrator.processes import POSIX, apart, cause_of_death, kill_bearers, kill_family

FAREWELL_S: Final = 5.0  # how long a dying child is waited for
GUARDED: Final = sys.platform == "linux"
MARK: Final = "MATLOOP_CHILD"  # in the environment of a child and of all that it starts
LOOK_S: Final = 0.1  # how often it is looked at whether a child still lives that has not called back

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


class Process:
    """A child process that runs, and what it is reached by.

    Attributes:
        popen: as the standard library has it; on Linux the child's guardian, which ends as the child ends.
        channel: to the child.
        calls: how many it has been given.
        kept: what it has of what calls have in common.
    """

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        channel: Channel,
        lifeline: IO[bytes],
        stacks: IO[bytes] | None = None,
        mark: str = "",
    ) -> None:
        self.popen, self.channel = popen, channel
        self.calls, self.kept = 0, Kept()
        self._mark = mark
        self._lifeline = lifeline  # the child and its descendants are killed when this closes
        self._stacks = stacks
        self._buried = False

    @property
    def gone(self) -> bool:
        """Whether it has ended; told of an idle one."""
        return self.popen.poll() is not None or self.channel.readable

    @property
    def was_killed(self) -> bool:
        """Whether it ended by SIGKILL, which is what a system does to what takes too much memory."""
        return POSIX and self.popen.poll() == -signal.SIGKILL

    def ask_to_end(self) -> bool:
        """Send SIGTERM to the child; whether there is such a thing here."""
        if POSIX:
            self.popen.terminate()
        return POSIX

    def kill(self) -> None:
        """Kill the process and its descendants, unless it is buried and the id may be another's."""
        if self._buried:
            return
        self._lifeline.close()
        if GUARDED and POSIX:
            with suppress(subprocess.TimeoutExpired):
                self.popen.wait(FAREWELL_S)
                if self.popen.returncode == -signal.SIGKILL:  # perhaps the guardian itself
                    kill_bearers(MARK, self._mark)
                return
        kill_family(self.popen, group=True)

    def bury(self) -> None:
        """Kill what is left and let go of everything; may be repeated."""
        self.kill()
        with suppress(subprocess.TimeoutExpired):  # stuck in the kernel: nothing more can be done about it
            self.popen.wait(FAREWELL_S)
        self._buried = True
        self.channel.close()
        if self._stacks is not None:
            self._stacks.close()

    def last_words(self) -> WorkerCrashed:
        """What to say of a child that died on its own."""
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(FAREWELL_S)
        error = WorkerCrashed(f"the worker died during the trial: {_cause(self.popen.returncode)}")
        if self._stacks is not None:
            self._stacks.seek(0)
            if stack := self._stacks.read().decode(errors="replace"):
                error.add_note(stack)
        return error


def start(environ: Mapping[str, str], log: Path | None) -> Process:
    """Start a child, which leads a process group of its own.

    Args:
        environ: its environment.
        log: file that takes its standard output and error, appended; None leaves them where this process's go. What
            cannot be written there is dropped.

    Raises:
        WorkerCrashed: it died before it could be reached.
        OSError: this machine cannot start one now.
        RuntimeError: this process is such a child that is just importing the user's script.
    """
    if child.importing_main:
        raise RuntimeError(
            "a worker that was importing your script to find the submitted function came to start workers itself; "
            'put what the script does under `if __name__ == "__main__":`'
        )
    with ExitStack() as ours, ExitStack() as theirs:
        output = None if log is None else theirs.enter_context(_opened(log))
        options: dict[str, Any] = {"stdout": output, "stderr": output, "env": dict(environ), **apart(session=True)}
        process = _inheriting(ours, theirs, options) if POSIX else _calling_back(ours, theirs, options)
        ours.pop_all()  # from here on the burial closes them
    return process


def _opened(log: Path) -> IO[bytes]:
    """The log, to append to; nowhere if the disk has no room for it, since no trial is to fail over what it prints."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return log.open("ab")
    except OSError:
        return Path(os.devnull).open("wb")


def environment(outer: Mapping[str, str], threads: int) -> dict[str, str]:
    """A child's environment: this one, with its number of threads and without what says "I am an MPI rank"."""
    inner = dict(outer)
    if not inner.keys().isdisjoint(MPI_RANK):
        for name in outer:
            if name.startswith(LAUNCHER) and not name.startswith("OMPI_ALLOW_RUN_AS_ROOT"):
                del inner[name]
    return inner | dict.fromkeys(THREADS, str(threads))


def _inheriting(ours: ExitStack, theirs: ExitStack, options: Mapping[str, Any]) -> Process:
    here, there = socket.socketpair()
    theirs.callback(there.close)
    channel = SocketChannel(here)
    ours.callback(channel.close)
    watched, held = os.pipe()
    theirs.callback(os.close, watched)
    lifeline = ours.enter_context(os.fdopen(held, "wb"))
    stacks = ours.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    inherited = {"calls": there.fileno(), "lifeline": watched, "stacks": stacks.fileno()}
    mark = f"{os.getpid()}-{secrets.token_hex(8)}"
    options = {**options, "env": {**options["env"], MARK: mark}}
    popen = subprocess.Popen(
        _command(inherited), stdin=subprocess.DEVNULL, pass_fds=tuple(inherited.values()), **options
    )
    return Process(popen, channel, lifeline, stacks, mark)


def _calling_back(ours: ExitStack, theirs: ExitStack, options: Mapping[str, Any]) -> Process:
    key = secrets.token_bytes(32)
    listener = theirs.enter_context(Listener(authkey=key))
    popen = subprocess.Popen(_command(None), stdin=subprocess.PIPE, **options)
    assert popen.stdin is not None
    lifeline = ours.enter_context(popen.stdin)
    try:
        lifeline.write(json.dumps({"address": listener.address, "key": key.hex()}).encode() + b"\n")
        lifeline.flush()
        calls = _accept(listener, popen)
    except (OSError, EOFError, AuthenticationError):
        kill_family(popen, group=True)
        raise WorkerCrashed(f"the worker died at its start: {_cause(popen.wait())}") from None
    return Process(popen, ConnectionChannel(calls), lifeline)


def _accept(listener: Listener, popen: subprocess.Popen[bytes]) -> Connection:
    met = threading.Event()

    def look() -> None:
        while not met.wait(LOOK_S):
            if popen.poll() is not None:  # nobody will call: do it, so that nobody waits
                with suppress(OSError):
                    Client(listener.address).close()
                return

    threading.Thread(target=look, daemon=True).start()
    try:
        return listener.accept()
    finally:
        met.set()


def _command(descriptors: Mapping[str, int] | None) -> list[str]:
    call = {
        "descriptors": descriptors,
        "sys_path": [str(entry) or str(Path.cwd()) for entry in sys.path],
        "main": _main(),
    }
    return [sys.executable, "-P", "-c", COMMAND, json.dumps(call)]


def _main() -> dict[str, str]:
    """Where this process's main module came from, in the words of `multiprocessing.spawn.prepare`."""
    main = sys.modules["__main__"]
    if (spec := getattr(main, "__spec__", None)) is not None:
        return {"init_main_from_name": spec.name}
    if (path := getattr(main, "__file__", None)) is not None:
        return {"init_main_from_path": path}
    return {}


def _cause(code: int | None) -> str:
    if code is None:
        return "it closed its connection"
    if POSIX and code == -signal.SIGKILL:
        return "SIGKILL; if nobody sent it, the machine ran out of memory: set `memory_gb` or use fewer slots"
    return cause_of_death(code)
