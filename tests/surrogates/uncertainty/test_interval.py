"""Central intervals of a model's predictions."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from matloop.orchestrator.randomness import derive
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.networks.dropout import MCDropout
from matloop.surrogates.uncertainty.interval import interval
from matloop.testing.surrogate import data


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_interval_of_a_gaussian_is_its_quantiles(level: float) -> None:
    x, y = data(20)
    model = GP().fit(x, y, 0)
    fresh = data(5, seed=1)[0]
    low, high = interval(model, fresh, level)
    posterior = model.posterior(fresh, observation_noise=True)
    z = stats.norm.ppf((1 + level) / 2)
    half = z * posterior.variance.detach().sqrt()
    assert torch.allclose(low, posterior.mean.detach() - half, atol=1e-8)
    assert torch.allclose(high, posterior.mean.detach() + half, atol=1e-8)


def test_interval_of_an_ensemble_holds_its_share_of_samples() -> None:
    x, y = data(25)
    model = MCDropout(steps=200).fit(x, y, 0)
    fresh = data(4, seed=1)[0]
    low, high = interval(model, fresh)
    functions = model.posterior(fresh.unsqueeze(1)).values[:, :, 0].detach()
    noise = model.noise
    rng = derive("interval")
    drawn = functions[:, :, None] + noise * torch.as_tensor(rng.normal(size=(*functions.shape[:2], 400, 2)))
    for share, expected in (((drawn < low[:, None, None]), 0.05), ((drawn > high[:, None, None]), 0.05)):
        assert torch.allclose(share.double().mean(dim=(1, 2)), torch.full((4, 2), expected).double(), atol=0.015)
