"""The SQLite ledger: the contract, and what only a file on a disk can suffer."""

from __future__ import annotations

import re
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from matloop.orchestrator.errors import LedgerCorrupt, LedgerError, MatloopError
from matloop.orchestrator.ledger.history import Event, replay
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.trial import Answer, Proposal
from matloop.testing.ledger import CONFIG, LedgerContract, fill
from tests.orchestrator.ledger.strangers import as_a_stranger


class TestLedger(LedgerContract):
    def open(self, folder, config=CONFIG, accept_change=False):
        return Ledger.open(folder / "ledger.db", config=config, environment={}, accept_change=accept_change)

    def read(self, folder):
        return read(folder / "ledger.db")


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    with Ledger.open(path, config=CONFIG, environment={}) as ledger:
        for _ in range(50):
            trial = ledger.propose("a", Proposal(point={"x": "y" * 300}), seed=1, ask=0)
            ledger.answer(trial, Answer(values={"y": 1.0}, started_at=0.0, finished_at=1.0))
    return path


def test_a_record_from_before_trials_had_inputs_is_read():
    body = '{"number":0,"point":{"x":1},"seed":1,"ask":0,"reason":"random","fidelity":0.5}'
    answer = '{"values":{"y":1.0},"started_at":0.0,"finished_at":1.0,"worker":"w"}'
    history = replay([Event(1, 0.0, "proposed", "a", 0, body), Event(2, 1.0, "answered", "a", 0, answer)])
    assert (history.trials[0].inputs, history.trials[0].values) == ({}, {"y": 1.0})


def test_only_what_has_a_result_can_be_amended():
    body = '{"number":0,"point":{"x":1},"seed":1,"ask":0}'
    events = [Event(1, 0.0, "proposed", "a", 0, body), Event(2, 1.0, "amended", "a", 0, '{"values":{"y":1.0}}')]
    with pytest.raises(LedgerCorrupt, match="event 2 amends trial 0, which has no result"):
        replay(events)
    with pytest.raises(LedgerCorrupt, match="amends trial 7"):
        replay([*events[:1], Event(2, 1.0, "amended", "a", 7, '{"values":{"y":1.0}}')])


def open_again(path: Path) -> Ledger:
    return Ledger.open(path, config=CONFIG, environment={})


def test_a_flipped_byte_is_found_and_nothing_is_touched(filled):
    content = bytearray(filled.read_bytes())
    content[content.rindex(b"yyyyyyyyyy")] ^= 1
    filled.write_bytes(content)
    with pytest.raises(LedgerCorrupt, match=r"checksum of event \d+ is wrong\. Nothing was changed.*matloop repair"):
        open_again(filled)
    history = read(filled)
    (bad,) = re.fullmatch(r"the checksum of event (\d+) is wrong", history.damage).groups()
    assert int(bad) % 2 == 0 and history.last_seq == int(bad) - 1  # a proposal; all before it is read
    assert len(history.trials) == len(history.finished) == int(bad) // 2 - 1
    assert filled.read_bytes() == content


@pytest.mark.parametrize("damage", [lambda c: b"", lambda c: b"not a database" * 100])
def test_a_file_of_which_nothing_can_be_read_is_refused(filled, damage):
    damaged = damage(filled.read_bytes())
    filled.write_bytes(damaged)
    for attempt in (read, open_again):
        with pytest.raises(LedgerCorrupt, match=r"is damaged.*Nothing was changed"):
            attempt(filled)
    assert filled.read_bytes() == damaged


def test_a_file_of_which_half_is_missing_is_read_as_far_as_it_goes(filled):
    damaged = filled.read_bytes()[: filled.stat().st_size // 2]
    filled.write_bytes(damaged)
    with pytest.raises(LedgerCorrupt, match=r"is damaged.*Nothing was changed"):
        open_again(filled)
    history = read(filled)
    assert history.damage and history.last_seq < 102
    assert filled.read_bytes() == damaged


def test_a_missing_row_is_found_and_what_comes_before_it_read(filled):
    db = sqlite3.connect(filled)
    with db:
        db.execute("DELETE FROM events WHERE seq = 40")
    db.close()
    with pytest.raises(LedgerCorrupt, match="rows are missing"):
        open_again(filled)
    history = read(filled)
    assert (history.last_seq, len(history.trials)) == (39, 19) and "expected event 40" in history.damage


def test_another_programs_file_is_refused(tmp_path):
    path = tmp_path / "ledger.db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA application_id = 7")
    db.execute("CREATE TABLE t (a)")
    db.close()
    with pytest.raises(LedgerCorrupt, match="another program"):
        Ledger.open(path, config=CONFIG, environment={})


def test_a_newer_format_is_refused(filled):
    db = sqlite3.connect(filled)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(LedgerError, match="newer matloop"):
        Ledger.open(filled, config=CONFIG, environment={})


def test_points_must_be_json(tmp_path):
    with Ledger.open(tmp_path / "ledger.db", config=CONFIG, environment={}) as ledger:
        with pytest.raises(MatloopError, match="got a complex"):
            ledger.propose("a", Proposal(point={"x": 1j}), seed=1, ask=0)
        trial = ledger.propose("a", Proposal(point={"x": np.float64(0.1), "v": np.arange(3)}), seed=1, ask=0)
    assert trial.point == {"x": 0.1, "v": [0, 1, 2]}


def test_full_disk_keeps_what_was_committed_and_commit_can_be_repeated(tmp_path):
    code = f"""
import resource, signal
from pathlib import Path
from matloop.orchestrator.errors import LedgerUnwritable
from matloop.orchestrator.ledger.ledger import Ledger
from matloop.orchestrator.trial import Proposal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = Ledger.open(Path({str(tmp_path / "ledger.db")!r}), config={{}}, environment={{}})
ledger.propose("a", Proposal(point={{"x": 1}}), seed=1, ask=0)
ledger.commit()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
ledger.propose("a", Proposal(point={{"x": "y" * 200_000}}), seed=1, ask=1)
try:
    ledger.commit()
except LedgerUnwritable as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
ledger.commit()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "1 events since the last commit are not saved, everything before is safe. Free space" in result.stdout
    history = read(tmp_path / "ledger.db")
    assert [t.ask for t in history.trials] == [0, 1]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)  # the limit was the other process's


def test_read_only_folder(filled, read_only_disk):
    """What may be read is read; who may not write is told so."""
    code = """
from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.ledger.ledger import Ledger, read

def attempt(target):
    try:
        with Ledger.open(target, config={}, environment={}):
            return len(read(target).trials)
    except MatloopError as error:
        return f"{type(error).__name__}: {error}"

def use(path):
    attempt(Path("/dev/null/ledger.db"))  # not even root may
    print(len(read(path).trials))
    print(attempt(path))
    print(attempt(path.parent / "new" / "ledger.db"))
"""
    there, refused, absent = as_a_stranger(code, read_only_disk(filled))
    assert there == "50"
    assert refused.startswith("LedgerUnwritable: cannot write") and "writable" in refused
    assert absent.startswith("LedgerUnwritable: cannot create")


def test_reader_while_writing(tmp_path):
    with Ledger.open(tmp_path / "ledger.db", config=CONFIG, environment={}) as ledger:
        for n in range(1, 20):
            trial = ledger.propose("a", Proposal(point={"x": n}), seed=1, ask=0)
            ledger.answer(trial, Answer(values={"y": 1.0}, started_at=0.0, finished_at=1.0))
            ledger.commit()
            assert len(read(tmp_path / "ledger.db").finished) == n


def test_elapsed_time_counts_sessions_only(tmp_path):
    now = [0.0]

    def session(start: float, end: float) -> None:
        now[0] = start
        with Ledger.open(tmp_path / "l.db", config={}, environment={}, clock=lambda: now[0]) as ledger:
            ledger.note("a", "study_started", {})
            now[0] = end
            ledger.note("a", "anything", {})

    session(0.0, 10.0)
    session(1000.0, 1005.0)
    assert read(tmp_path / "l.db").elapsed_s == {"a": 15.0}


def test_fill_is_what_the_contract_says(tmp_path):
    ledger = Ledger.open(tmp_path / "ledger.db", config=CONFIG, environment={})
    fill(ledger)
    assert len(ledger.history.trials) == 3 and (tmp_path / "ledger.db").exists()
    ledger.close()
