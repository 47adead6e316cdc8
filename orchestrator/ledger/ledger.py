"""The durable record of a campaign: append-only events in SQLite, one writer, any number of readers.

Events are buffered and made durable together (group commit); nothing that a caller was told is durable is lost
when the process is killed or the power fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from matloop.orchestrator.errors import LedgerError, LedgerUnwritable
from matloop.orchestrator.ledger.file import connect_to_read, make_folder, rows
from matloop.orchestrator.ledger.history import History, replay
from matloop.orchestrator.ledger.lock import WriterLock
from matloop.orchestrator.ledger.writer import Writer


class Ledger(Writer):
    """A ledger that one session writes, which holds the lock from its beginning to its end.

    Attributes:
        endure: makes a commit, again and again where the disk does not take it; by default once.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.endure: Callable[[Callable[[], None]], None] = _once
        make_folder(path)
        self._lock = WriterLock(path)
        try:
            super().__init__(path, clock=clock)
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
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Open for writing, create if absent, and begin a session.

        Args:
            path: the file; its folder is created.
            config: the resolved campaign; compared by `identity` with that of the last session.
            environment: versions and machine, for the record.
            accept_change: go on although the campaign has changed.
            clock: Unix time, s.

        Raises:
            LedgerLocked: another process is writing.
            ConfigChanged: the campaign differs, with the diff.
            LedgerCorrupt: the file is damaged; it was not touched.
            LedgerUnwritable: the disk is full or read-only.
        """
        ledger = cls(path, clock=clock)
        try:
            ledger._begin(config, environment, accept_change=accept_change)
            ledger.commit()
        except BaseException:
            ledger._release()
            raise
        return ledger

    def commit(self) -> None:
        """See `Writer`; as often as `endure` has it."""
        if self._buffer:
            self.endure(super().commit)

    def close(self, reason: str = "finished") -> None:
        """End the session in order; harmless when called twice."""
        if not self.is_open:
            return
        try:
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
        if kind is None:
            self.close()
        else:
            with suppress(LedgerUnwritable):  # what is being raised says more
                self.close(f"stopped by {kind.__name__}")


def _once(commit: Callable[[], None]) -> None:
    commit()


def read(path: Path) -> History:
    """Read a ledger without disturbing its writer.

    Raises:
        LedgerError: there is no such file.
        LedgerCorrupt: the file is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise LedgerError(f"there is no ledger at {path}; give the folder of a campaign that has been run")
    with closing(connect_to_read(path)) as db:
        return replay(rows(db, path), keep=True)
