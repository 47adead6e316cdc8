"""A ledger that many write to in turns: processes and threads each hold it for the moment of a write, never longer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matloop.orchestrator.errors import LedgerError
from matloop.orchestrator.ledger.file import rows
from matloop.orchestrator.ledger.ledger import Ledger, lock_path, replay
from matloop.orchestrator.ledger.lock import WriterLock
from matloop.orchestrator.plain import to_json

WAIT_S = 30.0
"""How long a turn is waited for, s; one takes milliseconds."""


class SharedLedger(Ledger):
    """A ledger open for writing in turns; safe to use from several threads.

    Attributes:
        guard: held by whoever looks at `history` or changes it.
        generation: how often the history had to be read anew because a write failed.
    """

    _keep = True

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time, wait_s: float = WAIT_S) -> None:
        self.guard = threading.RLock()
        self.generation = 0
        self._wait_s = wait_s
        self._writing = threading.Lock()
        super().__init__(path, clock=clock, wait_s=wait_s)
        self._lock.release()

    def join(self, config: Mapping[str, Any], environment: Mapping[str, Any], *, accept_change: bool = False) -> None:
        """Say with what the ledger is written to from here on; a new session only where that is new.

        Raises:
            ConfigChanged: the campaign differs from the recorded one, with the diff.
        """
        with self.turn():
            last = self.history.sessions[-1] if self.history.sessions else None
            if last and last.config == _plain(config) and last.environment == _plain(environment):
                return
            if not accept_change:
                self._compare(config)
            self._append("opened", body={"config": config, "environment": environment})
            self._append("closed", body={"reason": "waiting for results"})

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Be the only writer: catch up with the others, do what the block does, make it durable.

        If the block raises, nothing of it is recorded.

        Raises:
            LedgerLocked: another process is writing for long.
            LedgerUnwritable: the disk is full or read-only.
        """
        with self._writing, WriterLock(lock_path(self.path), wait_s=self._wait_s), self.guard:
            self.catch_up()
            try:
                yield
                self.commit()
            except BaseException:
                if self._buffer:
                    self._buffer.clear()
                    self.generation += 1
                    self.history = replay(rows(self._db, self.path), keep=self._keep)
                raise

    def catch_up(self) -> int:
        """Take over what others have recorded since; say how many events that were."""
        with self.guard:
            if self._db is None:
                raise LedgerError(f"{self.path} was closed; open it again")
            before = self.history.last_seq
            for event in rows(self._db, self.path, after=before):
                self.history.apply(event)
            return self.history.last_seq - before

    def close(self, reason: str = "") -> None:
        """Let go of the file; harmless when called twice."""
        with self.guard:
            if self._db is not None:
                self._release()


def _plain(body: Mapping[str, Any]) -> Any:
    """As it comes back from the ledger."""
    return json.loads(to_json(body))
