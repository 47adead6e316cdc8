"""What any writer of a ledger does: append events, make them durable together, keep the state that they come to."""

from __future__ import annotations

import dataclasses
import math
import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matloop.orchestrator.errors import ConfigChanged, LedgerCorrupt, LedgerError, LedgerUnwritable, MatloopError
from matloop.orchestrator.ledger.disk import on_network
from matloop.orchestrator.ledger.file import (
    CHECKPOINT_S,
    LARGEST_BODY,
    Row,
    checkpoint,
    checksum,
    connect,
    insert,
    naming,
    rows,
    trouble,
)
from matloop.orchestrator.ledger.history import Event, History, Verdict, advance, replay
from matloop.orchestrator.ledger.identity import difference
from matloop.orchestrator.plain import DEEPEST, to_json, writable_json
from matloop.orchestrator.trial import Answer, Point, Proposal, Trial

LOOK_S = 0.1
"""How often it is looked whether the file is still in its place, s: each look lets other threads take the processor."""

Judge = Callable[[History, Mapping[str, Any]], None]
"""Is given the record and the resolved campaign of a session that is to begin; raises ConfigChanged if it may not."""

_DEEPEST = DEEPEST + 10
"""Of a body, which has a level or two around the values that were looked at when they came."""


class Writer:
    """Appends to the file of a ledger; whoever derives from it sees to it that nobody else does at the same time.

    `history` is always the replay of what was appended. Everything appended becomes durable at the next `commit`,
    together. What cannot be recorded is refused before anything has changed; should an event be applied only in part
    all the same, nothing more is recorded through this writer.

    Args:
        path: the file; created if absent. To be locked already.
        clock: Unix time, s.
        keep: see `matloop.orchestrator.ledger.trials.Trials`.
        busy_s: see `matloop.orchestrator.ledger.file.connect`.

    Raises:
        LedgerCorrupt: the file is damaged; it was not touched.
        LedgerUnwritable: the disk is full or read-only.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        keep: bool = False,
        busy_s: float | None = None,
    ) -> None:
        self.path = Path(path)
        self._clock = clock
        self._keep = keep
        self._buffer: list[Row] = []
        self._doubtful = False  # `history` may hold an event in part, which is not in the buffer
        self._tried = False  # the last commit was not seen to succeed
        self._carried_over = time.monotonic()
        self._looked = -math.inf  # when it was last seen in its place
        db = connect(self.path, busy_s=busy_s)
        self._disconnect = weakref.finalize(self, _close, db, os.getpid())
        self._disconnect.atexit = False  # what was committed is safe without it
        self._db = db
        try:
            self._identity = None if on_network(self.path) else _identity(self.path)  # some networks give new ones
            with naming(self.path):
                self.history = replay(rows(db, self.path), keep=keep)
        except BaseException:
            self._disconnect()
            raise

    @property
    def is_open(self) -> bool:
        """Whether it can still be written to."""
        return self._disconnect.alive

    @property
    def is_whole(self) -> bool:
        """Whether `history` is the replay of what was appended; if it is not, nothing more can be recorded."""
        return not self._doubtful

    def elapsed_s(self, study: str) -> float:
        """Time for which a study has run, over all sessions and up to now, s."""
        return self.history.elapsed(study, self._clock())

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
            if proposal.prediction.interval:
                body["prediction"]["interval"] = proposal.prediction.interval
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

    def complete(self, trial: Trial, answer: Answer, *, names: Sequence[str], by: str, request: str = "") -> Trial:
        """Record values of an answered trial that were still to come.

        Args:
            trial: one that is answered.
            answer: its whole result as it is now.
            names: of the values that are told now.
            by: who measured them.
            request: see `matloop.orchestrator.lab.results.Result`.
        """
        point = trial.point if trial.planned is not None or trial.ask < 0 else None
        completion: dict[str, Any] = {"by": by, "names": list(names)}
        if request:
            completion["request"] = request
        self._append("completed", trial.study, trial.id, _result(answer, point) | {"completion": completion})
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

    def withdraw(self, trial: Trial, *, begun: bool = True) -> None:
        """Record that the attempt was stopped on purpose; the trial stays open.

        Args:
            trial: one that runs.
            begun: whether a worker may have begun it.
        """
        self._append("withdrawn", trial.study, trial.id, {} if begun else {"begun": False})

    def decide(self, trial: Trial, verdict: Verdict, *, by: str, reason: str) -> None:
        """Record a person's word on a trial that may have happened.

        Args:
            trial: one of `History.undecided`.
            verdict: what follows.
            by: who decides.
            reason: for people; may be empty.
        """
        self._append("decided", trial.study, trial.id, {"verdict": verdict, "by": by, "reason": reason})

    def note(self, study: str, kind: str, data: Mapping[str, Any]) -> None:
        """Record a remark about a study."""
        self._append("noted", study, None, {"kind": kind, "data": data})

    def commit(self) -> None:
        """Make everything appended so far durable.

        Raises:
            LedgerUnwritable: the disk is full, read-only or out of reach, or the file is locked for long (LedgerBusy);
                what was committed before is safe, and what was appended since is kept in memory, so that `commit` may
                be called again.
            LedgerCorrupt: the file was damaged meanwhile.
            LedgerError: an append failed half-way before; or another process has written at the same time.
        """
        self._require_whole()
        if not self._buffer:
            return
        if (now := time.monotonic()) - self._looked > LOOK_S:
            self._require_in_place()
            self._looked = now
        again, self._tried = self._tried, True
        try:
            insert(self._db, self._buffer, again=again)
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        self._buffer.clear()
        self._tried = False
        if now - self._carried_over > CHECKPOINT_S:
            self._carried_over = now
            checkpoint(self._db)

    def commit_what_fits(self) -> int:
        """Make durable what the disk still takes of what was appended, in order; return how many events it does not."""
        self._require_whole()
        size = len(self._buffer)
        while size:
            try:
                insert(self._db, self._buffer[:size], again=True)
            except sqlite3.Error:
                size //= 2
            else:
                del self._buffer[:size]
                size = min(size, len(self._buffer))
        return len(self._buffer)

    def _begin(
        self, config: Mapping[str, Any], environment: Mapping[str, Any], *, accept_change: bool, judge: Judge | None
    ) -> None:
        """Append the beginning of a session.

        Args:
            config: the resolved campaign.
            environment: versions and machine.
            accept_change: go on although the campaign has changed.
            judge: decides in place of `accept_change`.

        Raises:
            ConfigChanged: the campaign differs from that of the last session, with the diff.
        """
        sessions = self.history.sessions
        if judge is not None:
            judge(self.history, config)
        elif sessions and not accept_change and (diff := difference(sessions[-1].config, config)):
            raise ConfigChanged(
                f"the campaign differs from the one that {self.path} was started with:\n{diff}\n"
                "undo the change, choose another folder (--dir), or accept it (--accept-changes)"
            )
        self._append("opened", body={"config": config, "environment": environment})

    def _take_over(self) -> int:
        """Apply what others have recorded since; return how many events that were."""
        if not self.is_open:
            raise LedgerError(f"{self.path} was closed; open it again")
        if self._doubtful:
            self._discard()
        before = self.history.last_seq
        self._doubtful = True
        try:
            with naming(self.path):
                advance(self.history, rows(self._db, self.path, after=before))
        except LedgerError:
            self._doubtful = False  # up to there it is sound
            raise
        self._doubtful = False
        return self.history.last_seq - before

    def _discard(self) -> bool:
        """Forget what was appended and not committed, and read the history anew; return whether there was anything."""
        if not self._buffer and not self._doubtful:
            return False
        self._buffer.clear()
        self._tried, self._doubtful = False, True
        with naming(self.path):
            self.history = replay(rows(self._db, self.path), keep=self._keep)
        self._doubtful = False
        return True

    def _append(
        self, kind: str, study: str = "", trial: int | None = None, body: Mapping[str, Any] | None = None
    ) -> None:
        self._require_whole()
        event, right = self._event(kind, study, trial, body or {})
        self._doubtful = True
        try:
            self.history.apply(event)  # from the text, so that a replay gives equal objects
        except LedgerCorrupt:
            self._doubtful = False  # nothing has changed
            raise
        self._buffer.append((*event, right))
        self._doubtful = False

    def _event(self, kind: str, study: str, trial: int | None, body: Mapping[str, Any]) -> tuple[Event, int]:
        """The next event, which can be written, and its checksum."""
        try:
            text = to_json(body, deepest=_DEEPEST)
            if len(text) > LARGEST_BODY:
                raise ValueError(f"got {len(text):,} characters, of which {LARGEST_BODY:,} can be stored")
            event = Event(self.history.last_seq + 1, float(self._clock()), kind, study, trial, text)
            try:
                return event, checksum(event)
            except UnicodeEncodeError:
                event = event._replace(body=writable_json(text))
                return event, checksum(event)
        except (TypeError, ValueError, RecursionError) as error:  # also of a study's name, which is looked up as it is
            raise MatloopError(
                f"cannot record a {kind!r} event of study {study!r}: {error}; points, notes and results must be "
                "made of numbers, text, lists and mappings"
            ) from error

    def _trouble(self, error: sqlite3.Error) -> LedgerError:
        saved = f"{len(self._buffer)} events since the last commit are not saved, everything before is safe"
        return trouble(self.path, error, saved=saved)

    def _require_in_place(self) -> None:
        """Look whether what is written can be found again."""
        try:
            found = _identity(self.path)
        except OSError as error:
            raise LedgerUnwritable(
                f"cannot write {self.path}: it is no longer there ({error.strerror}); what was committed is in the "
                "file, wherever that is now. Put it back, with its folder"
            ) from error
        if self._identity not in (None, found):
            raise LedgerUnwritable(
                f"cannot write {self.path}: another file lies there now; put back the one that this campaign was "
                "started with, or start it again"
            )

    def _require_whole(self) -> None:
        if self._doubtful:
            raise LedgerError(
                f"nothing more is written to {self.path}: recording an event failed half-way. What was committed "
                "before is safe; open it again"
            )


def _result(answer: Answer, point: Point | None) -> dict[str, Any]:
    """A result as its event has it."""
    body: dict[str, Any] = {
        "started_at": answer.started_at,
        "finished_at": answer.finished_at,
        "worker": answer.worker,
    }
    for name in ("values", "noise", "censored", "info", "artifacts"):
        if value := getattr(answer, name):
            body[name] = value
    if answer.cost is not None:
        body["cost"] = answer.cost
    if answer.failure is not None:
        body["failure"] = {f.name: getattr(answer.failure, f.name) for f in dataclasses.fields(answer.failure)}
    if point is not None:
        body["point"] = point
    return body


def _identity(path: Path) -> tuple[int, int]:
    """By which a file is known, whatever its name."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _close(db: sqlite3.Connection, process: int) -> None:
    if os.getpid() == process:  # SQLite forbids it in a forked copy
        db.close()
