"""Random search."""

from __future__ import annotations

import numpy as np
import pytest

from matloop.orchestrator.errors import SpaceExhausted
from matloop.orchestrator.protocols import Space
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.strategies.tried import key
from matloop.search_spaces.box import Box
from matloop.testing.strategy import Make, StrategyContract, answered, as_trial
from tests.orchestrator.strategies import toys


class TestRandom(StrategyContract):
    @pytest.fixture(params=[toys.mixed, toys.genes, toys.pool], ids=["mixed", "genes", "pool"])
    def make(self, request: pytest.FixtureRequest) -> Make:
        def make(seed: int, direction: toys.Direction = "minimise"):  # type: ignore[no-untyped-def]
            space: Space = request.param()
            return Random(space=space), space, toys.loss(direction)

        return make


def test_pool_is_drawn_from_uniformly() -> None:
    space = toys.pool(20)
    first = [key(Random(space=space).ask(1, (), derive(i))[0].point) for i in range(4000)]
    counts = np.array([first.count(key(p)) for p in space.points])
    assert ((counts - 200) ** 2 / 200).sum() < 43.8  # chi-squared, 19 degrees of freedom, 0.1 %


def test_repeats_no_told_point_and_says_when_nothing_is_left() -> None:
    space = toys.genes(2, 2)
    strategy = Random(space=space)
    points = []
    for i in range(4):
        trial = as_trial(i, strategy.ask(1, (), derive(i))[0])
        points.append(key(trial.point))
        strategy.tell(answered(trial, {"f0": 0.0}))
    assert len(set(points)) == 4
    with pytest.raises(SpaceExhausted, match="every point of the space was tried"):
        strategy.ask(1, (), derive(5))


def test_the_last_rare_point_is_found_in_a_list() -> None:
    """One of 1,001 points is drawn half of the time, each other once in 2,000 times."""
    space = Box(
        parameters={
            "many": {"type": "categorical", "choices": [False, True]},
            "which": {"type": "integer", "low": 1, "high": 1000, "when": {"many": True}},
        }
    )
    strategy, seen = Random(space=space), set()
    while len(seen) < 1001:
        for proposal in strategy.ask(77, (), derive(len(seen))):
            seen.add(key(proposal.point))
            strategy.tell(answered(as_trial(len(seen), proposal), {"f0": 0.0}))
    with pytest.raises(SpaceExhausted):
        strategy.ask(1, (), derive(0))


def test_of_a_space_that_cannot_be_listed_many_draws_decide() -> None:
    class Coin:
        def sample(self, rng: np.random.Generator) -> dict[str, bool]:
            return {"heads": bool(rng.random() < 0.5)}

        def check(self, point: object) -> None: ...

    strategy = Random(space=Coin())
    for i, proposal in enumerate(strategy.ask(2, (), derive(0))):
        strategy.tell(answered(as_trial(i, proposal), {"f0": 0.0}))
    with pytest.raises(SpaceExhausted, match="none of 1000 random points of the space was new"):
        strategy.ask(1, (), derive(1))


def test_never_repeats_a_pending_point() -> None:
    space = toys.genes(2, 2)
    proposals = Random(space=space).ask(10, (), derive(0))
    assert len({key(p.point) for p in proposals}) == len(proposals) == 4
    pending = [as_trial(i, p) for i, p in enumerate(proposals)]
    assert Random(space=space).ask(1, pending, derive(1)) == []


def test_a_large_pool_is_drawn_from_to_the_end() -> None:
    space = toys.pool(600)
    strategy, seen = Random(space=space), []
    while len(seen) < 600:
        for proposal in strategy.ask(3, (), derive(len(seen))):
            seen.append(key(proposal.point))
            strategy.tell(answered(as_trial(len(seen), proposal), {"f0": 0.0}))
    assert sorted(seen) == sorted(key(p) for p in space.points)
    with pytest.raises(SpaceExhausted):
        strategy.ask(1, (), derive("more"))
