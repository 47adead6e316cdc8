"""Choosing by the largest cluster, against a plain rendering of the paper's algorithm and what it promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from matloop.orchestrator.protocols import Surrogate
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.active import ActiveLearning
from matloop.orchestrator.strategies.modelled.clusters import Clusters, embedding, squared_distances
from matloop.orchestrator.strategies.tried import key
from matloop.orchestrator.trial import Objective
from matloop.surrogates.blend import Blend
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.networks.dropout import MCDropout
from matloop.surrogates.networks.ensemble import Ensemble
from matloop.testing.strategy import Make, StrategyContract, as_trial
from tests.orchestrator.strategies import toys
from tests.orchestrator.strategies.modelled.test_active import light, told


class TestLargestCluster(StrategyContract):
    trials = 8

    @pytest.fixture(params=[(toys.mixed, GP), (lambda: toys.pool(12), light)], ids=["process", "network"])
    def make(self, request: pytest.FixtureRequest) -> Make:
        def make(seed: int, direction: toys.Direction = "minimise"):  # type: ignore[no-untyped-def]
            space, objectives = request.param[0](), toys.loss(direction)
            strategy = ActiveLearning(
                space=space, objectives=objectives, surrogate=request.param[1](), initial=4, candidates=40, seed=seed,
                acquisition="largest_cluster",
            )  # fmt: skip
            return strategy, space, objectives

        return make


def picked(clusters: Clusters, n: int) -> list[int]:
    found = []
    for _ in range(n):
        found.append(int(clusters.score().argmax()))
        clusters.add(found[-1])
    return found


def plain(candidates: np.ndarray, known: np.ndarray, n: int) -> list[int]:
    """The algorithm as the paper states it, one distance at a time."""
    centres, found = list(known), []
    for _ in range(n):
        groups: dict[int, dict[int, float]] = {}
        for i, x in enumerate(candidates):
            apart = [float(((x - c) ** 2).sum()) for c in centres]
            nearest = int(np.argmin(apart))
            groups.setdefault(nearest, {})[i] = apart[nearest]
        group = max(groups.values(), key=lambda members: sum(members.values()))
        found.append(max(group, key=lambda i: group[i]))
        centres.append(candidates[found[-1]])
    return found


def test_choices_are_those_of_the_algorithm_in_the_paper() -> None:
    rng = derive("clusters")
    candidates, known = rng.normal(size=(60, 3)) ** 3, rng.normal(size=(5, 3))
    clusters = Clusters(torch.as_tensor(candidates), torch.as_tensor(known))
    assert picked(clusters, 25) == plain(candidates, known, 25)


def test_many_candidates_count_for_more_than_one_that_is_far_away() -> None:
    crowd = torch.tensor([[0.0, 2.0]]) + 0.1 * torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    outlier = torch.tensor([[15.0, 0.0]])
    candidates = torch.cat([outlier, crowd]).double()
    known = torch.tensor([[0.0, 0.0], [10.0, 0.0]]).double()
    assert squared_distances(candidates, known).min(dim=1).values.argmax() == 0
    assert picked(Clusters(candidates, known), 2)[0] > 0


def test_what_is_chosen_represents_all_better_than_random_or_remote_points() -> None:
    rng = derive("heavy tails")
    candidates = torch.as_tensor(rng.standard_t(2.5, size=(600, 3)))

    def unlike(chosen: list[int]) -> float:
        return float(squared_distances(candidates, candidates[chosen]).min(dim=1).values.mean())

    known = candidates[:5]
    remote = list(range(5))
    for _ in range(30):
        remote.append(int(squared_distances(candidates, candidates[remote]).min(dim=1).values.argmax()))
    random = np.mean([unlike(list(range(5)) + rng.choice(600, 30).tolist()) for _ in range(20)])
    largest = unlike(list(range(5)) + picked(Clusters(candidates, known), 30))
    assert largest < 0.75 * random
    assert largest < 0.9 * unlike(remote)


def test_candidates_that_the_model_cannot_tell_apart_are_each_chosen_once() -> None:
    space, objectives = toys.pool(12), toys.loss()

    class Blind(GP):
        def fit(self, *args: Any, **options: Any) -> Any:
            model: Any = super().fit(*args, **options)
            object.__setattr__(model, "features", lambda x: torch.ones(len(x), 3))
            return model

    strategy = ActiveLearning(space=space, objectives=objectives, surrogate=Blind(), data=told(space, 10, objectives))
    proposals = strategy.ask(2, (), derive(0))
    assert len({key(p.point) for p in proposals}) == 2


def data(n: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.as_tensor(derive("x").random((n, 2)))
    return x, torch.stack([torch.sin(5 * x[:, 0]), x[:, 1] ** 2], dim=1)


@pytest.mark.parametrize("surrogate", [light(), Ensemble(folds=2, members=2, steps=10)], ids=["dropout", "ensemble"])
def test_features_are_what_the_last_layer_weighs(surrogate: Surrogate) -> None:
    x, y = data()
    model: Any = surrogate.fit(x, y, 0)
    parts = [one for member in model.networks for one in getattr(member, "networks", [getattr(member, "network", 0)])]
    width = parts[0][-1].weight.shape[1]
    features = embedding(model, x)
    assert features.shape == (30, len(parts) * width)
    for network, own in zip(parts, features.split(width, dim=1), strict=True):
        by_hand = own * width**0.5 @ network[-1].weight.double().T + network[-1].bias.double()
        assert torch.allclose(by_hand, network(model.prepare(x.float())).double(), atol=1e-5)


def test_places_of_a_process_are_as_far_apart_as_its_kernel_says_and_of_others_as_their_posterior() -> None:
    x, y = data(12)
    process: Any = GP().fit(x, y, 0)
    prior = process.prior_covariance(x, x)
    kernel = (prior / prior.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]).sum(dim=0)
    blend: Any = Blend().fit(x, y[:, :1], 0)
    with torch.no_grad():
        posterior = blend.posterior(x).distribution.covariance_matrix
    for model, matrix in ((process, kernel), (blend, posterior / posterior.diagonal().mean())):
        places, variance = embedding(model, x), matrix.diagonal()
        expected = variance[:, None] + variance[None] - 2 * matrix
        assert torch.allclose(squared_distances(places, places), expected.clamp_min(0), atol=1e-5)


@pytest.mark.parametrize(("surrogate", "name"), [(GP(), "integrated_variance"), (light(), "largest_cluster")])
def test_the_criterion_suits_the_surrogate_unless_one_is_named(surrogate: Surrogate, name: str) -> None:
    space, objectives = toys.reals(2), toys.loss()
    options: dict[str, Any] = {"space": space, "objectives": objectives, "surrogate": surrogate, "candidates": 50}
    strategy = ActiveLearning(data=told(space, 12, objectives), **options)
    (proposal,) = strategy.ask(1, (), derive(0))
    assert proposal.extra["explanation"]["acquisition"]["name"] == name


@pytest.mark.parametrize(("surrogate", "most"), [(GP(), 512), (light(), 700)], ids=["process", "network"])
def test_a_network_considers_more_of_a_listed_space(surrogate: Surrogate, most: int) -> None:
    space, objectives = toys.pool(712), toys.loss()
    strategy = ActiveLearning(space=space, objectives=objectives, surrogate=surrogate, data=told(space, 12, objectives))
    seen: list[int] = []
    strategy._notes = lambda model, point, place, choice: seen.append(len(choice.points)) or {}  # type: ignore
    strategy.ask(1, (), derive(0))
    assert seen == [most]


def test_pending_points_are_known_places() -> None:
    space, objectives = toys.reals(1), (Objective("f0"), Objective("f1", "maximise"))
    surrogate = MCDropout(rate=0.1, samples=12, members=2, steps=60)
    strategy = ActiveLearning(
        space=space, objectives=objectives, surrogate=surrogate, data=told(space, 12, objectives), candidates=300
    )
    first, second = strategy.ask(2, (), derive(0))
    pending = [as_trial(90, first)]
    (again,) = strategy.ask(1, pending, derive(0))
    assert again.point == second.point
    assert abs(first.point["x0"] - second.point["x0"]) > 0.05
    assert "candidates" in again.reason
