"""A damaged ledger, as its user meets it: what is left is shown, nothing is written to it, and a copy goes on."""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from matloop.orchestrator.cli import main as cli
from matloop.orchestrator.cli.commands.progress import verdict
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.ledger import read

pytestmark = pytest.mark.filterwarnings("default")  # of packages that are imported here for the first time

CAMPAIGN = """\
name: small
executor: serial
studies:
  search:
    space: {kind: box, parameters: {x: {type: float, low: -1, high: 1}}}
    driver: {kind: python, path: "m.py:f"}
    strategy: random
    objectives: {y: {direction: minimise}}
    budget: {trials: %d}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a command in a folder with a campaign; returns exit code, and what it said."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["matloop", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out + said.err

    (tmp_path / "c.yaml").write_text(CAMPAIGN % 8)
    (tmp_path / "m.py").write_text("def f(point):\n    return point['x'] ** 2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert run("run", "c.yaml")[0] == 0
    return run


def damage(ledger: Path) -> bytes:
    """Take out the result of trial 2 and the proposal of trial 5."""
    with closing(sqlite3.connect(ledger)) as db, db:
        db.execute("DELETE FROM events WHERE kind = 'answered' AND trial = 2")
        db.execute("DELETE FROM events WHERE kind = 'proposed' AND trial = 5")
    return ledger.read_bytes()


def test_from_the_damage_to_the_end_of_the_campaign(run, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "small"
    ledger = folder / "ledger.db"
    whole = read(ledger).trials
    kept = ArtifactStore(folder / "artifacts").save(b"large")
    before = damage(ledger)

    code, said = run("status", folder)
    assert code == 0 and "2/8" in said  # of eight, two were told of before the gap
    remedy = f"matloop repair {folder}"
    assert "is damaged: expected event" in said and remedy in said
    code, said = run("run", "c.yaml")
    assert code == 1 and "is damaged" in said and "matloop repair runs/small/ledger.db" in said
    code, said = run("report", folder)
    assert code == 0 and "ledger is damaged" in (folder / "report.html").read_text()
    code, said = run("export", folder, "--csv", "t.csv")
    assert code == 0 and remedy in said
    with Path("t.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["answered", "answered", "running"]
    assert verdict(read(ledger), 0.0)[0] == 1

    code, said = run(*remedy.split()[1:])
    copy = tmp_path / "runs" / "small-repaired"
    assert code == 0 and f"{ledger} → {copy / 'ledger.db'}" in said
    assert "kept: 7 trials (6 answered, 1 without a result)" in said
    assert "cannot be read: 2 events" in said and "lost: 1 trial (5)" in said
    assert "(answered, trial 5): what trial 5 was to measure cannot be read" in said
    assert ledger.read_bytes() == before and ArtifactStore(copy / "artifacts").load_bytes(kept) == b"large"
    assert run(*remedy.split()[1:])[0] == 1  # it is there already

    code, said = run("status", copy)
    assert code == 0 and "6/8" in said and "lost with a damaged file: 1 trials" in said and "is damaged" not in said
    assert run("run", "c.yaml", "--dir", copy)[0] == 0
    history = read(copy / "ledger.db")
    assert [history.trials[t.id] for t in whole if t.id not in (2, 5)] == [t for t in whole if t.id not in (2, 5)]
    assert history.trials[2].state == "answered" and history.trials[2].point == whole[2].point
    assert run("report", copy)[0] == 0 and run("export", copy, "--csv", "t.csv", "--study", "search")[0] == 0
    Path("c.yaml").write_text(CAMPAIGN % 10)
    assert run("run", "c.yaml", "--dir", copy)[0] == 0
    history = read(copy / "ledger.db")
    assert [t.number for t in history.of("search")] == [0, 1, 2, 3, 4, 6, 7, 8, 9]


def test_places_of_the_copy(run, tmp_path: Path) -> None:
    for given, made in [("new", "new/ledger.db"), ("deep/er", "deep/er/ledger.db"), ("one.db", "one.db")]:
        assert run("repair", "c.yaml", "--to", given)[0] == 0
        assert len(read(tmp_path / made).trials) == 8
    code, said = run("repair", "new/ledger.db", "--to", "again")
    assert code == 0 and "every event is in the copy" in said
    for wrong in ("nowhere", "m.py"):
        code, said = run("repair", wrong)
        assert code == 1 and "Traceback" not in said


@pytest.mark.skipif(os.name == "nt", reason="such names are none there")
def test_what_is_to_be_typed_has_its_names_quoted(run, tmp_path: Path) -> None:
    """A command that a message shows does what it says, whatever the folder is called."""
    folder = tmp_path / "it's $(touch x); `touch x` here"
    shutil.move(tmp_path / "runs" / "small", folder)
    damage(folder / "ledger.db")
    code, said = run("status", folder)
    remedy = said[said.index("matloop repair") :].splitlines()[0]
    assert code == 0 and shlex.split(remedy) == ["matloop", "repair", str(folder)]
    code, said = run(*shlex.split(remedy)[1:])
    look = said[said.index("matloop status") :].splitlines()[0]
    assert code == 0 and shlex.split(look) == ["matloop", "status", f"{folder}-repaired"]
    code, said = run("amend", f"{folder}-repaired", 0, "--value", "y=7", "--reason", "read again")
    shown = re.search("`(matloop status .*)` shows", " ".join(said.split()))
    assert code == 0 and shown and run(*shlex.split(shown[1])[1:])[0] == 0


def test_a_place_where_no_copy_can_be_made_is_refused_with_the_option_of_this_command(run, tmp_path: Path) -> None:
    code, said = run("repair", "c.yaml", "--to", "c.yaml/new")
    assert code == 5 and "choose another folder with --to" in " ".join(said.split())
