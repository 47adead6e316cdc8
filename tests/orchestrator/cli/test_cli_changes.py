"""A changed campaign file at a command line: each command says what it does to the results, and what is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

LAB = """\
name: Kiln
studies:
  fire:
    space:
      kind: box
      parameters:
        t: {{type: float, low: 0, high: {high}, unit: °C}}{more}
    driver: manual
    strategy: random
    objectives: {{strength: maximise}}
"""
RUN = """\
name: Machine
executor: serial
studies:
  simulate:
    space: {{kind: box, parameters: {{x: {{type: float, low: -1, high: {high}}}}}}}
    driver: {{kind: python, path: "m.py:f"}}
    strategy: {{kind: bayesian, surrogate: gp, initial: 3, explain: false}}
    objectives: {{y: minimise}}
    budget: {{trials: {trials}}}
"""
LINE = "`t`: high 200 → 100: 2 of 3 results lie outside; they are kept for the model, nothing is proposed there"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def lab(high: int, more: str = "") -> None:
    Path("lab.yaml").write_text(LAB.format(high=high, more=f"\n        {more}" if more else ""), encoding="utf-8")


def test_every_command_says_what_a_changed_file_does(folder, matloop):
    lab(200)
    assert "against the record" not in matloop("validate", "lab.yaml")[1]
    Path("old.csv").write_text("t,strength\n10,1\n150,2\n180,3\n")
    assert matloop("tell", "lab.yaml", "old.csv")[0] == 0
    assert "changed" not in matloop("status", "lab.yaml")[1]
    lab(100)
    assert LINE in matloop("validate", "lab.yaml")[1]
    assert LINE in matloop("status", "lab.yaml")[1] and LINE in matloop("status", "runs/kiln")[1]
    code, _, error = matloop("recommend", "lab.yaml")
    assert code == 2 and LINE in error and "accept it (--accept-changes)" in error
    code, out, _ = matloop("recommend", "lab.yaml", "--accept-changes")
    assert code == 0 and LINE in out
    code, out, _ = matloop("recommend", "lab.yaml")
    assert code == 0 and LINE not in out
    for command in (("report", "lab.yaml"), ("export", "lab.yaml", "--csv", "all.csv"), ("outlook", "lab.yaml")):
        assert matloop(*command)[0] == 0
    assert "180.0" in Path("all.csv").read_text()


def test_what_is_missing_is_asked_for_and_its_remedy_works(folder, matloop):
    lab(200)
    Path("old.csv").write_text("t,strength\n10,1\n150,2\n180,3\n")
    matloop("tell", "lab.yaml", "old.csv")
    lab(200, "p: {type: float, low: 1, high: 9, unit: bar}")
    for accept in ((), ("--accept-changes",)):
        code, _, error = matloop("recommend", "lab.yaml", *accept)
        assert code == 2 and "`before: 1`" in error
    assert "`before: 1`" in matloop("validate", "lab.yaml")[1]
    lab(200, "p: {type: float, low: 1, high: 9, unit: bar, before: 1}")
    assert matloop("recommend", "lab.yaml", "--accept-changes")[0] == 0
    lab(200, "p: {type: float")
    assert "nobody can go on with it" in matloop("status", "runs/kiln")[1]


def test_tell_takes_what_is_outside_where_that_is_said(folder, matloop):
    lab(100)
    Path("outside.csv").write_text("t,strength\n150,40\n")
    code, _, error = matloop("tell", "lab.yaml", "outside.csv")
    assert code == 1 and "row 2, t: expected t to be a number in [0, 100], got 150.0; correct it, or confirm" in error
    assert "--allow-outside" in error
    assert "recorded" in matloop("tell", "lab.yaml", "outside.csv", "--allow-outside")[1]


def test_a_run_goes_on_in_a_narrower_space(folder, matloop):
    Path("m.py").write_text("def f(point):\n    return {'y': (point['x'] - 0.2) ** 2}\n")
    file = Path("run.yaml")
    file.write_text(RUN.format(high=1, trials=5))
    assert matloop("run", file)[0] == 0
    file.write_text(RUN.format(high=0, trials=8))
    code, _, error = matloop("run", file)
    assert code == 2 and "`x`: high 1 → 0: " in error
    code, out, _ = matloop("run", file, "--accept-changes")
    assert code == 0 and "`x`: high 1 → 0: " in out
    from matloop.orchestrator.ledger.ledger import read

    assert all(trial.point["x"] <= 0 for trial in read(Path("runs/machine/ledger.db")).trials[5:])
