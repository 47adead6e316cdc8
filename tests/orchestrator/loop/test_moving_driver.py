"""A driver that moves its process into another folder, or one that is gone, costs no result and changes no other."""

from __future__ import annotations

import hashlib
import os
import tempfile
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import pytest

from matloop.hpc.local import Local
from matloop.hpc.serial import Serial
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.trial import Measurement, Objective, Trial
from tests.orchestrator.harness import run
from tests.orchestrator.toys import LOSS, study

TRIALS = 4


@dataclass(frozen=True)
class Moving:
    """Goes away and returns an artifact, or fails there."""

    removed: bool
    repeatable: bool = True
    objectives: tuple[Objective, ...] = (LOSS,)

    def __call__(self, trial: Trial) -> Measurement:
        began_in = str(Path.cwd())
        folder = Path(tempfile.mkdtemp())
        os.chdir(folder)
        if self.removed:
            folder.rmdir()
        if trial.number == 1:
            raise ValueError("there is nothing here")
        content = f"number {trial.number}".encode()
        return Measurement(values={"loss": float(trial.number)}, artifacts={"a": content}, info={"began_in": began_in})


@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize("make", [Serial, lambda: Local(slots=1)])
def test_results_are_where_they_belong_and_every_evaluation_begins_in_the_same_place(
    make, removed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here := tmp_path / "here").mkdir()
    (away := tmp_path / "away").mkdir()
    monkeypatch.setenv("TMPDIR", str(away))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(here)
    executor: Executor = make()
    with executor:
        outcome = run(
            Path("run"),
            lambda: study(driver=Moving(removed), budget=Budget(trials=TRIALS)),
            executor=executor,
            patience_s=0.0,
        )
    assert outcome == "finished" and Path.cwd() == here
    trials = read(here / "run" / "ledger.db").trials
    assert [trial.state for trial in trials] == ["answered", "failed", "answered", "answered"]
    assert {trial.info["began_in"] for trial in trials if trial.values} == {str(here)}
    stored = {path.name for path in (here / "run" / "artifacts").iterdir()}
    assert stored == {hashlib.sha256(f"number {trial.number}".encode()).hexdigest() for trial in trials if trial.values}
    assert not list(away.rglob("run"))
