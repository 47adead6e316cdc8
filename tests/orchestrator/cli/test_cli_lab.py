"""The commands of a lab, as a user meets them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.ledger.ledger import read
from tests.orchestrator.lab.files import furnace

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

MIXED = """\
name: Mixed
executor: serial
studies:
  simulate:
    space: {kind: box, parameters: {x: {type: float, low: -1, high: 1}}}
    driver: {kind: python, path: "m.py:f"}
    strategy: random
    objectives: {y: minimise}
    budget: {trials: 3}
  measure:
    space: {from: simulate}
    driver: manual
    strategy: {kind: bayesian, surrogate: gp, data: {from: simulate}}
    objectives: {y: minimise}
  refine:
    space: {from: simulate}
    driver: {from: simulate}
    strategy: {kind: bayesian, surrogate: gp, data: {from: measure}}
    objectives: {y: minimise}
    budget: {trials: 2}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    furnace(tmp_path)
    return tmp_path


def test_recommend_fill_in_tell(folder, matloop):
    code, out, _ = matloop("recommend", "furnace.yaml", "-n", 3, "--csv", "next.csv", "--by", "Ada")
    assert code == 0 and "temperature (°C)" in out and "Vickers HV10" in out
    assert "3 experiments → next.csv; fill it in, then: matloop tell furnace.yaml next.csv" in out
    file = folder / "next.csv"
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    lines[1] = lines[1].replace(",,,,,,", ",412,5,,,,", 1)
    lines[2] = lines[2].replace(",,,,,,", ",,,cracked,,,", 1)
    file.write_text("\n".join(lines), encoding="utf-8")
    code, out, _ = matloop("tell", "furnace.yaml", "next.csv", "--dry-run")
    assert code == 0 and "nothing was recorded, this is what would be: 2 recorded, 1 row without a result" in out
    ledger = folder / "runs/furnace/ledger.db"
    assert read(ledger).finished == []
    code, out, _ = matloop("tell", "furnace.yaml", "next.csv", "--by", "Grace")
    assert code == 0 and "next.csv: 2 recorded, 1 row without a result" in out
    assert [t.worker for t in read(ledger).trials] == ["Grace", "Grace", ""]
    code, out, _ = matloop("tell", "furnace.yaml", "next.csv")
    assert code == 0 and "nothing new: 2 on record already, 1 row without a result" in out
    code, out, _ = matloop("status", "furnace.yaml")
    assert code == 0 and "waiting for results" in out and "trial 2: temperature" in out and "cracked" in out
    assert matloop("cancel", "furnace.yaml", 2, "--reason", "no gas")[1].startswith("trial 2 is cancelled; 0 rec")
    assert "no recommendation waits for a result" in matloop("recommend", "furnace.yaml", "--pending")[1]
    code, out, _ = matloop("export", "furnace.yaml", "--csv", "all.csv")
    assert code == 0 and "cancelled" in (folder / "all.csv").read_text(encoding="utf-8")
    assert matloop("report", "furnace.yaml")[0] == 0


def test_a_table_that_does_not_fit_is_refused_whole(folder, matloop):
    matloop("recommend", "furnace.yaml", "-n", 2)
    (folder / "bad.csv").write_text("trial,hardness\n0,400\n1,9000\n", encoding="utf-8")
    code, _, err = matloop("tell", "furnace.yaml", "bad.csv")
    assert code == 1 and "1 problem in bad.csv; nothing was recorded" in err
    assert "row 3, hardness: expected 0 to 2000 HV, got 9000" in err and "--allow-outside" in err
    assert matloop("tell", "furnace.yaml", "bad.csv", "--dry-run")[0] == 1
    assert read(folder / "runs/furnace/ledger.db").finished == []
    assert matloop("tell", "furnace.yaml", "bad.csv", "--allow-outside")[0] == 0
    (folder / "bad.csv").write_text("trial,hardness\n0,401\n", encoding="utf-8")
    code, _, err = matloop("tell", "furnace.yaml", "bad.csv")
    assert code == 1 and "was answered already with 400, got 401" in err
    assert matloop("tell", "furnace.yaml", "bad.csv", "--amend")[0] == 0
    assert "cannot read none.csv" in matloop("tell", "furnace.yaml", "none.csv")[2]


def test_a_filled_in_file_is_not_overwritten_and_nothing_is_recommended(folder, matloop):
    (folder / "next.csv").write_text("precious", encoding="utf-8")
    code, _, err = matloop("recommend", "furnace.yaml", "--csv", "next.csv")
    assert code == 1 and "next.csv is already there" in err
    assert (folder / "next.csv").read_text(encoding="utf-8") == "precious"
    assert len(read(folder / "runs/furnace/ledger.db").trials) == 0
    assert matloop("recommend", "furnace.yaml", "--csv", "new.csv")[0] == 0
    assert matloop("recommend", "furnace.yaml", "--pending", "--csv", "again.csv")[0] == 0
    assert (folder / "again.csv").read_bytes() == (folder / "new.csv").read_bytes()


def test_run_leaves_people_their_studies(folder, matloop):
    code, _, err = matloop("run", "furnace.yaml")
    assert code == 2 and "nothing to run: study anneal is measured by people; ask with `matloop recommend furn" in err
    (folder / "mixed.yaml").write_text(MIXED, encoding="utf-8")
    (folder / "m.py").write_text("def f(point):\n    return point['x'] ** 2\n", encoding="utf-8")
    code, out, _ = matloop("run", "mixed.yaml")
    assert code == 0 and "study measure is measured by people" in out and "refine: not run, for want of" in out
    ledger = folder / "runs/mixed/ledger.db"
    assert [t.study for t in read(ledger).trials] == ["simulate"] * 3
    assert matloop("recommend", "mixed.yaml", "-n", 2)[0] == 0
    (folder / "r.csv").write_text("trial,y\n3,0.1\n4,0.2\n", encoding="utf-8")
    assert matloop("tell", "mixed.yaml", "r.csv")[0] == 0
    code, out, _ = matloop("run", "mixed.yaml")
    assert code == 0 and "not run" not in out
    history = read(ledger)
    assert [t.study for t in history.trials] == ["simulate"] * 3 + ["measure"] * 2 + ["refine"] * 2
    assert [t.values["y"] for t in history.of("measure")] == [0.1, 0.2]


def test_answering_does_without_the_strategy_and_its_heavy_packages(folder, matloop):
    furnace(folder, "{kind: bayesian, surrogate: gp, initial: 3}")
    assert matloop("recommend", "furnace.yaml", "--csv", "next.csv")[0] == 0
    (folder / "r.csv").write_text("trial,hardness\n0,400\n", encoding="utf-8")
    code = (
        "import sys; from matloop.orchestrator.cli import main as cli\n"
        "sys.argv = ['matloop', 'tell', 'furnace.yaml', 'r.csv']\n"
        "try: cli.main()\nexcept SystemExit as end: assert not end.code\n"
        "assert 'matloop.search_spaces.box' in sys.modules\n"
        "print({'torch', 'sklearn', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=ENVIRONMENT)
    assert "1 recorded" in done.stdout and done.stdout.endswith("set()\n"), done.stdout + done.stderr


def test_what_a_strategy_reads_is_compared_before_it_is_asked(folder, matloop):
    """Answering looks at space and driver alone; asking at everything."""
    file = furnace(folder, "{kind: random}")
    assert matloop("recommend", "furnace.yaml")[0] == 0
    file.write_text(file.read_text(encoding="utf-8").replace("high: 1000", "high: 1100"), encoding="utf-8")
    (folder / "r.csv").write_text("trial,hardness\n0,400\n", encoding="utf-8")
    for command in (("recommend", "furnace.yaml"), ("tell", "furnace.yaml", "r.csv"), ("cancel", "furnace.yaml", 0)):
        code, _, err = matloop(*command)
        assert code == 2 and "the campaign differs" in err and "1100" in err
    assert matloop("recommend", "furnace.yaml", "--accept-changes")[0] == 0
    assert matloop("tell", "furnace.yaml", "r.csv")[0] == 0


def test_the_outlook_of_a_strategy_that_cannot_say(folder, matloop):
    assert matloop("recommend", "furnace.yaml")[0] == 0
    code, out, _ = matloop("outlook", "furnace.yaml", "--delta", 5, "-n", 3)
    assert code == 0 and "the strategy cannot say" in out
    code, _, err = matloop("outlook", "furnace.yaml", "--delta", 0)
    assert code == 1 and "expected delta, a number > 0" in err


def test_recommend_as_wished(folder, matloop):
    ledger = folder / "runs/furnace/ledger.db"
    options = ("--fixed", "temperature=800", "--fixed", "gas=argon,air", "--fixed", "hours=2..4")
    code, out, _ = matloop("recommend", "furnace.yaml", "-n", 3, *options)
    assert code == 0 and "as wished: temperature 800" in " ".join(out.split())
    first = read(ledger).trials
    assert [t.point["temperature"] for t in first] == [800] * 3 and all(2 <= t.point["hours"] <= 4 for t in first)
    assert matloop("recommend", "furnace.yaml", "--around", 0, "--within", 0.05, "--vary", "gas")[0] == 0
    near = read(ledger).trials[3]
    assert abs(near.point["temperature"] - 800) <= 20 and near.extra["wish"]["around"] == 0
    shared = ("--same", "temperature", "--at-most", "hours=2", "--fixed", "gas=argon", "--csv", "next.csv")
    assert matloop("recommend", "furnace.yaml", "-n", 4, *shared)[0] == 0
    batch = read(ledger).trials[4:]
    assert len({t.point["temperature"] for t in batch}) == 1 and len({t.point["hours"] for t in batch}) <= 2
    assert "the same temperature in the whole batch" in (folder / "next.csv").read_text(encoding="utf-8-sig")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--fixed", "temperature"), "expected --fixed temperature=800, or the like, got 'temperature'"),
        (("--fixed", "temperature=2000"), "to be a number in [600, 1000], got 2000"),
        (("--fixed", "heat=2"), "there is no input 'heat'"),
        (("--at-most", "gas=some"), "expected --at-most gas=2, or another whole number, got 'some'"),
        (("--within", "0.2"), "together with around"),
        (("--fixed", "hours=3", "--pending"), "leave that out"),
    ],
)
def test_wishes_that_cannot_be_meant_are_refused_and_leave_nothing_behind(folder, matloop, options, says):
    code, _, err = matloop("recommend", "furnace.yaml", "--csv", "next.csv", *options)
    assert code == 1 and says in " ".join(err.split())
    ledger = folder / "runs/furnace/ledger.db"
    assert not (ledger.exists() and read(ledger).trials) and not (folder / "next.csv").exists()


def test_recommend_for_what_is_measured_today(folder, matloop):
    file = folder / "furnace.yaml"
    humid = '        humidity: {type: float, unit: "%", uncontrolled: true}\n'
    file.write_text(file.read_text(encoding="utf-8").replace("    driver:", f"{humid}    driver:"), encoding="utf-8")
    code, out, _ = matloop("recommend", "furnace.yaml", "--given", "humidity=55", "--csv", "next.csv")
    assert code == 0 and "humidity 55 today" in " ".join(out.split())
    assert "humidity (%)" in (folder / "next.csv").read_text(encoding="utf-8-sig")
    (folder / "r.csv").write_text("trial,humidity (%),hardness\n0,57,400\n", encoding="utf-8")
    assert matloop("tell", "furnace.yaml", "r.csv")[0] == 0
    (trial,) = read(folder / "runs/furnace/ledger.db").trials
    assert trial.conditions == {"humidity": 57.0} and trial.planned is None and "humidity" not in trial.point
    code, _, err = matloop("recommend", "furnace.yaml", "--fixed", "humidity=55")
    assert code == 1 and "humidity is measured and not set" in " ".join(err.split())


def modelled(folder: Path) -> Path:
    """A furnace whose model knows enough."""
    file = furnace(folder, "{kind: bayesian, surrogate: gp, initial: 4}")
    with Lab.open(file) as lab:
        points = [
            {"temperature": t, "hours": 4, "gas": gas} for t in (610.0, 750.0, 850.0, 990.0) for gas in ("argon", "air")
        ]
        lab.tell([Result(point=p, values={"hardness": 400 - (p["temperature"] - 800) ** 2 / 200}) for p in points])
    return file


def test_predict_a_table_and_write_another(folder, matloop):
    modelled(folder)
    points = folder / "points.csv"
    points.write_text("gas;temperature (°C);hours\nair;800,0;4\nargon;1100;4\n", encoding="utf-8")
    code, out, err = matloop("predict", "furnace.yaml", "points.csv", "--csv", "out.csv")
    assert code == 0, err
    assert "temperature above 1000 °C" in out and "2 predictions → out.csv" in out and "hardness (HV)" in out
    titles, first, second = (folder / "out.csv").read_text(encoding="utf-8-sig").splitlines()
    assert titles == (
        "temperature (°C),hours (h),gas,hardness predicted (HV),hardness low (HV),hardness high (HV),# outside"
    )
    assert first.startswith("800,4,air,39") and first.endswith(",") and second.endswith("temperature above 1000 °C")
    code, _, err = matloop("predict", "furnace.yaml", "points.csv", "--csv", "out.csv")
    assert code == 1 and "out.csv is already there" in err
    (folder / "out.csv").rename(folder / "again.csv")
    code, again, _ = matloop("predict", "furnace.yaml", "again.csv")
    assert code == 0 and again in out, "its own table is read, too"


def test_predict_says_what_is_missing(folder, matloop):
    points = folder / "points.csv"
    points.write_text("gas,temperature\nair,800\n", encoding="utf-8")
    code, _, err = matloop("predict", "furnace.yaml", "points.csv")
    assert code == 1 and "no campaign has been run" in err
    modelled(folder)
    code, _, err = matloop("predict", "furnace.yaml", "points.csv")
    assert code == 1 and "1 problem in points.csv; nothing was predicted" in err and "got none for hours (h)" in err
    code, _, err = matloop("predict", "furnace.yaml", "gone.csv")
    assert code == 1 and "cannot read gone.csv" in err


def test_best_in_lines(folder, matloop):
    modelled(folder)
    code, out, _ = matloop("best", "furnace.yaml", "-n", 2)
    assert code == 0 and out.count("best measured: hardness 388 HV (trial") == 2
    assert "the model expects hardness" in out and "(90 %:" in out
