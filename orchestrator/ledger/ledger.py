"""The durable record of a campaign: append-only events in SQLite, one writer, any number of readers.

Events are buffered and made durable together (group commit); nothing that a caller was told is durable is lost
when the process is killed or the power fails.
"""

from __future__ import annotations

import dataclasses
import difflib
import gc
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from matloop.orchestrator.errors import ConfigChanged, LedgerError, LedgerUnwritable, MatloopError
from matloop.orchestrator.ledger.file import checksum, connect, corrupt, rows
from matloop.orchestrator.ledger.history import Event, History
from matloop.orchestrator.ledger.lock import WriterLock
from matloop.orchestrator.ledger.plain import to_json
from matloop.orchestrator.ledger.trials import Trials
from matloop.orchestrator.trial import Answer, Point, Proposal, Trial


class Ledger:
    """Writer's handle; `history` is always the replay of what was appended.

    Everything appended becomes durable at the next `commit`, together.
    """

    _keep = False  # of `Trials`

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time, wait_s: float = 0.0) -> None:
        self.path = Path(path)
        self._clock = clock
        self._buffer: list[Event] = []
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerUnwritable(
                f"cannot create {self.path.parent}: {error.strerror}; choose another folder with --dir"
            ) from error
        self._lock = WriterLock(lock_path(self.path), wait_s=wait_s)
        try:
            self._db = connect(self.path)
            try:
                self.history = replay(rows(self._db, self.path), keep=self._keep)
            except BaseException:
                self._db.close()
                raise
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
            if not accept_change:
                ledger._compare(config)
            ledger._append("opened", body={"config": config, "environment": environment})
            ledger.commit()
        except BaseException:
            ledger._release()
            raise
        return ledger

    def _compare(self, config: Mapping[str, Any]) -> None:
        sessions = self.history.sessions
        if sessions and (difference := config_diff(sessions[-1].config, config)):
            raise ConfigChanged(
                f"the campaign differs from the one that {self.path} was started with:\n{difference}\n"
                "undo the change, choose another folder (--dir), or accept it (--accept-changes)"
            )

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

    def amend(self, trial: Trial, answer: Answer, *, point: Point | None = None) -> Trial:
        """Record the right result of a finished trial in the place of a wrong one; as `answer`."""
        self._append("amended", trial.study, trial.id, _result(answer, point))
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

    def close(self, reason: str = "finished") -> None:
        """End the session in order; harmless when called twice."""
        if self._db is None:
            return
        try:
            if self.history.sessions and self.history.sessions[-1].ended is None:
                self._append("closed", body={"reason": reason})
            self.commit()
        finally:
            self._release()

    def _release(self) -> None:
        self._db.close()
        self._db = None  # type: ignore[assignment]
        self._lock.release()

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._db is not None:
            self.close("finished" if kind is None else f"stopped by {kind.__name__}")


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


def read(path: Path) -> History:
    """Read a ledger without disturbing its writer.

    Raises:
        LedgerError: there is no such file.
        LedgerCorrupt: the file is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise LedgerError(f"there is no ledger at {path}; give the folder of a campaign that has been run")
    uri = path.absolute().as_uri()
    try:
        db = sqlite3.connect(f"{uri}?mode=ro", uri=True)
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:  # a write-ahead log in a read-only folder has no writer
        db = sqlite3.connect(f"{uri}?immutable=1", uri=True)
    except sqlite3.DatabaseError as error:
        raise corrupt(path, error) from error
    try:
        return replay(rows(db, path), keep=True)
    finally:
        db.close()


def replay(events: Iterable[Event], *, keep: bool = False) -> History:
    """State after all the events; `keep` is that of `Trials`."""
    history = History(trials=Trials(keep=keep))
    collecting = gc.isenabled()
    gc.disable()  # nothing here is garbage, and looking for it takes a third of the time
    try:
        for event in events:
            history.apply(event)
    finally:
        if collecting:
            gc.enable()
    return history


def lock_path(path: Path) -> Path:
    """The file that the writer of that ledger locks."""
    return path.with_name(path.name + ".lock")


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a campaign that must not change on resume: all but where it runs and how long."""
    same = {key: value for key, value in config.items() if key not in ("executor", "studies")}
    free = ("budget", "limits", "attempts")
    studies = config.get("studies", {})
    same["studies"] = {
        name: {key: value for key, value in study.items() if key not in free} for name, study in studies.items()
    }
    return json.loads(to_json(same))


def config_diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Unified diff of the identities; empty if they agree."""
    if identity(before) == identity(after):
        return ""
    old, new = (json.dumps(identity(c), indent=2, ensure_ascii=False).splitlines() for c in (before, after))
    return "\n".join(difflib.unified_diff(old, new, "ledger", "campaign file", lineterm="", n=2))
