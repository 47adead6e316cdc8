"""The command line as a user meets it: what it prints, where, and its exit codes."""

from __future__ import annotations

import csv
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from matloop.orchestrator.cli import main as cli
from matloop.orchestrator.cli.commands import init, status
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.ledger.ledger import Ledger, read

ROOT = Path(__file__).parents[3]
MATLOOP = [sys.executable, "-m", "matloop.orchestrator.cli.main"]
pytestmark = pytest.mark.filterwarnings("default")  # of packages that are imported here for the first time

CAMPAIGN = """\
name: Small One
executor: serial
studies:
  search:
    space: {kind: box, parameters: {x: {type: float, low: -1, high: 1}}}
    driver: {kind: python, path: "m.py:f"}
    strategy: random
    objectives: {y: {direction: minimise, unit: K}}
    budget: {trials: 12}
"""
FUNCTION = """\
def f(point):
    if point["x"] > 0.8:
        raise ValueError("melted")
    return point["x"] ** 2
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "c.yaml").write_text(CAMPAIGN)
    (tmp_path / "m.py").write_text(FUNCTION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def matloop(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["matloop", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def test_run_status_report_export(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert matloop(monkeypatch, "validate", "c.yaml") == 0
    assert "search: Box · Random · Function; minimise y (K)" in capsys.readouterr().out
    assert matloop(monkeypatch, "run", "c.yaml") == 0
    shown = capsys.readouterr().out
    assert "search: ended: 12 trials" in shown and "report: runs/small-one/report.html" in shown
    assert (folder / "runs/small-one/report.html").is_file()
    history = read(folder / "runs/small-one/ledger.db")
    assert len(history.finished) == 12 and history.sessions[-1].ended == "finished"

    assert matloop(monkeypatch, "run", "c.yaml") == 0  # nothing left to do
    assert len(read(folder / "runs/small-one/ledger.db").finished) == 12
    capsys.readouterr()

    for target in ("c.yaml", "runs/small-one", "runs/small-one/ledger.db"):
        assert matloop(monkeypatch, "status", target) == 0
        shown = capsys.readouterr().out
        assert "ended: 12 trials" in shown and "12/12" in shown and "nobody is writing" in shown
        assert re.search(r"y \S+ K", shown)
        assert re.search(r"\d × search: exception: ValueError: melted", shown)

    assert matloop(monkeypatch, "report", "runs/small-one") == 0
    assert matloop(monkeypatch, "export", "c.yaml", "--csv", "t.csv", "--optuna", "sqlite:///o.db") == 0
    with (folder / "t.csv").open(newline="") as text:
        assert len(list(csv.DictReader(text))) == 12
    assert "Optuna studies Small One/search" in capsys.readouterr().out
    assert matloop(monkeypatch, "export", "c.yaml", "--network", "n") == 1
    assert "no trial has trained a network yet" in capsys.readouterr().err
    assert matloop(monkeypatch, "export", "c.yaml") == 2


def test_a_larger_budget_goes_on_and_another_range_does_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = folder / "out" / "ledger.db"
    assert matloop(monkeypatch, "run", "c.yaml", "--dir", "out") == 0
    (folder / "c.yaml").write_text(CAMPAIGN.replace("trials: 12", "trials: 15"))
    assert matloop(monkeypatch, "run", "c.yaml", "--dir", "out") == 0
    assert len(read(ledger).finished) == 15
    changed = CAMPAIGN.replace("trials: 12", "trials: 18").replace("low: -1", "low: -2")
    (folder / "c.yaml").write_text(changed)
    capsys.readouterr()
    assert matloop(monkeypatch, "run", "c.yaml", "--dir", "out") == 2
    complaint = capsys.readouterr().err
    assert "`x`: low -1 → -2: none of 15 results lie outside" in complaint and "--accept-changes" in complaint
    assert len(read(ledger).finished) == 15
    assert matloop(monkeypatch, "run", "c.yaml", "--dir", "out", "--accept-changes") == 0
    assert len(read(ledger).finished) == 18


def test_errors_are_one_message_on_stderr(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "c.yaml").write_text(CAMPAIGN.replace("budget", "budgets"))
    assert matloop(monkeypatch, "run", "c.yaml") == 2
    shown = capsys.readouterr()
    assert "did you mean 'budget'" in shown.err and "Traceback" not in shown.err and shown.out == ""
    assert not (folder / "runs").exists()
    assert matloop(monkeypatch, "status", "nothing") == 1
    assert matloop(monkeypatch, "run", "nothing.yaml") == 2
    monkeypatch.setattr(sys, "argv", ["matloop", "validate", "c.yaml", "--debug"])
    with pytest.raises(ConfigError):
        cli.main()


def test_a_second_writer_is_told_who_holds_the_ledger(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Ledger.open(folder / "runs/small-one/ledger.db", config={"name": "Small One"}, environment={}):
        assert matloop(monkeypatch, "run", "c.yaml") == 1
        assert f"process {os.getpid()} on" in capsys.readouterr().err
        assert matloop(monkeypatch, "status", "c.yaml") == 0
        assert f"being written by process {os.getpid()} on" in capsys.readouterr().out


def test_a_killed_writer_does_not_count_as_holder(folder: Path) -> None:
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom matloop.orchestrator.ledger.ledger import Ledger\n"
        "Ledger.open(Path('ledger.db'), config={}, environment={})\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), check=False)
    assert done.returncode == -signal.SIGKILL
    assert status.holder(folder) is None


@pytest.mark.parametrize("template", sorted(init.TEMPLATES))
def test_what_init_writes_is_valid_and_is_never_overwritten(
    template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "campaign.yaml"
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert matloop(monkeypatch, "init", file, "--template", template) == 0
    before = {path: path.read_text() for path in file.parent.iterdir()}
    assert len(before) == (1 if template == "lab" else 2)
    assert matloop(monkeypatch, "validate", file) == 0
    capsys.readouterr()
    if len(before) == 2:  # the other file alone keeps it from being written too
        file.unlink()
    assert matloop(monkeypatch, "init", file, "--template", template) == 2
    assert "already there" in capsys.readouterr().err and file.exists() == (len(before) == 1)
    assert matloop(monkeypatch, "init", file, "--template", "functoin") == 2
    assert all(path.read_text() == text for path, text in before.items() if path != file)


@pytest.mark.slow
@pytest.mark.parametrize("template", [name for name, python in sorted(init.TEMPLATES.items()) if python])
def test_what_init_writes_runs_as_it_is(template: str, tmp_path: Path) -> None:
    for arguments in (["init", "--template", template], ["run", "campaign.yaml"]):
        subprocess.run([*MATLOOP, *arguments], cwd=tmp_path, env=environment(), check=True)
    (ledger,) = tmp_path.glob("runs/*/ledger.db")
    assert [t.state for t in read(ledger).trials] == ["answered"] * 25


@pytest.mark.filterwarnings("default")
def test_first_ctrl_c_records_and_says_how_to_go_on(folder: Path) -> None:
    text = CAMPAIGN.replace("trials: 12", "seconds: 60").replace("serial", "{kind: local, slots: 2}")
    (folder / "c.yaml").write_text(text)
    (folder / "m.py").write_text("import time\ndef f(point):\n    time.sleep(0.05)\n    return point['x']\n")
    process = subprocess.Popen(
        [*MATLOOP, "run", "c.yaml"], cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("search  "):
            break
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "The same command goes on from here" in rest
    history = read(folder / "runs/small-one/ledger.db")
    assert history.sessions[-1].ended == "interrupted"
    assert history.finished and not [t for t in history.trials if t.state == "running"]


@pytest.mark.mpi
def test_the_same_command_line_under_mpi(folder: Path) -> None:
    (folder / "c.yaml").write_text(CAMPAIGN.replace("serial", "mpi"))
    launcher = [str(Path(sys.executable).parent / "mpiexec"), "-n", "3", *MATLOOP, "run", "c.yaml"]

    def start() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            launcher, cwd=folder, env=environment() | oversubscribed, capture_output=True, text=True, timeout=120
        )

    oversubscribed = {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    done = subprocess.run(
        launcher,
        cwd=folder,
        env=environment() | oversubscribed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report: ") == 1
    history = read(folder / "runs/small-one/ledger.db")
    assert len(history.finished) == 12 and len({t.worker for t in history.trials}) == 2

    (folder / "c.yaml").write_text(CAMPAIGN.replace("serial", "mpi").replace("random", "randon"))
    done = subprocess.run(
        launcher,
        cwd=folder,
        env=environment() | oversubscribed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0 and done.stderr.count("did you mean 'random'") == 1


def test_help_comes_at_once_and_names_every_command() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    done = subprocess.run([*MATLOOP, "--help"], env=environment(), capture_output=True, text=True, check=True)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert min(busy, wall) < 0.5  # processor time, so that a loaded machine does not matter
    assert all(
        name in done.stdout for name in ("init", "validate", "run", "status", "report", "export", "submit", "progress")
    )


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert matloop(monkeypatch, "--version") == 0
    assert re.fullmatch(r"matloop \d+\.\d+\.\d+\n", capsys.readouterr().out)
