"""The report's statistics against independent implementations, published numbers and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from matloop.orchestrator.report import statistics


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (3, 10), (10, 10), (480, 1000)])
def test_wilson_agrees_with_scipy(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert statistics.wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_of_nothing_says_nothing() -> None:
    assert statistics.wilson(0, 0) == (0.0, 1.0)


def test_newcombe_agrees_with_the_papers_example() -> None:
    # Newcombe 1998, table II, example (a), method 10: 56/70 - 48/80.
    assert statistics.newcombe((56, 70), (48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_miscalibration_area_agrees_with_a_dense_integral() -> None:
    z = np.random.default_rng(0).normal(0, 1.7, 83)
    p = np.linspace(0, 1, 200_001)
    observed = np.searchsorted(np.sort(statistics.levels(z)), p, side="right") / len(z)
    assert statistics.miscalibration_area(z) == pytest.approx(np.trapezoid(np.abs(observed - p), p), abs=1e-5)


def test_miscalibration_area_at_its_limits() -> None:
    rng = np.random.default_rng(1)
    assert statistics.miscalibration_area(rng.normal(size=20_000)) < 0.01
    assert statistics.miscalibration_area(np.full(10, 50.0)) == pytest.approx(0.5)
    assert statistics.miscalibration_area(np.zeros(10)) == pytest.approx(0.5)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=30))
def test_front_agrees_with_brute_force(rows: list[tuple[int, int]]) -> None:
    losses = np.array(rows, dtype=np.float64)
    dominated = [any((b <= a).all() and (b < a).any() for b in losses) for a in losses]
    expected = {tuple(row) for row, bad in zip(losses, dominated, strict=True) if not bad}
    found = [tuple(losses[i]) for i in statistics.front(losses)]
    assert set(found) == expected
    assert found == sorted(expected)  # by the first objective, equal points once


def test_front_of_three_agrees_with_brute_force() -> None:
    losses = np.random.default_rng(2).integers(0, 6, (300, 3)).astype(float)

    def beaten(row: np.ndarray) -> bool:
        return bool(((losses <= row).all(axis=1) & (losses < row).any(axis=1)).any())

    found = [tuple(losses[i]) for i in statistics.front(losses)]
    assert found == sorted({tuple(row) for row in losses if not beaten(row)})


def test_front_leaves_out_what_is_not_finite() -> None:
    assert statistics.front(np.array([[np.inf, 0.0], [1.0, 1.0]])).tolist() == [1]
    assert statistics.front(np.empty((0, 2))).tolist() == []


def test_thinning_keeps_the_extremes_and_the_ends() -> None:
    y = np.random.default_rng(2).normal(size=50_000)
    kept = statistics.thin(y, 1000)
    assert len(kept) <= 1002
    assert {0, len(y) - 1, int(np.argmin(y)), int(np.argmax(y))} <= set(kept.tolist())
    assert statistics.thin(y[:5], 1000).tolist() == [0, 1, 2, 3, 4]


def test_limits_leave_out_gross_outliers_only() -> None:
    y = np.array([1.0, 1.1, 1.2, 1.3, 1.4, 900.0])
    assert statistics.robust_limits(y) == (1.0, 1.4)
    assert statistics.robust_limits(np.array([2.0, 2.0, 7.0])) == (2.0, 7.0)
