"""The fitness predictor."""

from __future__ import annotations

import numpy as np
import pytest
from deap import base, tools
from scipy.special import ndtri
from scipy.stats import spearmanr

from orchestrator.errors import ConfigError
from surrogates.fitness_svm import FitnessSVM, fronts, standing


def data(n: int, seed: int = 0, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).random((n, d)) * [1, 10, 100, 1, 1, 1]
    return x, (x[:, :1] * 3 + (x[:, 1:2] - 5) ** 2 / 10 + x[:, 2:3] / 50)


def test_ranks_new_points_and_knows_how_well() -> None:
    x, y = data(80)
    model = FitnessSVM().fit(x, y, seed=1)
    new, truth = data(400, seed=2)
    measured = spearmanr(model.predict(new).mean(axis=0), truth[:, 0]).statistic
    assert measured > 0.85
    assert model.skill == pytest.approx(measured, abs=0.1)


def test_learns_ranks_so_that_units_and_outliers_do_not_matter() -> None:
    x, y = data(60)
    a, b = FitnessSVM().fit(x, y, seed=1), FitnessSVM().fit(x * 1e3 - 7, np.exp(y * 3), seed=1)
    np.testing.assert_allclose(a.predict(x), b.predict(x * 1e3 - 7), atol=1e-6)


def test_no_skill_on_noise() -> None:
    rng = np.random.default_rng(3)
    skills = [FitnessSVM().fit(rng.random((80, 6)), rng.random((80, 1)), seed=s).skill for s in range(10)]
    assert abs(np.mean(skills)) < 0.2


def test_fit_is_a_function_of_data_and_seed() -> None:
    x, y = data(50)
    a, b, c = (FitnessSVM().fit(x, y, seed=s).predict(x) for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_machines_disagree_more_where_there_are_no_data() -> None:
    x, y = data(60)
    model = FitnessSVM(members=20, share=0.5).fit(x, y, seed=0)
    inside = ndtri(model.predict(x)).std(axis=0).mean()
    outside = ndtri(model.predict(x + np.array([1, 10, 100, 1, 1, 1]))).std(axis=0).mean()
    assert outside > 1.3 * inside


def test_survives_constant_columns_and_equal_losses() -> None:
    model = FitnessSVM().fit(np.ones((10, 3)), np.zeros((10, 1)), seed=0)
    assert model.skill == 0.0
    assert np.isfinite(model.predict(np.zeros((4, 3)))).all()


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
    [{"children": 1}, {"members": 1}, {"share": 1.0}, {"regularisation": 0.0}, {"window": 5}, {"unscreened": 2.0}],
)
def test_bad_options_are_config_errors(bad: dict) -> None:
    with pytest.raises(ConfigError, match="expected svm option"):
        FitnessSVM(**bad)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="expected x"):
        FitnessSVM().fit(np.zeros((5, 2)), np.zeros(5), seed=0)
