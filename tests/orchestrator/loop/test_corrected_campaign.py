"""A campaign whose record was corrected goes on as if it had always said so: its strategy, its budgets, its cost."""

from __future__ import annotations

import pytest

from matloop.hpc.serial import Serial
from matloop.orchestrator.composition import correcting
from matloop.orchestrator.errors import LedgerLocked, MatloopError
from matloop.orchestrator.ledger.corrections import Correction
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.loop.budget import Budget, Spending
from matloop.orchestrator.loop.campaign import Campaign
from matloop.orchestrator.loop.study import Plan
from matloop.orchestrator.trial import Failure, Measurement, Objective, Trial
from tests.orchestrator.harness import run
from tests.orchestrator.toys import LOSS, Descent, Scripted, study

CONFIG = {"name": "toy", "studies": {"walk": {"objectives": {"loss": {"direction": "minimise"}}}}}


def losses(trial):
    return Measurement(values={"loss": 10.0 - trial.number}, cost=2.0)


def campaign(folder, *, budget=None, script=(losses,)):
    """Run, or go on; return the strategy as it was told."""
    strategies = []

    def make():
        strategies.append(Descent())
        driver = Scripted(script)
        return study(strategy=strategies[-1], driver=driver, budget=budget or Budget(trials=10))

    run(folder, make, executor=Serial(), config=CONFIG)
    return strategies[-1]


def test_the_strategy_hears_the_corrected_value_in_the_old_ones_place(tmp_path):
    campaign(tmp_path)
    correcting.amend(tmp_path, 4, Correction(values={"loss": -1.0}), reason="wrong unit", by="Ada")
    correcting.void(tmp_path, 9, reason="spilled", by="Ada")
    told = campaign(tmp_path, budget=Budget(trials=12)).told
    assert [trial.number for trial in told] == list(range(12))
    assert [trial.values["loss"] if trial.values else None for trial in told] == [
        *[10.0, 9.0, 8.0, 7.0, -1.0, 5.0, 4.0, 3.0, 2.0, None, 0.0, -1.0]
    ]
    assert (told[9].state, told[9].failure, told[9].info) == ("cancelled", None, {"note": "spilled"})
    history = read(tmp_path / "ledger.db")
    assert history.trials[10].reason == told[10].reason and history.amendments[0].before.values == {"loss": 6.0}
    assert history.trials[9].cost == 2.0


def test_what_was_corrected_is_what_is_gone_on_from(tmp_path):
    """Corrected before it goes on, a campaign takes the course of one that measured the right value at once."""
    campaign(tmp_path / "wrong", budget=Budget(trials=5))
    correcting.amend(tmp_path / "wrong", 4, Correction(values={"loss": -5.0}), reason="wrong unit")

    def right(trial):
        return Measurement(values={"loss": -5.0 if trial.number == 4 else 10.0 - trial.number}, cost=2.0)

    campaign(tmp_path / "right", budget=Budget(trials=5), script=(right,))
    for name, script in (("wrong", losses), ("right", right)):
        campaign(tmp_path / name, budget=Budget(trials=9), script=(script,))
    courses = [[(t.point, t.values) for t in read(tmp_path / n / "ledger.db").trials] for n in ("wrong", "right")]
    assert courses[0] == courses[1] and len(courses[0]) == 9


def test_budgets_are_reckoned_anew(tmp_path):
    budget = Budget(trials=30, target=5.0)
    campaign(tmp_path, budget=budget)
    assert len(read(tmp_path / "ledger.db").trials) == 6  # 10, 9, ..., 5
    correcting.void(tmp_path, 5, reason="spilled")
    campaign(tmp_path, budget=budget)
    assert len(read(tmp_path / "ledger.db").trials) == 7  # 4
    correcting.amend(tmp_path, 6, Correction(values={"loss": 40.0}), reason="slip of the pen")
    correcting.amend(tmp_path, 0, Correction(values={"loss": 1.0}), reason="slip of the pen")
    campaign(tmp_path, budget=budget)
    history = read(tmp_path / "ledger.db")
    assert len(history.trials) == 7 and history.ended("walk") == {"reason": "target reached: loss 1"}


def test_a_correction_that_mends_a_failure_ends_the_row_of_failures(tmp_path):
    budget = Budget(trials=30, failures=3)
    script = (losses, *[RuntimeError("shut")] * 3, losses)
    campaign(tmp_path, budget=budget, script=script)
    assert len(read(tmp_path / "ledger.db").trials) == 4
    correcting.amend(tmp_path, 2, Correction(values={"loss": 8.0}), reason="it was in the log")
    campaign(tmp_path, budget=Budget(trials=6, failures=3), script=script)
    assert [t.state[0] for t in read(tmp_path / "ledger.db").trials] == list("afafaaff")
    assert read(tmp_path / "ledger.db").ended("walk") == {"reason": "6 trials"}  # without the two failures


def test_what_was_set_aside_has_cost_and_is_no_failure():
    def trial(**fields):
        return Trial(id=0, study="s", number=0, point={}, seed=0, **fields)

    spending = Spending(Budget(cost=10.0, failures=2, target=0.0), Objective("y"))
    failure = Failure(cause="exception", message="m")
    spending.tell(trial(state="failed", failure=failure, cost=1.0, started_at=1.0))
    spending.tell(trial(state="cancelled", cost=3.0, started_at=1.0))
    spending.tell(trial(state="cancelled", started_at=1.0))
    assert (spending.cost, spending.failed, spending.row) == (5.0, [0], [0])
    spending.tell(trial(state="cancelled"))  # a recommendation that was not done
    assert (spending.cost, spending.row, spending.best) == (5.0, [0], None)
    assert spending.spent(proposed=4, elapsed_s=0.0) is None


def test_a_campaign_that_runs_is_not_corrected_beside_it(tmp_path):
    campaign(tmp_path)
    with (
        Ledger.open(tmp_path / "ledger.db", config=CONFIG, environment={}),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(correcting, "WAIT_S", 0.0)
        with pytest.raises(LedgerLocked, match=r"is being written by process \d+ on .*; stop the run \(Ctrl-C\)"):
            correcting.void(tmp_path, 1, reason="spilled")
    assert not read(tmp_path / "ledger.db").amendments
    with pytest.raises(MatloopError, match=r"there is no record in .*nowhere; give the folder"):
        correcting.void(tmp_path / "nowhere", 1, reason="spilled")
    assert not (tmp_path / "nowhere").exists()


def test_an_open_campaign_is_corrected_in_python(tmp_path):
    def make():
        return study(driver=Scripted((losses,)), budget=Budget(trials=3))

    plans = [Plan("walk", lambda history, store: make())]
    with Ledger.open(tmp_path / "ledger.db", config=CONFIG, environment={}) as ledger:
        opened = Campaign(plans=plans, ledger=ledger, executor=Serial(), artifacts=tmp_path / "artifacts")
        opened.run()
        assert opened.void(1, reason="spilled", by="Ada").state == "cancelled"
        assert opened.amend(0, Correction(cost=3.0), reason="the bill").cost == 3.0
        assert read(tmp_path / "ledger.db").trials == opened.history.trials
        with pytest.raises(MatloopError, match="was set aside already"):
            opened.void(1, reason="spilled", by="Ada")
    assert LOSS.name in read(tmp_path / "ledger.db").trials[0].values
