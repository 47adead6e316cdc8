"""What experiments cost: named or learned, counted against a budget, and weighed in the choice."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from matloop.orchestrator.composition import build
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.strategies.modelled.cost import Cost
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.box import Box
from matloop.search_spaces.experiment.space import Experiment
from matloop.search_spaces.pool import Pool
from matloop.surrogates.gaussian_process.gp import GP
from matloop.testing.strategy import answered, as_trial

CAMPAIGN = """\
name: furnace
studies:
  anneal:
    space: {kind: box, parameters: {hours: {type: float, low: 1, high: 10}}}
    driver: manual
    strategy: {kind: bayesian, cost: "0.5 + time * 0.02"}
    objectives: {hardness: maximise}
"""
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


LAB = Experiment(
    parameters={
        "hours": {"type": "float", "low": 0.0, "high": 10.0},
        "gas": {"type": "categorical", "choices": ["air", "argon"]},
        "flow (l/h)": {"type": "float", "low": 1.0, "high": 5.0, "when": {"gas": ["argon"]}},
    },
    mixtures={"alloy": {"components": ["Fe", "Mo"], "total": 100}},
)


@pytest.mark.parametrize(
    ("source", "by_hand"),
    [
        ("0.5 + hours * 0.02", lambda p: 0.5 + 0.02 * p["hours"]),
        ("1 + 0.3 * Mo", lambda p: 1 + 0.3 * p["Mo"]),
        ("(9 if gas == 'argon' else 2) * (1 + hours)", lambda p: (9 if p["gas"] == "argon" else 2) * (1 + p["hours"])),
        ("1 + hours * `flow (l/h)`", lambda p: 1 + p["hours"] * p.get("flow (l/h)", 0.0)),
        ("exp(hours / 10)", lambda p: math.exp(p["hours"] / 10)),
    ],
)
def test_a_formula_agrees_with_python(source, by_hand) -> None:  # type: ignore[no-untyped-def]
    points = [LAB.sample(derive(source, i)) for i in range(20)]
    cost = Cost(source, space=LAB, budget=None, seed=0)
    found = cost.logarithm(encode)(points, torch.zeros(20, 2))
    assert found.exp().tolist() == pytest.approx([by_hand(p) for p in points])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("0.5 + hour * 0.02", "cost '0.5 \\+ hour \\* 0.02': unknown name 'hour'; did you mean 'hours'"),
        ("0.5 +", "cannot be read"),
        ("2.5", "mentions no parameter"),
        ("gas", "expected a number, got 'gas'"),
        ("hours > 2", "expected a number"),
        ("__import__('os')", "unknown function"),
        ("hours.real", "expected a number"),
        ("hours", "to be a number > 0 everywhere, got 0 at"),
        ("hours - 3", "to be a number > 0 everywhere, got -"),
        ("1 / hours", "to be a number > 0 everywhere, got nan"),
        ("exp(100 * hours)", "to be a number > 0 everywhere, got inf"),
    ],
)
def test_formulas_that_are_none_are_refused_at_once(source: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Cost(source, space=LAB, budget=None, seed=0)


def test_what_was_spent_is_what_was_said_or_else_worked_out() -> None:
    cost = Cost("1 + b", space=SPACE, budget=10.0, seed=0)
    trial = replace(paid(0, None), point={"a": 0.0, "b": 0.5})
    cost.tell(trial)
    assert cost.spent == pytest.approx(1.5)
    cost.tell(replace(trial, cost=4.0))
    cost.tell(replace(trial, values=None, state="cancelled"))
    assert cost.spent == pytest.approx(5.5)


def test_it_survives_pickling() -> None:
    cost = pickle.loads(pickle.dumps(Cost("1 + b", space=SPACE, budget=None, seed=0)))
    assert float(cost.logarithm(encode)([{"a": 0, "b": 1}], torch.zeros(1, 2)).exp()) == pytest.approx(2.0)


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
    assert choice("price") == 1.0 and choice("0.5 + 2 * price") == 1.0 and choice("11 - price") == 10.0


def test_a_wrong_formula_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(CAMPAIGN, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"lab\.yaml:6:.*unknown name 'time'"):
        build.validate(load(file))
    file.write_text(CAMPAIGN.replace("time", "hours"), encoding="utf-8")
    assert build.validate(load(file))


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


def test_a_cost_too_large_to_compute_is_too_dear_but_ends_nothing() -> None:
    """What the survey cannot meet: at one value in a million the formula is beyond all numbers."""
    cost = Cost("1 + exp(a * 1e4 - 9990)", space=SPACE, budget=None, seed=0)
    points = [{"a": 0.5, "b": 0.0}, {"a": 1.0, "b": 0.0}]
    assert cost.logarithm(encode)(points, encode(points)).tolist() == pytest.approx([0.0, 10.0], abs=1e-3)
    points[1] = {"a": 1.1, "b": 0.0}  # as a person may have done
    logarithms = cost.logarithm(encode)(points, encode(points)).tolist()
    assert math.isfinite(logarithms[1]) and logarithms[1] > 700
