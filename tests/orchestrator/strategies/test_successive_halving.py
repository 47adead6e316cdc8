"""Asynchronous successive halving: who is promoted, with what, and that a killed campaign goes on alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from matloop.orchestrator.errors import ConfigError, SpaceExhausted
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.evolution.evolution import Evolution
from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.strategies.successive_halving import SuccessiveHalving, ranked
from matloop.orchestrator.strategies.tried import key
from matloop.orchestrator.trial import Failure
from matloop.surrogates.fitness_svm import FitnessSVM
from matloop.testing.strategy import StrategyContract, answered, as_trial, failed
from tests.orchestrator.strategies import toys


class TestSuccessiveHalving(StrategyContract):
    @pytest.fixture(params=[1, 2])
    def make(self, request):
        def make(seed, direction="minimise"):
            space, objectives = toys.mixed(), toys.loss(direction, request.param)
            inner = Evolution(space=space, objectives=objectives, population=6)
            return SuccessiveHalving(strategy=inner, objectives=objectives), space, objectives

        return make


class Listed:
    """Points 0, 1, 2, ... up to a length; remembers what it was told."""

    def __init__(self, length=1000):
        self.length, self.told = length, []

    def ask(self, n, pending, rng):
        known = {t.point["x"] for t in (*pending, *self.told)}
        free = [x for x in range(self.length) if x not in known][:n]
        if not free and not pending:
            raise SpaceExhausted("all tried")
        return [as_proposal(x) for x in free]

    def tell(self, trial):
        self.told.append(trial)


def as_proposal(x):
    from matloop.orchestrator.trial import Proposal

    return Proposal(point={"x": x}, reason="the next")


def halving(inner=None, m=1, **options):
    return SuccessiveHalving(strategy=inner or Listed(), objectives=toys.loss(m=m), **options)


def run(strategy, n, loss, *, slots=1, trials=None):
    """Measure until n trials were told, `slots` at a time; loss(trial) is a number, or None for a failure."""
    told, pending = [], []
    count = len(trials or [])
    while len(told) < n:
        for proposal in strategy.ask(slots - len(pending), pending, derive(count)) if len(pending) < slots else []:
            trial = as_trial(count, proposal)
            pending.append(replace(trial, id=count))
            count += 1
        trial = pending.pop(0)
        value = loss(trial)
        done = failed(trial) if value is None else answered(trial, {"f0": value})
        done = replace(done, artifacts={"checkpoint": f"{trial.id:064x}"} if trial.fidelity < 1 else {})
        strategy.tell(done)
        told.append(done)
    return told


def test_a_measurement_of_what_was_uncertain_is_told_to_the_inner_strategy_too():
    inner = Listed()
    strategy = halving(inner)
    (proposal,) = strategy.ask(1, [], derive(0))
    trial = as_trial(0, proposal)
    uncertain = Failure(cause="uncertain", message="it may have happened")
    strategy.tell(replace(trial, state="failed", failure=uncertain))
    again = replace(trial, id=trial.id + 1, parents=(trial.id,))
    for _ in range(2):  # and once
        strategy.tell(answered(again, {"f0": 1.0}))
    assert [t.values for t in inner.told] == [None, {"f0": 1.0}]


def bowl(trial):
    """The larger x the better, and better with more effort."""
    return -trial.point["x"] - 10 * trial.fidelity


def test_the_best_third_goes_on_with_its_checkpoint():
    told = run(halving(), 13, bowl)
    rungs = [round(t.fidelity * 9) for t in told]
    # Three at 1/9, the best of them at 1/3; after three of those the best at 1.
    assert rungs == [1, 1, 1, 3, 1, 1, 1, 3, 1, 1, 1, 3, 9]
    promoted = [t for t in told if t.fidelity > 0.2]
    assert [t.point["x"] for t in promoted] == [2, 5, 8, 8]
    assert [t.parents for t in promoted] == [(2,), (6,), (10,), (11,)]
    for trial in promoted:
        (parent,) = trial.parents
        assert trial.point == told[parent].point
        assert trial.inputs == {"checkpoint": told[parent].artifacts["checkpoint"]}
        assert trial.extra["origin"] == "promotion" and trial.reason.startswith("promoted to ")
    assert all(not t.inputs for t in told if t not in promoted)


def test_effort_is_spread_evenly_over_the_rungs():
    told = run(halving(Random(space=toys.reals())), 400, lambda t: float(np.sum(np.square(list(t.point.values())))))
    spent = [sum(t.fidelity for t in told if round(t.fidelity * 9) == rung) for rung in (1, 3, 9)]
    assert max(spent) < 1.5 * min(spent)
    assert sum(spent) < 0.35 * len({key(t.point) for t in told})  # of what all of them in full would cost


def test_no_point_is_promoted_twice_however_many_run_at_once():
    told = run(halving(), 300, lambda t: float(derive(t.point["x"], "noise").random()), slots=16)
    seen = [(t.point["x"], t.fidelity) for t in told]
    assert len(seen) == len(set(seen))
    assert {round(t.fidelity * 9) for t in told} == {1, 3, 9}


def test_a_failed_promotion_is_not_tried_again_and_does_not_count():
    told = run(halving(), 40, lambda t: None if t.fidelity > 0.2 else bowl(t))
    at_third = [t.point["x"] for t in told if round(t.fidelity * 9) == 3]
    assert len(at_third) == len(set(at_third)) > 5
    assert not [t for t in told if t.fidelity == 1.0]


def test_the_inner_strategy_hears_of_each_point_once_at_the_lowest_fidelity():
    inner = Listed()
    told = run(halving(inner), 60, bowl)
    assert {t.fidelity for t in inner.told} == {1 / 9}
    assert [t.id for t in inner.told] == [t.id for t in told if t.fidelity < 0.2]


def test_a_killed_campaign_makes_the_same_promotions():
    def loss(trial):
        value = derive(trial.point["x"], "noise").random()
        return None if value > 0.9 else float(value)

    live = halving()
    told = run(live, 50, loss, slots=4)
    for stop in (1, 13, 37, 50):
        resumed, uninterrupted = halving(), halving()
        for trial in told[:stop]:
            resumed.tell(trial)
            uninterrupted.tell(trial)
        running = told[stop : stop + 3]
        pending = [replace(t, state="running", values=None, failure=None, artifacts={}) for t in running]
        asked = resumed.ask(2, pending, derive(1))
        assert asked == uninterrupted.ask(2, pending, derive(1))
        assert not {(key(p.point), p.fidelity) for p in asked} & {(key(t.point), t.fidelity) for t in running}


def test_when_the_space_is_exhausted_what_is_left_to_promote_still_is():
    strategy = halving(Listed(9))
    told = run(strategy, 13, bowl)
    assert [round(t.fidelity * 9) for t in told].count(3) == 3
    assert told[-1].fidelity == 1.0
    with pytest.raises(SpaceExhausted):
        strategy.ask(1, [], derive(0))


def test_with_several_objectives_the_front_is_promoted():
    rows = np.array([[3.0, 3.0], [1.0, 2.0], [2.0, 1.0], [0.0, 4.0], [2.5, 2.5]])
    assert ranked(rows)[:3] == [2, 3, 1]  # the ends of the front before its middle
    assert ranked(rows)[3:] == [4, 0]
    assert ranked(rows[:, :1]) == [3, 1, 2, 4, 0]


def test_a_driver_without_checkpoints_starts_again():
    strategy = halving()
    for x in range(3):
        strategy.tell(answered(replace(as_trial(x, as_proposal(x)), fidelity=1 / 9), {"f0": float(x)}))
    (proposal,) = strategy.ask(1, [], derive(0))
    assert (proposal.point, proposal.inputs) == ({"x": 0}, {})
    assert proposal.fidelity == pytest.approx(1 / 3)


def test_fidelities_end_at_one():
    options = ((2, 0.3), (4, 1 / 16), (3, 0.111), (3, 0.5))
    fidelities = [[rung.fidelity for rung in halving(reduction=a, lowest=b)._rungs] for a, b in options]
    assert fidelities == [[0.3, 0.6, 1.0], [1 / 16, 1 / 4, 1.0], [0.111, 0.333, 1.0], [0.5, 1.0]]


def test_it_is_as_slow_as_what_it_wraps_and_has_the_same_filler():
    space, objectives = toys.genes(), toys.loss()
    screened = Evolution(space=space, objectives=objectives, predictor=FitnessSVM())
    outer = halving(screened)
    assert outer.slow and isinstance(outer.filler(), SuccessiveHalving)
    assert not halving().slow and halving().filler() is None
    told = run(outer.filler(), 9, lambda t: float(sum(map(float, t.point.values()))))
    assert {round(t.fidelity * 9) for t in told} == {1, 3}


@pytest.mark.parametrize("options", [{"reduction": 1}, {"lowest": 0.0}, {"lowest": 1.0}])
def test_bad_options_are_named(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        halving(**options)
