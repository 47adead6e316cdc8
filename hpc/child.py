"""The child's side of `matloop.hpc.isolate`: reads a pickled call, makes it, writes back what came of it.

Imports little, so that a child is up in a fraction of a second. It starts without the user's main script, which is
imported only once a call refers to it: a script without an `if __name__ == "__main__"` guard works unless its own
functions are submitted.
"""

from __future__ import annotations

import faulthandler
import io
import json
import multiprocessing.spawn
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Client, Connection
from typing import Any, Final

from matloop.hpc.parcel import Call, Kept, Parcel
from matloop.orchestrator.errors import WorkerCrashed
from matloop.orchestrator.job import ANNOUNCEMENTS

TIMED: Final = b"t"
UNTIMED: Final = b"u"
"""First byte of a message: whether the parent wants to know, by an empty message, when the time of the call begins."""

importing_main = False
"""Whether this process is a child that is just importing the user's script."""

_main: Mapping[str, str] = {}
_kept: Final = Kept()


def serve(descriptors: Mapping[str, int] | None, sys_path: Sequence[str], main: Mapping[str, str]) -> None:
    """Answer calls until the parent closes the connection.

    Args:
        descriptors: those inherited. `calls`: of the connection; `lifeline`: read end of a pipe whose write end the
            parent holds and never writes to; `stacks`: of the file that takes the Python stack if this process dies of
            a signal. None if standard input says where to call back, and is the lifeline from then on.
        sys_path: the parent's.
        main: where the parent's `__main__` came from, in the words of `multiprocessing.spawn.prepare`.
    """
    global _main
    signal.signal(signal.SIGINT, lambda *_: None)  # unlike SIG_IGN not inherited by programs that a call starts
    for number in ANNOUNCEMENTS:  # a scheduler's warnings may go to every process of a job
        signal.signal(number, signal.SIG_IGN)
    connection = _call_back() if descriptors is None else _inherit(**descriptors)
    sys.stdout, sys.stderr = _forgiving(sys.stdout), _forgiving(sys.stderr)
    sys.path[:] = sys_path
    _main = main
    with connection:
        while True:
            try:
                message = connection.recv_bytes()
            except EOFError:
                return
            loaded = partial(connection.send_bytes, b"") if message.startswith(TIMED) else _unnoticed
            connection.send_bytes(answer(message[1:], loaded))
            del message


class _Forgiving(io.FileIO):
    """A file that drops what the disk does not take: no trial fails over what it prints."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _forgiving(stream: Any) -> Any:
    """Standard output or error, each line written at once, so that what a call printed outlives it; None if closed."""
    if stream is None:
        return None
    raw = _Forgiving(stream.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, line_buffering=True)


def _unnoticed() -> None:
    """The time of the call begins, and nobody wants to know."""


def answer(payload: bytes, loaded: Callable[[], None]) -> bytes:
    """Make a pickled call.

    Args:
        payload: from `Parcel.dump`.
        loaded: called once the function and what it imports are in memory.

    Returns:
        Pickled (True, result) or (False, exception with the traceback as a note).
    """
    parcel = _kept.complete(Parcel.load(payload))  # if this fails, so does the child: its parent counts on it
    try:
        if b"__main__" in payload:
            _import_main()
        fn, args, kwargs = _load(parcel)
        loaded()
        return pickle.dumps((True, fn(*args, **kwargs)), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        return _dump_error(error)


def _load(parcel: Parcel) -> Call:
    try:
        return parcel.open()
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


def _inherit(calls: int, lifeline: int, stacks: int) -> Connection:
    for descriptor in (calls, lifeline, stacks):
        os.set_inheritable(descriptor, False)
    _die_with(lifeline)
    faulthandler.enable(stacks)
    return Connection(calls)


def _call_back() -> Connection:
    told = bytearray()
    while not told.endswith(b"\n"):
        if not (byte := os.read(0, 1)):
            raise EOFError("the parent ended before it had said where to call back")
        told += byte
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # for the user's code
    os.close(nothing)
    threading.Thread(target=_watch, args=(lifeline,), daemon=True).start()
    if sys.stderr is not None:
        faulthandler.enable()
    call = json.loads(told)
    address = call["address"]
    return Client(tuple(address) if isinstance(address, list) else address, authkey=bytes.fromhex(call["key"]))


def _die_with(lifeline: int) -> None:
    """Arrange that this process and those that it starts are killed when the write end of the pipe closes.

    This process leads its own process group. On Linux the kernel itself kills the group (a signal-driven descriptor,
    fcntl(2)), so it works while C code holds the interpreter's lock.
    """
    if sys.platform == "linux":
        import fcntl
        import select

        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
        if select.select([lifeline], [], [], 0)[0]:
            os.killpg(os.getpid(), signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(lifeline,), daemon=True).start()


def _watch(lifeline: int) -> None:
    from matloop.orchestrator.processes import kill_own_family

    while os.read(lifeline, 1024):
        pass
    kill_own_family()
