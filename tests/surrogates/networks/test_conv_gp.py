"""A process over a network's features: the shared contract, images, and hyperparameters from rows not trained on."""

from __future__ import annotations

import pytest
import torch

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Surrogate
from matloop.surrogates.networks.conv_gp import ConvGP
from matloop.testing.surrogate import SurrogateContract, data
from tests.surrogates.networks.test_dropout import Waves, wave_data


class TestConvGP(SurrogateContract):
    learned = 0.3
    unit_tolerance = 0.05  # single precision inside

    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return ConvGP(steps=150)


def test_gradients_flow_through_the_image_to_the_latent_vector() -> None:
    model = ConvGP(space=Waves(), steps=30).fit(*wave_data(24), 0).double()  # type: ignore[arg-type]
    z = wave_data(2, seed=1)[0].unsqueeze(1).requires_grad_()

    def summary(z: torch.Tensor) -> torch.Tensor:
        posterior = model.posterior(z)
        return torch.cat([posterior.mean, posterior.variance], dim=-1)

    assert torch.autograd.gradcheck(summary, (z,), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_bad_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="features"):
        ConvGP(features=0)


def test_drawn_functions_of_images_are_those_of_the_posterior() -> None:
    x, y = data(25)
    fresh, _ = data(4, seed=1)
    model = ConvGP(steps=20).fit(x, y, 0)
    torch.manual_seed(0)
    with torch.no_grad():
        drawn = torch.stack([model.draw_function()(fresh) for _ in range(50)])
        posterior = model.posterior(fresh)
    std = posterior.variance.sqrt()
    assert ((drawn.mean(dim=0) - posterior.mean).abs() < 0.6 * std).all()
    assert ((drawn.std(dim=0) / std - 1).abs() < 0.4).all()
