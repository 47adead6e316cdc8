"""A slip of the pen at the command line and in Python, and the command that corrects it, as it is given."""

from __future__ import annotations

import re
import shlex
import warnings
from pathlib import Path

import pytest

from matloop.orchestrator.errors import DoubtfulValue, RejectedResults
from matloop.orchestrator.lab import Lab, Result

CAMPAIGN = """\
name: Furnace
studies:
  anneal:
    space: {kind: box, parameters: {temperature: {type: float, low: 600, high: 1000}}}
    driver: manual
    strategy: random
    objectives: {"hardness": {direction: maximise, unit: HV}}
"""
ROWS = "".join(f"{600 + 10 * i},{400 + i}\n" for i in range(6))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "with a space").mkdir()
    monkeypatch.chdir(tmp_path / "with a space")
    Path("lab.yaml").write_text(CAMPAIGN, encoding="utf-8")
    return tmp_path / "with a space"


def test_the_command_in_the_message_corrects_it(folder, matloop):
    Path("t.csv").write_text(f"temperature,hardness\n{ROWS}700,412000\n", encoding="utf-8")
    assert "median" not in matloop("tell", "lab.yaml", "t.csv", "--dry-run")[1]
    code, out, _ = matloop("tell", "lab.yaml", "t.csv")
    said = "trial 6: hardness of 412000 is 1,000 times the median of the others; if it is a slip, correct it: "
    assert code == 0 and f"caution: {said}" in out
    for words in (matloop("status", "lab.yaml")[1], _report(matloop)):
        assert "hardness of 412000 is 1,000 times the median" in " ".join(words.split())
    assert (
        "median" not in matloop("tell", "lab.yaml", "t.csv")[1] or "nothing new" in out
    )  # what is known is not repeated
    (command,) = re.findall(r"correct it: (matloop amend .*?\"slip of the pen\")", out)
    name, *arguments = shlex.split(command.replace("NUMBER", "412"))
    assert name == "matloop" and matloop(*arguments)[0] == 0
    assert "median" not in matloop("status", "lab.yaml")[1] and "of the others" not in _report(matloop)
    with Lab.open("lab.yaml") as lab:
        assert lab.doubts() == {} and (lab.trials()[6].values or {})["hardness"] == 412.0


def _report(matloop) -> str:
    assert matloop("report", "lab.yaml")[0] == 0
    return next(Path("runs").glob("*/report.html")).read_text(encoding="utf-8")


def test_python_warns_once_and_records_all_the_same(folder):
    with Lab.open("lab.yaml", directory="runs/own") as lab:
        lab.tell([Result(point={"temperature": 600.0 + i}, values={"hardness": 400.0 + i}) for i in range(6)])
        with pytest.warns(DoubtfulValue, match="trial 6: hardness of 41000 is 102 times"):
            (trial,) = lab.tell([Result(point={"temperature": 700.0}, values={"hardness": 41000.0})])
        assert (trial.values or {})["hardness"] == 41000.0 and list(lab.doubts()) == [6]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            lab.tell([Result(trial=6, values={"hardness": 41000.0})])  # known: nothing new is said
            lab.tell([Result(trial=6, values={"hardness": 410.0})], amend=True)
        assert lab.doubts() == {}


def test_nothing_on_a_logarithmic_scale_needs_to_be_confirmed(folder):
    Path("lab.yaml").write_text(CAMPAIGN.replace("unit: HV", "unit: HV, scale: log"), encoding="utf-8")
    with Lab.open("lab.yaml") as lab:
        nothing = Result(point={"temperature": 700.0}, values={"hardness": 0.0})
        with pytest.raises(RejectedResults, match="expected a number > 0 on a logarithmic scale, got 0") as caught:
            lab.tell([nothing])
        (problem,) = caught.value.problems
        assert problem.place == (0, "hardness") and problem.command == "--allow-outside"
        assert lab.trials() == []
        assert (lab.tell([nothing], allow_outside=True)[0].values or {})["hardness"] == 0.0


def test_a_lab_is_created_with_a_scale(tmp_path):
    space = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
    with Lab.create(tmp_path / "a", space=space, objectives={"y": {"direction": "minimise", "scale": "log"}}) as lab:
        assert lab.objectives[0].scale == "log"
    with Lab.create(tmp_path / "b", space=space, objectives={"y": "minimise"}) as lab:
        assert lab.objectives[0].scale == "auto"


SCREEN = """\
name: screen
studies:
  catalyst:
    space:
      kind: box
      parameters: {temperature: {type: float, low: 20, high: 150}, loading: {type: float, low: 0.1, high: 10}}
    driver: manual
    strategy: {kind: bayesian, initial: 4, candidates: 32, restarts: 2, iterations: 5}
    objectives: {yield: {direction: maximise, unit: "%"}}
"""


def test_four_yields_of_nothing_stop_no_screen(folder, matloop):
    Path("screen.yaml").write_text(SCREEN, encoding="utf-8")
    Path("zero.csv").write_text("temperature,loading,yield\n25,1,0\n50,5,0\n80,2,0\n100,8,0\n", encoding="utf-8")
    assert matloop("tell", "screen.yaml", "zero.csv")[0] == 0
    code, out, _ = matloop("recommend", "screen.yaml", "-n", 2, "--csv", "next.csv")
    assert code == 0 and "2 experiments" in out
    assert matloop("outlook", "screen.yaml")[0] == 0
    Path("hit.csv").write_text("temperature,loading,yield\n120,9,3\n", encoding="utf-8")
    assert "caution" not in matloop("tell", "screen.yaml", "hit.csv")[1]
    assert matloop("recommend", "screen.yaml")[0] == 0
