"""Space-filling design."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import qmc

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Space
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.space_filling import SpaceFilling
from matloop.orchestrator.strategies.tried import key
from matloop.testing.strategy import Make, StrategyContract, answered, as_trial
from tests.orchestrator.strategies import toys


class TestSpaceFilling(StrategyContract):
    @pytest.fixture(params=[toys.mixed, toys.genes, toys.pool], ids=["mixed", "genes", "pool"])
    def make(self, request: pytest.FixtureRequest) -> Make:
        def make(seed: int, direction: toys.Direction = "minimise"):  # type: ignore[no-untyped-def]
            space: Space = request.param()
            return SpaceFilling(space=space, seed=seed), space, toys.loss(direction)

        return make


def test_is_more_even_than_random() -> None:
    space = toys.reals()
    x = space.encode([p.point for p in SpaceFilling(space=space, seed=1).ask(128, (), derive(0))])
    random = np.median([qmc.discrepancy(derive("cloud", i).random((128, 4))) for i in range(20)])
    assert qmc.discrepancy(x) < 0.3 * random


def test_every_aligned_block_has_a_point_in_each_slice() -> None:
    space = toys.reals(3)
    x = space.encode([p.point for p in SpaceFilling(space=space, seed=5).ask(64, (), derive(0))])
    for column in x.T:  # a (t, m, s)-net: 64 points, one in each of 64 equal slices of every axis
        assert sorted(np.floor(column * 64).astype(int)) == list(range(64))


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


def test_seed_scrambles() -> None:
    space = toys.reals()
    a, b = (SpaceFilling(space=space, seed=s).ask(1, (), derive(0))[0].point for s in (1, 2))
    assert key(a) != key(b)


def test_needs_a_suitable_space() -> None:
    class Opaque:
        def sample(self, rng: np.random.Generator) -> dict[str, int]:
            return {}

        def check(self, point: object) -> None: ...

    with pytest.raises(ConfigError, match="Vectorised"):
        SpaceFilling(space=Opaque(), seed=0)
