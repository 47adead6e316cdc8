"""The Gaussian process against the closed form in numpy."""

import numpy as np
import pytest
import torch

from orchestrator.errors import ConfigError
from orchestrator.protocols import Surrogate
from search_spaces.box import Box
from surrogates.gp import GP
from tests.contracts.surrogate import SurrogateContract, data


class TestGP(SurrogateContract):
    learned = 0.02

    @pytest.fixture(params=["matern52", "rbf"])
    def surrogate(self, request: pytest.FixtureRequest) -> Surrogate:
        return GP(kernel=request.param)


def unit_box(d: int = 3) -> Box:
    return Box(parameters={f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(d)})


def kernel_matrix(kind: str, a: np.ndarray, b: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Unit-variance kernel between (n, d) and (k, d) points."""
    r = np.sqrt((((a[:, None] - b) / scales) ** 2).sum(-1))
    if kind == "rbf":
        return np.exp(-0.5 * r**2)
    return (1 + np.sqrt(5) * r + 5 * r**2 / 3) * np.exp(-np.sqrt(5) * r)


@pytest.mark.parametrize("kind", ["matern52", "rbf"])
def test_posterior_equals_the_closed_form(kind: str) -> None:
    x, y = data(30)
    y = y[:, 1:] + 0.5 * torch.randn(30, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fresh, _ = data(15, seed=1)
    space = unit_box()
    model = GP(space=space, kernel=kind).fit(x, y, 0)  # type: ignore[arg-type]
    scales = model.covar_module.lengthscale.detach().numpy().ravel()
    noise, mean = float(model.likelihood.noise.detach()), float(model.mean_module.constant.detach())
    lower, upper = space.bounds
    a, b = ((p.numpy() - lower) / (upper - lower) for p in (x, fresh))
    values = y.numpy().ravel()
    centre, spread = values.mean(), values.std(ddof=1)
    z = (values - centre) / spread
    inverse = np.linalg.inv(kernel_matrix(kind, a, a, scales) + noise * np.eye(30))
    cross = kernel_matrix(kind, b, a, scales)
    expected_mean = centre + spread * (mean + cross @ inverse @ (z - mean))
    expected_covariance = spread**2 * (kernel_matrix(kind, b, b, scales) - cross @ inverse @ cross.T)
    posterior = model.posterior(fresh)
    assert posterior.mean.detach().numpy().ravel() == pytest.approx(expected_mean, rel=1e-6)
    found = posterior.distribution.covariance_matrix.detach().numpy()
    assert np.abs(found - expected_covariance).max() < 1e-6 * np.abs(expected_covariance).max()
    measured = model.posterior(fresh, observation_noise=True).variance.detach().numpy().ravel()
    assert measured == pytest.approx(np.diag(expected_covariance) + noise * spread**2, rel=1e-6)


def test_outputs_are_independent_processes() -> None:
    x, y = data(20)
    fresh, _ = data(5, seed=1)
    both = GP(space=unit_box()).fit(x, y, 0).posterior(fresh)
    for j in range(2):
        alone = GP(space=unit_box()).fit(x, y[:, [j]], 0).posterior(fresh)
        assert both.mean[:, j].detach().numpy() == pytest.approx(alone.mean[:, 0].detach().numpy(), rel=1e-2)


class Wide(Box):
    """A box whose vectors run to a million."""

    @property
    def bounds(self) -> np.ndarray:
        return 1e6 * super().bounds


def test_inputs_are_scaled_by_the_bounds_of_the_space() -> None:
    x, y = data(20)
    fresh, _ = data(5, seed=1)
    small = GP(space=unit_box()).fit(x, y, 0).posterior(fresh).mean
    large = GP(space=Wide(parameters={f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(3)}))
    assert torch.allclose(small, large.fit(1e6 * x, y, 0).posterior(1e6 * fresh).mean, rtol=1e-6)


def test_bad_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="kernel"):
        GP(kernel="cubic")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_iterations"):
        GP(max_iterations=0)
