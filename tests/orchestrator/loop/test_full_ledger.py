"""A ledger that cannot be written for a while: nothing is lost, and a run that waits in vain says so.

Real faults: a ledger at its most pages, a lock that another one holds.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from matloop.hpc.serial import Serial
from matloop.orchestrator.errors import LedgerUnwritable
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.campaign import Campaign
from matloop.orchestrator.loop.study import Plan
from matloop.orchestrator.trial import Answer, Measurement, Proposal
from tests.orchestrator.harness import run
from tests.orchestrator.loop.waits import EXECUTORS, Heir, Watching, in_the_way
from tests.orchestrator.toys import LOSS, Bowl, study

pytestmark = pytest.mark.usefixtures("hasty")


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
