"""One writer at a time: an operating-system lock that dies with its process, and says who holds it.

The file that is locked stays empty, because Windows lets nobody else read what is locked; the holder's name is in a
file beside it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import socket
import time
import weakref
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import psutil
from filelock import lock_descriptor, unlock_descriptor

from matloop.orchestrator.errors import LedgerLocked, LedgerUnwritable
from matloop.orchestrator.ledger.disk import private

POLL_S = 0.02
CLOCK_S = 10.0  # a process may seem to begin so much later than it did, where the clock was set
WITHOUT_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
GLANCE_S = 1.0  # a new holder has put its name in place of a dead one's by then


class Holder(NamedTuple):
    """Who holds a lock; `since` is Unix time, s."""

    host: str
    pid: int
    since: float

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host} since {since}"

    @property
    def gone(self) -> bool:
        """Whether it is known to have ended; of another machine's processes nothing is known."""
        if self.host != socket.gethostname():
            return False
        try:
            return psutil.Process(self.pid).create_time() > self.since + CLOCK_S
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False


class WriterLock:
    """Exclusive lock on a file beside the ledger; let go of when released, dropped, or when the process ends.

    Args:
        ledger: file that it is for.
        wait_s: how long to wait for a holder to let go, s; one that has had it for longer already is not waited for.

    Raises:
        LedgerLocked: another process holds it; its host, process id and start are named.
        LedgerUnwritable: the file cannot be created, or its file system has no locks.
    """

    def __init__(self, ledger: Path, *, wait_s: float = 0.0) -> None:
        self.ledger = ledger
        path = lock_path(ledger)
        try:
            file = open(path, "ab", opener=private)  # noqa: SIM115 (held on to; a path has no opener)
        except OSError as error:
            raise LedgerUnwritable(
                f"cannot write {path}: {error.strerror}; choose a folder that is writable"
            ) from error
        try:
            self._wait(file, wait_s)
        except BaseException:
            file.close()
            raise
        self._end = weakref.finalize(self, _let_go, file, _sign(ledger), os.getpid())
        self._end.atexit = False  # the operating system does it then

    def release(self) -> None:
        """Let go; harmless when called twice."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.release()

    def _wait(self, file: BinaryIO, wait_s: float) -> None:
        begun = time.monotonic()
        while not self._try(file):
            holder = read_holder(self.ledger)
            long_held = holder is not None and time.time() - holder.since > wait_s
            if time.monotonic() - begun >= (min(wait_s, GLANCE_S) if long_held else wait_s):
                raise LedgerLocked(
                    f"{self.ledger} is being written by {holder or 'another process'}; "
                    "wait for it, stop it, or use another folder"
                )
            time.sleep(random.uniform(0.2, 1.0) * POLL_S)  # apart, so that those who wait do not meet again

    def _try(self, file: BinaryIO) -> bool:
        try:
            return lock_descriptor(file.fileno(), blocking=False)
        except OSError as error:
            if error.errno in WITHOUT_LOCKS:
                raise LedgerUnwritable(
                    f"cannot lock {file.name}: its file system has no locks ({error.strerror}), without which two runs "
                    "could write at once. Have it mounted with them (Lustre: -o flock; NFS: with lockd), or choose a "
                    "folder on a file system that has locks, with --dir"
                ) from error
            raise LedgerUnwritable(
                f"cannot lock {file.name}: {error.strerror}; see to the disk and the way to it, then try again"
            ) from error


def lock_path(ledger: Path) -> Path:
    """The file that the writer of a ledger locks."""
    return ledger.with_name(ledger.name + ".lock")


def holder_path(ledger: Path) -> Path:
    """The file that says who writes the ledger; empty if nobody does."""
    return ledger.with_name(ledger.name + ".writer")


def read_holder(ledger: Path) -> Holder | None:
    """Who put down its name as the ledger's writer; None if nobody did. It may have been killed since."""
    try:
        found = json.loads(holder_path(ledger).read_text(encoding="utf-8"))
        return Holder(str(found["host"]), int(found["pid"]), float(found["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sign(ledger: Path) -> FileIO | None:
    """Put down this process as the ledger's writer; None where that cannot be done, and the lock holds without it."""
    try:
        file = open(holder_path(ledger), "ab", buffering=0, opener=private)  # noqa: SIM115
    except OSError:
        return None
    holder = Holder(socket.gethostname(), os.getpid(), time.time())
    with contextlib.suppress(OSError):  # a full disk
        file.truncate(0)
        file.write(json.dumps(holder._asdict()).encode())
    return file


def _let_go(locked: BinaryIO, signed: FileIO | None, process: int) -> None:
    own = os.getpid() == process  # a forked copy must not unlock what its parent holds
    if signed is not None:
        with contextlib.suppress(OSError):
            if own:
                signed.truncate(0)
            signed.close()
    with contextlib.suppress(OSError):  # closing it unlocks as well, unless there is a forked copy
        if own:
            unlock_descriptor(locked.fileno())
    locked.close()
