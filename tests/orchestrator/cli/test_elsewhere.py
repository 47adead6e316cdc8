"""Every command finds the same record from any folder, and says so where it begins a new one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from matloop.orchestrator.lab import Lab
from matloop.orchestrator.ledger.ledger import Ledger, read
from tests.orchestrator.lab.files import furnace
from tests.orchestrator.web.conftest import Server

Run = Callable[..., tuple[int, str, str]]

RUN = """\
name: Small One
executor: serial
studies:
  search:
    space: {kind: box, parameters: {x: {type: float, low: -1, high: 1}}}
    driver: {kind: python, path: "m.py:f"}
    strategy: random
    objectives: {y: minimise}
    budget: {trials: 3}
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two campaign files, `../lab` from the working directory."""
    folder = tmp_path / "lab"
    furnace(folder)
    (folder / "c.yaml").write_text(RUN)
    (folder / "m.py").write_text("def f(point):\n    return point['x'] ** 2\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "path", list(sys.path))
    return folder


def test_a_campaign_that_is_run(lab: Path, matloop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = matloop("run", "../lab/c.yaml")
    assert code == 0 and "report: ../lab/runs/small-one/report.html" in out and "beginning" not in out
    assert list(Path.cwd().iterdir()) == []
    monkeypatch.chdir(lab)
    assert matloop("run", "c.yaml")[0] == 0
    assert len(read(lab / "runs/small-one/ledger.db").finished) == 3
    monkeypatch.chdir(lab / "runs")
    for number, campaign in enumerate(("../c.yaml", lab / "c.yaml", "small-one")):
        code, out, _ = matloop("status", campaign)
        assert code == 0 and "3/3" in out
        assert matloop("report", campaign)[0] == 0
        assert matloop("progress", campaign)[0] == 0
        assert matloop("export", campaign, "--csv", f"{number}.csv")[0] == 0
    assert [p.name for p in (lab / "runs").iterdir() if p.is_dir()] == ["small-one"]


def test_a_lab(lab: Path, matloop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = matloop("recommend", "../lab/furnace.yaml", "-n", 2)
    assert code == 0 and out.startswith("beginning a new record in ../lab/runs/furnace\n")
    monkeypatch.chdir(lab)
    code, out, _ = matloop("recommend", "furnace.yaml")
    assert code == 0 and "beginning" not in out
    Path("r.csv").write_text("trial,hardness\n1,400\n")
    monkeypatch.chdir("/")
    code, out, _ = matloop("tell", lab / "furnace.yaml", lab / "r.csv")
    assert code == 0 and "1 recorded" in out and "beginning" not in out
    assert matloop("cancel", lab / "furnace.yaml", 2)[0] == 0
    assert matloop("outlook", lab / "furnace.yaml")[0] == 0
    monkeypatch.chdir(lab.parent / "elsewhere")
    with Lab.open("../lab/furnace.yaml") as found:
        assert [t.state for t in found.trials()] == ["running", "answered", "cancelled"]
    server = Server(lab / "furnace.yaml", directory=None)
    try:
        assert "beginning" not in server.said and "runs/furnace" in server.said
    finally:
        assert server.stop() == 0
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("command", ["status", "report", "progress", "outlook", "cancel", "recommend --pending"])
def test_commands_that_need_a_record_make_none(lab: Path, matloop: Run, command: str) -> None:
    name, *options = command.split()
    code, out, err = matloop(name, "../lab/furnace.yaml", *options, *([0] if name == "cancel" else []))
    assert (code, out) == (1, "") and "no campaign has been run in ../lab/runs/furnace; `matloop run` begins" in err
    assert not (lab / "runs").exists()


def test_tell_and_serve_say_that_they_begin_a_record(lab: Path, matloop: Run) -> None:
    Path("own.csv").write_text("temperature,hours,gas,hardness\n700,5,argon,300\n")
    code, out, _ = matloop("tell", lab / "furnace.yaml", "own.csv")
    first, second = out.splitlines()
    assert code == 0 and first == f"beginning a new record in {lab}/runs/furnace" and "1 recorded that nobody" in second
    server = Server(furnace(lab / "second"), directory=None)
    try:
        assert server.said.startswith("beginning a new record in runs/furnace\n")
    finally:
        assert server.stop() == 0


def test_a_wrong_campaign_begins_no_record(lab: Path, matloop: Run) -> None:
    code, out, err = matloop("recommend", "../lab/c.yaml")
    assert (code, out) == (2, "") and "expected one study with the driver `manual`, got none" in err
    assert not (lab / "runs").exists()


def test_a_record_of_old_is_named(lab: Path, matloop: Run) -> None:
    with Ledger.open(
        Path("runs/furnace/ledger.db"), config={}, environment={"campaign_file": str(lab / "furnace.yaml")}
    ):
        pass
    for command in ("recommend", "status", "run"):
        code, out, err = matloop(command, "../lab/furnace.yaml")
        assert (code, out) == (2, "") and f"a record of it in {Path('runs/furnace').absolute()}" in err
        assert "--dir" in err
    assert not (lab / "runs").exists()
    assert matloop("status", "runs/furnace")[0] == 0
    assert matloop("recommend", "../lab/furnace.yaml", "--dir", "runs/furnace", "--accept-changes")[0] == 0


def test_shipped_campaigns_write_where_one_stands(lab: Path, matloop: Run) -> None:
    code, out, err = matloop("run", "lab")
    assert code == 2 and "`matloop recommend lab " in err
    code, out, _ = matloop("recommend", "lab", "-n", 2)
    assert code == 0 and out.startswith("beginning a new record in runs/furnace\n")
    assert matloop("status", "lab")[0] == 0 and len(read(Path("runs/furnace/ledger.db")).trials) == 2
    assert matloop("validate", "lab")[0] == 0
    with Lab.open("runs/furnace") as found:
        assert len(found.pending()) == 2


def test_a_folder_that_cannot_be_written(lab: Path, matloop: Run) -> None:
    (lab / "runs").touch()  # holds for every user, also for root
    for command, campaign in (("run", "../lab/c.yaml"), ("recommend", "../lab/furnace.yaml")):
        code, _, err = matloop(command, campaign)
        assert code == (2 if command == "run" else 5)
        assert "cannot create ../lab/runs/" in err and "choose another folder with --dir" in err
        assert matloop(command, campaign, "--dir", command)[0] == 0


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() == 0, reason="root may write anywhere")
def test_a_read_only_folder(lab: Path, matloop: Run) -> None:
    lab.chmod(0o555)
    try:
        code, _, err = matloop("run", "../lab/c.yaml")
        assert code == 2 and "Permission denied; choose another folder with --dir" in err
        assert matloop("run", "../lab/c.yaml", "--dir", "out")[0] == 0
    finally:
        lab.chmod(0o755)


def test_a_lab_that_was_moved_with_its_results(lab: Path, matloop: Run) -> None:
    assert matloop("recommend", "../lab/furnace.yaml")[0] == 0
    moved = lab.rename(lab.with_name("moved"))
    with Lab.open(moved / "runs" / "furnace") as found:
        assert len(found.pending()) == 1 and found.config.path.samefile(moved / "furnace.yaml")


def test_validate_makes_nothing(lab: Path, matloop: Run) -> None:
    assert matloop("validate", "../lab/c.yaml")[0] == 0 == matloop("validate", lab / "furnace.yaml")[0]
    assert not (lab / "runs").exists() and list(Path.cwd().iterdir()) == []


def test_submit_writes_its_script_where_run_will_write(lab: Path, matloop: Run) -> None:
    (lab / "c.yaml").write_text(RUN.replace("serial", "{kind: mpi}"))
    code, out, _ = matloop(
        "submit", "../lab/c.yaml", "--scheduler", "slurm", "--nodes", 1, "--tasks-per-node", 2, "--time", "1h"
    )
    script = lab / "runs/small-one/job.sh"
    assert code == 0 and script.is_file() and list(Path.cwd().iterdir()) == []
    assert Path(out.split()[1].rstrip(":")).samefile(script)


def test_init_writes_where_it_is_told(lab: Path, matloop: Run) -> None:
    assert matloop("init", "new/campaign.yaml")[0] == 0
    assert sorted(p.name for p in Path("new").iterdir()) == ["campaign.yaml", "measurement.py"]
