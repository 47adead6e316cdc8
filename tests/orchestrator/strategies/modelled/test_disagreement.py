"""Choosing where functions disagree, and farthest first: what is drawn how often, and what distances mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from matloop.orchestrator.protocols import Surrogate
from matloop.orchestrator.randomness import derive, torch_seed
from matloop.orchestrator.strategies.modelled.active import ActiveLearning
from matloop.orchestrator.strategies.modelled.clusters import CoreSet, squared_distances
from matloop.orchestrator.strategies.modelled.covariance import joint_covariance
from matloop.orchestrator.strategies.modelled.disagreement import Disagreement, deviations
from matloop.orchestrator.strategies.modelled.variances import weights
from matloop.orchestrator.strategies.tried import key
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.networks.ensemble import Ensemble
from matloop.testing.strategy import Make, StrategyContract
from tests.orchestrator.strategies import toys
from tests.orchestrator.strategies.modelled.test_active import light, told


class TestDisagreement(StrategyContract):
    trials = 8

    @pytest.fixture(params=[(lambda: toys.pool(12), light)], ids=["network"])
    def make(self, request: pytest.FixtureRequest) -> Make:
        def make(seed: int, direction: toys.Direction = "minimise"):  # type: ignore[no-untyped-def]
            space, objectives = request.param[0](), toys.loss(direction)
            strategy = ActiveLearning(
                space=space, objectives=objectives, surrogate=request.param[1](), initial=4, candidates=40, seed=seed,
                acquisition="disagreement",
            )  # fmt: skip
            return strategy, space, objectives

        return make


@pytest.mark.parametrize("surrogate", [GP(), Ensemble(folds=2, members=2, steps=10)], ids=["process", "ensemble"])
def test_distances_are_variances_of_differences(surrogate: GP | Ensemble) -> None:
    x = torch.as_tensor(derive("x").random((20, 2)))
    y = torch.stack([torch.sin(5 * x[:, 0]), 10 * x[:, 1] ** 2], dim=1)
    model, fresh = surrogate.fit(x, y, 0), torch.as_tensor(derive("fresh").random((6, 2)))
    weight = torch.tensor([2.0, 0.5], dtype=torch.float64)
    places = deviations(model, fresh, weight)
    covariance = (joint_covariance(model, fresh)[0] * weight[:, None, None]).sum(dim=0)
    variance = covariance.diagonal()
    tolerance = 1e-4 * float(variance.max())
    assert torch.allclose((places**2).sum(dim=1), variance, atol=tolerance)
    apart = variance[:, None] + variance[None] - 2 * covariance
    assert torch.allclose(squared_distances(places, places), apart, atol=4 * tolerance)


def test_a_candidate_is_drawn_as_often_as_its_variance_says() -> None:
    criterion = Disagreement(torch.tensor([[1.0], [2.0], [0.0], [3.0]]).double(), torch.empty((0, 1)).double())
    score = criterion.score()
    score[3] = -torch.inf
    with torch_seed(0):
        drawn = np.bincount([criterion.pick(score) for _ in range(2000)], minlength=4) / 2000
    assert drawn[0] == pytest.approx(0.2, abs=0.04) and drawn[1] == pytest.approx(0.8, abs=0.04)
    assert drawn[2] == drawn[3] == 0


def test_what_a_chosen_or_waiting_place_settles_is_not_drawn_again() -> None:
    twins = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 1.0]]).double()
    criterion = Disagreement(twins, torch.tensor([[0.0, 2.0]]).double())
    assert criterion.distances.tolist() == [4.0, 4.0, 0.0, 1.0]
    criterion.add(0)
    assert criterion.distances.tolist() == [0.0, 0.0, 0.0, 1.0]
    with torch_seed(0):
        assert {criterion.pick(criterion.score()) for _ in range(20)} == {3}


def test_where_nothing_disagrees_any_candidate_that_is_left_is_drawn() -> None:
    criterion = Disagreement(torch.zeros((3, 1)).double(), torch.empty((0, 1)).double())
    score = criterion.score()
    score[1] = -torch.inf
    with torch_seed(0):
        assert {criterion.pick(score) for _ in range(40)} == {0, 2}


def test_the_core_set_takes_the_farthest_first() -> None:
    places = torch.as_tensor(derive("core").normal(size=(40, 3)))
    criterion, known = CoreSet(places[2:], places[:2]), [0, 1]
    for _ in range(8):
        best = criterion.pick(criterion.score())
        apart = squared_distances(places, places[known]).min(dim=1).values
        assert best + 2 == int(apart.argmax())
        criterion.add(best)
        known.append(best + 2)


def test_objectives_that_never_change_weigh_one() -> None:
    assert weights(torch.tensor([4.0, 0.0]).double()).tolist() == [0.25, 1.0]


@pytest.mark.parametrize("acquisition", ["disagreement", "core_set"])
def test_a_batch_is_new_points_each_with_a_reason(acquisition: str) -> None:
    space, objectives = toys.pool(30), toys.loss()
    trials = told(space, 8, objectives)
    strategy = ActiveLearning(
        space=space, objectives=objectives, surrogate=light(), initial=4, data=trials,
        acquisition=acquisition,  # type: ignore[arg-type]
    )  # fmt: skip
    proposals = strategy.ask(5, (), derive(0))
    found = {key(p.point) for p in proposals}
    assert len(found) == 5 and not found & {key(t.point) for t in trials}
    assert all(p.reason for p in proposals)


@pytest.mark.parametrize(
    ("surrogate", "word"),
    [
        (Ensemble(folds=2, members=2, steps=10), "disagree"),
        (light(), "leave uncovered"),
        (GP(), "mean uncertainty"),
    ],
    ids=["ensemble", "dropout", "process"],
)
def test_it_is_the_default_of_networks_that_were_trained_apart(surrogate: Surrogate, word: str) -> None:
    space, objectives = toys.pool(30), toys.loss()
    strategy = ActiveLearning(
        space=space, objectives=objectives, surrogate=surrogate, initial=4, data=told(space, 8, objectives)
    )
    assert word in strategy.ask(1, (), derive(0))[0].reason


def test_where_networks_see_images_it_is_not() -> None:
    space, objectives = toys.pool(30), toys.loss()
    space.render = lambda z: z.reshape(len(z), 1, 1, -1).expand(-1, -1, 8, -1).repeat(1, 1, 1, 8)  # type: ignore[attr-defined]
    strategy = ActiveLearning(
        space=space, objectives=objectives, surrogate=Ensemble(space=space, folds=2, members=2, steps=2), initial=4,
        data=told(space, 8, objectives),
    )  # fmt: skip
    assert "leave uncovered" in strategy.ask(1, (), derive(0))[0].reason
