"""The durable record of a campaign: append-only events in SQLite, one writer, any number of readers.

Events are buffered and made durable together (group commit); nothing that a caller was told is durable is lost
when the process is killed or the power fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from matloop.orchestrator.errors import LedgerCorrupt, LedgerError, LedgerForeign
from matloop.orchestrator.ledger.disk import make_folder
from matloop.orchestrator.ledger.file import corrupt
from matloop.orchestrator.ledger.history import Event, History, advance
from matloop.orchestrator.ledger.lock import WriterLock
from matloop.orchestrator.ledger.reading import events
from matloop.orchestrator.ledger.salvage import salvage
from matloop.orchestrator.ledger.trials import Trials
from matloop.orchestrator.ledger.writer import Judge, Writer

BUSY_MS = 3000
"""How long one commit waits for a lock where somebody does the waiting: signals are not heard meanwhile."""


class Ledger(Writer):
    """A ledger that one session writes, which holds the lock from its beginning to its end.

    Args:
        path: the file; its folder is created.
        clock: Unix time, s; by default that of the beginning and what has passed since, so that a clock which is set
            meanwhile neither turns back the times of events nor stretches a time budget.
    """

    _endure: Callable[[Callable[[], None]], None] | None = None

    def __init__(self, path: Path, *, clock: Callable[[], float] | None = None) -> None:
        make_folder(Path(path).parent)
        self._lock = WriterLock(path)
        try:
            super().__init__(path, clock=clock or session_clock())
        except BaseException:
            self._lock.release()
            raise

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        config: Mapping[str, Any],
        environment: Mapping[str, Any],
        accept_change: bool = False,
        judge: Judge | None = None,
        clock: Callable[[], float] | None = None,
    ) -> Self:
        """Open for writing, create if absent, and begin a session.

        Args:
            path: the file; its folder is created.
            config: the resolved campaign; compared by `identity` with that of the last session.
            environment: versions and machine, for the record.
            accept_change: go on although the campaign has changed.
            judge: decides in place of `accept_change` whether the session may begin.
            clock: see `Ledger`.

        Raises:
            LedgerLocked: another process is writing.
            ConfigChanged: the campaign differs, with the diff.
            LedgerCorrupt: the file is damaged; it was not touched.
            LedgerUnwritable: the disk is full or read-only.
        """
        ledger = cls(path, clock=clock)
        try:
            ledger._begin(config, environment, accept_change=accept_change, judge=judge)
            ledger.commit()
        except BaseException:
            ledger._release()
            raise
        return ledger

    def commit(self) -> None:
        """See `Writer`, and `wait_with`."""
        if self._endure is not None and self._buffer:
            self._endure(super().commit)
        else:
            super().commit()

    def wait_with(self, endure: Callable[[Callable[[], None]], None]) -> None:
        """Have somebody else do the waiting where the disk does not take a commit.

        Args:
            endure: makes a commit, again and again if need be.
        """
        self._endure = endure
        self._db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")

    def close(self, reason: str = "finished") -> None:
        """End the session in order; harmless when called twice.

        Where an append has failed half-way, only what was committed before is kept.

        Raises:
            LedgerUnwritable: what was appended since the last commit is lost; what was committed is safe.
        """
        if not self.is_open:
            return
        try:
            if not self.is_whole:
                return
            if self.history.sessions and self.history.sessions[-1].ended is None:
                self._append("closed", body={"reason": reason})
            self.commit()
        finally:
            self._release()

    def _release(self) -> None:
        self._disconnect()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if not self.is_open:
            return
        if value is None:
            self.close()
            return
        with suppress(LedgerError):  # the first error is the one to see; that the session ended is not worth another
            self.close(f"stopped by {type(value).__name__}")


def read(path: Path) -> History:
    """Read a ledger without disturbing its writer; a damaged one as far as it can be, see `History.damage`.

    Raises:
        LedgerError: there is no such file, or it cannot be read.
        LedgerCorrupt: nothing of the file can be read, or it is another program's (LedgerForeign).
    """
    path = Path(path)
    if not path.is_file():
        raise LedgerError(f"there is no ledger at {path}; give the folder of a campaign that has been run")
    history = History(trials=Trials(keep=True))
    try:
        advance(history, events(path))
    except LedgerForeign:
        raise
    except LedgerCorrupt as error:
        found = salvage(path)
        with suppress(LedgerCorrupt):
            advance(history, _in_a_row(found, history.last_seq + 1))
        if not history.last_seq:
            raise corrupt(path, error.why) from error
        history.damage = error.why
    return history


def _in_a_row(events: Mapping[int, Event], first: int) -> Iterator[Event]:
    """Events from a number on, up to the first that is missing."""
    while first in events:
        yield events[first]
        first += 1


def session_clock() -> Callable[[], float]:
    """A clock for one session: Unix time, s, as it was at the beginning, and what has passed since."""
    ticks = _ticks()
    began = time.time() - ticks()
    return lambda: began + ticks()


def _ticks() -> Callable[[], float]:
    """Seconds that nobody sets; while the computer sleeps they go on where the system has such a clock."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    return time.monotonic
