"""A program that is to end: what it is told, what it may still do, what counts, and what is left of it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import psutil
import pytest

from matloop.drivers.command import Command
from matloop.drivers.parsing import Output
from matloop.hpc.local import Local
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation
from matloop.orchestrator.trial import Answer, Objective, Trial

PATIENCE_S = 60.0
ENDING = """
import os, signal, sys, time
from pathlib import Path
place = Path(os.environ["MATLOOP_TRIAL_FOLDER"])
def end(number, frame):
    {end}
signal.signal(signal.SIGTERM, end)
print("y = 1", flush=True)
(place / "begun").touch()
while True:
    time.sleep(0.01)
"""
SAVES = "time.sleep(0.3); (place / 'saved').touch(); sys.exit({code})"


def eventually(condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def program(end: str, **options: Any) -> Command:
    given: dict[str, Any] = {
        "run": [sys.executable, "-c", ENDING.format(end=end)],
        "output": {"y": Output(regex="y = (.*)")},
        "grace_s": PATIENCE_S,
    }
    return Command(**(given | options))


def evaluation(driver: Command, run: Path) -> Evaluation:
    conditions = Conditions(driver=driver, objectives=(Objective("y"),), artifacts=run / "artifacts")
    return Evaluation(conditions, Trial(id=7, study="s", number=0, point={}, seed=1))


def withdrawn(driver: Command, run: Path) -> Answer:
    executor = Local(slots=1)
    future = executor.submit(evaluation(driver, run))
    assert eventually((run / "trials" / "7" / "begun").exists)
    executor.shutdown(wait=True, cancel_futures=True)
    return future.result(0)


@pytest.mark.parametrize("code", [0, 75])
def test_a_program_that_saves_is_waited_for_and_has_no_result(tmp_path: Path, code: int) -> None:
    """It has printed a number, and may end with 0: that number is of an unfinished run."""
    with pytest.raises(CancelledError):
        withdrawn(program(SAVES.format(code=code)), tmp_path)
    assert (tmp_path / "trials" / "7" / "saved").exists()


def test_what_cannot_be_repeated_counts_if_it_ends_well(tmp_path: Path) -> None:
    assert withdrawn(program(SAVES.format(code=0), repeatable=False), tmp_path).values == {"y": 1.0}


def test_what_cannot_be_repeated_does_not_count_if_it_ends_badly(tmp_path: Path) -> None:
    with pytest.raises(CancelledError):
        withdrawn(program(SAVES.format(code=1), repeatable=False), tmp_path)


def test_who_does_not_listen_is_killed(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(CancelledError):
        withdrawn(program("pass", grace_s=0.3), tmp_path)
    assert time.monotonic() - began < PATIENCE_S / 2


def test_a_shell_that_ends_at_once_does_not_cut_short_what_it_runs(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(ENDING.format(end=SAVES.format(code=0)))
    line = f"true && {sys.executable} {tmp_path / 'program.py'} && true"
    with pytest.raises(CancelledError):
        withdrawn(program("", run=line, shell=True), tmp_path)
    assert (tmp_path / "trials" / "7" / "saved").exists()


def test_its_own_time_limit_lets_it_save_and_stays_one(tmp_path: Path) -> None:
    answer = evaluation(program(SAVES.format(code=0), timeout_s=5), tmp_path)()
    assert answer.failure is not None and answer.failure.cause == "timeout"
    assert "timeout_s = 5 s" in answer.failure.message
    assert (tmp_path / "trials" / "7" / "saved").exists()


LEAVES = "echo y = 1; {orphan} & echo $! > $MATLOOP_TRIAL_FOLDER/orphan; touch $MATLOOP_TRIAL_FOLDER/begun"


@pytest.mark.skipif(sys.platform != "linux", reason="nobody adopts orphans here")
@pytest.mark.parametrize("orphan", ["sleep 600", "setsid sleep 600", "nohup sleep 600", "exec setsid nohup sleep 600"])
@pytest.mark.parametrize("withdraw", [False, True])
def test_what_it_leaves_in_the_background_ends_with_the_trial(tmp_path: Path, orphan: str, withdraw: bool) -> None:
    line = LEAVES.format(orphan=orphan) + ("; sleep 600" if withdraw else "")
    driver = Command(run=line, shell=True, output={"y": Output(regex="y = (.*)")}, grace_s=0.3)
    if withdraw:
        with pytest.raises(CancelledError):
            withdrawn(driver, tmp_path)
    else:
        with Local(slots=1) as executor:
            assert executor.submit(evaluation(driver, tmp_path)).result(PATIENCE_S).values == {"y": 1.0}
            check_gone(tmp_path)
    check_gone(tmp_path)


def check_gone(run: Path) -> None:
    pid = int((run / "trials" / "7" / "orphan").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_every_attempt_begins_in_an_empty_folder_unless_it_is_to_find_the_last_one(tmp_path: Path) -> None:
    code = "import os; print('y =', len(os.listdir())); open('left', 'w').close(); {then}"
    for fresh, found in ((True, 2.0), (False, 3.0)):
        run = tmp_path / str(fresh)
        options = {"output": {"y": Output(regex="y = (.*)")}, "fresh": fresh}
        failing = Command(run=[sys.executable, "-c", code.format(then="1/0")], **options)
        assert evaluation(failing, run)().failure is not None
        again = Command(run=[sys.executable, "-c", code.format(then="")], keep="all", **options)
        answer = evaluation(again, run)()
        assert answer.values == {"y": found}  # stdout.txt and stderr.txt, and what the first attempt left
        assert answer.info["folder"] == str(run / "trials" / "7" / ("work" if fresh else ""))


def test_its_folder_is_named_in_the_command_and_the_environment(tmp_path: Path) -> None:
    code = "import os, sys; place = os.environ['MATLOOP_TRIAL_FOLDER']\n"
    code += "print('y =', int(sys.argv[1] == place == os.path.dirname(os.getcwd())))"
    driver = Command(run=[sys.executable, "-c", code, "{{trial.folder}}"], output={"y": Output(regex="y = (.*)")})
    answer = evaluation(driver, tmp_path)()
    assert answer.values == {"y": 1.0} and not answer.leaves_folder
    assert list((tmp_path / "trials").iterdir()) == [] and "MATLOOP_TRIAL_FOLDER" not in os.environ


@pytest.mark.parametrize("keep", ["none", "failed"])
def test_scratch_of_a_killed_trial_is_found_again(tmp_path: Path, keep: str) -> None:
    from matloop.orchestrator.workplace import remove

    driver = program("pass", scratch=tmp_path / "fast", keep=keep)
    with Local(slots=1) as executor:
        future = executor.submit(evaluation(driver, tmp_path))
        assert eventually((tmp_path / "trials" / "7" / "begun").exists)
        worker = next(p for p in psutil.Process().children(recursive=True) if p.name().startswith("python")
                      and p.ppid() != os.getpid())  # fmt: skip
        worker.kill()
        assert future.exception(PATIENCE_S) is not None
    assert len(list((tmp_path / "fast").iterdir())) == 1
    remove(tmp_path / "trials" / "7")
    assert list((tmp_path / "fast").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [({"grace_s": -1.0}, "at least 0"), ({"fresh": False, "scratch": Path("s")}, "cannot lie in `scratch`")],
)
def test_options_out_of_range(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        program("pass", **options)
