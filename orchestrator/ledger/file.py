"""The file of a ledger: rows with checksums in SQLite.

On a local disk the journal is a write-ahead log (readers never wait); on a network file system, where that is unsafe,
a rollback journal.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import psutil

from matloop.orchestrator.errors import LedgerCorrupt, LedgerError, LedgerUnwritable
from matloop.orchestrator.ledger.history import Event

SCHEMA = 1
APPLICATION_ID = 0x4D4C4F50  # "MLOP"
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "fuse.sshfs", "ceph", "9p"}
NETWORK_FILE_SYSTEMS |= {"afpfs", "webdav"}

_SELECT = "SELECT seq, time, kind, study, trial, body, crc FROM events WHERE seq > ? ORDER BY seq"


def make_folder(path: Path) -> None:
    """Create the folder of a ledger, if absent.

    Raises:
        LedgerUnwritable: it cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnwritable(
            f"cannot create {path.parent}: {error.strerror}; choose another folder with --dir"
        ) from error


def connect(path: Path) -> sqlite3.Connection:
    """Open for writing; create if absent. To be closed by the caller.

    Raises:
        LedgerCorrupt: it is another program's file, or damaged.
        LedgerError: a newer matloop wrote it.
        LedgerUnwritable: the disk is full or read-only.
    """
    with ExitStack() as opened:
        try:
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            opened.callback(db.close)
            _prepare(db, path)
        except sqlite3.OperationalError as error:
            raise LedgerUnwritable(f"cannot write {path}: {error}; choose a folder that is writable") from error
        except sqlite3.DatabaseError as error:
            raise corrupt(path, error) from error
        opened.pop_all()
    return db


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open for reading, without disturbing a writer. To be closed by the caller.

    Raises:
        LedgerCorrupt: the file is damaged.
    """
    location = path.absolute().as_posix()  # SQLite knows no host in an address, so a share is a path as well
    address = f"file://{'' if location.startswith('/') else '/'}{quote(location, safe='/:')}"
    db = sqlite3.connect(f"{address}?mode=ro", uri=True)
    try:
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:  # a write-ahead log in a read-only folder has no writer
        db.close()
        return sqlite3.connect(f"{address}?immutable=1", uri=True)
    except sqlite3.DatabaseError as error:
        db.close()
        raise corrupt(path, error) from error
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
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
    """Whether the path lies on a network file system, as far as the operating system tells."""
    resolved = path.absolute().resolve()
    if resolved.drive.startswith("\\\\"):  # Windows: a folder of another computer
        return True
    try:
        disks = psutil.disk_partitions(all=True)
    except (OSError, psutil.Error):
        return False
    holding = [disk for disk in disks if resolved.is_relative_to(disk.mountpoint)]
    nearest = max(holding, key=lambda disk: len(disk.mountpoint), default=None)
    return nearest is not None and (nearest.fstype in NETWORK_FILE_SYSTEMS or "remote" in nearest.opts.split(","))
