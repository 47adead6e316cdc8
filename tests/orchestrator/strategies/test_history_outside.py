"""What was measured outside the space is taken by every strategy, and nothing is proposed there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import optuna
import pytest

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Past
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.evolution.evolution import Evolution
from matloop.orchestrator.strategies.modelled.active import ActiveLearning
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.strategies.optuna import OptunaSampler
from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.strategies.space_filling import SpaceFilling
from matloop.orchestrator.trial import Proposal
from matloop.search_spaces.box import Box
from matloop.search_spaces.experiment.space import Experiment
from matloop.surrogates.gaussian_process.gp import GP
from matloop.testing.strategy import answered, as_trial, failed
from tests.orchestrator.strategies import toys

PARAMETERS = {
    "t": {"type": "float", "low": 80, "high": 120},
    "n": {"type": "integer", "low": 1, "high": 3},
    "x": {"type": "categorical", "choices": ["DMF", "water"]},
    "p": {"type": "float", "low": 1, "high": 9, "log": True, "before": 2},
}
OUTSIDE = [
    {"t": 0.0, "n": 1, "x": "DMF"},
    {"t": 200.0, "n": 2, "x": "THF", "p": 20.0},
    {"t": 100.0, "n": 9, "x": "water", "p": 0.1},
    {"t": 140.0, "n": 2.5, "x": "THF", "p": 3.0},
    {"t": 90.0, "n": 1, "x": "DMF", "p": 3.0},
    {"t": 110.0, "n": 2, "x": "MeCN", "p": 5.0},
]
PAST = Past(lambda: OUTSIDE)
MAKERS = {
    "random": lambda space: Random(space=space),
    "space_filling": lambda space: SpaceFilling(space=space, seed=0),
    "evolution": lambda space: Evolution(space=space, objectives=toys.loss(), population=4),
    "optuna": lambda space: OptunaSampler(space=space, objectives=toys.loss()),
    "bayesian": lambda space: Bayesian(
        space=space, objectives=toys.loss(), surrogate=GP(space=space), initial=4, candidates=64, replicate="auto"
    ),
    "blend": lambda space: Bayesian(space=space, objectives=toys.loss(), initial=4, candidates=32),
    "active": lambda space: ActiveLearning(
        space=space, objectives=toys.loss(), surrogate=GP(space=space), initial=4, candidates=32
    ),
}


def told(strategy, points):
    name = toys.loss()[0].name
    for i, point in enumerate(points):
        trial = replace(as_trial(i, Proposal(point=point)), point=point)
        strategy.tell(failed(trial) if i == 2 else answered(trial, {name: abs(point["t"] - 150) / 10}))
    return strategy


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("space", [Box, Experiment], ids=["box", "experiment"])
def test_takes_what_is_outside_and_proposes_what_is_inside(kind, space):
    options = {"constraints": ["t + n <= 122"]} if space is Experiment else {}
    made = space(parameters=PARAMETERS, past=PAST, **options)
    strategy = told(MAKERS[kind](made), OUTSIDE)
    for number in range(3):
        pending = [as_trial(90, Proposal(point=OUTSIDE[1]))]
        for proposal in strategy.ask(2, pending, derive(number)):
            made.check(proposal.point)
            explanation = proposal.extra.get("explanation")
            assert explanation is None or explanation["text"]


def test_a_point_outside_is_not_measured_again_however_good_it_was():
    space = Box(parameters={"t": {"type": "float", "low": 80, "high": 120}})
    strategy = Bayesian(
        space=space, objectives=toys.loss(), surrogate=GP(space=space), initial=4, candidates=32, replicate="auto"
    )
    name, rng = toys.loss()[0].name, np.random.default_rng(0)
    for i, t in enumerate([150.0] * 4 + [90.0] * 4 + [100.0, 110.0, 160.0, 140.0]):
        value = abs(t - 150) / 10 + float(rng.normal(0, 3))
        strategy.tell(answered(as_trial(i, Proposal(point={"t": t})), {name: value}))
    for number in range(5):
        for proposal in strategy.ask(1, (), derive(number)):
            space.check(proposal.point)


def test_optuna_is_not_told_of_what_it_has_no_place_for():
    strategy = told(OptunaSampler(space=Box(parameters=PARAMETERS, past=PAST), objectives=toys.loss()), OUTSIDE)
    assert [t.params["t"] for t in strategy._told] == [90.0]
    assert strategy._told[0].state is optuna.trial.TrialState.COMPLETE


def test_data_of_an_earlier_study_may_lie_outside_but_must_have_a_place():
    space = Box(parameters=PARAMETERS, past=PAST)
    name = toys.loss()[0].name
    data = [answered(as_trial(i, Proposal(point=p)), {name: 1.0}) for i, p in enumerate(OUTSIDE) if "p" in p]
    Bayesian(space=space, objectives=toys.loss(), data=data)
    wrong = answered(as_trial(9, Proposal(point={**OUTSIDE[4], "t": "hot"})), {name: 1.0})
    with pytest.raises(ConfigError, match=r"trial 109 of `data`.*t to be a number, got 'hot'"):
        Bayesian(space=space, objectives=toys.loss(), data=[*data, wrong])
