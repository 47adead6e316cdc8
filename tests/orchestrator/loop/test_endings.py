"""Endings: an end is a success only where something was measured, and what was wrong can be put right."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from matloop.hpc.serial import Serial
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.campaign import Campaign
from matloop.orchestrator.loop.study import Plan, Silent
from matloop.orchestrator.trial import Answer, Trial
from tests.orchestrator.harness import run
from tests.orchestrator.toys import Descent, Listed, Scripted, study

MISSING = FileNotFoundError(2, "No such file or directory", "calibration.dat")


def broken(name: str = "walk", **budget):
    return study(name, driver=Scripted((MISSING,)), budget=Budget(**budget))


def test_an_end_by_failures_is_resumed_once_the_cause_is_gone(tmp_path: Path) -> None:
    for rows in (1, 2):  # the counter starts anew: another row, the same end
        assert run(tmp_path, lambda: broken(trials=12, failures=5), executor=Serial()) == "failures in a row"
        history = read(tmp_path / "ledger.db")
        assert len(history.trials) == 5 * rows and len(history.uncounted("walk")) == 5 * rows
        assert history.ended("walk")["reason"] == "5 failures in a row"
    repaired = lambda: study(budget=Budget(trials=12, failures=5))  # noqa: E731
    assert run(tmp_path, repaired, executor=Serial()) == "finished"
    history = read(tmp_path / "ledger.db")
    assert [t.state for t in history.trials] == ["failed"] * 10 + ["answered"] * 12  # these were not charged
    assert history.ended("walk") == {"reason": "12 trials"}
    assert run(tmp_path, repaired, executor=Serial()) == "finished"
    assert len(read(tmp_path / "ledger.db").trials) == 22


def test_only_the_row_that_ended_it_is_free(tmp_path: Path) -> None:
    script = (ValueError("one of those"), 1.0, MISSING, MISSING, MISSING)
    made = lambda: study(driver=Scripted(script), budget=Budget(cost=6.0, failures=3))  # noqa: E731
    assert run(tmp_path, made, executor=Serial()) == "failures in a row"
    assert read(tmp_path / "ledger.db").uncharged == {"walk": {2, 3, 4}}
    repaired = lambda: study(budget=Budget(cost=6.0, failures=3))  # noqa: E731
    assert run(tmp_path, repaired, executor=Serial()) == "finished"
    assert [t.state for t in read(tmp_path / "ledger.db").trials].count("answered") == 5  # of 6, a failure was charged


def test_nothing_answered_is_no_success_and_can_be_tried_again(tmp_path: Path) -> None:
    for trials in (3, 6):
        assert run(tmp_path, lambda: broken(trials=3), executor=Serial()) == "nothing answered"
        assert len(read(tmp_path / "ledger.db").trials) == trials
    assert run(tmp_path, lambda: study(budget=Budget(trials=3)), executor=Serial()) == "finished"
    assert [t.state for t in read(tmp_path / "ledger.db").trials].count("answered") == 3


def test_a_space_in_which_everything_failed_can_be_tried_again_whole(tmp_path: Path) -> None:
    made = lambda: study(strategy=Listed([0.1, 0.2]), driver=Scripted((MISSING,)))  # noqa: E731
    assert run(tmp_path, made, executor=Serial()) == "nothing answered"
    history = read(tmp_path / "ledger.db")
    assert history.ended("walk")["reason"].startswith("space exhausted") and not list(history.told("walk"))
    strategy = Listed([0.1, 0.2])
    assert run(tmp_path, lambda: study(strategy=strategy), executor=Serial()) == "finished"
    history = read(tmp_path / "ledger.db")
    assert [t.state for t in history.trials] == ["failed"] * 2 + ["answered"] * 2
    assert [t.id for t in strategy.told] == [2, 3]  # what was broken says nothing about the points


def test_a_failure_that_is_amended_counts_after_all(tmp_path: Path) -> None:
    assert run(tmp_path, lambda: broken(trials=3), executor=Serial()) == "nothing answered"
    with Ledger(tmp_path / "ledger.db") as ledger:
        answer = Answer(values={"loss": 0.5}, started_at=1.0, finished_at=2.0, worker="Ada")
        ledger.amend(ledger.history.trials[1], answer)
    strategy = Descent()
    made = lambda: study(strategy=strategy, budget=Budget(trials=3))  # noqa: E731
    assert run(tmp_path, made, executor=Serial()) == "finished"
    assert [t.id for t in strategy.told] == [1, 3, 4] and strategy.told[0].values == {"loss": 0.5}


@pytest.mark.parametrize(
    ("budget", "outcome"), [({"trials": 50, "failures": 4}, "failures in a row"), ({"trials": 3}, "nothing answered")]
)
def test_a_study_that_failed_keeps_later_ones_from_beginning(tmp_path: Path, budget: dict, outcome: str) -> None:
    later = lambda: study("later")  # noqa: E731
    assert run(tmp_path, lambda: broken("first", **budget), later, executor=Serial()) == outcome
    assert read(tmp_path / "ledger.db").of("later") == []
    assert run(tmp_path, lambda: study("first", budget=Budget(trials=3)), later, executor=Serial()) == "finished"
    history = read(tmp_path / "ledger.db")
    assert len(history.of("later")) == 10 and sum(t.values is not None for t in history.of("first")) == 3


class SignalAt(Silent):
    def __init__(self, count: int, number: int) -> None:
        self.left, self.number = count, number

    def finished(self, trial: Trial) -> None:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(self.number)


@pytest.mark.parametrize(("number", "outcome"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_stop_with_work_left_and_one_that_comes_when_all_is_done(tmp_path: Path, number: int, outcome: str) -> None:
    assert run(tmp_path, study, executor=Serial(), observer=SignalAt(4, number)) == outcome
    assert run(tmp_path, study, executor=Serial(), observer=SignalAt(6, number)) == "finished"
    assert read(tmp_path / "ledger.db").ended("walk") == {"reason": "10 trials"}
    second = lambda: study("second")  # noqa: E731
    assert run(tmp_path / "b", study, second, executor=Serial(), observer=SignalAt(10, number)) == outcome
    assert read(tmp_path / "b/ledger.db").of("second") == []


def test_a_second_signal_breaks_off_the_building_of_a_study(tmp_path: Path) -> None:
    def build(history, store):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on")

    with Ledger.open(tmp_path / "ledger.db", config={}, environment={}) as ledger:
        campaign = Campaign(plans=[Plan("s", build)], ledger=ledger, executor=Serial(), artifacts=tmp_path)
        assert campaign.run() == "interrupted" == campaign.outcome


def test_a_second_signal_breaks_off_the_first_ask_and_the_retelling(tmp_path: Path) -> None:
    class Stopping(Descent):
        def ask(self, n, pending, rng):
            return self.stop()

        def tell(self, trial):
            self.stop()

        def stop(self):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("it went on")

    assert run(tmp_path, lambda: study(budget=Budget(trials=3)), executor=Serial()) == "finished"
    made = lambda: study(strategy=Stopping())  # noqa: E731
    assert run(tmp_path, made, executor=Serial()) == "interrupted"
    assert run(tmp_path / "new", made, executor=Serial()) == "interrupted"
