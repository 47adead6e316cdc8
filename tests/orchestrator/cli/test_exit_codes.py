"""Exit codes: a run that came to nothing does not pass for a success, says why, and goes on once that is put right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from matloop.orchestrator.cli import main as cli
from matloop.orchestrator.cli.commands import run as command
from matloop.orchestrator.errors import ConfigError, LedgerLocked, LedgerUnwritable
from matloop.orchestrator.job import OUTCOMES
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.report import ending
from matloop.orchestrator.trial import Answer, Failure, Proposal

pytestmark = pytest.mark.filterwarnings("default")  # of packages that are imported here for the first time

CAMPAIGN = """\
name: night
executor: serial
studies:
  search:
    space: {kind: box, parameters: {x: {type: float, low: -1, high: 1}}}
    driver: {kind: "instrument:Camera", calibration: dark.txt}
    strategy: random
    objectives: {y: minimise}
    budget: {trials: 30}
"""
DRIVER = """\
from pathlib import Path
class Camera:
    repeatable, objectives = True, ()
    def __init__(self, *, calibration: Path):
        self.calibration = calibration
    def __call__(self, trial):
        return {"y": trial.point["x"] - float(self.calibration.read_text())}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "c.yaml").write_text(CAMPAIGN)
    (tmp_path / "instrument.py").write_text(DRIVER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "instrument", raising=False)
    return tmp_path


def matloop(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["matloop", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


def test_a_missing_file_ends_it_by_failures_until_it_is_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was a success with exit code 0, and after the repair the same command did nothing."""
    for trials in (20, 40):
        assert matloop(monkeypatch, "run", "c.yaml") == OUTCOMES["failures in a row"] == 4
        shown = capsys.readouterr().out
        assert "20 of 20 failed: 20 × FileNotFoundError: [Errno 2] No such file or directory" in shown
        assert "put it right, and the same command goes on" in shown
        history = read(folder / "runs/night/ledger.db")
        assert len(history.trials) == trials and history.sessions[-1].ended == "failures in a row"
        assert matloop(monkeypatch, "progress", "runs/night") == 4
        assert "failures in a row: not to be started again by itself" in capsys.readouterr().out
    (folder / "dark.txt").write_text("0.5")
    assert matloop(monkeypatch, "run", "c.yaml") == 0
    shown = capsys.readouterr().out
    assert "failed" not in shown and "search: ended: 30 trials" in shown
    assert sum(t.values is not None for t in read(folder / "runs/night/ledger.db").trials) == 30
    (folder / "dark.txt").write_text("0.6")
    assert matloop(monkeypatch, "run", "c.yaml") == 2  # another content is a change
    assert "the campaign differs" in capsys.readouterr().err


def test_nothing_answered(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "c.yaml").write_text(CAMPAIGN.replace("trials: 30", "trials: 3"))
    assert matloop(monkeypatch, "run", "c.yaml") == OUTCOMES["nothing answered"] == 3
    shown = capsys.readouterr().out
    assert "3 of 3 failed: 3 × FileNotFoundError" in shown and "nothing was answered" in shown
    assert matloop(monkeypatch, "progress", "runs/night") == 3


def test_failures_are_said_of_a_success_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "dark.txt").write_text("0.5")
    sometimes = DRIVER.replace(
        "return {", "if trial.number % 3 == 0: raise ValueError(f'x {trial.number}')\n        return {"
    )
    (folder / "instrument.py").write_text(sometimes)
    assert matloop(monkeypatch, "run", "c.yaml") == 0
    assert "10 of 30 failed: 10 × ValueError: x 0\n" in capsys.readouterr().out


def test_a_report_that_fails_does_not_spoil_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(directory: Path, console: object) -> Path:
        raise ZeroDivisionError("a figure")

    (folder / "dark.txt").write_text("0.5")
    monkeypatch.setattr(command, "report", fails)
    assert matloop(monkeypatch, "run", "c.yaml") == 0
    shown = capsys.readouterr().out
    assert "no report: ZeroDivisionError: a figure" in shown and "all results are recorded" in shown


def test_errors_have_codes_too() -> None:
    errors = [LedgerUnwritable("full"), ConfigError("no"), LedgerLocked("busy")]
    assert [cli._code(error) for error in errors] == [5, 2, 1]
    assert sorted(OUTCOMES.values()) == [0, 3, 4, 5, 75, 130, 143] and 1 not in OUTCOMES.values()


def test_help_names_every_code() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "matloop.orchestrator.cli.main", "run", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "200", "TERM": "dumb"},
    ).stdout
    text = shown.split("Exit codes:")[1].split("Options")[0]
    for code in (0, 1, 2, *OUTCOMES.values()):
        assert f" {code} " in text.replace("│", " ")


def test_causes_that_differ_in_numbers_are_one(tmp_path: Path) -> None:
    messages = [*(f"no file scan-{i}.dat" for i in range(5)), "leaked", "leaked", "", None]
    with Ledger.open(tmp_path / "ledger.db", config={}, environment={}) as ledger:
        for i, message in enumerate(messages):
            trial = ledger.propose("s", Proposal(point={"x": i}), seed=0, ask=i)
            if message is not None:  # else it runs
                failure = Failure(cause="exception", message=message) if message else None
                values = None if message else {"y": 1.0}
                ledger.answer(trial, Answer(values=values, failure=failure, started_at=0.0, finished_at=1.0))
        history = ledger.history
    assert ending.failures(history, range(9)) == "7 of 8 failed: 5 × no file scan-0.dat"
    assert ending.failures(history, [7, 8]) == ""


def test_ctrl_c_while_an_error_is_told_is_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_complain", interrupted)
    monkeypatch.setattr(sys, "argv", ["matloop", "status", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 130
