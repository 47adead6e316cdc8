"""A disk that is full or away while a campaign runs: the machine's fault, which costs no result and no attempt.

Real faults: a file where the artifacts' folder should be, a ledger at its most pages, a lock that another one holds.
"""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from matloop.hpc.local import Local
from matloop.hpc.serial import Serial
from matloop.orchestrator.errors import LedgerUnwritable, NotBegun, OutOfReach
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.loop import evaluation, patience
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.campaign import Campaign
from matloop.orchestrator.loop.study import Plan, Silent
from matloop.orchestrator.trial import Answer, Measurement, Proposal
from tests.orchestrator.harness import run
from tests.orchestrator.toys import LOSS, Bowl, study


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Tries follow each other fast."""
    monkeypatch.setattr(patience, "FIRST_S", 0.02)
    monkeypatch.setattr(patience, "LONGEST_S", 0.1)


@dataclass(frozen=True)
class Leaving(Bowl):
    """A bowl that leaves an artifact of its own, from the start of those whose number is not below `quiet`."""

    quiet: int = 0

    def __call__(self, trial):
        measured = super().__call__(trial)
        artifacts = {"raw": str(trial.seed).encode()} if trial.number >= self.quiet else {}
        return Measurement(values=measured.values, info={"kept": True}, artifacts=artifacts)


class Watching(Silent):
    """Counts, and acts when the run begins to wait."""

    def __init__(self, then=lambda: None, after_trials=10**9, act=lambda: None):
        self.then, self.after_trials, self.act = then, after_trials, act
        self.waits, self.resumptions, self.finished_trials, self.proposed_while_waiting = [], 0, 0, 0

    def notice(self, text):
        self.resumptions += text.startswith("going on after ")
        if text.startswith("waiting: "):
            self.waits.append(text.removeprefix("waiting: "))
            self.then()

    def proposed(self, trial):
        self.proposed_while_waiting += len(self.waits) > self.resumptions

    def finished(self, trial):
        self.finished_trials += 1
        if self.finished_trials == self.after_trials:
            self.act()


EXECUTORS = {"serial": Serial, "local": lambda: Local(slots=2)}


def in_the_way(folder):
    """A store that is out of reach for every process, root's as well."""
    folder.mkdir(exist_ok=True)
    (folder / "artifacts").write_text("a file where the folder should be")
    return (folder / "artifacts").unlink


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


class Heir:
    """Proposes one point, and then points that start from what the first one left."""

    def __init__(self):
        self.left = {}

    def ask(self, n, pending, rng):
        if not self.left and pending:
            return []  # until the first one is measured
        return [Proposal(point={"x": float(rng.random())}, inputs=self.left) for _ in range(n if self.left else 1)]

    def tell(self, trial):
        self.left = self.left or dict(trial.artifacts)


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


# The ledger


def full(ledger):
    """No page more than it has; what undoes it."""
    pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
    ledger._db.execute(f"PRAGMA max_page_count = {pages}")
    return lambda: ledger._db.execute("PRAGMA max_page_count = 1000000")


def busy(ledger):
    """Somebody else writes; what undoes it."""
    ledger._db.execute("PRAGMA busy_timeout = 5")
    other = sqlite3.connect(ledger.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    return other.close


@dataclass(frozen=True)
class Wordy(Bowl):
    """A bowl whose every result takes more than a page of the ledger."""

    def __call__(self, trial):
        return Measurement(values=super().__call__(trial).values, info={"text": "x" * 10_000})


def with_ledger(folder, made, pool, observer, spoil, after, *, patience_s=60.0, free=True):
    with Ledger.open(folder / "ledger.db", config={"name": "toy"}, environment={}) as ledger:
        then, observer.after_trials = observer.then, after
        observer.act = lambda: setattr(observer, "undo", spoil(ledger))
        observer.then = lambda: (observer.undo() if free else None, then())
        plans = [Plan("walk", lambda history, store: made())]
        campaign = Campaign(
            plans=plans,
            ledger=ledger,
            executor=pool,
            artifacts=folder / "artifacts",
            observer=observer,
            patience_s=patience_s,
        )
        return campaign.run()


@pytest.mark.parametrize("spoil", [full, busy])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_ledger_that_can_be_written_again_has_everything(tmp_path, executor, spoil):
    log, observer, strategy = tmp_path / "log", Watching(), Heir()
    told = []
    strategy.tell = lambda trial: told.append((trial.id, len(observer.waits) - observer.resumptions))
    strategy.left = {"x": "0" * 64}
    with EXECUTORS[executor]() as pool:
        made = partial(study, strategy=strategy, driver=Wordy(log))
        assert with_ledger(tmp_path, made, pool, observer, spoil, 4) == "finished"
    history = read(tmp_path / "ledger.db")
    assert [t.state for t in history.trials] == ["answered"] * 10 and history.lost == []
    assert len(log.read_text().splitlines()) == 10 and history.sessions[-1].ended == "finished"
    assert len(observer.waits) == observer.resumptions == 1 and observer.proposed_while_waiting == 0
    assert ("full" in observer.waits[0]) == (spoil is full) and ("locked" in observer.waits[0]) == (spoil is busy)
    assert sorted(trial for trial, _ in told) == list(range(10)) and not any(waiting for _, waiting in told)


@pytest.mark.parametrize("spoil", [full, busy])
def test_a_ledger_that_stays_out_of_reach_ends_the_run_and_what_was_committed_is_safe(tmp_path, spoil):
    observer = Watching()
    made = partial(study, driver=Wordy())
    with Serial() as pool, pytest.raises(LedgerUnwritable) as raised:
        with_ledger(tmp_path, made, pool, observer, spoil, 4, patience_s=0.2, free=False)
    assert len(observer.waits) == 1 and observer.resumptions == 0
    assert any("in vain" in note for note in raised.value.__notes__)
    history = read(tmp_path / "ledger.db")
    assert len(history.finished) >= 4 and history.sessions[-1].ended is None
    if spoil is busy:
        observer.undo()
    with Serial() as pool:
        assert run(tmp_path, made, executor=pool) == "finished"
    assert [t.state for t in read(tmp_path / "ledger.db").trials] == ["answered"] * 10


def test_ctrl_c_ends_the_wait_for_the_ledger_after_one_more_try(tmp_path):
    observer = Watching(then=lambda: os.kill(os.getpid(), signal.SIGINT))
    with Serial() as pool, pytest.raises(LedgerUnwritable):
        with_ledger(tmp_path, partial(study, driver=Wordy()), pool, observer, busy, 4, patience_s=1e6, free=False)
    assert len(read(tmp_path / "ledger.db").finished) >= 4


def test_what_comes_back_while_the_ledger_waits_is_recorded(tmp_path):
    """Three of four run while the first one's result cannot be recorded; they are measured once."""
    log = tmp_path / "log"
    observer = Watching()
    with ThreadPoolExecutor(4) as pool:
        pool.slots = 4
        assert (
            with_ledger(tmp_path, partial(study, driver=Bowl(log, sleep_s=0.05)), pool, observer, busy, 2) == "finished"
        )
    history = read(tmp_path / "ledger.db")
    assert len(history.finished) == 10 == len(log.read_text().splitlines())


def test_a_ledger_takes_what_there_is_room_for(tmp_path):
    path = tmp_path / "ledger.db"
    with Ledger.open(path, config={"name": "toy"}, environment={}) as ledger:
        trials = [ledger.propose("s", Proposal(point={"x": 0.5}), seed=1, ask=i) for i in range(5)]
        ledger.commit()
        pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
        ledger._db.execute(f"PRAGMA max_page_count = {pages + 8}")  # a result takes three and a bit
        for trial in trials:
            info = {"text": "x" * 10_000}
            ledger.answer(trial, Answer(values={"y": 1.0}, info=info, started_at=0.0, finished_at=1.0))
        with pytest.raises(LedgerUnwritable):
            ledger.commit()
        assert read(path).finished == []
        left = ledger.commit_what_fits()
        recorded = read(path).finished
        assert recorded == list(range(5 - left)) and 0 < left < 5
        ledger._db.execute("PRAGMA max_page_count = 1000000")
        assert ledger.commit_what_fits() == 0
    assert read(path).finished == list(range(5)) and read(path).sessions[-1].ended == "finished"


class Reluctant:
    """A connection that refuses some of its commits, counted from 1."""

    def __init__(self, db, *refused):
        self.db, self.refused, self.commits = db, refused, 0

    def __getattr__(self, name):
        return getattr(self.db, name)

    def __enter__(self):
        self.commits += 1
        if self.commits in self.refused:
            raise sqlite3.OperationalError("disk I/O error")
        return self.db.__enter__()

    def __exit__(self, *error):
        return self.db.__exit__(*error)


def test_a_last_try_takes_what_came_back_meanwhile(tmp_path):
    observer = Watching()
    spoil = lambda ledger: setattr(ledger, "_db", Reluctant(ledger._db, 1))  # noqa: E731
    with Serial() as pool, pytest.raises(LedgerUnwritable) as raised:
        with_ledger(tmp_path, study, pool, observer, spoil, 4, patience_s=0.0)
    assert any("everything that came back is recorded" in note for note in raised.value.__notes__)
    history = read(tmp_path / "ledger.db")
    assert len(history.finished) == 4 and [t.state for t in history.trials[4:]] == ["running"]
    assert history.sessions[-1].ended == "stopped by LedgerUnwritable"


def test_the_data_set_of_a_study_waits_for_its_disk(tmp_path):
    from matloop.orchestrator.composition.outcomes import Recorded
    from matloop.search_spaces.box import Box

    space = Box(parameters={"x": {"type": "float", "low": 0.0, "high": 1.0}})
    made = []

    def second(history, store):
        made.append(Recorded(history, store, lambda name: (space, (LOSS,))).dataset("first"))
        return study("second", budget=Budget(trials=1))

    freed = in_the_way(tmp_path)
    observer = Watching(then=freed)
    with Ledger.open(tmp_path / "ledger.db", config={}, environment={}) as ledger, Serial() as pool:
        plans = [Plan("first", lambda history, store: study("first")), Plan("second", second)]
        campaign = Campaign(
            plans=plans, ledger=ledger, executor=pool, artifacts=tmp_path / "artifacts", observer=observer
        )
        assert campaign.run() == "finished"
    assert len(observer.waits) == 1 and "Not a directory" in observer.waits[0]
    with np.load(made[0]) as found:
        assert found["x"].shape == (10, 1)
