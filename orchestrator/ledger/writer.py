"""What any writer of a ledger does: append events, make them durable together, keep the state that they come to."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matloop.orchestrator.errors import ConfigChanged, LedgerError, LedgerUnwritable, MatloopError
from matloop.orchestrator.ledger.file import checksum, connect, rows
from matloop.orchestrator.ledger.history import Event, replay
from matloop.orchestrator.ledger.identity import difference
from matloop.orchestrator.plain import to_json
from matloop.orchestrator.trial import Answer, Point, Proposal, Trial


class Writer:
    """Appends to the file of a ledger; whoever derives from it sees to it that nobody else does at the same time.

    `history` is always the replay of what was appended. Everything appended becomes durable at the next `commit`,
    together.

    Args:
        path: the file; created if absent. To be locked already.
        clock: Unix time, s.
        keep: see `matloop.orchestrator.ledger.trials.Trials`.

    Raises:
        LedgerCorrupt: the file is damaged; it was not touched.
        LedgerUnwritable: the disk is full or read-only.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time, keep: bool = False) -> None:
        self.path = Path(path)
        self._clock = clock
        self._keep = keep
        self._buffer: list[Event] = []
        db = connect(self.path)
        self._disconnect = weakref.finalize(self, _close, db, os.getpid())
        self._disconnect.atexit = False  # what was committed is safe without it
        self._db = db
        try:
            self.history = replay(rows(db, self.path), keep=keep)
        except BaseException:
            self._disconnect()
            raise

    @property
    def is_open(self) -> bool:
        """Whether it can still be written to."""
        return self._disconnect.alive

    def propose(self, study: str, proposal: Proposal, *, seed: int, ask: int) -> Trial:
        """Record a proposal as the next trial; attempt 1 is considered to begin."""
        body: dict[str, Any] = {
            "number": self.history.counts.get(study, 0),
            "point": proposal.point,
            "seed": seed,
            "ask": ask,
        }
        if proposal.prediction:
            body["prediction"] = {"mean": proposal.prediction.mean, "std": proposal.prediction.std}
        for name in ("reason", "parents", "extra", "inputs"):
            if value := getattr(proposal, name):
                body[name] = value
        if proposal.fidelity is not None:
            body["fidelity"] = proposal.fidelity
        trial = len(self.history.trials)
        self._append("proposed", study, trial, body)
        return self.history.trials[trial]

    def restart(self, trial: Trial, *, attempt: int) -> Trial:
        """Record that the trial is about to be measured again."""
        self._append("started", trial.study, trial.id, {"attempt": attempt})
        return self.history.trials[trial.id]

    def report(self, study: str, point: Point, *, seed: int, extra: Mapping[str, Any]) -> Trial:
        """Record that a point was measured which nobody proposed, as the next trial; `answer` it before the commit."""
        number = self.history.counts.get(study, 0)
        trial = len(self.history.trials)
        body = {"number": number, "point": point, "seed": seed, "ask": -1, "extra": extra}
        self._append("reported", study, trial, body)
        return self.history.trials[trial]

    def answer(self, trial: Trial, answer: Answer, *, point: Point | None = None) -> Trial:
        """Record a result, good or bad; return the finished trial.

        Args:
            trial: one that runs.
            answer: its result.
            point: what was really done, where that is not what was proposed.
        """
        kind = "failed" if answer.failure else "answered"
        self._append(kind, trial.study, trial.id, _result(answer, point))
        return self.history.trials[trial.id]

    def amend(
        self, trial: Trial, answer: Answer, *, point: Point | None = None, by: str = "", reason: str = ""
    ) -> Trial:
        """Record the right result of a finished trial in the place of a wrong one; as `answer`.

        Args:
            trial: one that is finished.
            answer: its right result, in full.
            point: what was really done, where that is not what was proposed.
            by: who corrects it; the answer's worker if left out.
            reason: for people; may be empty.
        """
        body = _result(answer, point)
        if by or reason:
            body["amendment"] = {"by": by, "reason": reason}
        self._append("amended", trial.study, trial.id, body)
        return self.history.trials[trial.id]

    def void(self, trial: Trial, *, at: float, worker: str, reason: str) -> Trial:
        """Record that the result of a finished trial is set aside, as if it had been cancelled; its cost stays.

        Args:
            trial: one that is finished, and not cancelled.
            at: Unix time, s.
            worker: who says so.
            reason: for people.
        """
        body: dict[str, Any] = {name: getattr(trial, name) for name in ("started_at", "finished_at", "worker")}
        if trial.cost is not None:
            body["cost"] = trial.cost
        if trial.planned is not None or trial.ask < 0:
            body["point"] = trial.point
        body |= {"info": {"note": reason}, "amendment": {"by": worker, "reason": reason, "at": at}}
        self._append("voided", trial.study, trial.id, body)
        return self.history.trials[trial.id]

    def cancel(self, trial: Trial, *, at: float, worker: str, reason: str) -> Trial:
        """Record that a trial will not be done.

        Args:
            trial: one that runs.
            at: Unix time, s.
            worker: who says so.
            reason: for people; may be empty.
        """
        body: dict[str, Any] = {"finished_at": at, "worker": worker}
        if reason:
            body["info"] = {"note": reason}
        self._append("cancelled", trial.study, trial.id, body)
        return self.history.trials[trial.id]

    def lose(self, trial: Trial, message: str) -> None:
        """Record that the attempt died with its worker or manager; the trial stays open."""
        self._append("lost", trial.study, trial.id, {"message": message})

    def withdraw(self, trial: Trial) -> None:
        """Record that the attempt was stopped on purpose; the trial stays open."""
        self._append("withdrawn", trial.study, trial.id, {})

    def note(self, study: str, kind: str, data: Mapping[str, Any]) -> None:
        """Record a remark about a study."""
        self._append("noted", study, None, {"kind": kind, "data": data})

    def commit(self) -> None:
        """Make everything appended so far durable.

        Raises:
            LedgerUnwritable: the disk is full or read-only; what was committed before is safe, and what was
                appended since is kept in memory, so that `commit` may be called again.
        """
        if not self._buffer:
            return
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany(
                    "INSERT INTO events (seq, time, kind, study, trial, body, crc) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [(*event, checksum(event)) for event in self._buffer],
                )
        except sqlite3.Error as error:
            raise LedgerUnwritable(
                f"cannot write {self.path}: {error}; {len(self._buffer)} events since the last commit are not saved, "
                "everything before is safe. Free space or make the folder writable, then run the same command again"
            ) from error
        self._buffer.clear()

    def _begin(self, config: Mapping[str, Any], environment: Mapping[str, Any], *, accept_change: bool) -> None:
        """Append the beginning of a session.

        Raises:
            ConfigChanged: the campaign differs from that of the last session, with the diff.
        """
        sessions = self.history.sessions
        if sessions and not accept_change and (diff := difference(sessions[-1].config, config)):
            raise ConfigChanged(
                f"the campaign differs from the one that {self.path} was started with:\n{diff}\n"
                "undo the change, choose another folder (--dir), or accept it (--accept-changes)"
            )
        self._append("opened", body={"config": config, "environment": environment})

    def _take_over(self) -> int:
        """Apply what others have recorded since; return how many events that were."""
        if not self.is_open:
            raise LedgerError(f"{self.path} was closed; open it again")
        before = self.history.last_seq
        for event in rows(self._db, self.path, after=before):
            self.history.apply(event)
        return self.history.last_seq - before

    def _discard(self) -> bool:
        """Forget what was appended and not committed, and read the history anew; return whether there was anything."""
        if not self._buffer:
            return False
        self._buffer.clear()
        self.history = replay(rows(self._db, self.path), keep=self._keep)
        return True

    def _append(
        self, kind: str, study: str = "", trial: int | None = None, body: Mapping[str, Any] | None = None
    ) -> None:
        try:
            text = to_json(body or {})
        except (TypeError, ValueError) as error:
            raise MatloopError(
                f"cannot record a {kind!r} event of study {study!r}: {error}; points, notes and results must be "
                "made of numbers, text, lists and mappings"
            ) from error
        event = Event(self.history.last_seq + 1, self._clock(), kind, study, trial, text)
        self.history.apply(event)  # from the text, so that a replay gives equal objects
        self._buffer.append(event)


def _result(answer: Answer, point: Point | None) -> dict[str, Any]:
    """A result as its event has it."""
    body: dict[str, Any] = {
        "started_at": answer.started_at,
        "finished_at": answer.finished_at,
        "worker": answer.worker,
    }
    for name in ("values", "noise", "info", "artifacts"):
        if value := getattr(answer, name):
            body[name] = value
    if answer.cost is not None:
        body["cost"] = answer.cost
    if answer.failure is not None:
        body["failure"] = {f.name: getattr(answer.failure, f.name) for f in dataclasses.fields(answer.failure)}
    if point is not None:
        body["point"] = point
    return body


def _close(db: sqlite3.Connection, process: int) -> None:
    if os.getpid() == process:  # SQLite forbids it in a forked copy
        db.close()
