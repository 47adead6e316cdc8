"""Active learning over a Gaussian process and over MC dropout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from matloop.orchestrator.errors import ConfigError, SpaceExhausted
from matloop.orchestrator.protocols import Space, Surrogate
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.active import ActiveLearning
from matloop.orchestrator.strategies.modelled.covariance import condition, joint_covariance
from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.strategies.tried import key
from matloop.orchestrator.trial import Objective, Proposal, Trial
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.networks.dropout import MCDropout
from matloop.testing.strategy import Make, StrategyContract, answered, as_trial, measure
from tests.orchestrator.strategies import toys


def small_pool() -> Space:
    return toys.pool(12)


def light() -> MCDropout:
    return MCDropout(samples=12, members=2, steps=10)


class TestActiveLearning(StrategyContract):
    trials = 8

    @pytest.fixture(
        params=[(toys.mixed, GP), (toys.genes, GP), (small_pool, GP), (toys.reals, light)],
        ids=["mixed", "genes", "pool", "dropout"],
    )
    def make(self, request: pytest.FixtureRequest) -> Make:
        def make(seed: int, direction: toys.Direction = "minimise"):  # type: ignore[no-untyped-def]
            space, objectives = request.param[0](), toys.loss(direction)
            strategy = ActiveLearning(
                space=space, objectives=objectives, surrogate=request.param[1](), initial=4, candidates=40, seed=seed
            )
            return strategy, space, objectives

        return make


def told(space: Space, n: int, objectives: Sequence[Objective], seed: int = 0) -> list[Trial]:
    """Answers at random points."""
    points = Random(space=space).ask(n, (), derive("told", seed))
    trials = [as_trial(i, proposal) for i, proposal in enumerate(points)]
    return [answered(t, measure(space, objectives, t.point)) for t in trials]


def learner(space: Space, surrogate: Surrogate, n: int = 8, **options: object) -> ActiveLearning:
    objectives = toys.loss()
    options = {"initial": 4, "candidates": 60, "data": told(space, n, objectives)} | options
    return ActiveLearning(space=space, objectives=objectives, surrogate=surrogate, **options)  # type: ignore[arg-type]


def test_joint_covariance_of_a_gp_is_its_posterior_and_of_functions_their_sample_covariance() -> None:
    space = toys.reals(2)
    x = torch.as_tensor(space.encode([space.sample(derive(i)) for i in range(12)]))
    y = torch.stack([x.sum(dim=1), x[:, 0] ** 2], dim=1)
    gp = GP(space=space, draws=1).fit(x, y, 0)
    covariance, noise = joint_covariance(gp, x[:5] + 0.01)
    assert covariance.shape == (2, 5, 5)
    every = torch.cat([x, x[:5] + 0.01])
    prior = gp.prior_covariance(every, every) + 1e4  # of a constant that nobody knows
    for j in range(2):
        known = prior[j, :12, :12] + gp.noise()[j] * torch.eye(12)
        cross = prior[j, 12:, :12]
        expected = prior[j, 12:, 12:] - cross @ torch.linalg.solve(known, cross.T)
        assert torch.allclose(covariance[j], expected, rtol=1e-5, atol=1e-8)
    assert torch.allclose(noise, gp.noise(), rtol=1e-4)
    dropout = light().fit(x, y, 0)
    covariance, noise = joint_covariance(dropout, x[:5])
    values = dropout.posterior(x[:5]).values[..., 1].numpy()
    assert covariance[1].numpy() == pytest.approx(np.cov(values.T), rel=1e-6)
    assert noise.numpy() == pytest.approx(dropout.noise.numpy() ** 2, rel=1e-6)


def test_conditioning_equals_the_block_formula() -> None:
    root = torch.randn(2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    covariance = root @ root.mT
    noise = torch.tensor([0.1, 0.5], dtype=torch.float64)
    found = condition(condition(covariance, noise, 0), noise, 3)
    for j in range(2):
        block = covariance[j][[0, 3]][:, [0, 3]] + noise[j] * torch.eye(2)
        cross = covariance[j][:, [0, 3]]
        assert torch.allclose(found[j], covariance[j] - cross @ torch.linalg.inv(block) @ cross.T)


@pytest.mark.parametrize("surrogate", [GP(), light()], ids=["gp", "dropout"])
def test_proposals_carry_prediction_and_reason(surrogate: Surrogate) -> None:
    strategy = learner(toys.reals(2), surrogate, acquisition="integrated_variance")
    proposals = strategy.ask(2, (), derive(0))
    for proposal in proposals:
        assert proposal.prediction is not None
        assert proposal.prediction.std["f0"] > 0
        assert "expected to reduce the mean uncertainty by" in proposal.reason
        assert "here against" in proposal.reason


def test_pending_points_repel() -> None:
    space = toys.reals(1)
    strategy = learner(space, GP(space=space), n=5, candidates=200)
    first = strategy.ask(1, (), derive(0))[0]
    second = strategy.ask(1, [as_trial(50, first)], derive(0))[0]
    joint = strategy.ask(2, (), derive(0))
    assert abs(first.point["x0"] - second.point["x0"]) > 0.1
    assert joint[0].point == first.point
    assert joint[1].point == pytest.approx(second.point, abs=0.15)


def test_answers_between_fits_count_as_known_places() -> None:
    space = toys.reals(1)
    fits = []

    class Counting(GP):
        def fit(self, x, y, seed):  # type: ignore[no-untyped-def]
            fits.append(len(x))
            return super().fit(x, y, seed)

    strategy = learner(space, Counting(space=space), n=4, refit_every=3, candidates=200)
    places = []
    for number in range(5):
        proposal = strategy.ask(1, (), derive(number))[0]
        places.append(proposal.point["x0"])
        trial = as_trial(number + 60, proposal)
        strategy.tell(answered(trial, measure(space, toys.loss(), trial.point)))
    assert fits == [4, 7]
    assert min(np.diff(sorted(places[:3]))) > 0.1


def test_several_objectives_are_learned_together() -> None:
    space = toys.reals(2)
    objectives = (Objective("f0"), Objective("f1", "maximise"))
    strategy = ActiveLearning(
        space=space, objectives=objectives, surrogate=GP(space=space), initial=5, data=told(space, 8, objectives)
    )
    proposal = strategy.ask(1, (), derive(0))[0]
    point = np.array(list(proposal.point.values()))
    assert proposal.prediction is not None
    truth = measure(space, objectives, proposal.point)
    for name, value in truth.items():
        assert abs(proposal.prediction.mean[name] - value) < 6 * proposal.prediction.std[name] + 1, point


def test_beats_random_points_and_largest_variance() -> None:
    """A function that changes quickly in a part of the space; mean error after 10 choices, over seeds."""
    space = toys.reals(2)
    fresh = [space.sample(derive("fresh", i)) for i in range(300)]

    def truth(point: object) -> float:
        x, y = (float(v) for v in point.values())  # type: ignore[attr-defined]
        return float(np.sin(2 * x) * np.cos(y) + 0.5 * x)

    def error(kind: str, seed: int) -> float:
        gp = GP(space=space, kernel="rbf")
        if kind == "random":
            strategy: Random | ActiveLearning = Random(space=space)
        else:
            strategy = ActiveLearning(
                space=space, objectives=toys.loss(), surrogate=gp, initial=5, candidates=150, seed=seed,
                acquisition=kind,  # type: ignore[arg-type]
            )  # fmt: skip
        start = [Proposal(point=space.sample(derive("start", seed, i))) for i in range(5)]
        points = []
        for number in range(15):
            proposal = start[number] if number < 5 else strategy.ask(1, (), derive(seed, number))[0]
            points.append(proposal.point)
            strategy.tell(answered(as_trial(number, proposal), {"f0": truth(proposal.point)}))
        model = gp.fit(
            torch.as_tensor(space.encode(points)), torch.tensor([[truth(p)] for p in points], dtype=torch.float64), 0
        )
        mean = model.posterior(torch.as_tensor(space.encode(fresh))).mean.detach().numpy().ravel()
        return float(np.sqrt(np.mean((mean - [truth(p) for p in fresh]) ** 2)))

    errors = {kind: [error(kind, seed) for seed in range(8)] for kind in ("integrated_variance", "variance", "random")}
    mean = {kind: np.mean(np.log(values)) for kind, values in errors.items()}
    assert mean["integrated_variance"] < mean["random"] - 0.1, errors
    assert mean["integrated_variance"] < mean["variance"], errors


def test_exhausted_pool_waits_for_pending_and_then_ends() -> None:
    space = small_pool()
    strategy = learner(space, GP(), n=11)
    (last,) = strategy.ask(3, (), derive(0))
    pending = as_trial(99, last)
    assert strategy.ask(1, [pending], derive(1)) == []
    strategy.tell(answered(pending, measure(space, toys.loss(), last.point)))
    with pytest.raises(SpaceExhausted):
        strategy.ask(1, (), derive(2))


def test_earlier_data_count_and_are_not_repeated() -> None:
    space = small_pool()
    strategy = learner(space, GP(), n=8)
    proposals = strategy.ask(12, (), derive(0))
    assert len(proposals) == 4 and all(p.prediction for p in proposals)
    assert not {key(p.point) for p in proposals} & {key(t.point) for t in told(space, 8, toys.loss())}


def test_unusable_data_are_refused() -> None:
    space = toys.reals(2)
    other = told(space, 3, (Objective("density"),))
    with pytest.raises(ConfigError, match="same objectives"):
        learner(space, GP(), data=other)
    with pytest.raises(ConfigError, match="same space"):
        learner(space, GP(), data=told(toys.mixed(), 3, toys.loss()))


@pytest.mark.parametrize("option", [{"acquisition": "entropy"}, {"candidates": 1}, {"initial": 1}, {"refit_every": 0}])
def test_bad_options_are_refused(option: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        learner(toys.reals(2), GP(), **option)
