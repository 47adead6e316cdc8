"""Recalibration: the truth is found again, and fresh predictions become honest."""

import numpy as np
import pytest
from scipy.special import ndtri

from matloop.surrogates.uncertainty.calibration import Quantiles, covering_scale, recalibrate, recorded_scale
from matloop.surrogates.uncertainty.metrics import coverage, miscalibration_area, nll


def draws(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions and measurements with an unequal spread of which (2 * spread)² + 0.3² is the true variance."""
    rng = np.random.default_rng(seed)
    mean, spread = rng.normal(size=n), rng.uniform(0.05, 1.0, size=n)
    return mean, spread, mean + rng.normal(size=n) * np.hypot(2 * spread, 0.3)


def test_recalibration_finds_the_true_scale_and_noise() -> None:
    calibration = recalibrate(*draws(20_000), prior=0.0)
    assert calibration.scale == pytest.approx(2.0, rel=0.02)
    assert calibration.noise == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize("n", [5, 20, 200])
def test_recalibration_beats_the_raw_spread_on_fresh_data(n: int) -> None:
    fresh = draws(5_000, seed=1)
    raw = nll(*fresh)
    for seed in range(2, 7):
        calibration = recalibrate(*draws(n, seed))
        assert nll(fresh[0], calibration.std(fresh[1]), fresh[2]) < raw


def test_recalibration_follows_the_unit() -> None:
    mean, spread, y = draws(50)
    one, thousand = recalibrate(mean, spread, y), recalibrate(1000 * mean, 1000 * spread, 1000 * y)
    assert thousand.scale == pytest.approx(one.scale, rel=1e-4)
    assert thousand.noise == pytest.approx(1000 * one.noise, rel=1e-4)


def test_recalibration_of_degenerate_predictions() -> None:
    y = np.array([1.0, 2.0, 4.0])
    flat = recalibrate(np.zeros(3), np.zeros(3), y)
    assert flat.noise == pytest.approx(np.sqrt(np.mean(y**2)))
    perfect = recalibrate(y, np.zeros(3), y)
    assert 0 < perfect.noise < 1e-10


def test_recalibration_finds_a_noise_that_varies_as_the_model_says() -> None:
    rng = np.random.default_rng(0)
    mean, spread, shape = rng.normal(size=20_000), rng.uniform(0.05, 1, size=20_000), rng.uniform(0.1, 3, size=20_000)
    y = mean + rng.normal(size=20_000) * np.hypot(2 * spread, 0.5 * shape)
    found = recalibrate(mean, spread, y, shape=shape, prior=0.0)
    assert (found.scale, found.noise) == (pytest.approx(2.0, rel=0.03), pytest.approx(0.5, rel=0.03))
    assert found.std(spread, shape) == pytest.approx(np.hypot(2 * spread, 0.5 * shape), rel=0.05)


def heavy(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean 1, standard deviation 2 and skewed, heavy-tailed values around them."""
    rng = np.random.default_rng(seed)
    z = rng.standard_t(2.5, size=n)
    return np.ones(n), np.full(n, 2.0), 1 + 2 * np.where(z > 0, 2 * z, 0.3 * z)


def test_quantiles_of_held_out_residuals_make_intervals_honest_where_a_gaussian_is_not() -> None:
    mean, std, y = heavy(1000, 0)
    quantiles = Quantiles.of((y - mean) / std)
    fresh = heavy(5000, 1)
    level = quantiles.level(*fresh)
    recalibrated = miscalibration_area(np.zeros(5000), np.ones(5000), ndtri(level))
    assert recalibrated < 0.02 < miscalibration_area(*fresh)
    for wanted in (0.5, 0.9):
        low, high = quantiles.interval(fresh[0], fresh[1], wanted)
        inside = (low <= fresh[2]) & (fresh[2] <= high)
        assert inside.mean() == pytest.approx(wanted, abs=0.03)
        assert inside == pytest.approx(np.abs(2 * level - 1) <= wanted)


def test_quantiles_reach_beyond_what_was_seen() -> None:
    quantiles = Quantiles.of(np.array([1.0, -1.0, 0.0]))
    level = quantiles.level(np.zeros(5), np.ones(5), np.array([-60.0, -2.0, 0.0, 2.0, 60.0]))
    assert (np.diff(level) > 0).all() and level[2] == 0.5 and level[0] > 0 and level[-1] < 1
    with pytest.raises(ValueError, match="two"):
        Quantiles.of(np.array([1.0]))


def test_bad_input_is_refused() -> None:
    good = np.ones(3)
    with pytest.raises(ValueError, match="one length"):
        nll(good, good, np.ones(2))
    with pytest.raises(ValueError, match="NaN"):
        recalibrate(good, good, np.array([1.0, np.nan, 2.0]))
    with pytest.raises(ValueError, match="> 0"):
        coverage(good, np.zeros(3), good)


def test_recorded_predictions_give_their_factor_and_few_of_them_little() -> None:
    rng = np.random.default_rng(0)
    std = rng.uniform(0.5, 2, size=4000)
    y = 3 * std * rng.normal(size=4000)
    assert recorded_scale(np.zeros(4000), std, y) == pytest.approx(3, rel=0.03)
    assert 1 < recorded_scale(np.zeros(2), std[:2], 3 * std[:2]) < 1.6
    assert recorded_scale(*[np.zeros(0)] * 3) == 1.0
    calm = recorded_scale(np.zeros(50), np.ones(50), 0.1 * rng.normal(size=50))
    assert np.sqrt(10 / 60) < calm < 0.5


def test_covering_intervals_hold_their_share_whatever_the_tails_and_few_misses_change_little() -> None:
    rng = np.random.default_rng(1)
    for misses in (rng.standard_t(2, size=4000), 3 * rng.normal(size=4000), 0.4 * rng.uniform(-1, 1, size=4000)):
        factor = covering_scale(misses)
        assert np.mean(np.abs(misses) <= 1.6449 * factor) == pytest.approx(0.9, abs=0.01)
    assert covering_scale(np.zeros(0)) == 1.0
    assert covering_scale(np.array([50.0])) < 1.3
    assert 0.6 < covering_scale(np.zeros(10)) < 1.0
    assert covering_scale(np.full(30, 4.0)) == pytest.approx(4.0 / 1.6449, rel=1e-3)
