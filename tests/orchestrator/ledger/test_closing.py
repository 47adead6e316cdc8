"""Nothing that opened a ledger leaves its file open, also when it is only dropped."""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from matloop.orchestrator.errors import LedgerCorrupt, LedgerError
from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.ledger.shared import SharedLedger
from matloop.orchestrator.trial import Proposal

SPACE = {"T": {"type": "float", "low": 300, "high": 900}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path.resolve() / "ledger.db"


def left_open(folder: Path) -> list[str]:
    return [file.path for file in psutil.Process().open_files() if Path(file.path).is_relative_to(folder)]


def begun(path: Path) -> Ledger:
    return Ledger.open(path, config={}, environment={})


@pytest.mark.parametrize("opened", [begun, Ledger, SharedLedger])
@pytest.mark.parametrize("ended", ["closed", "dropped", "dropped in a circle"])
def test_a_writer(path: Path, opened: Callable[[Path], Ledger], ended: str) -> None:
    writer = opened(path)
    assert left_open(path.parent)
    if ended == "closed":
        writer.close()
    elif ended == "dropped in a circle":
        writer.itself = writer  # type: ignore[attr-defined]
    del writer
    gc.collect()
    assert not left_open(path.parent)
    begun(path).close()  # nor is it locked


def test_what_was_not_committed_is_not_kept_by_a_writer_that_is_dropped(path: Path) -> None:
    writer = begun(path)
    writer.propose("a", Proposal(point={"x": 1}), seed=1, ask=0)
    writer.commit()
    writer.propose("a", Proposal(point={"x": 2}), seed=1, ask=1)
    del writer
    gc.collect()
    assert [trial.point for trial in read(path).trials] == [{"x": 1}]


@pytest.mark.parametrize("damage", [b"not a database" * 100, b"another program's"])
def test_one_that_cannot_be_opened(path: Path, damage: bytes) -> None:
    if damage.startswith(b"another"):
        db = sqlite3.connect(path)
        db.execute("PRAGMA application_id = 7")
        db.execute("CREATE TABLE t (a)")
        db.close()
    else:
        path.write_bytes(damage)
    for attempt in (begun, SharedLedger, read):
        with pytest.raises((LedgerCorrupt, LedgerError)):
            attempt(path)
        gc.collect()
        assert not left_open(path.parent)


def test_a_reader(path: Path) -> None:
    begun(path).close()
    read(path)
    assert not left_open(path.parent)


@pytest.mark.parametrize("ended", ["closed", "left", "dropped"])
def test_a_lab(path: Path, ended: str) -> None:
    folder = path.parent
    lab = Lab.create(folder, space=SPACE, objectives={"y": "maximise"}, strategy="random")
    (trial,) = lab.recommend()
    lab.tell([Result(trial=trial.id, values={"y": 1.0})])
    assert left_open(folder)
    if ended == "closed":
        lab.close()
    elif ended == "left":
        with lab:
            pass
    del lab, trial
    gc.collect()
    assert not left_open(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_copy_that_drops_a_writer_does_it_no_harm(path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.trial import Proposal
path = Path({str(path)!r})
ledger = Ledger.open(path, config={{}}, environment={{}})
if (copy := os.fork()) == 0:
    ledger._release()
    os._exit(0)
assert os.waitpid(copy, 0)[1] == 0
for x in range(3):
    ledger.propose("a", Proposal(point={{"x": x}}), seed=1, ask=x)
    ledger.commit()
print(len(read(path).trials))
ledger.close()
print(read(path).sessions[-1].ended)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "3\nfinished\n"
