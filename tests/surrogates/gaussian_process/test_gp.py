"""The Gaussian process against the closed form in numpy, GPyTorch's likelihood and scikit-learn's fit."""

import numpy as np
import pytest
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.sampling.pathwise import draw_matheron_paths
from botorch.sampling.pathwise.features import gen_kernel_features
from gpytorch.mlls import ExactMarginalLogLikelihood
from scipy.optimize import check_grad
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Column, Surrogate
from matloop.orchestrator.randomness import torch_seed
from matloop.search_spaces.box import Box
from matloop.surrogates.gaussian_process import hyperparameters
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.gaussian_process.hyperparameters import Columns, Objective
from matloop.testing.surrogate import SurrogateContract, data


class TestGP(SurrogateContract):
    learned = 0.02

    @pytest.fixture(params=["matern52", "rbf"])
    def surrogate(self, request: pytest.FixtureRequest) -> Surrogate:
        return GP(kernel=request.param)


def unit_box(d: int = 3) -> Box:
    return Box(parameters={f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(d)})


def signal(model: SingleTaskGP) -> float:
    """Variance of the standardised function."""
    return float(model.covar_module.outputscale.detach())


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
    scales = model.covar_module.base_kernel.lengthscale.detach().numpy().ravel()
    noise, mean = float(model.likelihood.noise.detach()), float(model.mean_module.constant.detach())
    lower, upper = space.bounds
    a, b = ((p.numpy() - lower) / (upper - lower) for p in (x, fresh))
    values = y.numpy().ravel()
    centre, spread = values.mean(), values.std(ddof=1)
    z = (values - centre) / spread
    inverse = np.linalg.inv(signal(model) * kernel_matrix(kind, a, a, scales) + noise * np.eye(30))
    cross = signal(model) * kernel_matrix(kind, b, a, scales)
    expected_mean = centre + spread * (mean + cross @ inverse @ (z - mean))
    expected_covariance = spread**2 * (signal(model) * kernel_matrix(kind, b, b, scales) - cross @ inverse @ cross.T)
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
    with pytest.raises(ConfigError, match="subset"):
        GP(subset=1)


def noisy_data(n: int, d: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, d) in the unit cube and (n,) standardised."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, d))
    y = np.sin(5 * x[:, 0]) + x[:, 1] ** 2 + 0.1 * rng.normal(size=n)
    return x, (y - y.mean()) / y.std(ddof=1)


@pytest.mark.parametrize("kind", ["matern52", "rbf"])
def test_objective_is_that_of_gpytorch_and_the_optimum_at_least_as_good(kind: str) -> None:
    x, z = noisy_data(40)
    model = GP(space=unit_box(), kernel=kind).fit(torch.as_tensor(x), torch.as_tensor(z)[:, None], 0)  # type: ignore[arg-type]
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)

    def loss() -> float:
        model.train()
        return -len(z) * likelihood(model(*model.train_inputs), model.train_targets).item()

    ours = loss()
    found = hyperparameters.fit(
        Objective(x, z, columns=Columns.numbers(3), kernel=kind, variances=np.full(40, np.nan)), 200
    )
    assert found.objective == pytest.approx(ours, abs=1e-5)
    fit_gpytorch_mll(likelihood)
    assert ours <= loss() + 1e-2


@pytest.mark.parametrize("kind", ["matern52", "rbf"])
@pytest.mark.parametrize(
    ("groups", "category"), [([0, 1, 2], [0, 0, 0]), ([0, 1, 1], [0, 0, 0]), ([0, 1, 1], [0, 1, 1])]
)
def test_gradient_equals_finite_differences(kind: str, groups: list[int], category: list[int]) -> None:
    x, z = noisy_data(20)
    variances = np.where(np.arange(20) < 5, 0.04, np.nan)
    columns = Columns(np.array(groups), np.array(category, dtype=bool))
    objective = Objective(x, z, columns=columns, kernel=kind, variances=variances)
    for seed in range(3):
        logs = np.random.default_rng(seed).normal(scale=0.5, size=max(groups) + 3 + 2 * columns.mixed)
        assert check_grad(lambda q: objective(q)[0], lambda q: objective(q)[1], logs) < 1e-4


def test_likelihood_with_known_noise_equals_that_of_scikit_learn() -> None:
    """Up to the priors and the constant mean, which scikit-learn does not have."""
    x, z = noisy_data(25)
    variances = np.linspace(0.01, 0.3, 25)
    logs = np.log([0.4, 0.9, 2.0, 1.7, 1e-2])
    objective = Objective(x, z, columns=Columns.numbers(3), kernel="matern52", variances=variances)
    value = objective(logs)[0]
    priors = [*(float(each) for each in Columns.numbers(3).prior()[0]), hyperparameters.WEIGHT_PRIOR[0]]
    width = np.array([hyperparameters.LENGTH_SCALE_PRIOR[1]] * 3 + [hyperparameters.WEIGHT_PRIOR[1]])
    deviation = (logs[:4] - priors) / width
    value -= float(np.sum(logs[:4] + 0.5 * deviation**2 + np.log(width) + 0.5 * np.log(2 * np.pi)))
    kernel = ConstantKernel(1.7, "fixed") * Matern(np.exp(logs[:3]), "fixed", nu=2.5)
    other = GaussianProcessRegressor(kernel, alpha=variances, optimizer=None).fit(x, z - objective.mean)
    assert -value == pytest.approx(other.log_marginal_likelihood_value_, abs=1e-8)


def test_known_noise_weighs_the_measurements() -> None:
    """Every other measurement is off by 3 and says so; ignoring that spoils the prediction, heeding it does not."""
    x, y = data(40)
    y = y[:, :1] + torch.as_tensor(np.random.default_rng(0).normal(size=(40, 1)) * np.array([[3.0], [0.01]] * 20)[:40])
    noise = np.array([[3.0], [0.01]] * 20)
    fresh, truth = data(200, seed=1)
    errors = [
        ((GP().fit(x, y, 0, noise=given).posterior(fresh).mean - truth[:, :1]) ** 2).mean().item()
        for given in (None, noise)
    ]
    assert errors[1] < 0.1 * errors[0]


def test_noise_known_in_part_is_fitted_elsewhere() -> None:
    rng = np.random.default_rng(1)
    x, y = data(80)
    noise = np.full((80, 2), np.nan)
    noise[:40] = 1e-3
    y = y + torch.as_tensor(rng.normal(size=(80, 2)) * np.where(np.isnan(noise), [0.3, 5.0], noise))
    model = GP(space=unit_box()).fit(x, y, 0, noise=noise)
    found = (model.likelihood.noise * model.outcome_transform.stdvs.mT**2).sqrt().detach().numpy()
    assert found[:, 40:] == pytest.approx(np.repeat([[0.3], [5.0]], 40, axis=1), rel=0.35)
    assert found[:, :40] == pytest.approx(1e-3, abs=0.02)
    measured, function = (model.posterior(x[:1], observation_noise=flag).variance for flag in (True, False))
    assert (measured - function)[0].detach().numpy() == pytest.approx((found**2).mean(axis=1), rel=1e-3)


def test_bad_noise_is_refused() -> None:
    x, y = data(5)
    with pytest.raises(ValueError, match="shape"):
        GP().fit(x, y, 0, noise=np.ones((5, 1)))
    with pytest.raises(ValueError, match=r"rows \[3\]"):
        GP().fit(x, y, 0, noise=np.array([[1, 1], [0, 1], [np.nan, 1], [1, -1], [1, 1]]))


class Solvents(Box):
    """One number and one category of eight levels, one-hot."""

    def __init__(self) -> None:
        super().__init__(parameters={f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(9)})

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column("t", "number"), *(Column("solvent", "category", str(i)) for i in range(8)))


def test_levels_of_a_category_are_exchangeable_and_learned_from_fewer_data() -> None:
    effects = 2 * np.random.default_rng(5).normal(size=8)

    def draw(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng(seed)
        level, t = rng.integers(8, size=n), rng.random(n)
        x = np.concatenate([t[:, None], np.eye(8)[level]], axis=1)
        y = effects[level] + np.sin(5 * t) + 0.05 * rng.normal(size=n)
        return torch.as_tensor(x), torch.as_tensor(y)[:, None]

    known, plain = GP(space=Solvents()), GP(space=unit_box(9))
    x, y = draw(30, 0)
    scales = known.fit(x, y, 0).covar_module.categories.lengthscale.detach().numpy().ravel()
    assert np.ptp(scales) == 0
    swapped = x[:, [0, 8, 7, 6, 5, 4, 3, 2, 1]]
    a, b = (known.fit(each, y, 0).posterior(each).mean.detach() for each in (x, swapped))
    assert torch.allclose(a, b, atol=1e-6)
    ratios = []
    for seed in range(6):
        x, y = draw(24, seed)
        fresh, truth = draw(300, 100 + seed)
        error = [((s.fit(x, y, 0).posterior(fresh).mean - truth) ** 2).mean().item() for s in (known, plain)]
        ratios.append(error[0] / error[1])
    assert np.exp(np.mean(np.log(ratios))) < 0.8, ratios


@pytest.mark.parametrize("kind", ["matern52", "rbf"])
def test_mixed_kernel_equals_its_formula_and_its_features_approach_it(kind: str) -> None:
    x, y = data(30, d=9)
    model = GP(space=Solvents(), kernel=kind).fit(x, y, 0)  # type: ignore[arg-type]
    kernel = model.covar_module
    with torch.no_grad(), torch_seed(0):
        found = kernel(x).to_dense()
        assert torch.allclose(kernel(x, diag=True), found.diagonal(dim1=1, dim2=2))
        features = gen_kernel_features(kernel, num_inputs=9, num_outputs=60_000)
        phi = features(x)
        paths = draw_matheron_paths(model, torch.Size([512]))(x[:5])
        posterior = model.posterior(x[:5])
    for j in range(2):
        scales = [part.lengthscale[j].detach().numpy() for part in (kernel.numbers, kernel.categories)]
        n = kernel_matrix(kind, x[:, :1].numpy(), x[:, :1].numpy(), scales[0])
        c = kernel_matrix(kind, x[:, 1:].numpy(), x[:, 1:].numpy(), scales[1])
        weights = kernel.weights[j].detach().numpy()
        expected = weights[0] * n + weights[1] * c + weights[2] * n * c
        assert found[j].numpy() == pytest.approx(expected, abs=1e-6)
        assert (phi[j] @ phi[j].mT).numpy() == pytest.approx(expected, abs=0.05 * weights.sum())
    assert ((paths.mean(dim=0) - posterior.mean.mT).abs() < 0.3 * y.std(dim=0)[:, None]).all()


def test_many_rows_are_solved_exactly_with_scales_from_a_part() -> None:
    x, z = noisy_data(900)
    fresh = noisy_data(20, seed=1)[0]
    model = GP(space=unit_box(), subset=100).fit(torch.as_tensor(x), torch.as_tensor(z)[:, None], 0)
    scales, noise = (
        model.covar_module.base_kernel.lengthscale.detach().numpy().ravel(),
        float(model.likelihood.noise.detach()),
    )
    mean = float(model.mean_module.constant.detach())
    inverse = np.linalg.inv(signal(model) * kernel_matrix("matern52", x, x, scales) + noise * np.eye(900))
    cross = signal(model) * kernel_matrix("matern52", fresh, x, scales)
    posterior = model.posterior(torch.as_tensor(fresh))
    assert posterior.mean.detach().numpy().ravel() == pytest.approx(mean + cross @ inverse @ (z - mean), abs=1e-6)
    variance = signal(model) - np.einsum("ij,jk,ik->i", cross, inverse, cross)
    assert posterior.variance.detach().numpy().ravel() == pytest.approx(variance, rel=1e-4)
