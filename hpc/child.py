"""The child's side of `matloop.hpc.isolate`: reads a pickled call, makes it, writes back what came of it.

Imports little, so that a child is up in a fraction of a second. It starts without the user's main script, which is
imported only once a call refers to it: a script without an `if __name__ == "__main__"` guard works unless its own
functions are submitted.
"""

from __future__ import annotations

import faulthandler
import multiprocessing.spawn
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Final

from matloop.orchestrator.errors import WorkerCrashed

TIMED: Final = b"t"
UNTIMED: Final = b"u"
"""First byte of a message: whether the parent wants to know, by an empty message, when the time of the call begins."""

importing_main = False
"""Whether this process is a child that is just importing the user's script."""

_main: Mapping[str, str] = {}


def serve(calls: int, lifeline: int, stacks: int, sys_path: Sequence[str], main: Mapping[str, str]) -> None:
    """Answer calls until the parent closes the connection.

    Args:
        calls: file descriptor of the connection.
        lifeline: read end of a pipe whose write end the parent holds and never writes to.
        stacks: file descriptor of the file that takes the Python stack if this process dies of a signal.
        sys_path: the parent's.
        main: where the parent's `__main__` came from, in the words of `multiprocessing.spawn.prepare`.
    """
    global _main
    signal.signal(signal.SIGINT, lambda *_: None)  # unlike SIG_IGN not inherited by programs that a call starts
    for number in (signal.SIGUSR1, signal.SIGUSR2):  # a scheduler's warnings may go to every process of a job
        signal.signal(number, signal.SIG_IGN)
    for descriptor in (calls, lifeline, stacks):
        os.set_inheritable(descriptor, False)
    _die_with(lifeline)
    faulthandler.enable(stacks)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(line_buffering=True)  # what it printed outlives it
    sys.path[:] = sys_path
    _main = main
    with Connection(calls) as connection:
        while True:
            try:
                message = connection.recv_bytes()
            except EOFError:
                return
            loaded = partial(connection.send_bytes, b"") if message.startswith(TIMED) else _unnoticed
            connection.send_bytes(answer(message[1:], loaded))
            del message


def _unnoticed() -> None:
    """The time of the call begins, and nobody wants to know."""


def answer(payload: bytes, loaded: Callable[[], None]) -> bytes:
    """Make a pickled call.

    Args:
        payload: pickled (function, args, kwargs).
        loaded: called once the function and what it imports are in memory.

    Returns:
        Pickled (True, result) or (False, exception with the traceback as a note).
    """
    try:
        if b"__main__" in payload:
            _import_main()
        fn, args, kwargs = _load(payload)
        loaded()
        return pickle.dumps((True, fn(*args, **kwargs)), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        return _dump_error(error)


def _load(payload: bytes) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    try:
        return pickle.loads(payload)
    except (AttributeError, ImportError) as error:
        error.add_note("a worker must be able to import what is submitted: define it in a file, not in a shell")
        raise


def _dump_error(error: BaseException) -> bytes:
    note = f"in the worker:\n{traceback.format_exc()}"
    if isinstance(error, SystemExit):
        error = WorkerCrashed(f"the trial called sys.exit({error.code!r}); raise an exception instead")
    elif not isinstance(error, Exception):
        error = WorkerCrashed(f"the trial raised {type(error).__name__}; raise an Exception instead")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(note)
    return pickle.dumps((False, error), pickle.HIGHEST_PROTOCOL)


def _import_main() -> None:
    global _main, importing_main
    main, _main = _main, {}
    importing_main = True
    try:
        multiprocessing.spawn.prepare(dict(main))
    finally:
        importing_main = False


def _die_with(lifeline: int) -> None:
    """Arrange that this process and those that it starts are killed when the write end of the pipe closes.

    This process leads its own process group. On Linux the kernel itself kills the group (a signal-driven descriptor,
    fcntl(2)), so it works while C code holds the interpreter's lock.
    """
    if sys.platform == "linux":
        import fcntl

        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
        import select

        if select.select([lifeline], [], [], 0)[0]:
            os.killpg(os.getpid(), signal.SIGKILL)
    else:

        def watch() -> None:
            os.read(lifeline, 1)
            os.killpg(os.getpid(), signal.SIGKILL)

        threading.Thread(target=watch, daemon=True).start()
