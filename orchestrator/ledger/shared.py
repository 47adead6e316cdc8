"""A ledger that many write to in turns: processes and threads each hold it for the moment of a write, never longer."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from matloop.orchestrator.errors import LedgerError
from matloop.orchestrator.ledger.disk import make_folder
from matloop.orchestrator.ledger.file import trouble
from matloop.orchestrator.ledger.lock import WriterLock
from matloop.orchestrator.ledger.writer import Judge, Writer
from matloop.orchestrator.plain import as_recorded

WAIT_S = 30.0
"""How long a turn, or the file, is waited for, s; both take milliseconds."""


class SharedLedger(Writer):
    """A ledger open for writing in turns; safe to use from several threads.

    Attributes:
        guard: held by whoever looks at `history` or changes it.
        generation: how often the history had to be read anew because a write failed.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time, wait_s: float = WAIT_S) -> None:
        self.guard = threading.RLock()
        self.generation = 0
        self._wait_s = wait_s
        self._writing = threading.Lock()
        make_folder(Path(path).parent)
        with WriterLock(path, wait_s=wait_s):
            super().__init__(path, clock=clock, keep=True, busy_s=wait_s)

    def join(
        self,
        config: Mapping[str, Any],
        environment: Mapping[str, Any],
        *,
        accept_change: bool = False,
        judge: Judge | None = None,
    ) -> None:
        """Say with what the ledger is written to from here on; a new session only where that is new.

        Raises:
            ConfigChanged: the campaign differs from the recorded one, with the diff.
        """
        with self.turn():
            last = self.history.sessions[-1] if self.history.sessions else None
            if last and last.config == as_recorded(config) and last.environment == as_recorded(environment):
                return
            self._begin(config, environment, accept_change=accept_change, judge=judge)
            self._append("closed", body={"reason": "waiting for results"})

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Be the only writer: catch up with the others, do what the block does, make it durable.

        If the block raises, nothing of it is recorded.

        Raises:
            LedgerLocked: another process is writing for long.
            LedgerUnwritable: the disk is full or read-only.
        """
        with self._writing, WriterLock(self.path, wait_s=self._wait_s), self.guard:
            self.catch_up()
            try:
                yield
                self.commit()
            except BaseException:
                with suppress(LedgerError):  # who comes next tries again, before anything else
                    self._discard()
                raise

    def _trouble(self, error: sqlite3.Error) -> LedgerError:
        saved = "nothing of this was recorded, everything before is safe"
        return trouble(self.path, error, saved=saved, again="try again")

    def catch_up(self) -> int:
        """Take over what others have recorded since; say how many events that were."""
        with self.guard:
            return self._take_over()

    def _discard(self) -> bool:
        discarded = super()._discard()
        self.generation += discarded
        return discarded

    def close(self) -> None:
        """Let go of the file; harmless when called twice."""
        with self.guard:
            self._disconnect()
