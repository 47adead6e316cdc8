"""The Gaussian process against the closed form in numpy, BoTorch's process, GPyTorch's fit and scikit-learn's."""

import numpy as np
import pytest
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from gpytorch.constraints import GreaterThan
from gpytorch.kernels import MaternKernel, RBFKernel, ScaleKernel
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.priors import LogNormalPrior
from scipy import stats
from scipy.optimize import check_grad
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Column, Surrogate
from matloop.orchestrator.randomness import torch_seed
from matloop.search_spaces.box import Box
from matloop.search_spaces.pool import Pool
from matloop.surrogates.gaussian_process import gp, hyperparameters
from matloop.surrogates.gaussian_process.columns import Columns
from matloop.surrogates.gaussian_process.covariance import Covariance
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.gaussian_process.hyperparameters import Hyperparameters, Objective
from matloop.surrogates.gaussian_process.process import Process
from matloop.testing.surrogate import SurrogateContract, data


class TestGP(SurrogateContract):
    learned = 0.02

    @pytest.fixture(params=["matern52", "rbf"])
    def surrogate(self, request: pytest.FixtureRequest) -> Surrogate:
        return GP(kernel=request.param)


def unit_box(d: int = 3) -> Box:
    return Box(parameters={f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(d)})


def only(model: Process, j: int = 0) -> Hyperparameters:
    """The single set of hyperparameters of an output."""
    (found,) = model.found[j]
    return found


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
    model = GP(space=space, kernel=kind, draws=1).fit(x, y, 0)  # type: ignore[arg-type]
    found = only(model)
    scales, signal, noise, mean = found.length_scales, found.weights[0], found.noise, found.mean
    lower, upper = space.bounds
    a, b = ((p.numpy() - lower) / (upper - lower) for p in (x, fresh))
    values = y.numpy().ravel()
    centre, spread = values.mean(), values.std(ddof=1)
    z = (values - centre) / spread
    inverse = np.linalg.inv(signal * kernel_matrix(kind, a, a, scales) + noise * np.eye(30))
    cross = signal * kernel_matrix(kind, b, a, scales)
    expected_mean = centre + spread * (mean + cross @ inverse @ (z - mean))
    doubt = (1 - cross @ inverse.sum(axis=1)) / np.sqrt(inverse.sum())  # of the constant mean
    own = signal * kernel_matrix(kind, b, b, scales) + np.outer(doubt, doubt)
    expected_covariance = spread**2 * (own - cross @ inverse @ cross.T)
    posterior = model.posterior(fresh)
    assert posterior.mean.detach().numpy().ravel() == pytest.approx(expected_mean, rel=1e-6)
    covariance = posterior.distribution.covariance_matrix.detach().numpy()
    assert np.abs(covariance - expected_covariance).max() < 1e-6 * np.abs(expected_covariance).max()
    measured = model.posterior(fresh, observation_noise=True).variance.detach().numpy().ravel()
    assert measured == pytest.approx(np.diag(expected_covariance) + noise * spread**2, rel=1e-6)


def test_outputs_are_independent_processes() -> None:
    x, y = data(20)
    fresh, _ = data(5, seed=1)
    both = GP(space=unit_box(), draws=1).fit(x, y, 0).posterior(fresh)
    for j in range(2):
        alone = GP(space=unit_box(), draws=1).fit(x, y[:, [j]], 0).posterior(fresh)
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
    with pytest.raises(ConfigError, match="draws"):
        GP(draws=0)
    with pytest.raises(ConfigError, match="starts"):
        GP(starts=3)


def noisy_data(n: int, d: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, d) in the unit cube and (n,) standardised."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, d))
    y = np.sin(5 * x[:, 0]) + x[:, 1] ** 2 + 0.1 * rng.normal(size=n)
    return x, (y - y.mean()) / y.std(ddof=1)


def of_botorch(kind: str, x: np.ndarray, z: np.ndarray) -> SingleTaskGP:
    """BoTorch's process with our priors; standardised outputs, points of the unit cube."""
    priors = hyperparameters.scale_prior(Columns.all_numbers(x.shape[1]))
    options = {
        "ard_num_dims": x.shape[1],
        "lengthscale_prior": LogNormalPrior(float(priors[0][0]), float(priors[1][0])),
        "lengthscale_constraint": GreaterThan(hyperparameters.LEAST_SCALE, transform=None, initial_value=1.0),
    }
    base = RBFKernel(**options) if kind == "rbf" else MaternKernel(nu=2.5, **options)
    kernel = ScaleKernel(base, outputscale_prior=LogNormalPrior(*hyperparameters.WEIGHT_PRIOR))
    model = SingleTaskGP(torch.as_tensor(x), torch.as_tensor(z)[:, None], covar_module=kernel, outcome_transform=None)
    model.likelihood.noise_covar.register_prior(
        "noise_prior", LogNormalPrior(*hyperparameters.NOISE_PRIOR), lambda module: module.noise
    )
    return model


@pytest.mark.parametrize("kind", ["matern52", "rbf"])
def test_objective_is_that_of_gpytorch_and_the_optimum_at_least_as_good(kind: str) -> None:
    x, z = noisy_data(40)
    objective = Objective(x, z, columns=Columns.all_numbers(3), kernel=kind, variances=np.full(40, np.nan))
    found = hyperparameters.fit(objective, 200)
    model = of_botorch(kind, x, z)
    model.covar_module.base_kernel.lengthscale = torch.as_tensor(found.length_scales)
    model.covar_module.outputscale = float(found.weights[0])
    model.likelihood.noise = found.noise
    model.mean_module.constant.data.fill_(found.mean)
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)

    def loss() -> float:
        model.train()
        return -len(z) * likelihood(model(*model.train_inputs), model.train_targets).item()

    ours = loss()
    assert found.objective == pytest.approx(ours, abs=1e-5)
    fit_gpytorch_mll(likelihood)
    assert ours <= loss() + 1e-2


@pytest.mark.parametrize("kind", ["matern52", "rbf"])
@pytest.mark.parametrize(
    ("groups", "category"),
    [
        ([0, 1, 2], [0, 0, 0]),
        ([0, 1, 1], [0, 0, 0]),
        ([0, 1, 1], [0, 1, 1]),
        ([0, 0, 1, 2, 2, 2], [1, 1, 0, 1, 1, 1]),
        ([0, 0, 1, 1, 1], [1, 1, 1, 1, 1]),
    ],
)
def test_gradient_equals_finite_differences(kind: str, groups: list[int], category: list[int]) -> None:
    x, z = noisy_data(20, max(3, len(groups)))
    variances = np.where(np.arange(20) < 5, 0.04, np.nan)
    columns = Columns(np.array(groups), np.array(category, dtype=bool))
    objective = Objective(x, z, columns=columns, kernel=kind, variances=variances)
    for seed in range(3):
        logs = np.random.default_rng(seed).normal(scale=0.5, size=max(groups) + 2 + len(objective.weight_location))
        assert check_grad(lambda q: objective(q)[0], lambda q: objective(q)[1], logs) < 1e-4


def test_likelihood_with_known_noise_equals_that_of_scikit_learn() -> None:
    """Up to the priors and the constant mean, which scikit-learn does not have."""
    x, z = noisy_data(25)
    variances = np.linspace(0.01, 0.3, 25)
    logs = np.log([0.4, 0.9, 2.0, 1.7, 1e-2])
    objective = Objective(x, z, columns=Columns.all_numbers(3), kernel="matern52", variances=variances)
    value = objective(logs)[0]
    location, deviations = hyperparameters.scale_prior(Columns.all_numbers(3))
    priors = np.append(location, hyperparameters.WEIGHT_PRIOR[0])
    width = np.append(deviations, hyperparameters.WEIGHT_PRIOR[1])
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
    found = np.array([np.sqrt(only(model, j).noise) * model.task.scale[j] for j in range(2)])
    assert found == pytest.approx([0.3, 5.0], rel=0.35)
    measured, function = (model.posterior(x[:1], observation_noise=flag).variance for flag in (True, False))
    expected = (np.maximum(1e-6, 1e-6 / model.task.scale**2) * model.task.scale**2 + found**2) / 2
    assert (measured - function)[0].detach().numpy() == pytest.approx(expected, rel=1e-3)


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
    assert all(np.ptp(one.length_scales[1:]) == 0 for one in known.fit(x, y, 0).found[0])
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


class Reactions(Solvents):
    """One number between two categories of three and five levels."""

    @property
    def columns(self) -> tuple[Column, ...]:
        kinds = ["base"] * 3 + ["t"] + ["ligand"] * 5
        return tuple(Column(name, "number" if name == "t" else "category", str(i)) for i, name in enumerate(kinds))


def reactions(n: int, seed: int = 0) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """(n, 9) encoded points, (n,) numbers and (n, 2) levels."""
    rng = np.random.default_rng(seed)
    base, t, ligand = rng.integers(3, size=n), rng.random(n), rng.integers(5, size=n)
    x = np.concatenate([np.eye(3)[base], t[:, None], np.eye(5)[ligand]], axis=1)
    return torch.as_tensor(x), t, np.stack([base, ligand], axis=1)


def by_hand(kind: str, t: np.ndarray, levels: np.ndarray, found: Hyperparameters) -> np.ndarray:
    """Covariance between n points, entry by entry as the formula says."""
    s, s_base, s_ligand = found.length_scales[3], found.length_scales[0], found.length_scales[4]
    product, trend, of_base, of_ligand = found.weights
    matrix = np.zeros((len(t), len(t)))
    for i in range(len(t)):
        for j in range(len(t)):
            number = kernel_matrix(kind, t[[i], None], t[[j], None], np.array([s]))[0, 0]
            base, ligand = levels[i] != levels[j]
            matrix[i, j] = product * number * np.exp(-(base / s_base**2) - ligand / s_ligand**2)
            matrix[i, j] += trend * number + of_base * (not base) + of_ligand * (not ligand)
    return matrix


@pytest.mark.parametrize("kind", ["matern52", "rbf"])
def test_covariance_of_categories_equals_its_formula_in_the_fit_and_in_the_model(kind: str) -> None:
    x, t, levels = reactions(12)
    columns = Columns.of(Reactions(), 9)
    found = Hyperparameters(
        length_scales=np.array([0.9] * 3 + [0.4] + [1.7] * 5),
        weights=np.array([0.8, 0.3, 0.5, 0.2]), noise=0.05, mean=0.0, mean_deviation=0.0, objective=0.0,
    )  # fmt: skip
    expected = by_hand(kind, t, levels, found)
    covariance = Covariance(columns, kind, [found])
    assert covariance(x, x)[0].numpy() == pytest.approx(expected, abs=1e-12)
    assert covariance.diagonal(x)[0].numpy() == pytest.approx(expected.diagonal(), abs=1e-12)
    z = np.random.default_rng(1).normal(size=12)
    objective = Objective(x.numpy(), z, columns=columns, kernel=kind, variances=np.full(12, np.nan))
    value, _ = objective(objective.logs(found))
    rest, matrix = z - objective.mean, expected + 0.05 * np.eye(12)
    density = -0.5 * (rest @ np.linalg.solve(matrix, rest) + np.linalg.slogdet(2 * np.pi * matrix)[1])
    priors = [*hyperparameters.scale_prior(columns), *hyperparameters.weight_prior(columns)]
    for values, location, width in (
        (found.length_scales[[0, 3, 4]], priors[0], priors[1]),
        (found.weights, priors[2], priors[3]),
        (np.array([found.noise]), *hyperparameters.NOISE_PRIOR),
    ):
        density += stats.lognorm.logpdf(values, width, scale=np.exp(location)).sum()
    assert -value == pytest.approx(density, abs=1e-9)


@pytest.mark.parametrize("kind", ["matern52", "rbf"])
def test_random_functions_have_the_covariance_of_the_formula_and_paths_that_of_the_posterior(kind: str) -> None:
    x, t, levels = reactions(8)
    model = GP(space=Reactions(), kernel=kind, draws=1).fit(
        x, torch.as_tensor(np.sin(4 * t) + levels[:, 1])[:, None], 0
    )  # type: ignore[arg-type]
    with torch_seed(0), torch.no_grad():
        prior = torch.stack([model.outputs[0].covariance.draw()(x) for _ in range(3000)])
        expected = torch.as_tensor(by_hand(kind, t, levels, only(model)))
        tolerance = 0.08 * float(expected.diagonal().mean())
        assert (torch.cov(prior.T) - expected).abs().max() < tolerance
        fresh = reactions(6, seed=1)[0]
        paths = torch.stack([model.draw_function()(fresh)[:, 0] for _ in range(2000)])
        posterior = model.posterior(fresh)
    std = posterior.variance[:, 0].sqrt()
    assert ((paths.mean(dim=0) - posterior.mean[:, 0]).abs() < 0.1 * std).all()
    found = torch.cov(paths.T) / std / std[:, None]
    assert (found - posterior.distribution.covariance_matrix / std / std[:, None]).abs().max() < 0.12


def test_where_levels_only_shift_the_outcome_the_additive_part_has_the_weight() -> None:
    """Ten levels each of two categories, outcomes that are sums: half of all pairs foretell the others."""
    pairs = [(a, b) for a in range(10) for b in range(10)]
    space = Pool(points=[{"a": f"a{a}", "b": f"b{b}"} for a, b in pairs])
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=10), rng.normal(size=10)
    y = np.array([first[a] + second[b] for a, b in pairs])
    order = rng.permutation(100)
    x = torch.as_tensor(space.encode(space.points))
    model = GP(space=space, draws=1).fit(x[order[:50]], torch.as_tensor(y[order[:50]])[:, None], 0)
    found = only(model)
    assert found.weights[1:].sum() > 3 * found.weights[0]
    with torch.no_grad():
        error = model.posterior(x[order[50:]]).mean[:, 0].numpy() - y[order[50:]]
    assert np.sqrt((error**2).mean()) < 0.2 * y.std()


def test_averaging_has_the_moments_of_the_mixture_and_ends_with_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data(15)
    fresh, _ = data(5, seed=1)
    model = GP(space=unit_box(), draws=6).fit(x, y[:, :1], 0)
    each = [Process(model.task, [[one]]).posterior(fresh) for one in model.found[0]]
    means = torch.stack([one.mean[:, 0] for one in each])
    inner = torch.stack([one.distribution.covariance_matrix for one in each]).mean(dim=0)
    posterior = model.posterior(fresh)
    assert torch.allclose(posterior.mean[:, 0], means.mean(dim=0))
    assert torch.allclose(posterior.distribution.covariance_matrix, inner + torch.cov(means.T, correction=0))
    monkeypatch.setattr(gp, "AVERAGED_AT_MOST", 14)
    assert len(GP(space=unit_box(), draws=6).fit(x, y[:, :1], 0).found[0]) == 1


def test_a_level_that_was_never_measured_is_more_uncertain_than_one_that_was() -> None:
    x, t, levels = reactions(20)
    seen = levels[:, 1] != 4
    y = torch.as_tensor(np.sin(4 * t) + np.array([0.0, 1.0, -1.0, 2.0, 0.0])[levels[:, 1]])[:, None]
    model = GP(space=Reactions()).fit(x[seen], y[seen], 0)
    known = x[seen][:1].repeat(2, 1)
    known[1, 4:], known[1, 8] = 0.0, 1.0
    near, new = model.posterior(known.unsqueeze(1)).variance[:, 0, 0].sqrt().tolist()
    assert new > 3 * near
    assert new > 0.5 * float(y[seen].std())


def test_equal_outcomes_leave_a_model_that_can_be_asked() -> None:
    x, _ = data(4)
    posterior = GP(space=unit_box()).fit(x, torch.zeros(4, 1, dtype=torch.float64), 0).posterior(x)
    assert torch.allclose(posterior.mean, torch.zeros_like(posterior.mean), atol=1e-9)
    assert (posterior.variance > 0).all()


def test_a_list_of_points_scales_the_inputs_not_the_few_that_were_measured() -> None:
    """Two neighbours out of a long range: what lies far from both is unknown."""
    space = Pool(points=[{"t": float(t)} for t in range(101)])
    x = torch.as_tensor(space.encode([{"t": 50.0}, {"t": 51.0}]))
    y = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    variance = GP(space=space).fit(x, y, 0).posterior(torch.as_tensor(space.encode([{"t": 0.0}, {"t": 52.0}]))).variance
    assert variance[0] > 3 * variance[1]


def test_many_rows_are_solved_exactly_with_scales_from_a_part() -> None:
    x, z = noisy_data(900)
    fresh = noisy_data(20, seed=1)[0]
    model = GP(space=unit_box(), subset=100).fit(torch.as_tensor(x), torch.as_tensor(z)[:, None], 0)
    found = only(model)
    scales, signal, noise, mean = found.length_scales, found.weights[0], found.noise, found.mean
    inverse = np.linalg.inv(signal * kernel_matrix("matern52", x, x, scales) + noise * np.eye(900))
    cross = signal * kernel_matrix("matern52", fresh, x, scales)
    posterior = model.posterior(torch.as_tensor(fresh))
    assert posterior.mean.detach().numpy().ravel() == pytest.approx(mean + cross @ inverse @ (z - mean), abs=1e-6)
    variance = signal - np.einsum("ij,jk,ik->i", cross, inverse, cross)
    variance += (1 - cross @ inverse.sum(axis=1)) ** 2 * found.mean_deviation**2
    assert posterior.variance.detach().numpy().ravel() == pytest.approx(variance, rel=1e-4)
