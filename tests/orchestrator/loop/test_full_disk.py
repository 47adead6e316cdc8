"""A disk that is full or away while a campaign runs: the machine's fault, which costs no result and no attempt.

Real faults: a file where the artifacts' folder should be, folders that are taken away.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from matloop.hpc.serial import Serial
from matloop.orchestrator.errors import NotBegun, OutOfReach
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.loop import evaluation
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.trial import Measurement
from tests.orchestrator.harness import run
from tests.orchestrator.loop.waits import EXECUTORS, Heir, Watching, in_the_way
from tests.orchestrator.toys import Bowl, study

pytestmark = pytest.mark.usefixtures("hasty")


@dataclass(frozen=True)
class Leaving(Bowl):
    """A bowl that leaves an artifact of its own, from the start of those whose number is not below `quiet`."""

    quiet: int = 0

    def __call__(self, trial):
        measured = super().__call__(trial)
        artifacts = {"raw": str(trial.seed).encode()} if trial.number >= self.quiet else {}
        return Measurement(values=measured.values, info={"kept": True}, artifacts=artifacts)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_artifacts_wait_for_their_store_and_nothing_is_lost(tmp_path, executor):
    log = tmp_path / "log"
    freed = in_the_way(tmp_path)
    observer = Watching(then=lambda: threading.Timer(0.3, freed).start())
    with EXECUTORS[executor]() as pool:
        assert run(tmp_path, partial(study, driver=Leaving(log)), executor=pool, observer=observer) == "finished"
    history, store = read(tmp_path / "ledger.db"), ArtifactStore(tmp_path / "artifacts")
    assert [t.state for t in history.trials] == ["answered"] * 10
    assert [store.load_bytes(t.artifacts["raw"]) for t in history.trials] == [
        str(t.seed).encode() for t in history.trials
    ]
    assert [t.info for t in history.trials] == [{"kept": True}] * 10
    assert len(log.read_text().splitlines()) == 10 and history.lost == []  # measured once, each
    assert len(observer.waits) == observer.resumptions == 1 and observer.proposed_while_waiting == 0
    assert observer.waits[0].startswith(
        f"cannot store artifacts in {tmp_path / 'artifacts'}: Not a directory. Nothing new"
    )


@pytest.mark.parametrize("executor", EXECUTORS)
def test_artifacts_that_cannot_be_stored_leave_the_values(tmp_path, executor):
    freed, observer = in_the_way(tmp_path), Watching()
    made = partial(study, driver=Leaving(), budget=Budget(trials=10, failures=1))
    with EXECUTORS[executor]() as pool, pytest.raises(OutOfReach, match="Not a directory") as raised:
        run(tmp_path, made, executor=pool, observer=observer, patience_s=0.2)
    history = read(tmp_path / "ledger.db")
    assert 1 <= len(history.trials) <= 2 and len(observer.waits) == 1
    for trial in history.trials:
        assert trial.state == "answered" and trial.attempt == 1 and trial.artifacts == {}
        assert trial.info["kept"] and list(trial.info["not_recorded"]) == ["raw"]
        assert "Not a directory" in trial.info["not_recorded"]["raw"]
    assert "All values are recorded; artifacts were lost" in str(raised.value) and history.lost == []
    freed()
    with EXECUTORS[executor]() as pool:
        assert run(tmp_path, made, executor=pool) == "finished"
    assert [t.state for t in read(tmp_path / "ledger.db").trials] == ["answered"] * 10


def test_what_has_no_artifacts_is_recorded_while_others_wait(tmp_path):
    """Of two evaluations at once, one leaves an artifact at once, the other one none and later."""
    held, freed = threading.Event(), in_the_way(tmp_path)

    @dataclass(frozen=True)
    class Two(Leaving):
        def __call__(self, trial):
            if trial.number == 0:
                assert held.wait(60)
            return super().__call__(trial)

    observer = Watching(then=held.set, after_trials=1, act=freed)
    with ThreadPoolExecutor(2) as pool:
        made = partial(study, driver=Two(quiet=1), budget=Budget(trials=2))
        run(tmp_path, made, executor=pool, slots=2, observer=observer)
    history = read(tmp_path / "ledger.db")
    assert history.finished == [0, 1] and history.trials[1].artifacts


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_ends_the_wait_for_the_store_and_the_values_are_recorded(tmp_path, presses):
    in_the_way(tmp_path)
    interrupt = lambda: [os.kill(os.getpid(), signal.SIGINT) for _ in range(presses)]  # noqa: E731
    with Serial() as pool, pytest.raises(OutOfReach):
        run(
            tmp_path, partial(study, driver=Leaving()), executor=pool, observer=Watching(then=interrupt), patience_s=1e6
        )
    history = read(tmp_path / "ledger.db")
    assert [t.state for t in history.trials] == ["answered"] and "raw" in history.trials[0].info["not_recorded"]


@dataclass(frozen=True)
class Continuing(Leaving):
    """Leaves something the first time, and then reads it."""

    accepts_inputs: bool = True

    def __call__(self, trial, inputs):
        assert (b"".join(inputs.values()) != b"") == (trial.number > 0)
        return super().__call__(trial)


@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_inputs_out_of_reach_hold_the_run_up_and_cost_no_attempt(tmp_path, executor, repeatable):
    here, away, log = tmp_path / "artifacts", tmp_path / "away", tmp_path / "log"
    observer = Watching(
        then=lambda: threading.Timer(0.3, away.rename, [here]).start(), after_trials=1, act=lambda: here.rename(away)
    )
    driver = Continuing(log, repeatable=repeatable, quiet=0)
    with EXECUTORS[executor]() as pool:
        made = partial(study, strategy=Heir(), driver=driver, attempts=1)
        assert run(tmp_path, made, executor=pool, observer=observer) == "finished"
    history = read(tmp_path / "ledger.db")
    assert [(t.state, t.attempt) for t in history.trials] == [("answered", 1)] * 10
    assert len(log.read_text().splitlines()) == 10 and history.lost == []
    assert len(observer.waits) == observer.resumptions == 1 and "cannot read the inputs" in observer.waits[0]
    assert observer.proposed_while_waiting == 0


def test_inputs_that_stay_out_of_reach_end_the_run_and_the_trial_goes_on_later(tmp_path):
    here, away = tmp_path / "artifacts", tmp_path / "away"
    made = partial(study, strategy=Heir(), driver=Continuing())
    observer = Watching(after_trials=1, act=lambda: here.rename(away))
    with Serial() as pool, pytest.raises(OutOfReach, match="cannot read the inputs"):
        run(tmp_path, made, executor=pool, observer=observer, patience_s=0.2)
    history = read(tmp_path / "ledger.db")
    assert [(t.state, t.attempt) for t in history.trials] == [("answered", 1), ("running", 1)]
    away.rename(here)
    with Serial() as pool:
        assert run(tmp_path, made, executor=pool) == "finished"
    assert [(t.state, t.attempt) for t in read(tmp_path / "ledger.db").trials] == [("answered", 1)] * 10


def test_ctrl_c_while_a_trial_cannot_be_begun_is_an_ordinary_interruption(tmp_path):
    here, away = tmp_path / "artifacts", tmp_path / "away"
    interrupt = lambda: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
    observer = Watching(then=interrupt, after_trials=1, act=lambda: here.rename(away))
    with Serial() as pool:
        made = partial(study, strategy=Heir(), driver=Continuing())
        assert run(tmp_path, made, executor=pool, observer=observer, patience_s=1e6) == "interrupted"
    assert [t.state for t in read(tmp_path / "ledger.db").trials] == ["answered", "running"]


def test_an_input_that_is_missing_for_good_fails_its_trial_once(tmp_path):
    here = tmp_path / "artifacts"

    def forget():
        (here / next(here.iterdir()).name).unlink()
        ArtifactStore(here).save(b"another")

    made = partial(study, strategy=Heir(), driver=Continuing(), budget=Budget(trials=3))
    with Serial() as pool:
        run(tmp_path, made, executor=pool, observer=Watching(after_trials=1, act=forget), patience_s=0.1)
    history = read(tmp_path / "ledger.db")
    assert [(t.state, t.attempt) for t in history.trials] == [("answered", 1), ("failed", 1), ("failed", 1)]
    assert history.trials[1].failure.cause == "lost" and "Was it recorded" in history.trials[1].failure.message


@dataclass(frozen=True)
class Scratching(Bowl):
    """A bowl that cannot write its own files while there is a file in the way."""

    obstacle: str = ""

    def __call__(self, trial):
        measured = super().__call__(trial)
        if Path(self.obstacle).exists():
            try:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                raise RuntimeError("cannot save") from error
        return measured


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_driver_that_meets_a_full_disk_is_called_again_when_there_is_room(tmp_path, executor):
    obstacle = tmp_path / "full"
    observer = Watching(after_trials=3, act=obstacle.touch, then=lambda: threading.Timer(0.3, obstacle.unlink).start())
    made = partial(study, driver=Scratching(obstacle=str(obstacle)), attempts=1, budget=Budget(trials=10, failures=1))
    with EXECUTORS[executor]() as pool:
        assert run(tmp_path, made, executor=pool, observer=observer) == "finished"
    history = read(tmp_path / "ledger.db")
    assert [(t.state, t.attempt) for t in history.trials] == [("answered", 1)] * 10 and history.lost == []
    assert len(observer.waits) == observer.resumptions == 1 and observer.proposed_while_waiting == 0
    assert observer.waits[0].startswith("[Errno 28] No space left on device (RuntimeError: cannot save)")


def test_a_driver_that_fills_its_disk_each_time_does_not_go_round_for_ever(tmp_path):
    obstacle = tmp_path / "full"
    obstacle.touch()
    made = partial(study, driver=Scratching(obstacle=str(obstacle)), attempts=2, budget=Budget(trials=2))
    for state, lost in (("running", 1), ("failed", 2)):
        with Serial() as pool, pytest.raises(OutOfReach, match="No space left"):
            run(tmp_path, made, executor=pool, patience_s=0.1)
        history = read(tmp_path / "ledger.db")
        assert (history.trials[0].state, len(history.lost)) == (state, lost)
    assert history.trials[0].failure.cause == "lost"


def test_what_must_not_be_repeated_is_uncertain_after_a_full_disk_and_no_more_is_begun_on_one(tmp_path, monkeypatch):
    obstacle, log = tmp_path / "full", tmp_path / "log"
    monkeypatch.setattr(evaluation, "full", lambda folder: "the disk is full" if obstacle.exists() else "")
    observer = Watching(then=obstacle.unlink)

    class Filling(Scratching):
        def __call__(self, trial):
            if trial.number == 3:
                obstacle.touch()
            return super().__call__(trial)

    with Serial() as pool:
        run(
            tmp_path,
            partial(study, driver=Filling(log, repeatable=False, obstacle=str(obstacle))),
            executor=pool,
            observer=observer,
        )
    history = read(tmp_path / "ledger.db")
    assert [t.state for t in history.trials] == ["answered"] * 3 + ["failed"] + ["answered"] * 6
    assert history.trials[3].failure.cause == "uncertain" and "No space left" in history.trials[3].failure.message
    assert len(log.read_text().splitlines()) == 10 and len(observer.waits) == observer.resumptions == 1


class Refusing(Executor):
    """Cannot start a worker so many times."""

    slots = 2

    def __init__(self, times):
        self.times, self.submitted = times, []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.submitted.append((fn.trial.id, fn.trial.attempt))
        if len(self.submitted) > 2 and self.times:
            self.times -= 1
            future.set_exception(NotBegun("cannot start a worker on n1: [Errno 11] Resource temporarily unavailable"))
        else:
            future.set_result(fn())
        return future


def test_a_worker_that_cannot_be_started_is_no_crash_of_the_trial(tmp_path):
    executor, observer = Refusing(5), Watching()
    assert run(tmp_path, partial(study, attempts=1), executor=executor, observer=observer) == "finished"
    history = read(tmp_path / "ledger.db")
    assert [(t.state, t.attempt) for t in history.trials] == [("answered", 1)] * 10 and history.lost == []
    assert len(observer.waits) == observer.resumptions == 1 and "cannot start a worker" in observer.waits[0]
    assert observer.proposed_while_waiting == 0
