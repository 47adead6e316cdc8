"""`matloop amend` and `matloop void` as a user meets them, for what a machine measured."""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

import pytest

from matloop.orchestrator.cli import main as cli
from matloop.orchestrator.composition import correcting
from matloop.orchestrator.ledger.ledger import Ledger, read

CAMPAIGN = """\
name: small
executor: serial
studies:
  search:
    space: {kind: box, parameters: {x: {type: float, low: -1, high: 1}}}
    driver: {kind: python, path: "m.py:f"}
    strategy: random
    objectives: {y: {direction: minimise, unit: K}}
    budget: {trials: 6, cost: 100}
"""
RUN = "runs/small"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "c.yaml").write_text(CAMPAIGN)
    (tmp_path / "m.py").write_text("def f(point):\n    return point['x'] ** 2 if point['x'] < 0.5 else 'much'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.fixture
def matloop(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def call(*arguments: object, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["matloop", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        printed = capsys.readouterr()
        said = " ".join((printed.out + printed.err).split())
        assert int(caught.value.code or 0) == code, said
        return said

    call("run", "c.yaml")
    return call


def history(folder: Path):
    return read(folder / RUN / "ledger.db")


def test_correct_and_go_on(folder: Path, matloop) -> None:
    before = history(folder).trials
    good = [t.id for t in before if t.values]
    bad = [t.id for t in before if t.failure]
    assert len(good) >= 2 and bad, "the seed gives some of both"
    numbers = ("--value", "y=-2.5", "--noise", "y=0.5")
    said = matloop("amend", "c.yaml", good[0], *numbers, "--reason", "wrong unit", "--by", "Ada")
    assert f"trial {good[0]}: y = -2.5" in said and "the record keeps what was there before" in said
    matloop("amend", RUN, bad[0], "--value", "y = 1e-3", "--cost", "3", "--reason", "it was in the log")
    said = matloop("void", RUN, good[1], "--reason", "the beam was off", "--by", "Ben")
    assert f"trial {good[1]}: set aside" in said
    now = history(folder).trials
    assert now[good[0]].values == {"y": -2.5} and now[good[0]].noise == {"y": 0.5}
    assert (now[bad[0]].values, now[bad[0]].cost, now[bad[0]].failure) == ({"y": 0.001}, 3.0, None)
    assert (now[good[1]].state, now[good[1]].values) == ("cancelled", None)

    shown = matloop("status", RUN)
    assert f"trial {good[0]}: y = {before[good[0]].values['y']:.7g} → y = -2.5, " in shown
    assert "by Ada: wrong unit" in shown and "y -2.5 K" in shown
    assert "→ set aside" in shown and "by Ben: the beam was off" in shown

    matloop("export", RUN, "--csv", "t.csv")
    rows = list(csv.DictReader((folder / "t.csv").read_text(encoding="utf-8").splitlines()))
    assert (rows[good[0]]["amended_by"], rows[good[0]]["amended_because"]) == ("Ada", "wrong unit")
    assert (rows[good[1]]["state"], rows[good[1]]["amended_because"]) == ("cancelled", "the beam was off")
    untouched = next(t.id for t in now if t.id not in (good[0], good[1], bad[0]))
    assert rows[untouched]["amended_because"] == ""

    (folder / "c.yaml").write_text(CAMPAIGN.replace("trials: 6", "trials: 8"))
    matloop("run", "c.yaml")
    assert len(history(folder).trials) == 8 and history(folder).trials[good[0]].values == {"y": -2.5}
    report = (folder / RUN / "report.html").read_text(encoding="utf-8")
    assert "wrong unit" in report and "the beam was off" in report


def test_without_the_campaign_file(folder: Path, matloop) -> None:
    (folder / "c.yaml").unlink()
    shutil.move(folder / RUN, folder / "elsewhere")
    trial = next(t for t in read(folder / "elsewhere" / "ledger.db").trials if t.values)
    matloop("void", "elsewhere", trial.id, "--reason", "wrong sample")
    matloop("amend", "elsewhere", trial.id, "--value", "y=4", "--reason", "measured again on paper")
    said = matloop("amend", "elsewhere", trial.id, "--value", "z=4", "--reason", "slip", code=1)
    assert "values z: is not measured here; expected y; nothing was recorded" in said
    assert read(folder / "elsewhere" / "ledger.db").trials[trial.id].values == {"y": 4.0}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["void", RUN, 99, "--reason", "x"], 1, "there is no trial 99"),
        (["void", RUN, 0], 2, "Missing option '--reason'"),
        (["void", RUN, 0, "--reason", " "], 1, "reason: expected a reason, got none"),
        (["amend", RUN, 0, "--reason", "x"], 1, "expected something else than is on record of trial 0, got the same"),
        (
            ["amend", RUN, 0, "--reason", "x", "--value", "y"],
            1,
            "--value: expected NAME=NUMBER, such as yield=61.5",
        ),
        (["amend", RUN, 0, "--reason", "x", "--value", "y=much"], 1, "got 'y=much'; nothing was recorded"),
        (["amend", RUN, 0, "--reason", "x", "--value", "y=nan"], 1, "values y: expected a finite number"),
        (["amend", RUN, 0, "--reason", "x", "--value", "y=1", "--value", "y=2"], 1, "expected y once, got it twice"),
        (["amend", RUN, 0, "--reason", "x", "--noise", "y=-1"], 1, "noise y: expected a standard deviation"),
        (["amend", RUN, 0, "--reason", "x", "--cost", "nan"], 1, "cost: expected a number, 0 or more"),
        (["amend", RUN, 0, "--reason", "x", "--value", "y=1", "--failed", "no"], 1, "either values or a failure"),
        (["amend", "nowhere", 0, "--reason", "x", "--value", "y=1"], 1, "there is no nowhere"),
    ],
)
def test_what_is_refused(arguments: list[object], code: int, text: str, folder: Path, matloop) -> None:
    before = history(folder).last_seq
    assert text in matloop(*arguments, code=code)
    assert history(folder).last_seq == before


def test_twice_is_said_and_changes_nothing(folder: Path, matloop) -> None:
    matloop("void", RUN, 1, "--reason", "spilled")
    before = history(folder).last_seq
    assert "trial 1 was set aside already (spilled); nothing was recorded" in matloop(
        "void", RUN, 1, "--reason", "spilled", code=1
    )
    assert history(folder).last_seq == before


def test_while_it_runs(folder: Path, matloop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correcting, "WAIT_S", 0.0)
    config = history(folder).sessions[-1].config
    with Ledger.open(folder / RUN / "ledger.db", config=config, environment={}):
        said = matloop("amend", RUN, 0, "--value", "y=1", "--reason", "x", code=1)
    assert "is being written by process" in said and "stop the run (Ctrl-C), give this command again" in said
