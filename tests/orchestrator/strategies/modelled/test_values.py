"""Bayesian optimisation with values still to come, limits of what can be measured, and limits on outcomes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.randomness import derive, derive_seed
from matloop.orchestrator.strategies.evolution.evolution import Evolution
from matloop.orchestrator.strategies.modelled import values
from matloop.orchestrator.strategies.modelled.active import ActiveLearning
from matloop.orchestrator.strategies.modelled.analytic import log_improvement
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.strategies.modelled.values import Limits
from matloop.orchestrator.strategies.optuna import OptunaSampler
from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.strategies.successive_halving import SuccessiveHalving
from matloop.orchestrator.trial import Objective, Side, Trial, best
from matloop.search_spaces.box import Box
from matloop.search_spaces.pool import Pool
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.outputs import subset

YIELD, PURITY = Objective("yield", "maximise", "%"), Objective("purity", "maximise", "%")
CLEAN = Objective("purity", "maximise", "%", at_least=90.0, sought=False)
COLD = Objective("heat", "minimise", at_most=2.0)
SPACE = Box(parameters={name: {"type": "float", "low": 0.0, "high": 1.0} for name in ("a", "b")})
POOL = Pool(points=[{"a": i / 9, "b": j / 9} for i in range(10) for j in range(10)])


def trial(number: int, point: Mapping[str, Any], told: Mapping[str, float], **fields: Any) -> Trial:
    return Trial(id=number, study="s", number=number, point=point, seed=0, state="answered", values=told, **fields)


Told = Callable[[int, dict[str, float]], tuple[dict[str, float], dict[str, Side]]]
"""Number and true values of a trial, to what is told of it: values, and the sides of those that are limits."""


def process(a: float, b: float) -> dict[str, float]:
    """The more of a the better the yield, and the worse the purity."""
    return {"yield": 60 + 30 * a - 10 * (b - 0.5) ** 2, "purity": 99 - 20 * a**2, "heat": 3 * b}


def tell(strategy: Any, n: int, told: Told, seed: int = 0) -> list[Trial]:
    rng = np.random.default_rng(seed)
    done = []
    for number in range(n):
        point = {"a": float(rng.random()), "b": float(rng.random())}
        measured, censored = told(number, process(**point))
        done.append(trial(number, point, measured, censored=censored))
        strategy.tell(done[-1])
    return done


def some(*names: str) -> Told:
    """All values of those names, but every third purity."""
    return lambda i, found: ({n: found[n] for n in names if n != "purity" or i % 3}, {})


def bayesian(objectives: Sequence[Objective], space: Any = SPACE, **options: Any) -> Bayesian:
    options = {"initial": 5, "surrogate": GP(space=space), "candidates": 40, "iterations": 5, **options}
    return Bayesian(space=space, objectives=tuple(objectives), **options)


def test_gains_have_gaps_and_sides():
    """A larger gain is better whatever the direction, and so is the side that is above."""
    cost = Objective("cost", "minimise")
    done = [
        trial(0, {}, {"yield": 3.0}),
        trial(1, {}, {"cost": 2.0, "yield": 0.1}, censored={"cost": "below", "yield": "below"}, noise={"cost": 0.5}),
    ]
    assert values.gains(done, (YIELD, cost)).nan_to_num(99.0).tolist() == [[3.0, 99.0], [0.1, -2.0]]
    assert values.sides(done, (YIELD, cost)).tolist() == [[0, 0], [-1, 1]]
    assert np.nan_to_num(values.noises(done, (YIELD, cost)), nan=9.0).tolist() == [[9.0, 9.0], [9.0, 0.5]]
    assert not values.enough(done, (YIELD, cost)) and values.enough(done, (YIELD,))


@pytest.mark.parametrize("space", [SPACE, POOL], ids=["box", "pool"])
def test_each_objective_learns_from_what_there_is_of_it(space):
    strategy = bayesian((YIELD, PURITY), space)
    done = tell(strategy, 9, some("yield", "purity"))
    model = strategy._model()
    places = torch.as_tensor(np.random.default_rng(5).random((6, 2)))
    for j, o in enumerate((YIELD, PURITY)):
        known = [t for t in done if o.name in t.values]
        y = torch.tensor([[t.values[o.name]] for t in known], dtype=torch.float64)
        seed = derive_seed(0, "bayesian", len(done))
        alone = GP(space=space).fit(strategy._encode([t.point for t in known]), y, seed)
        with torch.no_grad():
            found = model.posterior(places).mean[:, j].numpy()
            assert found == pytest.approx(alone.posterior(places).mean[:, 0].numpy(), rel=1e-6)
    (proposal,) = strategy.ask(1, [], derive("x", 1))
    assert set(proposal.prediction.mean) == {"yield", "purity"} and "hypervolume" in proposal.reason
    nearest = proposal.extra["explanation"]["nearest"]
    assert [set(one["values"]) for one in nearest] == [set(done[one["trial"]].values) for one in nearest]


def test_the_model_waits_for_two_values_of_every_objective():
    strategy = bayesian((YIELD, PURITY))
    done = tell(strategy, 6, lambda i, found: ({"yield": found["yield"]}, {}))
    assert strategy.ask(1, [], derive("x", 1))[0].prediction is None
    for number in range(2):
        strategy.tell(trial(10 + number, {"a": 0.1 * number, "b": 0.3}, {"purity": 90.0 + number}))
    assert strategy.ask(1, [], derive("x", 1))[0].prediction is not None and len(done) == 6


def test_active_learning_with_gaps():
    strategy = ActiveLearning(
        space=SPACE, objectives=(YIELD, PURITY), surrogate=GP(space=SPACE), initial=4, candidates=50
    )
    tell(strategy, 7, some("yield", "purity"))
    (proposal,) = strategy.ask(1, [], derive("x", 1))
    assert set(proposal.prediction.std) == {"yield", "purity"}


def test_the_record_counts_what_was_measured():
    """Neither gaps nor limits are misses; what is there counts for its own objective."""
    from matloop.orchestrator.strategies.advice.record import STRETCH, Record
    from matloop.orchestrator.trial import Prediction

    record = Record((YIELD, PURITY))
    told = {"prediction": Prediction(mean={"yield": 1.0, "purity": 1.0}, std={"yield": 1.0, "purity": 1.0})}
    for number in range(40):
        censored = {"censored": {"purity": "above"}} if number % 2 else {}
        found = {"yield": 5.0, **({"purity": 99.0} if number % 2 else {})}
        record.add(trial(number, {}, found, extra={STRETCH: [1.0, 1.0]}, **told, **censored))
    stretched, untouched = record.stretch()
    assert stretched > 2 and untouched == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("other", "wait"),
    [
        (lambda o: Evolution(space=SPACE, objectives=o, population=4, tournament=2), "evolution"),
        (lambda o: OptunaSampler(space=SPACE, objectives=o), "optuna"),
        (lambda o: SuccessiveHalving(strategy=Random(space=SPACE), objectives=o), "successive_halving"),
    ],
    ids=["evolution", "optuna", "successive_halving"],
)
def test_strategies_without_models_pass_over_gaps_and_refuse_limits(other, wait):
    strategy = other((YIELD, PURITY))
    for number in range(8):
        part = {"yield": 1.0 + number} | ({"purity": 2.0} if number % 2 else {})
        strategy.tell(trial(number, {"a": number / 9, "b": 0.5}, part))
    assert strategy.ask(1, [], derive("x", 1))
    with pytest.raises(ConfigError, match=rf"{wait}: expected objectives without limits, got purity at least 90 %"):
        other((YIELD, CLEAN))


def test_what_lies_below_what_can_be_seen_is_not_taken_for_a_value():
    """Nine of twelve yields are "< 80"; the model knows that they are less, and goes where they are more."""
    strategy = bayesian((YIELD,), initial=4)
    done = tell(
        strategy, 14, lambda i, f: ({"yield": max(f["yield"], 80.0)}, {"yield": "below"} if f["yield"] < 80 else {})
    )
    low = [t for t in done if t.censored]
    assert 4 < len(low) < 12
    x = strategy._encode([t.point for t in low])
    with torch.no_grad():
        expected = strategy._model().posterior(x).mean[:, 0].numpy()
    true = np.array([process(**t.point)["yield"] for t in low])
    assert (expected < 80).all() and np.abs(expected - true).mean() < 0.8 * np.abs(80 - true).mean()
    settled = strategy._settled(strategy._model())[:, 0]
    assert all(settled[t.id] <= 80 for t in low)
    (proposal,) = strategy.ask(1, [], derive("x", 1))
    champion = best(done, YIELD)
    assert not champion.censored and f"best so far {champion.values['yield']:.4g}" in proposal.reason


@pytest.mark.parametrize(
    ("direction", "side", "found"),
    [("maximise", "below", 0), ("maximise", "above", 1), ("minimise", "below", 1), ("minimise", "above", 0)],
)
def test_the_best_is_known_to_be_good(direction, side, found):
    """A limit counts where the truth can only be better; "< 0.1" is no yield of 0.1."""
    o = Objective("y", direction)
    exact = 5.0 if direction == "maximise" else 7.0
    done = [trial(0, {"a": 0}, {"y": exact}), trial(1, {"a": 1}, {"y": 6.0}, censored={"y": side})]
    assert best(done, o).id == found
    assert best([done[1]], o) is (done[1] if found else None)
    same = [trial(0, {"a": 0}, {"y": 6.0}), done[1]]
    assert best(same, o).id == found  # surely better goes before equal


def test_the_best_keeps_all_limits():
    done = [
        trial(0, {"a": 0}, {"yield": 90.0, "purity": 80.0}),
        trial(1, {"a": 1}, {"yield": 70.0, "purity": 95.0}),
        trial(2, {"a": 2}, {"yield": 80.0}),
        trial(3, {"a": 3}, {"yield": 85.0, "purity": 85.0}, censored={"purity": "above"}),
        trial(4, {"a": 4}, {"yield": 60.0, "purity": 99.0}, censored={"purity": "above"}),
    ]
    assert best(done, YIELD, (YIELD, CLEAN)).id == 1 and best(done, YIELD).id == 0
    assert best([done[0], *done[2:4]], YIELD, (YIELD, CLEAN)) is None
    assert Limits((YIELD, CLEAN)).kept(done) == [1, 4]


@pytest.mark.parametrize(
    ("value", "side", "kept"),
    [
        (90.0, None, True), (89.9, None, False), (95.0, "above", True), (85.0, "above", None), (85.0, "below", False),
        (95.0, "below", None),
    ],
)  # fmt: skip
def test_whether_a_limit_is_kept(value, side, kept):
    assert CLEAN.kept(value, side) is kept
    assert Objective("x", at_most=-90.0).kept(-value, {"above": "below", "below": "above", None: None}[side]) is kept


def test_the_probability_to_keep_limits_is_the_models():
    strategy = bayesian((YIELD, CLEAN, COLD))
    tell(strategy, 8, some("yield", "purity", "heat"))
    model = strategy._model()
    x = torch.as_tensor(np.random.default_rng(2).random((5, 2)))
    found = strategy.limits.log_probability(model, x).exp().detach().numpy()
    with torch.no_grad():
        posterior = model.posterior(x.unsqueeze(1))
        mean, std = posterior.mean[:, 0].numpy(), posterior.variance[:, 0].sqrt().numpy()
    expected = stats.norm.sf(90, mean[:, 1], std[:, 1]) * stats.norm.cdf(2, -mean[:, 2], std[:, 2])
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_an_improvement_counts_by_the_probability_to_keep_the_limits():
    """Constrained expected improvement over the best that keeps them, worked out again."""
    strategy = bayesian((YIELD, CLEAN), POOL, acquisition="log_ei", feasibility=False)
    done = tell(strategy, 9, some("yield", "purity"), seed=3)
    (proposal,) = strategy.ask(1, [], derive("x", 1))
    kept = [t.values["yield"] for t in done if t.values.get("purity", 0) >= 90]
    model = strategy._model()
    x = strategy._encode(POOL.points)
    with torch.no_grad():
        posterior = model.posterior(x.unsqueeze(1))
        mean, std = posterior.mean[:, 0], posterior.variance[:, 0].sqrt()
    gain = log_improvement((mean[:, 0] - max(kept)) / std[:, 0]) + std[:, 0].log()
    value = gain.numpy() + stats.norm.logsf(90, mean[:, 1].numpy(), std[:, 1].numpy())
    assert dict(proposal.point) == dict(POOL.points[int(value.argmax())])
    chances = proposal.extra["explanation"]["limits"]
    place = int(value.argmax())
    assert chances["purity"] == pytest.approx(stats.norm.sf(90, float(mean[place, 1]), float(std[place, 1])), rel=1e-6)
    assert f"chance to keep purity at least 90 % ({100 * chances['purity']:.0f} %)" in proposal.reason


def test_until_a_limit_is_kept_the_likeliest_to_keep_it_is_sought():
    strict = Objective("purity", "maximise", at_least=98.99, sought=False)
    strategy = bayesian((YIELD, strict), POOL)
    tell(strategy, 8, lambda i, f: (f, {}))
    (proposal,) = strategy.ask(1, [], derive("x", 1))
    assert proposal.point["a"] < 0.2 and "likeliest to keep purity at least 98.99" in proposal.reason
    assert proposal.extra["explanation"]["acquisition"]["name"] == "limits"
    assert strategy.outlook(derive("o", 1)) is None


def test_a_range_that_is_open_on_a_side_is_climbed_by_gradients():
    """What lies infinitely far off has no gradient; it was NaN once, which ended the ask."""
    strategy = bayesian((YIELD,), target={"yield": (85.0, math.inf)})
    tell(strategy, 8, some("yield"))
    (proposal,) = strategy.ask(1, [], derive("x", 1))
    assert process(**proposal.point)["yield"] > 80


@pytest.mark.parametrize("kind", ["auto", "ucb", "log_nei", "thompson"])
@pytest.mark.parametrize("space", [SPACE, POOL], ids=["box", "pool"])
def test_limits_are_kept_by_what_is_found(kind, space):
    """The best yield within the limit is at a = 0.67; without regard to it, at a = 1, where purity is 79 %."""
    strategy = bayesian((YIELD, CLEAN), space, acquisition=kind, explain=False)
    done = tell(strategy, 5, lambda i, f: ({k: f[k] for k in ("yield", "purity")}, {}), seed=1)
    for number in range(5, 17):
        (proposal,) = strategy.ask(1, [], derive("x", number))
        found = process(**proposal.point)
        done.append(trial(number, proposal.point, {k: found[k] for k in ("yield", "purity")}))
        strategy.tell(done[-1])
    champion = best(done, YIELD, (YIELD, CLEAN))
    possible = max(v["yield"] for p in POOL.points if (v := process(**p))["purity"] >= 90)
    short = 1.5 if kind in ("auto", "log_nei") else 5.0  # the others do not ask what an improvement is worth
    assert champion.values["purity"] >= 90 and champion.values["yield"] > possible - short
    assert sum(t.values["purity"] >= 85 for t in done[5:]) >= 8


def test_several_goals_with_a_limit():
    """Hypervolume among those that keep the limit, with its model apart."""
    strategy = bayesian((YIELD, COLD, CLEAN))
    assert strategy.acquisition == "log_nehvi" and strategy.limits.goals == [0, 1]
    done = tell(strategy, 9, some("yield", "purity", "heat"))
    (proposal,) = strategy.ask(1, [], derive("x", 1))
    assert "hypervolume" in proposal.reason and "heat at most 2" in proposal.reason
    assert set(proposal.extra["explanation"]["limits"]) == {"heat", "purity"}
    assert subset(strategy._model(), [0, 1]).num_outputs == 2 and len(done) == 9


def test_the_outlook_counts_only_what_may_keep_the_limits():
    """The whole pool is known but for the part that breaks the limit, where yields are higher."""
    strategy, free = bayesian((YIELD, CLEAN), POOL), bayesian((YIELD,), POOL)
    for number, point in enumerate(POOL.points):
        if point["a"] < 0.7:
            found = process(**point)
            strategy.tell(trial(number, point, {"yield": found["yield"], "purity": found["purity"]}))
            free.tell(trial(number, point, {"yield": found["yield"]}))
    held, open_ = strategy.outlook(derive("o", 1)), free.outlook(derive("o", 1))
    assert open_.probability_better > 0.9 and held.probability_better < 0.05
    assert held.expected_gain < 0.05 * open_.expected_gain


def test_what_is_told_later_is_as_if_it_had_been_told_at_once():
    """Gains, model and proposal follow from the trials as they are, in their order."""
    once, later = bayesian((YIELD, PURITY)), bayesian((YIELD, PURITY))
    done = tell(once, 8, lambda i, f: ({k: f[k] for k in ("yield", "purity")}, {}))
    for one in done:
        later.tell(one)
    assert once.ask(2, [], derive("x", 1)) == later.ask(2, [], derive("x", 1))


def test_limits_text_and_their_ends():
    assert CLEAN.limits == "at least 90 %" and str(CLEAN) == "purity at least 90 %"
    both = Objective("pH", at_least=6.0, at_most=8.0, sought=False)
    assert both.limits == "at least 6 and at most 8" and both.kept(7.0) and both.kept(5.9) is False
    limits = Limits((YIELD, both))
    assert limits and limits.outputs == [1] and limits.goals == [0] and limits.low.tolist() == [-8.0]
    assert not Limits((YIELD, PURITY)) and math.isinf(float(Limits((YIELD, CLEAN)).high))
