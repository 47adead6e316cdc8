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
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Client, Connection
from typing import TYPE_CHECKING, Any, Final

from matloop.hpc.parcel import Call, Kept, Parcel
from matloop.orchestrator import interruption
from matloop.orchestrator.errors import WorkerCrashed
from matloop.orchestrator.interruption import GRACE_S, Interrupted
from matloop.orchestrator.job import ANNOUNCEMENTS

if TYPE_CHECKING:
    from matloop.hpc.guardian import Orphans

TIMED: Final = b"t"
UNTIMED: Final = b"u"
AGAIN: Final = {TIMED: b"T", UNTIMED: b"U"}
"""First byte of a message to a child: whether the parent wants to know when the time of the call begins; in capitals if
the call is made once more, because memory ran out in a child that had been used before."""

BEGINS: Final = b"b"
INTERRUPTED: Final = b"i"
MEMORY: Final = b"m"
"""First byte of a message from a child: the code is imported and the call begins (JSON: see `_beginning`); it ended
because of SIGTERM; memory ran out in a child that had made calls before. Without any of these it is an answer."""

FRESH: Final = ", in a fresh process after memory had run out in a used one"

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
    interruption.take_signal()
    connection, orphans = (_call_back(), NoOrphans()) if descriptors is None else _inherit(**descriptors)
    sys.stdout, sys.stderr = _forgiving(sys.stdout), _forgiving(sys.stderr)
    sys.path[:] = sys_path
    _main = main
    with connection:
        used = False
        while True:
            try:
                message = connection.recv_bytes()
            except EOFError:
                return
            answered = _answer(message, connection.send_bytes, used)
            orphans.end()
            connection.send_bytes(answered)
            del message, answered
            used = True


def _answer(message: bytes, send: Callable[[bytes], None], used: bool) -> bytes:
    head, payload = message[:1], message[1:]
    interruption.take_signal()
    interruption.expect()
    if head in AGAIN.values():
        with _told_apart():
            return answer(payload, partial(_begin, send, timed=head == AGAIN[TIMED]), used=used)
    return answer(payload, partial(_begin, send, timed=head == TIMED), used=used)


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


@contextmanager
def _told_apart() -> Iterator[None]:
    """Let the record say that this is the second try."""
    worker = os.environ.get("MATLOOP_WORKER", "")
    os.environ["MATLOOP_WORKER"] = (worker or f"{socket.gethostname()}:{os.getpid()}") + FRESH
    try:
        yield
    finally:
        os.environ["MATLOOP_WORKER"] = worker


def _begin(send: Callable[[bytes], None], fn: object, *, timed: bool) -> None:
    """Tell the parent what it needs to know of a call before it begins."""
    repeatable, grace_s = bool(getattr(fn, "repeatable", False)), getattr(fn, "grace_s", None)
    grace_s = GRACE_S if grace_s is None else grace_s
    if timed or not repeatable or grace_s != GRACE_S:  # else it is as the parent expects
        send(BEGINS + json.dumps({"repeatable": repeatable, "grace_s": grace_s}).encode())


def answer(payload: bytes, begins: Callable[[object], None], *, used: bool = False) -> bytes:
    """Make a pickled call.

    Args:
        payload: from `Parcel.dump`.
        begins: called with the function once it and what it imports are in memory.
        used: this process has made calls before, which may have left something behind.

    Returns:
        Pickled (True, result) or (False, exception with the traceback as a note), after `INTERRUPTED` or `MEMORY`
        where that holds.
    """
    kind = b""
    parcel = _kept.complete(Parcel.load(payload))  # if this fails, so does the child: its parent counts on it
    try:
        if b"__main__" in payload:
            _import_main()
        fn, args, kwargs = _load(parcel)
        begins(fn)
        interruption.begin()
        result = fn(*args, **kwargs)
        interruption.end()
        if used and _out_of_memory(fn, result):
            kind = MEMORY
        return kind + pickle.dumps((True, result), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        interruption.end()
        if isinstance(error, Interrupted):
            kind = INTERRUPTED
        elif used and isinstance(error, MemoryError):
            kind = MEMORY
        return kind + _dump_error(error)


def _out_of_memory(fn: object, result: object) -> bool:
    """Whether a result says so; evaluations can tell."""
    tell = getattr(fn, "out_of_memory", None)
    return tell is not None and bool(tell(result))


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


class NoOrphans:
    """Where nobody adopts those that lose their parent."""

    def end(self) -> None:
        """There is no telling which they are."""


def _inherit(calls: int, lifeline: int, stacks: int) -> tuple[Connection, Orphans | NoOrphans]:
    for descriptor in (calls, lifeline, stacks):
        os.set_inheritable(descriptor, False)
    orphans: Orphans | NoOrphans = NoOrphans()
    if sys.platform == "linux":
        from matloop.hpc.guardian import Orphans, guarded

        orphans = Orphans(guarded(lifeline, hidden=(calls, stacks)))
    _die_with(lifeline)
    faulthandler.enable(stacks)
    return Connection(calls), orphans


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
