"""What is expected of measurements of which only a limit is known, against quadrature, sampling and the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from matloop.surrogates.blend import Blend
from matloop.surrogates.censored import Prior, find
from matloop.surrogates.forest import Forest
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.outputs import fit_each

UNKNOWN = np.nan


@settings(max_examples=60, deadline=None)
@given(
    mean=st.floats(-5, 5),
    std=st.floats(0.1, 5),
    noise=st.floats(0.01, 2),
    limit=st.floats(-8, 8),
    side=st.sampled_from([-1, 1]),
)
def test_one_limit_is_the_truncated_normal(mean, std, noise, limit, side):
    """Of one limit the approximation is exact: the function's moments under Phi, by quadrature."""
    prior = Prior(np.array([mean]), np.array([[std**2]]), noise**2)
    sites = find(prior, np.array([limit]), np.array([UNKNOWN]), np.array([side]))
    total = np.hypot(std, noise)
    bounds = (-np.inf, (limit - mean) / total) if side < 0 else ((limit - mean) / total, np.inf)
    measured = stats.truncnorm(*bounds, loc=mean, scale=total)
    assert sites.expected[0] == pytest.approx(measured.mean(), abs=1e-5 * total)
    assert sites.deviation[0] == pytest.approx(measured.std(), abs=1e-4 * total)
    if not np.isfinite(sites.variance[0]):
        assert stats.norm.sf(side * (mean - limit) / total) < 0.01  # it was all but certain before
        return

    grid = np.linspace(min(mean, limit) - 10 * std, max(mean, limit) + 10 * std, 100_001)
    logs = stats.norm.logpdf(grid, mean, std) + stats.norm.logcdf(side * (grid - limit) / noise)
    weight = np.exp(logs - logs.max())
    weight /= integrate.trapezoid(weight, grid)
    wanted = integrate.trapezoid(grid * weight, grid)
    spread = integrate.trapezoid((grid - wanted) ** 2 * weight, grid)
    precision = 1 / std**2 + 1 / sites.variance[0]
    assert (mean / std**2 + sites.mean[0] / sites.variance[0]) / precision == pytest.approx(wanted, abs=2e-3 * std)
    assert 1 / precision == pytest.approx(spread, rel=0.02)


def test_several_limits_are_what_sampling_says():
    """Correlated limits on both sides beside exact values; the oracle draws the process and keeps what fits."""
    rng = np.random.default_rng(3)
    x = np.array([0.0, 0.2, 0.5, 0.6, 1.0])
    covariance = 2.0 * np.exp(-0.5 * (x[:, None] - x) ** 2 / 0.3**2)
    prior = Prior(np.full(5, 0.5), covariance, 0.04)
    y, side = np.array([1.0, 0.4, 0.2, 0.9, 0.0]), np.array([0, -1, 0, 1, -1])
    sites = find(prior, y, np.full(5, UNKNOWN), side)
    exact, limits = side == 0, side != 0
    inner = covariance[np.ix_(exact, exact)] + 0.04 * np.eye(2)
    cross = covariance[np.ix_(exact, limits)]
    mean = 0.5 + cross.T @ np.linalg.solve(inner, y[exact] - 0.5)
    left = covariance[np.ix_(limits, limits)] - cross.T @ np.linalg.solve(inner, cross)
    functions = rng.multivariate_normal(mean, left, size=2_000_000)
    measured = functions + 0.2 * rng.normal(size=functions.shape)
    kept = ((measured - y[limits]) * side[limits] > 0).all(axis=1)
    precision = np.linalg.inv(left) + np.diag(1 / sites.variance)
    found = np.linalg.solve(precision, np.linalg.solve(left, mean) + sites.mean / sites.variance)
    assert found == pytest.approx(functions[kept].mean(axis=0), abs=0.02)
    assert np.linalg.inv(precision).diagonal() == pytest.approx(functions[kept].var(axis=0), rel=0.05)
    assert sites.expected == pytest.approx(measured[kept].mean(axis=0), abs=0.02)


def test_a_limit_that_was_clear_before_says_nothing():
    prior = Prior(np.array([0.0, 0.0]), np.eye(2), 0.01)
    sites = find(prior, np.array([9.0, -9.0]), np.full(2, UNKNOWN), np.array([-1, 1]))
    assert np.isinf(sites.variance).all() and sites.expected == pytest.approx([0.0, 0.0], abs=1e-6)


def test_a_limit_that_surprises_moves_the_mean_beyond_it():
    prior = Prior(np.array([0.0]), np.array([[1.0]]), 0.01)
    sites = find(prior, np.array([30.0]), np.array([UNKNOWN]), np.array([1]))
    assert 30.0 < sites.expected[0] < 30.5 and np.isfinite([sites.mean[0], sites.variance[0]]).all()


def smooth(x: torch.Tensor) -> torch.Tensor:
    return torch.sin(4 * x[:, 0]) + 2 * x[:, 1] ** 2 - 0.6


def errors(family, seed: int) -> dict[str, float]:
    """Root mean square error beyond the limit, with the limits used, dropped, and taken for values."""
    rng = np.random.default_rng(seed)
    x, places = torch.as_tensor(rng.random((30, 2))), torch.as_tensor(rng.random((300, 2)))
    y = (smooth(x) + 0.05 * torch.as_tensor(rng.normal(size=30)))[:, None]
    limit = float(y.quantile(0.4))
    low = y[:, 0].numpy() < limit
    told, unknown = y.clamp_min(limit), np.full((30, 1), UNKNOWN)
    beyond = smooth(places) < limit
    models = {
        "used": fit_each(family, x, told, 0, unknown, np.where(low, -1, 0)[:, None], GP()),
        "dropped": family.fit(x[~low], told[~low], 0),
        "taken": family.fit(x, told, 0),
    }
    with torch.no_grad():
        means = {name: model.posterior(places).mean[:, 0] for name, model in models.items()}
    return {name: float((mean - smooth(places))[beyond].square().mean().sqrt()) for name, mean in means.items()}


@pytest.mark.parametrize("family", [GP(), Blend(), Forest()], ids=lambda family: type(family).__name__)
def test_limits_are_worth_more_than_nothing_and_more_than_values(family):
    found = [errors(family, seed) for seed in range(4)]
    mean = {name: np.mean([one[name] for one in found]) for name in found[0]}
    assert mean["used"] < 0.85 * min(mean["dropped"], mean["taken"]), mean


@pytest.mark.parametrize("family", [GP(), Blend()], ids=lambda family: type(family).__name__)
def test_minimising_the_negative_is_the_same(family):
    rng = np.random.default_rng(1)
    x = torch.as_tensor(rng.random((14, 2)))
    y = smooth(x)[:, None]
    low = y[:, 0].numpy() < 0.0
    side, unknown = np.where(low, -1, 0)[:, None], np.full((14, 1), UNKNOWN)
    one = fit_each(family, x, y.clamp_min(0.0), 0, unknown, side, GP())
    other = fit_each(family, x, -y.clamp_min(0.0), 0, unknown, -side, GP())
    with torch.no_grad():
        a, b = one.posterior(x), other.posterior(x)
    assert a.mean.numpy() == pytest.approx(-b.mean.numpy(), abs=2e-2)
    assert a.variance.numpy() == pytest.approx(b.variance.numpy(), rel=0.2, abs=1e-3)


@pytest.mark.parametrize("family", [GP(), Blend()], ids=lambda family: type(family).__name__)
def test_a_new_measurement_is_not_as_vague_as_the_limits(family):
    """The noise that is predicted is that of what was measured."""
    rng = np.random.default_rng(2)
    x = torch.as_tensor(rng.random((24, 1)))
    y = (3 * x + 0.05 * torch.as_tensor(rng.normal(size=(24, 1)))).clamp_min(1.5)
    side = np.where(y[:, 0].numpy() <= 1.5, -1, 0)[:, None]
    model = fit_each(family, x, y, 0, np.full((24, 1), UNKNOWN), side, GP())
    place = torch.tensor([[0.8]], dtype=torch.float64)
    with torch.no_grad():
        added = model.posterior(place, observation_noise=True).variance - model.posterior(place).variance
    assert float(added) ** 0.5 < 0.15


@pytest.mark.parametrize("family", [GP(), Blend()], ids=lambda family: type(family).__name__)
def test_stated_noise_and_limits_go_together(family):
    rng = np.random.default_rng(4)
    x = torch.as_tensor(rng.random((16, 2)))
    y, side = smooth(x)[:, None].clamp_max(0.8), np.zeros((16, 1), dtype=int)
    side[y[:, 0].numpy() >= 0.8] = 1
    noise = np.where(np.arange(16)[:, None] % 2, 0.05, UNKNOWN)
    model = fit_each(family, x, y, 0, noise, side, GP())
    with torch.no_grad():
        at_limits = model.posterior(x[side[:, 0] > 0]).mean
    assert bool((at_limits > 0.75).all())


def test_limits_alone_give_a_model():
    """All yields below what can be seen: nothing says how far below, and the model stands at the limit."""
    x = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
    y = torch.tensor([[0.1], [0.1], [0.2], [0.1], [0.2]], dtype=torch.float64)
    for values in (y, torch.full_like(y, 0.1)):
        model = fit_each(Blend(), x, values, 0, np.full((5, 1), UNKNOWN), np.full((5, 1), -1), GP())
        with torch.no_grad():
            found = model.posterior(x)
        assert bool(found.mean.isfinite().all()) and bool((found.mean < 0.25).all())
