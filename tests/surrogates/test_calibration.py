"""Recalibration and calibration metrics against closed forms, scipy and numerical integration."""

import numpy as np
import pytest
from scipy import integrate, stats

from surrogates.calibration import recalibrate
from surrogates.metrics import (
    coverage,
    crps,
    miscalibration_area,
    nll,
    sharpness,
)


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


def test_coverage_matches_scipy_intervals() -> None:
    mean, std, y = draws(500)
    for level, found in coverage(mean, std, y).items():
        low, high = stats.norm.interval(level, loc=mean, scale=std)
        assert found == np.mean((low <= y) & (y <= high))


def test_miscalibration_area_in_closed_form() -> None:
    zeros, ones = np.zeros(10), np.ones(10)
    assert miscalibration_area(zeros, ones, zeros) == pytest.approx(0.5)
    assert miscalibration_area(zeros, ones, 100 * ones) == pytest.approx(0.5)
    # Levels at the midpoints of n equal cells: n triangles on either side, each of area (1 / 2n)² / 2.
    levels = (np.arange(10) + 0.5) / 10
    assert miscalibration_area(zeros, ones, stats.norm.ppf(0.5 + levels / 2)) == pytest.approx(1 / 40)


def test_miscalibration_area_matches_a_fine_grid() -> None:
    mean, std, y = draws(60)
    grid = np.linspace(0, 1, 200_001)
    held = np.searchsorted(np.sort(2 * stats.norm.cdf(np.abs(y - mean) / std) - 1), grid, side="right") / len(y)
    assert miscalibration_area(mean, std, y) == pytest.approx(integrate.trapezoid(np.abs(held - grid), grid), abs=1e-5)


def test_nll_sharpness_and_crps() -> None:
    mean, std, y = draws(20)
    assert nll(mean, std, y) == pytest.approx(-np.mean(stats.norm.logpdf((y - mean) / std) - np.log(std)))
    assert sharpness(std) == pytest.approx(np.linalg.norm(std) / np.sqrt(20))
    by_definition = []
    for m, s, v in zip(mean, std, y, strict=True):
        below = integrate.quad(lambda t, m=m, s=s: stats.norm.cdf(t, m, s) ** 2, -60, v, limit=200, points=[m])[0]
        above = integrate.quad(lambda t, m=m, s=s: stats.norm.sf(t, m, s) ** 2, v, 60, limit=200, points=[m])[0]
        by_definition.append(below + above)
    assert crps(mean, std, y) == pytest.approx(np.mean(by_definition), rel=1e-6)


def test_bad_input_is_refused() -> None:
    good = np.ones(3)
    with pytest.raises(ValueError, match="one length"):
        nll(good, good, np.ones(2))
    with pytest.raises(ValueError, match="NaN"):
        recalibrate(good, good, np.array([1.0, np.nan, 2.0]))
    with pytest.raises(ValueError, match="> 0"):
        coverage(good, np.zeros(3), good)
