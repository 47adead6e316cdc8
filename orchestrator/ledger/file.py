"""The file of a ledger: rows with checksums in SQLite.

On a local disk the journal is a write-ahead log (readers never wait); on a network file system, where that is unsafe,
a rollback journal.
"""

from __future__ import annotations

import os
import secrets
import shlex
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from glob import escape
from pathlib import Path

from matloop.orchestrator.errors import LedgerBusy, LedgerCorrupt, LedgerError, LedgerForeign, LedgerUnwritable
from matloop.orchestrator.ledger.disk import on_network, private, sync_folder
from matloop.orchestrator.ledger.history import Event

SCHEMA = 1
APPLICATION_ID = 0x4D4C4F50  # "MLOP"

BUSY_WAIT_S = 120.0
"""How long a writer waits for another program to let go of the file, s. Readers hold it for milliseconds; one that was
suspended meanwhile, or a backup, for longer."""

CHECKPOINT_S = 30.0
"""How old what is only in the write-ahead log may become, s, so that a copy of the file alone lacks little."""

LARGEST_BODY = 250_000_000
"""Characters of an event; SQLite takes four times as many bytes."""

Row = tuple[int, float, str, str, int | None, str, int]
"""An event and its checksum."""

_COLUMNS = "seq, time, kind, study, trial, body, crc"
SELECT_ALL = f"SELECT {_COLUMNS} FROM events ORDER BY seq"
_SELECT = f"SELECT {_COLUMNS} FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
_INSERT = f"INSERT INTO events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
_BATCH = 1000  # rows read at once: the file is free for a writer in between, also if this process is stopped there
_LOGS = ("-wal", "-journal")


def connect(path: Path, *, busy_s: float | None = None) -> sqlite3.Connection:
    """Open for writing; create if absent. To be closed by the caller.

    Args:
        path: the file.
        busy_s: how long to wait for another program to let go of it, s; `BUSY_WAIT_S` if left out.

    Raises:
        LedgerForeign: it is another program's file.
        LedgerCorrupt: it is damaged.
        LedgerError: a newer matloop wrote it.
        LedgerUnwritable: the disk is full or read-only.
    """
    if not path.exists():
        _create(path)
    require_content(path)
    timeout = BUSY_WAIT_S if busy_s is None else busy_s
    with ExitStack() as opened:
        try:
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=timeout)
            opened.callback(db.close)
            _prepare(db, path)
        except sqlite3.Error as error:
            raise trouble(path, error) from error
        opened.pop_all()
    return db


def _create(path: Path) -> None:
    """Put down an empty ledger, whole and durable from the moment that it is there."""
    if content_beside(path):
        raise LedgerCorrupt(
            f"{path} is not there, but {', '.join(p.name for p in content_beside(path))} beside it, with events in it. "
            f"Put the file back, or save them with: matloop repair {quoted(path)}; or delete that too, to begin anew"
        )
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        for log in (*_LOGS, "-shm"):
            path.with_name(path.name + log).unlink(missing_ok=True)
        for left in path.parent.glob(f"{escape(path.name)}.*.tmp*"):  # by one who was killed here
            left.unlink(missing_ok=True)
        open(partial, "xb", opener=private).close()
        with closing(sqlite3.connect(partial, isolation_level=None)) as db, db:
            db.execute("PRAGMA journal_mode = MEMORY")  # what is not whole is not kept
            db.execute("BEGIN IMMEDIATE")
            db.execute(
                "CREATE TABLE events (seq INTEGER PRIMARY KEY, time REAL NOT NULL, "
                "kind TEXT NOT NULL, study TEXT NOT NULL, trial INTEGER, body TEXT NOT NULL, crc INTEGER NOT NULL)"
            )
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {SCHEMA}")
        partial.replace(path)
        sync_folder(path.parent)
    except sqlite3.Error as error:
        raise trouble(path, error) from error
    except OSError as error:
        raise LedgerUnwritable(f"cannot write {path}: {error.strerror}; choose a folder that is writable") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    require_ours(db, path)
    network = on_network(path)
    (journal,) = db.execute(f"PRAGMA journal_mode = {'DELETE' if network else 'WAL'}").fetchone()
    if network and journal == "wal":
        raise LedgerBusy(f"cannot write {path}: another program has it open; stop that one")
    # Without a log, the end of a transaction is the end of a file, and that has to be on the disk as well.
    db.execute(f"PRAGMA synchronous = {'EXTRA' if network else 'FULL'}")


def require_content(path: Path) -> None:
    """Look whether there is anything in a file, before SQLite would take it for new and delete the log beside it.

    Raises:
        LedgerCorrupt: there is not.
    """
    if not path.stat().st_size:
        raise corrupt(path, "it is empty")


def require_ours(db: sqlite3.Connection, path: Path) -> None:
    """Look whether a file is a ledger that this matloop can read.

    Raises:
        LedgerForeign: it is another program's file.
        LedgerCorrupt: it is damaged.
        LedgerError: a newer matloop wrote it.
    """
    number = db.execute("PRAGMA application_id").fetchone()[0]
    try:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    except UnicodeDecodeError as error:  # of the damage, which SQLite quotes
        raise corrupt(path, "what its tables are cannot be read") from error
    if number != APPLICATION_ID and tables == ["events"] and _columns(db) == _COLUMNS:
        raise corrupt(path, "its first bytes are not those of a ledger")
    if number != APPLICATION_ID and (tables or number):
        raise LedgerForeign(f"{path} is an SQLite file of another program; choose another folder")
    if not tables:
        raise corrupt(path, "it is empty")
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found > SCHEMA:
        raise LedgerError(f"{path} was written by a newer matloop (format {found}, this one knows {SCHEMA})")


def _columns(db: sqlite3.Connection) -> str:
    return ", ".join(row[1] for row in db.execute("PRAGMA table_info(events)"))


def content_beside(path: Path) -> list[Path]:
    """Logs that lie beside a file and belong to its content."""
    return [log for name in _LOGS if _has_content(log := path.with_name(path.name + name))]


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:  # or a writer has deleted it just now
        return False


def rows(db: sqlite3.Connection, path: Path, *, after: int = 0) -> Iterator[Event]:
    """Events in order, those after a number; each one's checksum is compared.

    Raises:
        LedgerCorrupt: the file is damaged; said without its name, which `naming` adds.
        LedgerBusy: another program keeps the file locked.
        LedgerUnwritable: the disk is out of reach.
    """
    while found := _fetch(db, path, after):
        for row in found:
            event = Event._make(row[:6])
            if checksum(event) != row[6]:
                raise LedgerCorrupt(f"the checksum of event {event.seq} is wrong")
            yield event
        after = found[-1][0]


def _fetch(db: sqlite3.Connection, path: Path, after: int) -> list[Row]:
    try:
        return db.execute(_SELECT, (after, _BATCH)).fetchall()
    except sqlite3.Error as error:
        if _is_damage(error):
            raise LedgerCorrupt(str(error).partition(" with text ")[0]) from error
        raise trouble(path, error, doing="read") from error
    except UnicodeDecodeError as error:
        raise LedgerCorrupt(str(error)) from error


def insert(db: sqlite3.Connection, new: Sequence[Row], *, again: bool) -> None:
    """Write rows durably, all or none.

    Args:
        db: see `connect`.
        new: in order.
        again: this was tried before, and may have succeeded without being seen to.

    Raises:
        sqlite3.Error: see `trouble`.
    """
    if db.in_transaction:
        db.rollback()
    with db:
        db.execute("BEGIN IMMEDIATE")
        if again:
            there = db.execute(_SELECT, (new[0][0] - 1, len(new))).fetchall()
            new = new[len(there) :] if there == new[: len(there)] else new
        db.executemany(_INSERT, new)


def checkpoint(db: sqlite3.Connection) -> None:
    """Carry over into the file what is only in its log, as far as nobody reads that; what cannot be stays there."""
    with suppress(sqlite3.Error):
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say of which file damage is, and what to do about it."""
    try:
        yield
    except LedgerCorrupt as error:
        raise corrupt(path, error) from error


def corrupt(path: Path, error: object) -> LedgerCorrupt:
    """The error for a damaged file, with the remedy."""
    return LedgerCorrupt(
        f"{path} is damaged: {error}. Nothing was changed. Restore it from a backup, or save all that can be read in a "
        f"copy with: matloop repair {quoted(path)}",
        why=str(error),
    )


def quoted(path: Path | str) -> str:
    """A path as it is typed in a shell."""
    if os.name == "nt":
        return f'"{path}"' if any(letter in str(path) for letter in " ()&;'") else str(path)
    return shlex.quote(str(path))


def trouble(
    path: Path,
    error: sqlite3.Error,
    *,
    doing: str = "write",
    saved: str = "",
    again: str = "run the same command again",
) -> LedgerError:
    """The error for what SQLite says, so that a user knows what to do.

    Args:
        path: the file.
        error: from SQLite.
        doing: "write" or "read".
        saved: what is not saved for it, and what is.
        again: what to do once it is put right.
    """
    code = _code(error)
    if _is_damage(error):
        return corrupt(path, error)
    if code == sqlite3.SQLITE_CONSTRAINT:
        return LedgerError(
            f"cannot write {path}: another process has written to it at the same time ({error}), although it was "
            "locked. Nothing of its was overwritten. See that only one computer runs this campaign, then run it again"
        )
    begin = f"cannot {doing} {path}: "
    saved = f"{saved}. " if saved else ""
    if is_busy(error):
        return LedgerBusy(
            f"{begin}another program keeps it locked ({error}); the disk is not full. {saved}"
            f"End what has it open (a suspended command, a backup, a viewer of databases), then {again}"
        )
    what, remedy = _TROUBLES.get(code, ("{error}", "Free space or make the folder writable"))
    return LedgerUnwritable(f"{begin}{what.format(error=error)}; {saved}{remedy}, then {again}")


_TROUBLES = {
    sqlite3.SQLITE_FULL: ("the disk is full", "Free space"),
    sqlite3.SQLITE_IOERR: (
        "the disk is out of reach, or a quota is used up ({error})",
        "Free space or see to the disk and the way to it",
    ),
    sqlite3.SQLITE_READONLY: ("it is read-only ({error})", "Make the file and its folder writable"),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened ({error})",
        "Make the file and its folder readable and writable",
    ),
}


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary code."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another program keeps the file locked, and nothing else is wrong."""
    if not hasattr(error, "sqlite_errorcode"):
        return "locked" in str(error)
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)


def _is_damage(error: sqlite3.Error) -> bool:
    if _code(error) == sqlite3.SQLITE_ERROR:
        return str(error).startswith(("no such", "Could not decode"))  # table or column; text of one
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)


def checksum(event: Event) -> int:
    """Of all that the event's row holds."""
    seq, at, kind, study, trial, body = event
    return zlib.crc32(f"{seq}|{at!r}|{kind}|{study}|{trial}|{body}".encode())
