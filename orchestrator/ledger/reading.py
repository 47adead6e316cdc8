"""Reading a ledger as it lies, without disturbing its writer: in place, or in a copy where it cannot be read in place.

What was recorded last is in a log beside the file. SQLite reads it with the help of a third file, which a copy of the
first two on a read-only disk does not have and cannot get, or with memory that two computers do not share.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from matloop.orchestrator.errors import LedgerBusy, LedgerError, LedgerUnwritable
from matloop.orchestrator.ledger.disk import on_network
from matloop.orchestrator.ledger.file import content_beside, is_busy, require_content, require_ours, rows, trouble
from matloop.orchestrator.ledger.history import Event

WAIT_S = 60.0
"""How long a reader waits for a writer that has the file locked, s."""

_TRIES = 20  # at a copy of a file that is being written meanwhile
_PAUSE_S = 0.05
_GLANCES = 5
_INSTANT_S = 0.01  # between two of them


def events(path: Path) -> Iterator[Event]:
    """Events in order; opened anew where the file can no longer be read as it was opened.

    A writer that dies meanwhile leaves its last transaction to be undone, which a reader may do in a copy alone.

    Raises:
        LedgerCorrupt: the file is another program's, or damaged; an event that is, is said without the file's name.
        LedgerError: see `open_to_read`, and `matloop.orchestrator.ledger.file.rows`.
    """
    last = 0
    for glance in range(1, _GLANCES + 1):
        try:
            with open_to_read(path) as db:
                for event in rows(db, path, after=last):
                    yield event
                    last = event.seq
            return
        except LedgerUnwritable as error:
            if glance == _GLANCES or isinstance(error, LedgerBusy):  # which was waited for
                raise
            time.sleep(_INSTANT_S)


@contextmanager
def open_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """Open for reading.

    Raises:
        LedgerForeign: it is another program's file.
        LedgerCorrupt: it is damaged.
        LedgerBusy: a writer has it locked for long.
        LedgerError: it cannot be read.
    """
    _require_readable(path)
    require_content(path)
    with ExitStack() as opened:
        yield _connect(path, opened)


def _connect(path: Path, opened: ExitStack) -> sqlite3.Connection:
    if content_beside(path) and on_network(path):
        return _of_a_copy(path, opened)
    for _ in range(_GLANCES):  # a log that a writer deletes at that moment passes for one that was left behind
        try:
            return _in_place(path, "mode=ro", opened)
        except sqlite3.OperationalError as error:
            if is_busy(error):
                raise trouble(path, error, doing="read") from error
        except sqlite3.DatabaseError as error:
            raise trouble(path, error, doing="read") from error
        if content_beside(path):
            break
        time.sleep(_INSTANT_S)
    if content_beside(path):
        return _of_a_copy(path, opened)
    try:
        return _in_place(path, "immutable=1", opened)  # in a read-only folder, without a log and thus without a writer
    except sqlite3.Error as error:
        raise trouble(path, error, doing="read") from error


def _in_place(path: Path, how: str, opened: ExitStack) -> sqlite3.Connection:
    location = path.absolute().as_posix()  # SQLite knows no host in an address, so a share is a path as well
    address = f"file://{'' if location.startswith('/') else '/'}{quote(location, safe='/:')}?{how}"
    with ExitStack() as trying:
        db = trying.enter_context(closing(sqlite3.connect(address, uri=True, timeout=WAIT_S)))
        require_ours(db, path)
        opened.push(trying.pop_all())
    return db


def _of_a_copy(path: Path, opened: ExitStack) -> sqlite3.Connection:
    try:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="matloop-")))
        copy = copied(path, folder)
    except OSError as error:
        raise LedgerError(
            f"cannot read {path} where it lies, with what was recorded last in a log beside it, nor copy it to "
            f"{tempfile.gettempdir()}: {error.strerror}; copy it, with {path.name}-wal, to a folder that is writable"
        ) from error
    try:
        db = opened.enter_context(closing(sqlite3.connect(copy)))
        require_ours(db, path)
    except sqlite3.Error as error:
        raise trouble(path, error, doing="read") from error
    return db


def copied(path: Path, folder: Path) -> Path:
    """Copy the file of a ledger and its logs, all as they are at one moment; return the copy.

    Raises:
        LedgerBusy: they do not stay the same for as long as that takes.
        OSError: they cannot be copied.
    """
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):  # a writer has deleted its log meanwhile
            before = _state(path)
            for source in before:
                shutil.copyfile(source, folder / source.name)
            if _state(path) == before:
                return folder / path.name
        if not path.is_file():
            break
        for copy in folder.iterdir():
            copy.unlink()
        time.sleep(_PAUSE_S)
    path.stat()  # if it is not there
    raise LedgerBusy(f"cannot read {path}: it is being written all the time; try again, or read it where it is written")


def _state(path: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of change of each file."""
    files = [*([path] if path.is_file() else []), *content_beside(path)]
    return {file: ((found := file.stat()).st_size, found.st_mtime_ns) for file in files}


def _require_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise LedgerError(
            f"cannot read {path}: {error.strerror}; who owns it can allow it with chmod, for the folder too"
        ) from error
