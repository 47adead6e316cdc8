"""MC dropout: fixed masks, gradients through a renderer, recalibration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Surrogate
from matloop.orchestrator.randomness import derive, torch_seed
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.surrogates.networks.dropout import MCDropout
from matloop.surrogates.networks.masks import MaskedNetwork
from matloop.surrogates.networks.model import NetworkModel
from matloop.surrogates.uncertainty.metrics import coverage, nll
from matloop.testing.surrogate import SurrogateContract


class TestMCDropout(SurrogateContract):
    learned = 0.35
    unit_tolerance = 0.05  # single precision inside

    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return MCDropout(samples=30, steps=150)


class Waves:
    """A latent space of six numbers, rendered as 16 x 16 periodic images."""

    shape = (1, 16, 16)
    dimension = 6

    def render(self, z: torch.Tensor) -> torch.Tensor:
        angle = 2 * torch.pi * torch.arange(16, dtype=z.dtype) / 16
        waves = torch.stack([f(k * angle) for k in (1, 2, 3) for f in (torch.sin, torch.cos)])
        rows, columns = z @ waves, z.flip(-1) @ waves
        return torch.sigmoid(rows[..., :, None] + columns[..., None, :])[..., None, :, :]


def wave_data(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    z = torch.as_tensor(derive("waves", seed).uniform(-1, 1, (n, 6)))
    image = Waves().render(z)[:, 0]
    return z, ((image - image.roll(1, -1)) ** 2).mean(dim=(1, 2))[:, None] * 100


@pytest.fixture(scope="module")
def image_model() -> NetworkModel:
    return MCDropout(space=Waves(), steps=60).fit(*wave_data(40), 0)  # type: ignore[arg-type]


def test_masked_network_equals_the_network_with_its_dropout_done_by_hand() -> None:
    with torch_seed(0):
        network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Dropout2d(0.4), nn.Flatten(), nn.Linear(64, 8))
        network += nn.Sequential(nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))
        x = torch.rand(5, 1, 4, 4)
    masked = MaskedNetwork(network, x)
    masks = masked.draw(6, derive(0))
    values = masked(x, masks)
    assert values.shape == (6, 5, 2)
    for i in range(6):
        h = network[0](x) * masks["1"][i]
        expected = network[6](network[4](network[3](network[2](h))) * masks["5"][i])
        assert torch.allclose(values[i], expected, atol=1e-6)


def test_masks_have_the_moments_of_dropout() -> None:
    network = nn.Sequential(nn.Linear(3, 50), nn.Dropout(0.2), nn.Linear(50, 1))
    masks = MaskedNetwork(network, torch.rand(1, 3)).draw(400, derive(1))["1"]
    assert masks.shape == (400, 50)
    assert set(masks.unique().tolist()) == {0.0, 1.25}
    assert masks.mean().item() == pytest.approx(1.0, abs=4 * 1.25 * 0.4 / np.sqrt(20_000))


def test_network_without_dropout_is_refused() -> None:
    with pytest.raises(ConfigError, match="dropout"):
        MaskedNetwork(nn.Sequential(nn.Linear(2, 1)), torch.rand(1, 2))


def test_every_point_sees_the_same_functions_in_any_batch(image_model: NetworkModel) -> None:
    x, _ = wave_data(12, seed=1)
    together = image_model.posterior(x).values
    apart = torch.cat([image_model.posterior(x[i : i + 1]).values for i in range(12)], dim=1)
    batched = image_model.posterior(x.reshape(3, 4, 6)).values.movedim(1, 0).flatten(1, 2)
    assert torch.allclose(together, apart, rtol=1e-5)
    assert torch.allclose(together, batched, rtol=1e-5)
    assert image_model.posterior(x).variance.min() > 0


def test_redrawn_masks_are_other_functions_of_the_same_networks(image_model: NetworkModel) -> None:
    x, _ = wave_data(12, seed=1)
    before = image_model.posterior(x).values
    again, other = (image_model.redraw(seed).posterior(x) for seed in (1, 2))
    assert torch.equal(image_model.redraw(1).posterior(x).values, again.values)
    assert not torch.equal(again.values, other.values)
    assert torch.equal(image_model.posterior(x).values, before)
    assert (again.mean - other.mean).abs().max() < 4 * again.variance.sqrt().max()


def test_gradients_flow_through_the_renderer_to_the_latent_vector(image_model: NetworkModel) -> None:
    model = image_model.redraw(3)
    networks = [network.to(torch.float64) for network in model.networks]
    try:
        z = wave_data(2, seed=2)[0].unsqueeze(1).requires_grad_()
        functions = lambda z: model.posterior(z).values  # noqa: E731
        assert torch.autograd.gradcheck(functions, (z,), eps=1e-6, atol=1e-6, rtol=1e-5)
        exact = torch.autograd.grad(functions(z).sum(), z)[0]
    finally:
        for network in networks:
            network.to(torch.float32)
    single = torch.autograd.grad(model.posterior(z).values.sum(), z)[0]
    assert torch.allclose(single, exact, rtol=1e-3, atol=1e-3 * exact.abs().max())


def test_recalibration_makes_fresh_predictions_honest() -> None:
    inside, ratio = [], []
    for seed in range(3):
        model = MCDropout(space=Waves(), steps=100).fit(*wave_data(60, seed), seed)  # type: ignore[arg-type]
        x, y = wave_data(300, seed=10 + seed)
        with torch.no_grad():
            function, measured = model.posterior(x), model.posterior(x, observation_noise=True)
        mean, std, values = (a.numpy() for a in (measured.mean, measured.variance.sqrt(), y))
        inside.append(coverage(mean, std, values)[0.9])
        raw_std = np.maximum(function.variance.sqrt().numpy() / model.scale.item(), 1e-9)
        ratio.append(nll(mean, std, values) - nll(mean, raw_std, values))
    assert 0.8 < np.mean(inside) < 0.99
    assert max(ratio) < 0


def genome(seed: int, shape: list[int], outputs: int = 1) -> Any:
    return ConvNetworks(input=shape, outputs=outputs).sample(derive("genome", seed))


@pytest.mark.parametrize("seed", range(4))
def test_any_searched_network_serves(seed: int) -> None:
    surrogate = MCDropout(space=Waves(), network=genome(seed, [1, 16, 16]), steps=6, samples=6)  # type: ignore[arg-type]
    model = surrogate.fit(*wave_data(12), 0)
    z = wave_data(3, seed=1)[0].requires_grad_()
    posterior = model.posterior(z)
    assert posterior.values.shape == (6, 3, 1)
    assert torch.isfinite(torch.autograd.grad(posterior.mean.sum(), z)[0]).all()


def test_network_for_another_input_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[1, 16, 16\].*\[1, 8, 8\]"):
        MCDropout(space=Waves(), network=genome(0, [1, 8, 8])).fit(*wave_data(8), 0)  # type: ignore[arg-type]


def rate_of(model: NetworkModel) -> float:
    (rate,) = {layer.p for network in model.networks for layer in network.layers.values()}  # type: ignore[union-attr]
    return round(float(rate), 6)


def test_the_rate_is_fitted_noise_wants_more_of_it() -> None:
    rng = derive("rates", 0)
    x = torch.as_tensor(rng.random((60, 3)))
    smooth, noise = 3 * x[:, :1] + x[:, 1:2] ** 2, torch.as_tensor(rng.normal(size=(60, 1)))
    assert rate_of(MCDropout(steps=150).fit(x, smooth, 0)) < rate_of(MCDropout(steps=150).fit(x, noise, 0))
    assert rate_of(MCDropout(rate=0.25, steps=5).fit(x, smooth, 0)) == 0.25


def test_held_out_residuals_are_kept_in_standard_deviations() -> None:
    model = MCDropout(steps=100).fit(*wave_data(60), 0)
    assert model.held_out is not None and model.held_out.shape == (60, 1)
    assert 0.8 < float(model.held_out.square().mean()) < 1.25


def test_bad_rates_are_refused() -> None:
    for rate in (0.0, 1.0, "best"):
        with pytest.raises(ConfigError, match="rate"):
            MCDropout(rate=rate)  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["samples", "members", "steps"])
def test_bad_options_are_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        MCDropout(**{option: 0})
