"""Steady-state evolution."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from matloop.orchestrator.errors import ConfigError, SpaceExhausted
from matloop.orchestrator.protocols import Space
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.evolution.evolution import Evolution
from matloop.orchestrator.strategies.evolution.population import Population
from matloop.orchestrator.strategies.tried import key
from matloop.orchestrator.trial import Point, Proposal, Trial
from matloop.search_spaces.box import Box
from matloop.surrogates.fitness_svm import FitnessSVM
from matloop.testing.strategy import Make, StrategyContract, answered, as_trial, failed
from tests.orchestrator.strategies import toys

CASES: dict[str, tuple[Callable[[], Space], int, dict[str, Any]]] = {
    "mixed": (toys.mixed, 1, {}),
    "aging": (toys.mixed, 1, {"replacement": "aging"}),
    "two": (toys.mixed, 2, {}),
    "svm": (toys.mixed, 1, {"predictor": FitnessSVM(children=8)}),
    "svm_two": (toys.genes, 2, {"predictor": FitnessSVM(children=8, refit_every=3)}),
    "genes": (toys.genes, 1, {"replacement": "aging", "predictor": FitnessSVM(children=8, window=12)}),
}


class TestEvolution(StrategyContract):
    @pytest.fixture(params=CASES.values(), ids=list(CASES))
    def make(self, request: pytest.FixtureRequest) -> Make:
        def make(seed: int, direction: toys.Direction = "minimise"):  # type: ignore[no-untyped-def]
            space, m, options = request.param
            objectives, box = toys.loss(direction, m), space()
            return Evolution(space=box, objectives=objectives, population=8, **options), box, objectives

        return make


def run(strategy: Evolution, trials: int, f: Callable[[Point], float], seed: int = 0) -> list[Trial]:
    told: list[Trial] = []
    for number in range(trials):
        trial = as_trial(number, strategy.ask(1, (), derive("run", seed, number))[0], ask=number)
        told.append(answered(trial, {"f0": f(trial.point)}))
        strategy.tell(told[-1])
    return told


def sphere(point: Point) -> float:
    return float(sum(v**2 for v in point.values()))


def test_beats_random_search() -> None:
    space = toys.reals()
    evolved = min(t.values["f0"] for t in run(Evolution(space=space, objectives=toys.loss()), 150, sphere))
    sampled = min(sphere(space.sample(derive("r", i))) for i in range(150))
    assert evolved < 0.3 * sampled


def test_predictor_helps_on_a_learnable_landscape() -> None:
    space = toys.genes(10, 3)

    def mean_best(predictor: FitnessSVM | None) -> float:
        best = []
        for seed in range(4):
            strategy = Evolution(space=space, objectives=toys.loss(), predictor=predictor)
            best.append(min(t.values["f0"] for t in run(strategy, 60, genes_loss, seed)))
        return statistics.mean(best)

    assert mean_best(FitnessSVM(children=40, generations=2)) < mean_best(None)


def genes_loss(point: Point) -> float:
    weights = np.arange(1, len(point) + 1)
    return float(sum(w * (v != i % 3) for i, (w, v) in enumerate(zip(weights, point.values(), strict=True))))


def test_predictor_without_skill_screens_little() -> None:
    """Random labels: what is not learnable must not steer."""
    noise = derive("noise")
    strategy = Evolution(space=toys.genes(10, 3), objectives=toys.loss(), predictor=FitnessSVM(unscreened=0.0))
    told = run(strategy, 120, lambda point: float(noise.random()))
    skills = [t.extra["skill"] for t in told if "skill" in t.extra]
    assert np.median(skills) < 0.25
    assert sum(t.extra["screened"] for t in told) < 60


class Misread(Box):
    """Encoded as random numbers, so that nothing can be learnt."""

    def encode(self, points: Sequence[Point]) -> np.ndarray:
        return np.array([derive(key(point)).random(12) for point in points]).reshape(len(points), 12)


def test_a_useless_predictor_does_no_harm() -> None:
    seeds = range(10)
    genes = {f"x{i}": {"type": "categorical", "choices": [0, 1, 2]} for i in range(10)}

    def bests(predictor: FitnessSVM | None) -> np.ndarray:
        made = [Evolution(space=Misread(parameters=genes), objectives=toys.loss(), predictor=predictor) for _ in seeds]
        return np.array(
            [min(t.values["f0"] for t in run(e, 60, genes_loss, s)) for s, e in zip(seeds, made, strict=True)]
        )

    harm = bests(FitnessSVM(children=40, generations=2)) - bests(None)
    assert harm.mean() < 2.0 * harm.std(ddof=1) / len(seeds) ** 0.5


def test_predicted_ranks_are_recorded_and_right() -> None:
    """A rank is among the trials measured before, so it is held against the rank that the trial then took."""
    told = run(Evolution(space=toys.reals(), objectives=toys.loss(), predictor=FitnessSVM()), 120, sphere)
    values = np.array([t.values["f0"] for t in told])
    pairs = [
        (t.extra["predicted_rank"], (values[: t.number] < values[t.number]).mean())
        for t in told
        if "predicted_rank" in t.extra
    ]
    assert len(pairs) >= 90
    assert spearmanr(*zip(*pairs, strict=True)).statistic > 0.3


def test_proposals_say_where_they_come_from() -> None:
    told = run(Evolution(space=toys.reals(), objectives=toys.loss()), 60, sphere)
    assert {t.extra["origin"] for t in told} == {"random", "mutation", "crossover"}
    for trial in told[:20]:
        assert trial.extra == {"origin": "random", "screened": False}
        assert trial.parents == ()
    population = sorted(t.values["f0"] for t in told[:20])
    assert told[20].extra["reference"] == pytest.approx(statistics.median(population))
    for trial in told[20:]:
        assert_descends(trial)


def test_screened_proposals_say_so_from_the_first_fit_on() -> None:
    told = run(Evolution(space=toys.reals(), objectives=toys.loss(), predictor=FitnessSVM()), 60, sphere)
    assert all(t.extra["origin"] == "random" for t in told[:8])
    for trial in told[8:]:
        if trial.extra["origin"] == "random":
            assert trial.number < 20
            continue
        assert_descends(trial)
        assert ("reference" in trial.extra) == (trial.number >= 20)
        assert ("preferred to" in trial.reason) == trial.extra["screened"]
        assert ("not screened" in trial.reason) != trial.extra["screened"]
    assert {t.extra.get("generations") for t in told[40:]} >= {1, 2, 3}


def assert_descends(trial: Trial) -> None:
    mutation = trial.extra["origin"] == "mutation"
    assert len(trial.parents) == (1 if mutation else len(set(trial.parents)))
    assert all(parent < trial.id for parent in trial.parents)
    assert f"{trial.extra['origin']} of trial {trial.parents[0]} (f0 " in trial.reason


def test_failed_trials_are_never_parents_and_never_asked_again() -> None:
    strategy = Evolution(space=toys.genes(4, 3), objectives=toys.loss(), population=5)
    bad, seen = set(), []
    for number in range(70):
        trial = as_trial(number, strategy.ask(1, (), derive(number))[0])
        assert not bad & set(trial.parents)
        seen.append(key(trial.point))
        if number % 3 == 0:
            bad.add(trial.id)
            strategy.tell(failed(trial))
        else:
            strategy.tell(answered(trial, {"f0": sphere(trial.point)}))
    assert len(set(seen)) == 70


def test_children_of_one_ask_are_distinct() -> None:
    strategy = Evolution(space=toys.genes(5, 3), objectives=toys.loss(), predictor=FitnessSVM())
    run(strategy, 30, sphere)
    keys = [key(p.point) for p in strategy.ask(40, (), derive(0))]
    assert len(set(keys)) == 40


def test_a_finite_space_ends_in_space_exhausted() -> None:
    class Listed(type(toys.genes())):  # type: ignore[misc]
        @property
        def points(self):  # type: ignore[no-untyped-def]
            return [{"a": a, "b": b} for a in range(4) for b in range(4)]

    options = {"type": "categorical", "choices": [0, 1, 2, 3]}
    strategy = Evolution(space=Listed(parameters={"a": options, "b": options}), objectives=toys.loss(), population=4)
    assert len({key(t.point) for t in run(strategy, 16, sphere)}) == 16
    with pytest.raises(SpaceExhausted):
        strategy.ask(1, (), derive(1))


@pytest.mark.parametrize("replacement", ["aging", "elitist"])
def test_replacement(replacement: Any) -> None:
    population = Population(size=3, objectives=1, replacement=replacement, tournament=2)
    for number, value in enumerate([1.0, 5.0, 3.0, 4.0]):
        population.add(as_trial(number, Proposal(point={})), [value])
    kept = {t.number for t in population.trials}
    assert kept == ({1, 2, 3} if replacement == "aging" else {0, 2, 3})
    assert population.reference == pytest.approx(4.0 if replacement == "aging" else 3.0)


def test_several_objectives_keep_the_pareto_front_and_spread() -> None:
    """Oracle: the true front of f = (x0², (x0 - 1)²) is x0 in [0, 1], other coordinates 0."""
    space = toys.reals(3)
    strategy = Evolution(space=space, objectives=toys.loss(m=2), population=20)
    for number in range(400):
        trial = as_trial(number, strategy.ask(1, (), derive(number))[0])
        x = np.array(list(trial.point.values()))
        rest = float((x[1:] ** 2).sum())
        strategy.tell(answered(trial, {"f0": x[0] ** 2 + rest, "f1": (x[0] - 1) ** 2 + rest}))
    front = np.array([list(t.point.values()) for t in strategy._population.trials])
    assert np.abs(front[:, 1:]).max() < 0.4
    assert front[:, 0].min() < 0.2
    assert front[:, 0].max() > 0.8


def test_asking_costs_as_much_after_a_thousand_answers_as_after_a_hundred() -> None:
    def seconds(answers: int) -> float:
        strategy = Evolution(space=toys.mixed(), objectives=toys.loss())
        for number in range(answers):
            trial = as_trial(number, Proposal(point=toys.mixed().sample(derive(number))))
            strategy.tell(answered(trial, {"f0": float(number % 17)}))
        times = []
        for number in range(200):
            start = time.thread_time()
            strategy.ask(1, (), derive(number))
            times.append(time.thread_time() - start)
        return statistics.median(times)

    assert seconds(1000) < 3 * seconds(100)


def test_children_inherit_the_weights_of_their_first_parent_that_kept_any() -> None:
    strategies = [Evolution(space=toys.reals(), objectives=toys.loss(), inherit=inherit) for inherit in (True, False)]
    kept = {}
    for number in range(30):
        trial = as_trial(number, Proposal(point=toys.reals().sample(derive(number))))
        artifacts = {"weights": f"sha {number}"} if number % 2 else {"curve": "sha"}
        kept[trial.id] = artifacts.get("weights")
        for strategy in strategies:
            strategy.tell(replace(answered(trial, {"f0": sphere(trial.point)}), artifacts=artifacts))
    heirs, others = (strategy.ask(60, (), derive(1)) for strategy in strategies)
    for proposal in heirs:
        weights = [sha for parent in proposal.parents if (sha := kept[parent])]
        assert proposal.inputs == ({"parent_weights": weights[0]} if weights else {})
    assert {len(p.inputs) for p in heirs} == {0, 1}
    assert [p.point for p in heirs] == [p.point for p in others]
    assert not any(p.inputs for p in others)


def test_leaves_the_global_random_state_alone() -> None:
    strategy = Evolution(space=toys.reals(), objectives=toys.loss())
    run(strategy, 25, sphere)
    state = random.getstate()
    strategy.ask(2, (), derive(0))
    assert random.getstate() == state


@pytest.mark.parametrize("bad", [{"population": 1}, {"tournament": 0}, {"crossover": 1.5}, {"mutation": -0.1}])
def test_bad_options_are_config_errors(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="evolution: expected "):
        Evolution(space=toys.reals(), objectives=toys.loss(), **bad)


def test_needs_a_space_that_can_be_evolved() -> None:
    with pytest.raises(ConfigError, match="Evolvable"):
        Evolution(space=toys.pool(), objectives=toys.loss())


@pytest.mark.parametrize("case", ["mixed", "aging", "two", "svm", "svm_two"])
def test_what_was_cancelled_was_never_run(case: str) -> None:
    """Told or not, it changes nothing but that its point is not proposed again."""
    make_space, m, options = CASES[case]
    space, objectives = make_space(), toys.loss(m=m)
    heard, spared = (Evolution(space=space, objectives=objectives, population=8, **options) for _ in range(2))
    for number in range(30):
        proposal = heard.ask(1, (), derive("cancelled", number))[0]
        assert spared.ask(1, (), derive("cancelled", number))[0] == proposal
        trial = as_trial(number, proposal, ask=number)
        away = replace(as_trial(100 + number, Proposal(point=space.sample(derive("away", number)))), state="cancelled")
        heard.tell(away)
        for strategy in (heard, spared):
            strategy.tell(answered(trial, {o.name: float((number * 7) % 11 + i) for i, o in enumerate(objectives)}))
        assert key(away.point) not in {key(p.point) for p in heard.ask(3, (), derive("again", number))}
