"""The deep ensemble: the shared contract, and what sets its functions apart from dropout's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Surrogate
from matloop.orchestrator.randomness import derive
from matloop.surrogates.networks.ensemble import Ensemble
from matloop.testing.surrogate import SurrogateContract, data, predict


class TestEnsemble(SurrogateContract):
    learned = 0.35
    unit_tolerance = 0.05  # single precision inside

    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return Ensemble(steps=150)


def scattered(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A line whose scatter grows from 0.1 to 1.1."""
    rng = derive("scattered", seed)
    x = rng.random((n, 1))
    return torch.as_tensor(x), torch.as_tensor(3 * x + (0.1 + x) * rng.normal(size=(n, 1)))


def test_each_network_is_a_function_and_all_of_them_remain() -> None:
    model = Ensemble(folds=3, members=2, steps=20).fit(*data(30), 0)
    x, _ = data(5, seed=1)
    values = model.posterior(x).values
    assert values.shape == (6, 5, 2)
    assert torch.equal(model.redraw(9).posterior(x).values, values)  # type: ignore[attr-defined]


def test_networks_disagree_more_far_from_the_data() -> None:
    x, y = data(60)
    model = Ensemble().fit(0.5 * x, y, 0)
    with torch.no_grad():
        near, far = model.posterior(0.5 * x).variance.mean(dim=0), model.posterior(0.5 * x + 1.5).variance.mean(dim=0)
    assert (far > 4 * near).all()


def test_with_enough_data_the_scatter_is_learned_where_it_is() -> None:
    model = Ensemble(steps=400).fit(*scattered(500, 0), 0)
    x = torch.tensor([[0.05], [0.95]], dtype=torch.float64)
    with torch.no_grad():
        std = model.posterior(x, observation_noise=True).variance.sqrt().flatten()
    assert 0.08 < std[0] < 0.35 and 0.7 < std[1] < 1.5
    fresh, y = scattered(1000, 1)
    mean, variance = predict(model, fresh)
    assert 0.86 < float(((y - mean).abs() < 1.645 * variance.sqrt()).double().mean()) < 0.94


def test_many_constant_values_are_no_trouble() -> None:
    x, _ = scattered(400, 0)
    mean, variance = predict(Ensemble(steps=5).fit(x, torch.full((400, 1), 3.0, dtype=torch.float64), 0), x)
    assert torch.allclose(mean, torch.tensor(3.0, dtype=torch.float64), atol=0.5) and (variance > 0).all()


@pytest.mark.parametrize("option", ["folds", "members", "steps"])
def test_bad_options_are_refused(option: str) -> None:
    options: dict[str, Any] = {option: 0}
    with pytest.raises(ConfigError, match=option):
        Ensemble(**options)
