"""A trial's folder: the same in every attempt, there until the trial is answered, and then kept as the driver says."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from matloop.drivers.function import Function
from matloop.hpc.local import Local
from matloop.hpc.serial import Serial
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation
from matloop.orchestrator.loop.folders import Folders
from matloop.orchestrator.trial import Objective, Trial
from matloop.orchestrator.workplace import TRIAL_FOLDER, Keep, Workplace
from tests.orchestrator.harness import run
from tests.orchestrator.toys import LOSS, study


@dataclass(frozen=True)
class Saving:
    """Leaves a file behind; number 1 fails, number 2 kills its process the first time, number 3 asks for nothing."""

    keep: Keep = "failed"
    repeatable: bool = True
    objectives: tuple[Objective, ...] = (LOSS,)

    def __call__(self, trial: Trial) -> dict[str, float]:
        if trial.number == 3:
            return {"loss": 3.0}
        assert trial.folder is not None and trial.folder.is_dir()
        seen = trial.folder / "attempts"
        before = seen.read_text() if seen.exists() else ""
        seen.write_text(before + f"{trial.attempt} ")
        if trial.number == 1:
            raise ValueError("no good")
        if trial.number == 2 and trial.attempt == 1:
            os._exit(1)
        return {"loss": float(len(seen.read_text().split()))}


@pytest.mark.parametrize(("keep", "left"), [("failed", {"1"}), ("none", set()), ("all", {"0", "1", "2"})])
def test_what_stays_is_what_the_driver_says(tmp_path: Path, keep: Keep, left: set[str]) -> None:
    with Local(slots=1) as executor:
        run(tmp_path, lambda: study(driver=Saving(keep), budget=Budget(trials=4)), executor=executor)
    history = read(tmp_path / "ledger.db")
    assert [trial.values and trial.values["loss"] for trial in history.trials] == [1.0, None, 2.0, 3.0]
    folder = tmp_path / "trials"
    assert {entry.name for entry in folder.iterdir()} == left if left else not folder.exists()
    if keep == "all":
        assert (folder / "2" / "attempts").read_text() == "1 2 "


@dataclass(frozen=True)
class Dying:
    """Kills its process in every attempt."""

    keep: Keep = "none"
    repeatable: bool = True
    objectives: tuple[Objective, ...] = (LOSS,)

    def __call__(self, trial: Trial) -> dict[str, float]:
        assert trial.folder is not None
        (trial.folder / "checkpoint").touch()
        os._exit(1)


def test_a_killed_trial_leaves_nothing_once_its_death_is_its_result(tmp_path: Path) -> None:
    with Local(slots=1) as executor:
        run(tmp_path, lambda: study(driver=Dying(), budget=Budget(trials=2)), executor=executor)
    assert [trial.state for trial in read(tmp_path / "ledger.db").trials] == ["failed"] * 2
    assert not (tmp_path / "trials").exists()


def test_what_an_earlier_session_left_behind_goes_with_the_next(tmp_path: Path) -> None:
    with Local(slots=1) as executor:
        run(tmp_path, lambda: study(driver=Saving(), budget=Budget(trials=2)), executor=executor)
    for number, name in ((0, "late"), (9, "of nobody")):
        (tmp_path / "trials" / str(number)).mkdir(parents=True)
        (tmp_path / "trials" / str(number) / name).touch()
    with Local(slots=1) as executor:
        run(tmp_path, lambda: study(driver=Saving(), budget=Budget(trials=3)), executor=executor)
    assert {entry.name for entry in (tmp_path / "trials").iterdir()} == {"1", "9"}


@pytest.mark.parametrize("make", [Serial, lambda: ThreadPoolExecutor(1)])
def test_it_is_there_in_this_process_too(tmp_path: Path, make) -> None:
    with make() as executor:
        run(tmp_path, lambda: study(driver=Asking(), budget=Budget(trials=2)), executor=executor)
    assert [trial.state for trial in read(tmp_path / "ledger.db").trials] == ["answered"] * 2
    assert not (tmp_path / "trials").exists() and TRIAL_FOLDER not in os.environ


@dataclass(frozen=True)
class Asking:
    """Asks for its folder, and leaves it empty."""

    repeatable: bool = True
    objectives: tuple[Objective, ...] = (LOSS,)

    def __call__(self, trial: Trial) -> dict[str, float]:
        assert trial.folder is not None and trial.folder.name == str(trial.id) and trial.folder.is_dir()
        return {"loss": 1.0}


FUNCTIONS = """
import os
from pathlib import Path

def asks(point, trial):
    return 1.0 if trial.folder.is_dir() and os.environ["{name}"] == str(trial.folder) else 0.0

def looks(point):
    return float(Path(os.environ["{name}"]).is_dir())
"""


@pytest.mark.parametrize("name", ["asks", "looks"])
def test_a_function_has_it_as_argument_and_in_the_environment(tmp_path: Path, name: str) -> None:
    (tmp_path / "functions.py").write_text(FUNCTIONS.format(name=TRIAL_FOLDER))
    driver = Function(path=f"functions.py:{name}", folder=tmp_path)
    assert evaluated(driver, tmp_path).values == {"y": 1.0}
    assert list((tmp_path / "trials").iterdir()) == [] and TRIAL_FOLDER not in os.environ


def test_a_function_that_has_no_use_for_it_costs_no_folder(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("def measure(point):\n    return 1.0\n")
    assert evaluated(Function(path="plain.py:measure", folder=tmp_path), tmp_path).values == {"y": 1.0}
    assert not (tmp_path / "trials").exists()


def test_a_folder_that_cannot_be_made_is_no_fault_of_the_trial(tmp_path: Path) -> None:
    (tmp_path / "functions.py").write_text(FUNCTIONS.format(name=TRIAL_FOLDER))
    (tmp_path / "trials").touch()
    answer = evaluated(Function(path="functions.py:looks", folder=tmp_path), tmp_path)
    assert answer.failure.cause == "lost" and "cannot make the trial's folder" in answer.failure.message


def evaluated(driver, folder: Path):
    conditions = Conditions(driver=driver, objectives=(Objective("y"),), artifacts=folder / "artifacts")
    return Evaluation(conditions, Trial(id=0, study="s", number=0, point={}, seed=1))()


def test_a_trial_at_work_equals_the_one_on_record(tmp_path: Path) -> None:
    trial = Trial(id=0, study="s", number=0, point={}, seed=1)
    at_work = replace(trial, workplace=Workplace(tmp_path / "0"))
    assert at_work == trial == pickle.loads(pickle.dumps(at_work)) and trial.folder is None
    assert repr(at_work) == repr(trial) and not (tmp_path / "0").exists()


def test_what_links_elsewhere_is_removed_only_if_it_is_ours(tmp_path: Path) -> None:
    (tmp_path / "trials" / "0").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").touch()
    for name in (".matloop-scratch", "work"):
        (tmp_path / "trials" / "0" / name).symlink_to(tmp_path / "data")
    folders = Folders(tmp_path, "none")
    folders.release(0, "answered")
    folders.close(60.0)
    assert not (tmp_path / "trials").exists() and (tmp_path / "data" / "precious").exists()


@pytest.mark.skipif(os.name == "nt", reason="links are a privilege there")
def test_what_a_driver_within_a_driver_has_elsewhere_goes_with_the_folder(tmp_path: Path) -> None:
    (inner := tmp_path / "trials" / "0" / "driver-1" / "dilated").mkdir(parents=True)
    (scratch := tmp_path / "fast" / "matloop-s-0-x").mkdir(parents=True)
    (inner / ".matloop-scratch").symlink_to(scratch)
    folders = Folders(tmp_path, "none")
    folders.release(0, "answered")
    folders.close(60.0)
    assert not (tmp_path / "trials").exists() and not scratch.exists()
