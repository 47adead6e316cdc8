"""The fitness predictor."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from deap import base, tools
from scipy.integrate import quad
from scipy.special import ndtri
from scipy.stats import norm, spearmanr

from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.fitness_svm import FitnessSVM, fronts, standing


def data(n: int, seed: int = 0, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).random((n, d)) * [1, 10, 100, 1, 1, 1]
    return x, (x[:, :1] * 3 + (x[:, 1:2] - 5) ** 2 / 10 + x[:, 2:3] / 50)


def test_ranks_new_points_and_knows_how_well() -> None:
    x, y = data(80)
    model = FitnessSVM().fit(x, y)
    new, truth = data(400, seed=2)
    measured = spearmanr(model.predict(new)[0], truth[:, 0]).statistic
    assert measured > 0.9
    assert model.skill == pytest.approx(measured, abs=0.1)
    assert 0.8 < model.trust < model.skill


def test_learns_ranks_so_that_units_and_outliers_do_not_matter() -> None:
    x, y = data(60)
    a, b = FitnessSVM().fit(x, y), FitnessSVM().fit(x * 1e3 - 7, np.exp(y * 3))
    np.testing.assert_allclose(a.predict(x), b.predict(x * 1e3 - 7), atol=1e-6)


def test_no_skill_and_no_trust_on_noise() -> None:
    rng = np.random.default_rng(3)
    models = [FitnessSVM().fit(rng.random((80, 6)), rng.random((80, 1))) for _ in range(8)]
    assert np.mean([model.skill for model in models]) < 0.1
    assert np.median([model.trust for model in models]) == 0.0


def test_is_less_sure_where_there_are_no_data_and_surer_of_what_is_pending() -> None:
    x, y = data(60)
    model = FitnessSVM().fit(x, y)
    outside = x + np.array([1, 10, 100, 1, 1, 1])
    inside_std, outside_std = model.predict(x)[1].mean(), model.predict(outside)[1].mean()
    assert outside_std > 1.5 * inside_std
    assert model.believing(outside).predict(outside)[1].mean() < 0.5 * outside_std


@pytest.mark.parametrize("ahead", [-9.0, -4.0, -1.5, -1.0, 0.0, 2.5])
def test_improvement_is_the_expectation(ahead: float) -> None:
    """Oracle: the integral of max(best - score, 0) over the predicted distribution, near and far from the best."""
    x, y = data(60)
    model = FitnessSVM().fit(x, y)
    new = data(1, seed=4)[0]
    (mean,), (std,) = model.predict(new)
    model.__dict__["best"] = mean + ahead * std
    expected, _ = quad(lambda t: t * norm.pdf(t, ahead, 1.0), 0.0, max(ahead, 0.0) + 9.0, epsabs=0.0)
    np.testing.assert_allclose(model.improvement(new), [np.log(std * expected)], rtol=1e-6)


def test_the_best_is_the_best_prediction_of_what_was_learnt() -> None:
    x, y = data(60)
    model = FitnessSVM().fit(x, y)
    assert model.best == pytest.approx(model.predict(x)[0].min())
    worst, best = x[np.argmax(y[:, 0])][None], x[np.argmin(y[:, 0])][None]
    assert -np.inf < model.improvement(worst)[0] < model.improvement(best)[0]


def test_ranks_are_those_of_the_scores() -> None:
    x, y = data(60)
    model = FitnessSVM().fit(x, y)
    ranks, spread = model.ranks(x)
    assert spearmanr(ranks, standing(y)).statistic > 0.95
    np.testing.assert_allclose(ndtri(ranks), model.predict(x)[0], atol=1e-9)
    assert ((spread > 0) & (spread < 0.5)).all()


def test_a_full_window_is_fitted_in_time() -> None:
    """What a fit costs follows from the window alone: 500 trials cost no more than 20 decompositions of that size."""
    x, y = data(500, d=6)
    fit, decompose = _seconds(lambda: FitnessSVM().fit(x, y)), _seconds(lambda: np.linalg.eigh(x @ x.T))
    assert fit < 20 * decompose


def _seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(2):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def test_survives_constant_columns_and_equal_losses() -> None:
    model = FitnessSVM().fit(np.ones((10, 3)), np.zeros((10, 1)))
    assert model.skill == 0.0
    assert np.isfinite(model.predict(np.zeros((4, 3)))).all()
    assert np.isfinite(model.improvement(np.zeros((4, 3)))).all()


def test_fronts_equal_those_of_deap() -> None:
    losses = np.random.default_rng(0).integers(0, 12, (60, 3)).astype(float)
    fitness = type("Fitness", (base.Fitness,), {"weights": (-1.0,) * 3})
    individuals = [
        type("Individual", (), {"fitness": fitness(tuple(row)), "number": i})() for i, row in enumerate(losses)
    ]
    expected = np.empty(60, dtype=int)
    for level, front in enumerate(tools.sortNondominated(individuals, 60)):
        for individual in front:
            expected[individual.number] = level
    np.testing.assert_array_equal(fronts(losses), expected)


def test_standing_is_the_normalised_rank() -> None:
    np.testing.assert_allclose(standing(np.array([[3.0], [1.0], [2.0], [2.0]])), [1.0, 0.0, 0.5, 0.5])
    np.testing.assert_allclose(standing(np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]])), [0.25, 0.25, 1.0])
    np.testing.assert_allclose(standing(np.array([[5.0]])), [0.0])


@pytest.mark.parametrize(
    "bad",
    [{"children": 1}, {"generations": 0}, {"window": 5}, {"unscreened": 2.0}, {"refit_every": 0}],
)
def test_bad_options_are_config_errors(bad: dict) -> None:
    with pytest.raises(ConfigError, match="expected svm option"):
        FitnessSVM(**bad)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="expected x"):
        FitnessSVM().fit(np.zeros((5, 2)), np.zeros(5))
