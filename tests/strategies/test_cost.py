"""What experiments cost: named or learned, counted against a budget, and weighed in the choice."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from orchestrator.errors import ConfigError
from orchestrator.randomness import derive
from orchestrator.strategies.bayes import Bayesian
from orchestrator.strategies.cost import Cost
from orchestrator.trial import Objective, Trial
from search_spaces.box import Box
from search_spaces.pool import Pool
from surrogates.gp import GP
from tests.contracts.strategy import answered, as_trial

SPACE = Box(parameters={name: {"type": "float", "low": 0.0, "high": 1.0} for name in "ab"})


def encode(points):  # type: ignore[no-untyped-def]
    return torch.as_tensor(SPACE.encode(list(points)))


def paid(number: int, cost: float | None) -> Trial:
    point = SPACE.sample(derive(number))
    return Trial(id=number, study="s", number=number, point=point, seed=0, values={"f": 0.0}, cost=cost)


def test_cost_is_learned_from_what_trials_have_cost() -> None:
    cost = Cost("learned", space=SPACE, budget=None, seed=0)
    unknown = cost.logarithm(encode)([], encode([{"a": 0.1, "b": 0.2}]))
    assert unknown.tolist() == [0.0]
    for number in range(20):
        cost.tell(paid(number, math.exp(2 * SPACE.sample(derive(number))["a"])))
    fresh = [SPACE.sample(derive("fresh", i)) for i in range(30)]
    found = cost.logarithm(encode)(fresh, encode(fresh)).detach()
    assert found.tolist() == pytest.approx([2 * p["a"] for p in fresh], abs=0.15)


def test_the_exponent_falls_as_the_budget_is_spent() -> None:
    cost = Cost("learned", space=SPACE, budget=10.0, seed=0)
    assert cost.exponent == 1
    cost.tell(paid(0, 4.0))
    cost.tell(paid(1, None))  # counts as one
    assert cost.exponent == pytest.approx(0.5)
    cost.tell(paid(2, 50.0))
    assert cost.exponent == 0


def test_a_parameter_may_be_the_cost_and_must_be_positive() -> None:
    cost = Cost("b", space=SPACE, budget=None, seed=0)
    point = {"a": 0.5, "b": 0.25}
    assert float(cost.logarithm(encode)([point], encode([point]))) == pytest.approx(math.log(0.25))
    with pytest.raises(ConfigError, match="number > 0"):
        cost.logarithm(encode)([{"a": 0.5, "b": 0.0}], encode([point]))


def choice(cost: str | None) -> float:
    """Price of what is chosen where the dear and the cheap half of a pool are equally good."""
    points = [{"x": i / 20, "price": price} for i in range(20) for price in (1.0, 10.0)]
    space, objective = Pool(points=points), Objective("f", "maximise")
    strategy = Bayesian(
        space=space, objectives=(objective,), surrogate=GP(), initial=4, acquisition="log_ei", cost=cost, explain=False
    )
    for number, point in enumerate(points[::5]):
        trial = Trial(id=number, study="s", number=number, point=point, seed=0, state="answered")
        strategy.tell(replace(trial, values={"f": math.sin(4 * point["x"])}))
    return float(strategy.ask(1, (), derive(0))[0].point["price"])


def test_of_equals_the_cheaper_is_chosen() -> None:
    assert choice("price") == 1.0


def test_a_bound_cannot_be_divided_by_a_cost() -> None:
    with pytest.raises(ConfigError, match="with a cost"):
        Bayesian(space=SPACE, objectives=(Objective("f"),), acquisition="ucb", cost="learned")
    with pytest.raises(ConfigError, match="cost_budget"):
        Bayesian(space=SPACE, objectives=(Objective("f"),), cost="learned", cost_budget=0.0)


def test_learned_cost_takes_part_in_the_climb() -> None:
    strategy = Bayesian(
        space=SPACE, objectives=(Objective("f"),), surrogate=GP(space=SPACE), initial=4, cost="learned", explain=False
    )
    for number in range(8):
        trial = as_trial(number, strategy.ask(1, (), derive(number))[0])
        a = trial.point["a"]
        strategy.tell(replace(answered(trial, {"f": (a - 0.5) ** 2}), cost=1 + 5 * a))
    proposal = strategy.ask(1, (), derive(9))[0]
    assert "per unit of cost" in proposal.reason
