"""Draws of hyperparameters against importance sampling from the prior, and the models made of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from botorch.models.model import Model
from scipy import stats

from matloop.orchestrator.randomness import derive
from matloop.surrogates.gaussian_process import hyperparameters, hyperposterior, process
from matloop.surrogates.gaussian_process.columns import Columns
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.gaussian_process.hyperparameters import NOISE_PRIOR, WEIGHT_PRIOR, Array, Objective
from matloop.testing.surrogate import data


def problem(n: int = 9, d: int = 2, known: float = np.nan) -> Objective:
    rng = derive("hyperposterior", n, d)
    x = rng.random((n, d))
    z = np.sin(5 * x[:, 0]) + 0.1 * rng.normal(size=n)
    return Objective(
        x, (z - z.mean()) / z.std(), columns=Columns.all_numbers(d), kernel="rbf", variances=np.full(n, known)
    )


def weighed(objective: Objective, known: float, count: int = 60_000) -> tuple[Array, Array]:
    """(count, p) logarithms from their prior, and the likelihood of each; written anew, in plain numpy.

    A log-normal density has, as a function of the logarithm, the shape of a normal one about its mode.
    """
    location, width = objective.location, objective.width
    d, n = len(location), len(objective.z)
    means = np.concatenate([location - width**2, [WEIGHT_PRIOR[0] - 1], [NOISE_PRIOR[0] - 1]])
    logs = means + derive("prior").normal(size=(count, d + 2))
    lower, upper = objective.bounds()
    logs = logs[((logs >= lower) & (logs <= upper)).all(axis=1)]
    a = objective.numbers / np.exp(logs[:, None, :d])
    squares = ((a[:, :, None] - a[:, None]) ** 2).sum(axis=-1)
    noise = np.exp(logs[:, -1]) if np.isnan(known) else np.full(len(logs), known)
    matrices = np.exp(logs[:, d])[:, None, None] * np.exp(-squares / 2) + noise[:, None, None] * np.eye(n)
    inverses = np.linalg.inv(matrices)
    constants = inverses.sum(axis=1) @ objective.z / inverses.sum(axis=(1, 2))
    rest = objective.z - constants[:, None]
    log = -0.5 * (np.einsum("si,sij,sj->s", rest, inverses, rest) + np.linalg.slogdet(matrices)[1])
    return logs, np.exp(log - log.max())


@pytest.mark.parametrize("known", [np.nan, 0.01], ids=["noise fitted", "noise known"])
def test_draws_have_the_moments_of_the_posterior(known: float) -> None:
    objective = problem(known=known)
    prior, weights = weighed(objective, known)
    weights /= weights.sum()
    assert 1 / (weights**2).sum() > 1000, "the oracle itself needs enough points that count"
    drawn = hyperposterior.draw(objective, hyperparameters.fit(objective, 200), 1500, derive("draws"))
    logs = np.array([objective.logs(one) for one in drawn])
    free = logs.shape[1] - (not np.isnan(known))
    mean = weights @ prior
    deviation = np.sqrt(weights @ (prior - mean) ** 2)
    off = (logs.mean(axis=0) - mean) / deviation
    assert np.abs(off[:free]).max() < 0.15
    assert np.abs(np.log(logs.std(axis=0)[:free] / deviation[:free])).max() < 0.15
    ranks = [float(weights[prior[:, j] < np.median(logs[:, j])].sum()) for j in range(free)]
    assert ranks == pytest.approx([0.5] * free, abs=0.08)


def test_draws_are_hardly_alike() -> None:
    """The recommender asks for 16: they must count for nearly as many independent ones."""
    objective = problem(30, 4)
    drawn = hyperposterior.draw(objective, hyperparameters.fit(objective, 200), 600, derive("draws"))
    logs = np.array([objective.logs(one) for one in drawn])
    alike = [np.corrcoef(logs[:-1, j], logs[1:, j])[0, 1] for j in range(logs.shape[1])]
    assert max(alike) < 0.5


def test_the_constant_mean_is_drawn_with_its_error() -> None:
    objective = problem()
    mode = hyperparameters.fit(objective, 200)
    ones = np.ones(len(objective.z))
    shifts = []
    for one in hyperposterior.draw(objective, mode, 400, derive("draws")):
        a = objective.numbers / one.length_scales
        matrix = one.weights[0] * np.exp(-((a[:, None] - a) ** 2).sum(-1) / 2) + one.noise * np.eye(len(ones))
        weighed = np.linalg.solve(matrix, ones)
        shifts.append((one.mean - weighed @ objective.z / weighed.sum()) * np.sqrt(weighed.sum()))
    assert stats.kstest(shifts, "norm").pvalue > 0.01


@pytest.fixture
def family() -> GP:
    return GP()


def mean_of(model: Model, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.posterior(x).mean


def test_models_are_drawn_by_seed_alone_and_leave_the_fitted_one_as_it_was(family: GP) -> None:
    x, y = data(20)
    fresh, _ = data(10, seed=1)
    model = family.fit(x, y, 0)
    before = mean_of(model, fresh)
    first, again, other = (model.hyperparameter_draws(3, seed) for seed in (1, 1, 2))
    assert torch.equal(mean_of(model, fresh), before)
    assert len(first) == 3
    for a, b, c in zip(first, again, other, strict=True):
        assert torch.equal(mean_of(a, fresh), mean_of(b, fresh))
        assert not torch.equal(mean_of(a, fresh), mean_of(c, fresh))
    assert not torch.equal(mean_of(first[0], fresh), mean_of(first[1], fresh))
    assert all(mean_of(one, fresh).shape == (10, 2) for one in first)


def test_the_unit_of_the_outcome_does_not_matter(family: GP) -> None:
    x, y = data(20)
    fresh, _ = data(10, seed=1)
    one, other = (family.fit(x, values, 0).hyperparameter_draws(2, 0) for values in (y, 1000 * y - 5))
    for a, b in zip(one, other, strict=True):
        assert torch.allclose(mean_of(b, fresh), 1000 * mean_of(a, fresh) - 5, rtol=1e-3, atol=1.0)


def test_noise_that_is_known_stays_as_it_is(family: GP) -> None:
    x, y = data(12)
    noise = np.full((12, 2), np.nan)
    noise[::2] = 0.3
    for model in family.fit(x, y, 0, noise=noise).hyperparameter_draws(2, 0):
        fitted = np.array([one.noise for (one,) in model.found]) * model.task.scale**2
        assert model.noise().numpy() == pytest.approx((0.09 + fitted) / 2, rel=1e-6)


def test_where_rows_are_many_the_fitted_model_stands_for_all(family: GP, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "DRAWN_AT_MOST", 19)
    x, y = data(20)
    model = family.fit(x, y, 0)
    fresh, _ = data(10, seed=1)
    drawn = model.hyperparameter_draws(4, 0)
    assert len(drawn) == 1
    assert torch.equal(mean_of(drawn[0], fresh), mean_of(model, fresh))
