"""Optuna's samplers as strategies."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import optuna
import pytest

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.optuna import OptunaSampler
from matloop.orchestrator.strategies.tried import key
from matloop.orchestrator.trial import Proposal
from matloop.search_spaces.box import Box
from matloop.testing.strategy import Make, StrategyContract, answered, as_trial, failed
from tests.orchestrator.strategies import toys

CASES = {
    "tpe": (toys.mixed, 1, "TPESampler", {}),
    "tpe_genes": (toys.genes, 1, "TPESampler", {"multivariate": True}),
    "tpe_two": (toys.mixed, 2, "TPESampler", {"n_startup_trials": 5}),
    "nsga": (toys.mixed, 2, "NSGAIISampler", {"population_size": 6}),
    "random": (toys.reals, 1, "RandomSampler", {}),
}


class TestOptunaSampler(StrategyContract):
    @pytest.fixture(params=CASES.values(), ids=list(CASES))
    def make(self, request: pytest.FixtureRequest) -> Make:
        def make(seed: int, direction: toys.Direction = "minimise"):  # type: ignore[no-untyped-def]
            space, m, sampler, options = request.param
            objectives = toys.loss(direction, m)
            box = space()
            return OptunaSampler(space=box, objectives=objectives, sampler=sampler, options=options), box, objectives

        return make


def run(strategy: OptunaSampler, trials: int, f) -> list[float]:  # type: ignore[no-untyped-def]
    values = []
    for number in range(trials):
        trial = as_trial(number, strategy.ask(1, (), derive("run", number))[0], ask=number)
        values.append(f(trial.point))
        strategy.tell(answered(trial, {"f0": values[-1]}))
    return values


def test_tpe_finds_more_than_random() -> None:
    def f(point):  # type: ignore[no-untyped-def]
        return sum(v**2 for v in point.values())

    space, objective = toys.reals(), toys.loss()
    tpe = min(run(OptunaSampler(space=space, objectives=objective), 60, f))
    random = min(run(OptunaSampler(space=space, objectives=objective, sampler="RandomSampler"), 60, f))
    assert tpe < 0.5 * random


def test_equals_optuna_itself() -> None:
    """Same seed, same history: what Optuna's own study suggests."""
    space, objective = toys.reals(2), toys.loss()
    strategy = OptunaSampler(space=space, objectives=objective)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=int(derive(5).integers(2**31))))
    ranges = {name: optuna.distributions.FloatDistribution(-2.0, 2.0) for name in ("x0", "x1")}
    for number in range(20):
        point = space.sample(derive("history", number))
        value = float(np.sum(np.square(list(point.values()))))
        strategy.tell(answered(as_trial(number, Proposal(point=point)), {"f0": value}))
        study.add_trial(optuna.create_trial(params=point, distributions=ranges, value=value))
    assert strategy.ask(1, (), derive(5))[0].point == study.ask(ranges).params


def test_nsga_generations_survive_a_replay() -> None:
    space, objectives = toys.reals(), toys.loss(m=2)
    strategy = OptunaSampler(
        space=space, objectives=objectives, sampler="NSGAIISampler", options={"population_size": 5}
    )
    generations = []
    for number in range(16):
        proposal = strategy.ask(1, (), derive(number))[0]
        trial = as_trial(number, proposal)
        generations += [v for k, v in proposal.extra["optuna"].items() if k.endswith(":generation")]
        x = np.array(list(trial.point.values()))
        strategy.tell(answered(trial, {"f0": float((x**2).sum()), "f1": float(((x - 1) ** 2).sum())}))
    assert generations == sorted(generations)
    assert generations[-1] == 3


def test_searches_a_vectorised_space_by_coordinates() -> None:
    class Latent:
        dimension = 3
        bounds = np.array([[-1.0] * 3, [1.0] * 3])

        def sample(self, rng: np.random.Generator) -> dict[str, list[float]]:
            return {"z": rng.uniform(-1, 1, 3).tolist()}

        def check(self, point: object) -> None: ...

        def encode(self, points):  # type: ignore[no-untyped-def]
            return np.array([p["z"] for p in points])

        def decode(self, x: np.ndarray) -> dict[str, list[float]]:
            return {"z": x.tolist()}

    def f(point):  # type: ignore[no-untyped-def]
        return sum((z - 0.5) ** 2 for z in point["z"])

    assert min(run(OptunaSampler(space=Latent(), objectives=toys.loss()), 50, f)) < 0.1


def test_proposes_on_steps_and_learns_from_between_them() -> None:
    space = Box(
        parameters={
            "t": {"type": "float", "low": 700, "high": 1000, "step": 7.5},
            "n": {"type": "integer", "low": 2, "high": 20, "step": 3},
        }
    )
    strategy = OptunaSampler(space=space, objectives=toys.loss())
    between = {"t": 703.2, "n": 3.4}
    space.check_measured(between)
    trial = replace(as_trial(0, strategy.ask(1, (), derive(0))[0]), point=between)
    strategy.tell(answered(trial, {toys.loss()[0].name: 1.0}))
    for number in range(1, 30):
        proposal = strategy.ask(1, (), derive(number))[0]
        space.check(proposal.point)
        strategy.tell(answered(as_trial(number, proposal), {toys.loss()[0].name: float(proposal.point["t"])}))


def test_failed_trials_reach_the_sampler_as_failed() -> None:
    strategy = OptunaSampler(space=toys.reals(), objectives=toys.loss())
    strategy.tell(failed(as_trial(0, strategy.ask(1, (), derive(0))[0])))
    assert [t.state for t in strategy._told] == [optuna.trial.TrialState.FAIL]


def test_does_not_repeat_told_points_unless_told_so() -> None:
    def f(point):  # type: ignore[no-untyped-def]
        return float(sum(point.values()))

    space = toys.genes(3, 3)
    for repeats in (False, True):
        strategy = OptunaSampler(space=space, objectives=toys.loss(), repeats=repeats)
        run(strategy, 27, f)
        distinct = {tuple(sorted(t.params.items())) for t in strategy._told}
        assert (len(distinct) == 27) is not repeats


def test_tells_true_from_one() -> None:
    space = toys.mixed()
    strategy = OptunaSampler(space=space, objectives=toys.loss())
    seen = {key({"stir": strategy.ask(1, (), derive(i))[0].point["stir"]}) for i in range(40)}
    assert seen == {key({"stir": stir}) for stir in (True, False, 1)} and len(seen) == 3


def test_leaves_logging_as_it_was() -> None:
    logger = logging.getLogger("optuna")
    before = logger.level
    OptunaSampler(space=toys.reals(), objectives=toys.loss()).ask(1, (), derive(0))
    assert logger.level == before


@pytest.mark.parametrize("bad", [{"sampler": "Oracle"}, {"sampler": "QMCSampler"}, {"options": {"no_such": 1}}])
def test_bad_options_are_config_errors(bad: dict) -> None:
    with pytest.raises(ConfigError, match="expected"):
        OptunaSampler(space=toys.reals(), objectives=toys.loss(), **bad)


@pytest.mark.parametrize("case", CASES)
def test_what_was_cancelled_was_never_run(case: str) -> None:
    """Told or not, it changes nothing but that its point is not proposed again."""
    make_space, m, sampler, options = CASES[case]
    space, objectives = make_space(), toys.loss(m=m)
    heard, spared = (
        OptunaSampler(space=space, objectives=objectives, sampler=sampler, options=options) for _ in range(2)
    )
    proposals = []
    for number in range(24):
        proposal = heard.ask(1, (), derive("cancelled", number))[0]
        assert spared.ask(1, (), derive("cancelled", number))[0] == proposal
        trial = as_trial(number, proposal, ask=number)
        done = answered(trial, {o.name: float(number % 7 + i) for i, o in enumerate(objectives)})
        away = replace(as_trial(100 + number, Proposal(point=space.sample(derive("away", number)))), state="cancelled")
        for strategy in (heard, spared):
            strategy.tell(done)
        heard.tell(away)
        proposals.append(proposal)
    assert len({key(p.point) for p in proposals}) == 24


def test_a_sampler_that_visits_each_point_once_has_not_visited_a_cancelled_one() -> None:
    space = Box(parameters={"x": {"type": "integer", "low": 0, "high": 9}})
    strategy = OptunaSampler(space=space, objectives=toys.loss(), sampler="BruteForceSampler", repeats=True)
    for x in range(9):
        strategy.tell(answered(as_trial(x, Proposal(point={"x": x})), {"f0": 1.0}))
    strategy.tell(replace(as_trial(9, Proposal(point={"x": 9})), state="cancelled"))
    assert [strategy.ask(1, (), derive("left", i))[0].point["x"] for i in range(5)] == [9] * 5
