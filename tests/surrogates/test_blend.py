"""Trees, and their blend with a Gaussian process."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from botorch.posteriors.gpytorch import GPyTorchPosterior

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Surrogate
from matloop.orchestrator.randomness import derive, torch_seed
from matloop.surrogates import stacking
from matloop.surrogates.blend import Blend
from matloop.surrogates.forest import Forest
from matloop.surrogates.gaussian_process.gp import GP
from matloop.testing.surrogate import SurrogateContract, data


class TestForest(SurrogateContract):
    learned = 0.35

    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return Forest()

    @pytest.mark.skip(reason="piecewise constant: the gradient is zero wherever it exists")
    def test_gradient_of_mean_and_variance_equals_finite_differences(self) -> None: ...


class TestBlend(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return Blend(trees=30)


def steps(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.as_tensor(derive("steps").random((n, 3)))
    return x, ((x[:, :1] > 0.4).double() + 2 * (x[:, 1:2] > 0.7).double()) * 10


def test_each_is_trusted_where_it_is_the_better_model() -> None:
    x, y = data(60)
    smooth, stepped = Blend().fit(x, y[:, :1], 0), Blend().fit(*steps(60), 0)
    assert smooth.shares[0] < 0.2
    assert stepped.shares[0] > 0.6


def test_posterior_has_the_moments_of_the_mixture() -> None:
    x, y = data(25)
    model = Blend(prior=20.0).fit(x, y[:, :1], 0)
    process, forest = model.pairs[0]
    share, fresh = model.shares[0], torch.as_tensor(derive(5).random((4, 3)))
    posterior = model.posterior(fresh)
    assert isinstance(posterior, GPyTorchPosterior)
    with torch_seed(0):
        smooth = process.posterior(fresh).rsample(torch.Size([200_000]))[:, :, 0].detach()
    votes = forest.posterior(fresh).values[:, :, 0]
    count = round(len(smooth) * share / (1 - share))
    drawn = torch.cat([smooth, votes[torch.as_tensor(derive(6).integers(len(votes), size=count))]])
    spread = drawn.std(dim=0)
    assert ((posterior.mean[:, 0] - drawn.mean(dim=0)).abs() < 0.02 * spread).all()
    difference = posterior.distribution.covariance_matrix - torch.cov(drawn.T)
    assert (difference.abs() < 0.03 * spread[:, None] * spread).all()


def test_held_out_rows_were_not_seen_by_the_process_nor_its_hyperparameters() -> None:
    """A row that is moved far away changes what is held out of its own fold's others, but never its own prediction."""
    x, y = data(20)
    y = y[:, :1]
    family = GP(draws=1, starts=1)
    before = stacking.of_process(family, x, y, None)
    folds = derive("stacking folds", 20).permutation(20) % stacking.FOLDS
    moved = y.clone()
    moved[3] += 50.0
    after = stacking.of_process(family, x, moved, None)
    own = folds == folds[3]
    own[3] = False
    assert after[own] == pytest.approx(before[own], abs=1e-12)
    assert after[3] < before[3]
    assert (np.abs(after - before)[folds != folds[3]] > 1e-6).all()


def test_a_process_that_fits_noise_is_not_trusted_for_it() -> None:
    """Eight inputs, an outcome of nothing but noise: left-out densities at fitted hyperparameters claim to know it."""
    rng = derive("noise only")
    claims = []
    for _ in range(6):
        x, y = torch.as_tensor(rng.random((24, 8))), torch.as_tensor(rng.normal(size=(24, 1)))
        held_out = stacking.of_process(GP(draws=4, starts=1, max_iterations=40), x, y, None)
        claims.append(held_out.mean() - float(torch.distributions.Normal(y.mean(), y.std()).log_prob(y).mean()))
    assert np.mean(claims) < 0.05


def test_weights_follow_from_the_first_rows_and_are_taken_anew_at_milestones() -> None:
    x, y = data(30)
    y = y[:, :1] + torch.as_tensor(derive("scatter").normal(size=(30, 1)))
    blend = Blend(trees=30)
    shares = [blend.fit(x[:n], y[:n], seed).shares[0] for seed, n in ((0, 25), (1, 26), (2, 27))]
    assert Blend(trees=30).fit(x[:27], y[:27], 5).shares[0] == shares[2]
    assert len(set(shares)) <= 2


def test_equal_densities_give_equal_shares_and_better_ones_a_larger_one() -> None:
    same = np.zeros(30)
    assert stacking.weigh(same, same, 2.0) == pytest.approx(0.5)
    assert stacking.weigh(same, same + 1.0, 2.0) > 0.8
    assert stacking.weigh(same + 1.0, same, 2.0) < 0.2


def test_a_drawn_function_is_one_of_the_mixture() -> None:
    x, y = data(25)
    model = Blend().fit(x, y, 0)
    with torch_seed(1):
        drawn = [model.draw_function() for _ in range(16)]
    values = torch.stack([function(x[:5]) for function in drawn]).detach()
    assert values.shape == (16, 5, 2)
    gap = (values.mean(dim=0) - model.posterior(x[:5]).mean.detach()).abs()
    assert (gap < 0.5 * y.std(dim=0)).all()
    again = drawn[0](x[:5])
    assert torch.equal(again, drawn[0](x[:5]))


def test_bad_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="prior"):
        Blend(prior=-1.0)
    with pytest.raises(ConfigError, match="trees"):
        Forest(trees=1)
