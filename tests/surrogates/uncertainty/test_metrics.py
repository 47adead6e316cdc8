"""Calibration metrics against closed forms, scipy, numerical integration and uncertainty-toolbox."""

import warnings

import numpy as np
import pytest
from scipy import integrate, stats

from matloop.surrogates.uncertainty.metrics import (
    coverage,
    crps,
    miscalibration_area,
    nll,
    sampled_crps,
    scores,
    sharpness,
)
from tests.surrogates.uncertainty.test_calibration import draws


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


def test_scores_agree_with_uncertainty_toolbox() -> None:
    toolbox = pytest.importorskip("uncertainty_toolbox")
    mean, std, y = draws(800)
    found = scores(mean, std, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metrics = toolbox.metrics
        area = metrics.miscalibration_area(mean, std, y, num_bins=2000)
        assert found.miscalibration_area == pytest.approx(area, abs=1e-3)
        assert found.crps == pytest.approx(metrics.crps_gaussian(mean, std, y), rel=1e-9)
        assert found.nll == pytest.approx(metrics.nll_gaussian(mean, std, y), rel=1e-9)
        assert found.sharpness == pytest.approx(metrics.sharpness(std), rel=1e-9)
        accuracy = metrics.prediction_error_metrics(mean, y)
        assert (found.mae, found.rmse) == (pytest.approx(accuracy["mae"]), pytest.approx(accuracy["rmse"]))
        shares = [
            toolbox.metrics_calibration.get_proportion_in_interval(mean, std, y, level) for level in found.coverage
        ]
        assert list(found.coverage.values()) == pytest.approx(shares, abs=1e-9)


def test_score_of_samples_approaches_that_of_their_distribution() -> None:
    mean, std, y = draws(50)
    samples = mean + std * np.random.default_rng(1).normal(size=(4000, 50))
    assert sampled_crps(samples, y) == pytest.approx(crps(mean, std, y), rel=0.02)
    pair = np.array([[0.0], [1.0]])
    assert sampled_crps(pair, np.array([3.0])) == pytest.approx((3 + 2) / 2 - 1 / 2)
    with pytest.raises(ValueError, match="samples"):
        sampled_crps(samples[:1], y)
