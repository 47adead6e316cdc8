"""The isotropic process: the contract of surrogates, and its likelihood against GPyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from matloop.orchestrator.protocols import Surrogate
from matloop.surrogates.gaussian_process.isotropic import LENGTHS, Isotropic, _likeliest
from matloop.testing.surrogate import SurrogateContract, data


class TestIsotropic(SurrogateContract):
    learned = 0.05

    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return Isotropic()


def test_no_other_point_of_the_grid_is_likelier_by_gpytorch() -> None:
    x, y = data(30)
    model = Isotropic().fit(x, y[:, :1], 0)

    def log_likelihood() -> float:
        model.train()
        with torch.no_grad():
            return float(model.likelihood(model(*model.train_inputs)).log_prob(model.train_targets))

    best, chosen = log_likelihood(), model.covar_module.base_kernel.lengthscale.item()
    median = float(np.median(pdist(x.numpy())))
    assert any(chosen == pytest.approx(share * median) for share in LENGTHS)
    for share in LENGTHS:
        model.covar_module.base_kernel.lengthscale = share * median
        assert log_likelihood() <= best + 1e-9 or share * median == pytest.approx(chosen)


def test_its_variance_is_the_likeliest_in_closed_form() -> None:
    x, y = data(20)
    z = ((y[:, 0] - y[:, 0].mean()) / y[:, 0].std(correction=0)).numpy()
    distances = torch.cdist(x, x).numpy()
    length, noise, variance = _likeliest(distances, z)
    r = np.sqrt(5) * distances / length
    shape = (1 + r + r**2 / 3) * np.exp(-r) + noise * np.eye(20)

    def cost(v: float) -> float:
        return 20 / 2 * np.log(v) + z @ np.linalg.solve(shape, z) / (2 * v)

    assert cost(variance) < min(cost(0.97 * variance), cost(1.03 * variance))
