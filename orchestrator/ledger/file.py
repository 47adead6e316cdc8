"""The file of a ledger: rows with checksums in SQLite.

On a local disk the journal is a write-ahead log (readers never wait); on a network file system, where that is unsafe,
a rollback journal.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable
from pathlib import Path

from matloop.orchestrator.errors import LedgerCorrupt, LedgerError, LedgerUnwritable
from matloop.orchestrator.ledger.history import Event

SCHEMA = 1
APPLICATION_ID = 0x4D4C4F50  # "MLOP"
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "fuse.sshfs", "ceph", "9p"}

_SELECT = "SELECT seq, time, kind, study, trial, body, crc FROM events WHERE seq > ? ORDER BY seq"


def connect(path: Path) -> sqlite3.Connection:
    """Open for writing; create if absent.

    Raises:
        LedgerCorrupt: it is another program's file, or damaged.
        LedgerError: a newer matloop wrote it.
        LedgerUnwritable: the disk is full or read-only.
    """
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
        raise corrupt(path, error) from error


def rows(db: sqlite3.Connection, path: Path, *, after: int = 0) -> Iterable[Event]:
    """Events in order, those after a number; each one's checksum is compared.

    Raises:
        LedgerCorrupt: the file is damaged.
    """
    try:
        for row in db.execute(_SELECT, (after,)):
            event = Event(*row[:6])
            if checksum(event) != row[6]:
                raise corrupt(path, f"the checksum of event {event.seq} is wrong")
            yield event
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise corrupt(path, error) from error


def corrupt(path: Path, error: object) -> LedgerCorrupt:
    """The error for a damaged file, with the remedy."""
    return LedgerCorrupt(
        f"{path} is damaged: {error}. Nothing was changed. Restore it from a backup, or recover what can be read with: "
        f"sqlite3 {path} .recover | sqlite3 recovered.db"
    )


def checksum(event: Event) -> int:
    """Of all that the event's row holds."""
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
