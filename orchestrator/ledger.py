"""The durable record of a campaign: append-only events in SQLite, one writer, any number of readers.

Events are buffered and made durable together (group commit); nothing that a caller was told is durable is lost
when the process is killed or the power fails. Every row carries a checksum. On a local disk the journal is a
write-ahead log (readers never wait); on a network file system, where that is unsafe, a rollback journal.
"""

from __future__ import annotations

import dataclasses
import difflib
import gc
import json
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from orchestrator.errors import ConfigChanged, LedgerCorrupt, LedgerError, LedgerUnwritable, MatloopError
from orchestrator.history import Event, History
from orchestrator.lock import WriterLock
from orchestrator.plain import to_json
from orchestrator.trial import Answer, Proposal, Trial
from orchestrator.trials import Trials

SCHEMA = 1
APPLICATION_ID = 0x4D4C4F50  # "MLOP"
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "fuse.sshfs", "ceph", "9p"}


class Ledger:
    """Writer's handle; `history` is always the replay of what was appended.

    Everything appended becomes durable at the next `commit`, together.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self._clock = clock
        self._buffer: list[Event] = []
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerUnwritable(f"cannot create {self.path.parent}: {error.strerror}") from error
        self._lock = WriterLock(lock_path(self.path))
        try:
            self._db = _connect(self.path)
            try:
                self.history = replay(_rows(self._db, self.path))
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
            if ledger.history.sessions and not accept_change:
                difference = config_diff(ledger.history.sessions[-1].config, config)
                if difference:
                    raise ConfigChanged(
                        f"the campaign differs from the one that {path} was started with:\n{difference}\n"
                        "undo the change, choose another folder (--dir), or accept it (--accept-changes)"
                    )
            ledger._append("opened", body={"config": config, "environment": environment})
            ledger.commit()
        except BaseException:
            ledger._release()
            raise
        return ledger

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

    def answer(self, trial: Trial, answer: Answer) -> Trial:
        """Record a result, good or bad; return the finished trial."""
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
        self._append("failed" if answer.failure else "answered", trial.study, trial.id, body)
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
                    [(*event, _checksum(event)) for event in self._buffer],
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
        raise _corrupt(path, error) from error
    try:
        return replay(_rows(db, path), keep=True)
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


def _connect(path: Path) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        if db.execute("PRAGMA application_id").fetchone()[0] not in (0, APPLICATION_ID):
            raise LedgerCorrupt(f"{path} is an SQLite file of another program; choose another folder")
        found = db.execute("PRAGMA user_version").fetchone()[0]
        if found > SCHEMA:
            raise LedgerError(f"{path} was written by a newer matloop (format {found}, this one knows {SCHEMA})")
        db.execute(f"PRAGMA journal_mode = {'DELETE' if on_network(path) else 'WAL'}")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA busy_timeout = 10000")
        if found < SCHEMA:
            with db:
                db.execute("BEGIN IMMEDIATE")
                db.execute(
                    "CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, time REAL NOT NULL, "
                    "kind TEXT NOT NULL, study TEXT NOT NULL, trial INTEGER, body TEXT NOT NULL, crc INTEGER NOT NULL)"
                )
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {SCHEMA}")
        return db
    except sqlite3.OperationalError as error:
        raise LedgerUnwritable(f"cannot write {path}: {error}; choose a folder that is writable") from error
    except sqlite3.DatabaseError as error:
        raise _corrupt(path, error) from error


def _rows(db: sqlite3.Connection, path: Path) -> Iterable[Event]:
    try:
        for row in db.execute("SELECT seq, time, kind, study, trial, body, crc FROM events ORDER BY seq"):
            event = Event(*row[:6])
            if _checksum(event) != row[6]:
                raise _corrupt(path, f"the checksum of event {event.seq} is wrong")
            yield event
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise _corrupt(path, error) from error


def _corrupt(path: Path, error: object) -> LedgerCorrupt:
    return LedgerCorrupt(
        f"{path} is damaged: {error}. Nothing was changed. Restore it from a backup, or recover what can be read with: "
        f"sqlite3 {path} .recover | sqlite3 recovered.db"
    )


def _checksum(event: Event) -> int:
    return zlib.crc32(f"{event.seq}|{event.time!r}|{event.kind}|{event.study}|{event.trial}|{event.body}".encode())


def on_network(path: Path) -> bool:
    """Whether the path lies on a network file system, as far as the mount table tells (Linux)."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return False
    resolved = path.absolute().resolve()
    holding = [(mount, kind) for mount, kind in mounts if resolved.is_relative_to(mount.replace("\\040", " "))]
    return max(holding, key=lambda m: len(m[0]), default=("", ""))[1] in NETWORK_FILE_SYSTEMS
