"""Trees, and their blend with a Gaussian process."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from botorch.posteriors.gpytorch import GPyTorchPosterior

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Surrogate
from matloop.orchestrator.randomness import derive, torch_seed
from matloop.surrogates.blend import Blend, _leave_one_out
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


def test_leave_one_out_equals_leaving_each_out() -> None:
    x, y = data(10)
    process = GP().fit(x, y[:, :1], 0)
    found = _leave_one_out(process, x)
    noise, mean, std = float(process.likelihood.noise.detach()), float(y[:, 0].mean()), float(y[:, 0].std())
    z = ((y[:, 0] - mean) / std).numpy() - float(process.mean_module.constant.detach())
    with torch.no_grad():
        kernel = process.covar_module(process.transform_inputs(x)).to_dense().numpy()
    for i in range(10):
        rest = np.arange(10) != i
        weights = np.linalg.solve(kernel[np.ix_(rest, rest)] + noise * np.eye(9), kernel[rest, i])
        variance = kernel[i, i] + noise - kernel[i, rest] @ weights
        density = -0.5 * np.log(2 * np.pi * variance) - 0.5 * (z[i] - weights @ z[rest]) ** 2 / variance - np.log(std)
        assert found[i] == pytest.approx(density, rel=1e-5)


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
