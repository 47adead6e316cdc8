"""Reading tells the truth, wherever the file lies, and disturbs nobody who writes it."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from matloop.orchestrator.errors import LedgerBusy
from matloop.orchestrator.ledger import file as ledger_file
from matloop.orchestrator.ledger import reading
from matloop.orchestrator.ledger import writer as ledger_writer
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.ledger.shared import SharedLedger
from matloop.orchestrator.trial import Answer, Proposal
from tests.orchestrator.ledger.strangers import as_a_stranger

READ = """
from matloop.orchestrator.errors import LedgerError
from matloop.orchestrator.ledger.ledger import read

def use(path):
    try:
        history = read(path)
        print(len(history.trials), len(history.finished), history.damage)
    except LedgerError as error:
        print(error)
"""


def add(ledger: Ledger | SharedLedger, n: int, size: int = 10) -> None:
    for x in range(n):
        trial = ledger.propose("a", Proposal(point={"x": x}, reason="r" * size), seed=1, ask=x)
        ledger.answer(trial, Answer(values={"y": 1.0}, started_at=0.0, finished_at=1.0))
    ledger.commit()


def read_as_a_stranger(path: Path) -> str:
    (line,) = as_a_stranger(READ, path)
    return line.strip()


@pytest.mark.skipif(os.name == "nt", reason="folders are not read-only there")
def test_a_killed_run_that_was_copied_without_its_shared_memory_is_read_in_full(
    tmp_path: Path, read_only_disk: Callable[..., Path]
) -> None:
    """What lies only in the log counts, on a disk where SQLite cannot open the log."""
    path = tmp_path / "run" / "ledger.db"
    with Ledger.open(path, config={}, environment={}) as ledger:
        add(ledger, 600)
        log = path.with_name("ledger.db-wal")
        assert log.stat().st_size and path.stat().st_size
        copy = read_only_disk(path, log)
        before = copy.read_bytes(), copy.with_name(log.name).read_bytes()
        assert read_as_a_stranger(copy) == "600 600"
    assert before == (copy.read_bytes(), copy.with_name(log.name).read_bytes())
    assert sorted(file.name for file in copy.parent.iterdir()) == ["ledger.db", "ledger.db-wal"]


@pytest.mark.skipif(os.name == "nt", reason="folders are not read-only there")
def test_what_a_killed_writer_had_not_finished_is_not_read(
    tmp_path: Path, read_only_disk: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a rollback journal, the file itself holds parts of it until the next writer takes them back."""
    path = tmp_path / "run" / "ledger.db"
    monkeypatch.setattr(ledger_file, "on_network", lambda path: True)
    with Ledger.open(path, config={}, environment={}) as ledger:
        add(ledger, 50)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA cache_size = 1")
        db.execute("PRAGMA cache_spill = 1")
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE events SET body = replace(body, 'r', 'R')")
        journal = path.with_name("ledger.db-journal")
        assert journal.stat().st_size
        copy = read_only_disk(path, journal)
        assert b"RRRR" in copy.read_bytes()
        assert read_as_a_stranger(copy) == "50 50"
        db.execute("ROLLBACK")


def test_a_writer_that_dies_while_the_file_is_read_disturbs_no_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had not finished is to be undone, which cannot be done by those who only read."""
    path = tmp_path / "ledger.db"
    monkeypatch.setattr(ledger_file, "on_network", lambda path: True)
    monkeypatch.setattr(ledger_file, "_BATCH", 10)
    with Ledger.open(path, config={}, environment={}) as ledger:
        add(ledger, 50)
    found = reading.events(path)
    first = next(found)
    half_done = f"""
import os, sqlite3
db = sqlite3.connect({str(path)!r}, isolation_level=None)
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE events SET body = replace(body, 'r', 'R')")
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", half_done]).returncode == 9
    assert path.with_name("ledger.db-journal").stat().st_size and b"RRRR" in path.read_bytes()
    bodies = [event.body for event in (first, *found)]
    assert len(bodies) == 102 and not any("R" in body for body in bodies)


def test_a_log_is_not_read_in_place_on_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tells where its end is would be in the memory of another computer."""
    path = tmp_path / "ledger.db"
    with Ledger.open(path, config={}, environment={}) as ledger:
        add(ledger, 30)
        seen: list[str] = []
        connect = sqlite3.connect

        def noted(database: object, **options: object) -> sqlite3.Connection:
            seen.append(str(database))
            return connect(database, **options)  # type: ignore[call-overload]

        monkeypatch.setattr(reading, "on_network", lambda path: True)
        monkeypatch.setattr(sqlite3, "connect", noted)
        assert len(read(path).trials) == 30
        assert seen and not any(str(tmp_path) in database for database in seen)
    assert not Path(seen[0]).parent.exists()  # the copy is gone again


def test_a_copy_of_what_is_being_written_all_the_time_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.open(path, config={}, environment={}) as ledger:
        add(ledger, 1)
        monkeypatch.setattr(reading, "on_network", lambda path: True)
        monkeypatch.setattr(reading, "_PAUSE_S", 0.0)
        copyfile = shutil.copyfile

        def copied(source: Path, target: Path) -> None:
            copyfile(source, target)
            add(ledger, 1)

        monkeypatch.setattr(shutil, "copyfile", copied)
        with pytest.raises(LedgerBusy, match="being written all the time"):
            read(path)


@pytest.mark.skipif(os.name == "nt", reason="files have no such modes there")
def test_a_file_that_must_not_be_read_says_so(tmp_path: Path, read_only_disk: Callable[..., Path]) -> None:
    Ledger.open(tmp_path / "ledger.db", config={}, environment={}).close()
    copy = read_only_disk(tmp_path / "ledger.db")
    assert read_as_a_stranger(copy) == "0 0"
    copy.chmod(0)
    said = read_as_a_stranger(copy)
    assert said.startswith(f"cannot read {copy}: Permission denied; who owns it can allow it with chmod")


STOPPED = """
import os, signal, sqlite3, sys
from pathlib import Path
from matloop.orchestrator.ledger import file, reading
path = Path(sys.argv[1])
with reading.open_to_read(path) as db:
    for event in file.rows(db, path):
        if event.seq == 10:
            print("reading", flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)
print(event.seq, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nothing can be suspended here")
@pytest.mark.parametrize("network", [True, False])
def test_a_reader_that_is_suspended_holds_up_no_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: bool
) -> None:
    monkeypatch.setattr(ledger_file, "on_network", lambda path: network)
    path = tmp_path / "ledger.db"
    with Ledger.open(path, config={}, environment={}) as ledger:
        add(ledger, 2_000)
        reader = subprocess.Popen([sys.executable, "-c", STOPPED, str(path)], stdout=subprocess.PIPE, text=True)
        assert reader.stdout is not None and reader.stdout.readline() == "reading\n"
        while psutil.Process(reader.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.01)
        ledger._db.execute("PRAGMA busy_timeout = 100")
        add(ledger, 10)
        if not network:
            (busy, _, _) = ledger._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            assert not busy  # nor does the log grow for it
        reader.send_signal(signal.SIGCONT)
        assert reader.communicate(timeout=120)[0] == "4021\n"  # it sees what came meanwhile


def test_a_reader_waits_for_a_writer_and_says_what_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_file, "on_network", lambda path: True)
    monkeypatch.setattr(reading, "WAIT_S", 0.05)
    path = tmp_path / "ledger.db"
    Ledger.open(path, config={}, environment={}).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerBusy, match=r"cannot read .*keeps it locked"):
            read(path)
        other.execute("ROLLBACK")
    assert read(path).last_seq == 2


def alone(path: Path) -> Path:
    """The file without what lies beside it."""
    return Path(shutil.copy(path, path.with_name("alone.db")))


@pytest.mark.parametrize("opened", [Ledger, SharedLedger])
def test_the_file_alone_is_never_empty_and_lacks_only_the_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: type[Ledger] | type[SharedLedger]
) -> None:
    path = tmp_path / "ledger.db"
    ledger = opened(path)
    found = read(alone(path))
    assert (found.last_seq, found.damage) == (0, "")
    add(ledger, 3)
    assert read(alone(path)).last_seq == 0
    monkeypatch.setattr(ledger_writer, "CHECKPOINT_S", 0.0)
    add(ledger, 3)
    found = read(alone(path))
    assert (found.last_seq, found.damage, len(found.finished)) == (12, "", 6)
    ledger.close()


def test_a_log_that_cannot_be_carried_over_is_no_failure_of_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_writer, "CHECKPOINT_S", 0.0)
    with Ledger.open(tmp_path / "ledger.db", config={}, environment={}) as ledger:
        with closing(sqlite3.connect(ledger.path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM events").fetchone()
            add(ledger, 5)
        add(ledger, 5)
    assert len(read(ledger.path).trials) == 10


def test_many_batches_are_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_file, "_BATCH", 3)
    for n in (1, 2, 3, 7):
        with Ledger.open(tmp_path / f"{n}.db", config={}, environment={}) as ledger:
            add(ledger, n)
            assert read(ledger.path).trials == ledger.history.trials and len(ledger.history.trials) == n


def test_a_large_ledger_is_read_in_short_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one is fetched the file is locked for writers where there is no log."""
    fetch, sizes = ledger_file._fetch, []

    def counted(*arguments: Any) -> list[Any]:
        sizes.append(len(found := fetch(*arguments)))
        return found

    monkeypatch.setattr(ledger_file, "_fetch", counted)
    with Ledger.open(tmp_path / "ledger.db", config={}, environment={}) as ledger:
        add(ledger, 1200)
        sizes.clear()
        assert read(ledger.path).last_seq == sum(sizes) == 2401 and max(sizes) <= 1000


def test_a_file_that_stays_locked_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []

    @contextmanager
    def locked(path: Path) -> Iterator[sqlite3.Connection]:
        opened.append(path)
        raise LedgerBusy("another program keeps it locked")
        yield

    with Ledger.open(tmp_path / "ledger.db", config={}, environment={}) as ledger:
        add(ledger, 1)
    monkeypatch.setattr(reading, "open_to_read", locked)
    with pytest.raises(LedgerBusy):
        read(ledger.path)
    assert opened == [ledger.path]
