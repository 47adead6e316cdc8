"""Surrogates of networks: trained on a GPU they learn as on the CPU, and their posterior is the same on both."""

from __future__ import annotations

import pytest
import torch

from matloop.orchestrator.protocols import Surrogate
from matloop.orchestrator.randomness import derive
from matloop.surrogates.networks.conv_gp import ConvGP
from matloop.surrogates.networks.dropout import MCDropout
from matloop.surrogates.networks.ensemble import Ensemble


def bowl(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.as_tensor(derive("bowl", seed).uniform(-1, 1, (n, 3)))
    return x, x.square().sum(dim=1, keepdim=True)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "surrogate",
    [MCDropout(samples=12, rate=0.1, device="cuda"), Ensemble(device="cuda"), ConvGP(device="cuda")],
    ids=["dropout", "ensemble", "conv_gp"],
)
def test_what_is_trained_on_a_gpu_predicts(surrogate: Surrogate) -> None:
    model = surrogate.fit(*bowl(60), 0)
    x, y = bowl(100, seed=1)
    with torch.no_grad():
        mean = model.posterior(x).mean
    assert mean.device.type == "cpu"
    assert (mean - y).square().mean() < 0.3 * y.var()


@pytest.mark.parametrize("rows", [30, 220])  # with few rows no variance is predicted
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.gpu), "cpu"])
def test_the_posterior_of_dropout_is_the_same_on_a_gpu(rows: int, device: str) -> None:
    model = MCDropout(samples=6, rate=0.1, steps=20).fit(*bowl(rows), 0)
    x = bowl(10, seed=1)[0].reshape(5, 2, 3)
    with torch.no_grad():
        here = model.posterior(x, observation_noise=True)
        there = model.to(device).posterior(x.to(device), observation_noise=True)
    assert there.mean.device.type == there.variance.device.type == device
    assert torch.allclose(there.mean.cpu(), here.mean, rtol=1e-3, atol=1e-4)
    assert torch.allclose(there.variance.cpu(), here.variance, rtol=1e-2, atol=1e-6)
