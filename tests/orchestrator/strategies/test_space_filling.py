"""Space-filling design: a fixed sequence that follows each space's own distribution, however it is told and asked."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, qmc

from matloop.orchestrator.errors import ConfigError, SpaceExhausted
from matloop.orchestrator.protocols import Space
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.space_filling import SpaceFilling
from matloop.orchestrator.strategies.tried import key
from matloop.orchestrator.trial import Point, Proposal
from matloop.search_spaces.experiment.space import Experiment
from matloop.search_spaces.pool import Pool
from matloop.testing.strategy import Make, StrategyContract, answered, as_trial
from tests.orchestrator.strategies import toys

TEN = {"type": "float", "low": 0, "high": 10}


class TestSpaceFilling(StrategyContract):
    @pytest.fixture(params=[toys.mixed, toys.genes, toys.pool], ids=["mixed", "genes", "pool"])
    def make(self, request: pytest.FixtureRequest) -> Make:
        def make(seed: int, direction: toys.Direction = "minimise"):  # type: ignore[no-untyped-def]
            space: Space = request.param()
            return SpaceFilling(space=space, seed=seed), space, toys.loss(direction)

        return make


def start(space: Space, n: int = 64, seed: int = 0) -> list[Point]:
    return [p.point for p in SpaceFilling(space=space, seed=seed).ask(n, (), derive(0))]


@pytest.mark.parametrize(("n", "share"), [(5, 0.6), (10, 0.5), (20, 0.4), (64, 0.35)])
def test_is_more_even_than_random(n: int, share: float) -> None:
    space = toys.reals()
    random = np.median([qmc.discrepancy(derive("cloud", i).random((n, 4))) for i in range(20)])
    found = np.median([qmc.discrepancy(space.encode(start(space, n, seed))) for seed in range(5)])
    assert found < share * random


def test_up_to_twenty_points_are_no_less_even_than_a_sobol_sequence() -> None:
    space = toys.reals()
    for n in (5, 10, 20):
        found = np.mean([qmc.discrepancy(space.encode(start(space, n, seed))) for seed in range(8)])
        sobol = np.mean([qmc.discrepancy(qmc.Sobol(4, rng=derive("s", i)).random(32)[:n]) for i in range(24)])
        assert found < 1.1 * sobol


def test_iron_of_a_steel_is_not_at_its_least() -> None:
    """85 to 100 % in steps, with two of three others: sampled, 6 % of points have 85 and the mean is 89.8."""
    steel = {
        "components": ["Fe", "Cr", "Mo", "V"], "total": 100, "at_most": 3, "step": 0.5, "limits": {"Fe": [85, 100]},
    }  # fmt: skip
    space = Experiment(parameters={"T": TEN}, mixtures={"steel": steel})
    iron = np.array([point["Fe"] for point in start(space)])
    assert (iron == 85).mean() < 0.15
    assert abs(iron.mean() - 89.85) < 0.7
    assert iron.max() > 96


@pytest.mark.parametrize("m", [3, 5, 8])
def test_without_a_step_every_component_is_present(m: int) -> None:
    space = Experiment(mixtures={"m": {"components": list("abcdefgh"[:m])}})
    amounts = np.array([list(point.values()) for point in start(space)])
    assert (amounts > 0).all()
    for column in amounts.T:  # uniform on the simplex: each component is Beta(1, m − 1)
        assert kstest(column, lambda a: 1 - (1 - a) ** (m - 1)).pvalue > 0.2


def test_the_number_of_components_is_that_of_the_sampler() -> None:
    mixture = {"components": list("abcdefgh"), "step": 0.05}
    space = Experiment(mixtures={"m": mixture})
    present = [sum(amount > 0 for amount in point.values()) for point in start(space)]
    drawn = [sum(a > 0 for a in space.sample(rng).values()) for rng in [derive("drawn")] for _ in range(2000)]
    assert abs(np.mean(present) - np.mean(drawn)) < 0.3


@pytest.mark.parametrize(("n", "ends"), [(64, 0.6), (10, 1.8)])
def test_an_equation_is_filled_from_end_to_end(n: int, ends: float) -> None:
    space = Experiment(parameters={"a": TEN, "b": TEN}, constraints=["a + b == 10"])
    a = np.array([point["a"] for point in start(space, n)])
    assert a.min() < ends and a.max() > 10 - ends
    assert kstest(a / 10, "uniform").statistic < (0.12 if n == 64 else 0.25)


def test_choices_take_turns() -> None:
    parameters = {
        "ligand": {"type": "categorical", "choices": [f"L{i}" for i in range(12)]},
        "base": {"type": "categorical", "choices": list("wxyz")},
        "solvent": {"type": "categorical", "descriptors": {"a": [1, 9], "b": [2, 3], "c": [7, 5]}},
        "T": TEN,
    }
    for seed in range(4):
        points = start(Experiment(parameters=parameters), 24, seed)
        for name, levels in (("ligand", 12), ("base", 4), ("solvent", 3)):
            counts = Counter(point[name] for point in points)
            assert len(counts) == levels
            assert max(counts.values()) - min(counts.values()) <= 3
        assert len({point["ligand"] for point in points[:12]}) >= 10  # chance: 7.8


def test_choices_take_turns_in_pools() -> None:
    rng = derive("pool")
    rows = [{"ligand": f"L{i % 12}", "T": float(rng.random())} for i in range(1728)]
    for seed in range(4):
        points = start(Pool(points=rows), 24, seed)
        counts = Counter(point["ligand"] for point in points)
        assert len(counts) == 12 and max(counts.values()) <= 4
        assert len({point["ligand"] for point in points[:12]}) >= 10


def test_a_pool_is_stood_for_where_it_is_dense() -> None:
    """Nine of ten candidates are alike: maximin would take the others, chance all from the crowd."""
    rng = derive("crowd")
    rows = [{"x": float(x)} for x in np.concatenate([rng.normal(0, 0.1, 900), rng.uniform(3, 10, 100)])]
    far = [sum(point["x"] > 2 for point in start(Pool(points=rows), 40, seed)) for seed in range(5)]
    assert min(far) >= 3 and max(far) <= 6


def test_kth_point_depends_on_the_count_alone() -> None:
    space = toys.reals()
    at_once = SpaceFilling(space=space, seed=2).ask(6, (), derive(0))
    strategy, points = SpaceFilling(space=space, seed=2), []
    for number in range(3):
        trial = as_trial(number, strategy.ask(1, (), derive(99, number))[0])
        points.append(trial.point)
        strategy.tell(answered(trial, {"f0": 1.0}))
    pending = [as_trial(3, strategy.ask(1, (), derive(7))[0])]
    points += [pending[0].point] + [p.point for p in strategy.ask(2, pending, derive(8))]
    assert points == [p.point for p in at_once]


@settings(deadline=None, derandomize=True, max_examples=10)
@given(st.lists(st.tuples(st.sampled_from(["tell", "theirs", "other"]), st.integers(1, 3)), max_size=8))
def test_whatever_is_told_members_follow_in_order(story: list[tuple[str, int]]) -> None:
    """Asked for and told, told unasked, or done otherwise than planned: the sequence goes on where it was."""
    space = toys.mixed()
    sequence = iter(start(space, 30))
    strategy, number = SpaceFilling(space=space, seed=0), 0
    for what, n in story:
        if what == "theirs":
            foreign = Proposal(point=space.sample(derive("foreign", number)))
            strategy.tell(answered(as_trial(number, foreign), {"f0": 1.0}))
            number += 1
            continue
        for proposal in strategy.ask(n, (), derive("any", number)):
            assert proposal.point == next(sequence)
            trial = as_trial(number, proposal)
            if what == "other":
                trial = replace(trial, point=space.sample(derive("done", number)), planned=trial.point)
            strategy.tell(answered(trial, {"f0": 1.0}))
            number += 1
    assert strategy.ask(1, (), derive("end"))[0].point == next(sequence)


def test_a_long_sequence_has_no_point_twice_and_stays_even() -> None:
    space = toys.reals(2)
    points = start(space, 700)
    assert len({key(point) for point in points}) == 700
    x = space.encode(points)
    random = np.median([qmc.discrepancy(derive("cloud", i).random((700, 2))) for i in range(9)])
    assert qmc.discrepancy(x) < 0.25 * random


def test_seed_scrambles() -> None:
    for space in (toys.reals(), toys.pool(200)):
        assert len({key(start(space, 1, seed)[0]) for seed in range(8)}) > 4


def test_a_used_up_space_says_so() -> None:
    """Twelve points, of which one is hardly ever drawn."""
    parameters = {
        "a": {"type": "integer", "low": 1, "high": 3},
        "b": {"type": "categorical", "choices": [True, False]},
        "c": {"type": "ordinal", "choices": [1, 2, 3], "when": {"a": 3, "b": True}},
    }
    space = Experiment(parameters=parameters)
    strategy, seen = SpaceFilling(space=space, seed=0), []
    for number in range(8):
        (proposal,) = strategy.ask(1, (), derive(number))
        seen.append(json.dumps(proposal.point))
        strategy.tell(answered(as_trial(number, proposal), {"f0": 1.0}))
    assert len(set(seen)) == 8
    with pytest.raises(SpaceExhausted, match="every point of the space was tried; enlarge"):
        strategy.ask(1, (), derive(9))


def test_needs_a_suitable_space() -> None:
    class Opaque:
        def sample(self, rng: np.random.Generator) -> dict[str, int]:
            return {}

        def check(self, point: object) -> None: ...

    with pytest.raises(ConfigError, match="Encodable"):
        SpaceFilling(space=Opaque(), seed=0)
