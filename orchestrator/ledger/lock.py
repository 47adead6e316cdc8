"""One writer at a time: an operating-system lock that dies with its process, and says who holds it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from matloop.orchestrator.errors import LedgerLocked, LedgerUnwritable

POLL_S = 0.02
GLANCE_S = 1.0  # a new holder has put its name in place of a dead one's by then


class WriterLock:
    """Exclusive lock on a file beside the ledger.

    Args:
        path: the file.
        wait_s: how long to wait for a holder to let go, s; one that has had it for longer already is not waited for.

    Raises:
        LedgerLocked: another process holds it; its host, process id and start are named.
        LedgerUnwritable: the file cannot be created.
    """

    def __init__(self, path: Path, *, wait_s: float = 0.0) -> None:
        self.path = path
        try:
            self._file: IO[str] = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise LedgerUnwritable(
                f"cannot write {path}: {error.strerror}; choose a folder that is writable"
            ) from error
        begun = time.monotonic()
        while True:
            try:
                _acquire(self._file)
                break
            except OSError as error:
                since = _since(path)
                long_held = since is not None and time.time() - since > wait_s
                if time.monotonic() - begun >= (min(wait_s, GLANCE_S) if long_held else wait_s):
                    holder = read_holder(path) or "another process"
                    self._file.close()
                    raise LedgerLocked(
                        f"{path.with_suffix('')} is being written by {holder}; "
                        "wait for it, stop it, or use another folder"
                    ) from error
            time.sleep(random.uniform(0.2, 1.0) * POLL_S)  # apart, so that those who wait do not meet again
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the holder's name
            self._file.truncate(0)
            json.dump({"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}, self._file)
            self._file.flush()

    def release(self) -> None:
        """Let go; harmless when called twice."""
        if not self._file.closed:
            with contextlib.suppress(OSError):
                self._file.truncate(0)
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.release()


def _since(path: Path) -> float | None:
    """When the holder took the lock, Unix time in s; None if that is not known."""
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_holder(path: Path) -> str | None:
    """Who wrote its name into the lock file, as a phrase; None if nobody did."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["since"]))
        return f"process {holder['pid']} on {holder['host']} since {since}"
    except (OSError, ValueError, KeyError):
        return None


if sys.platform == "win32":
    import msvcrt

    def _acquire(file: IO[str]) -> None:
        file.seek(0x7FFF_0000)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _acquire(file: IO[str]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
