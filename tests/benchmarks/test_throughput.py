"""The throughput benchmark's figures, from times that are known."""

from __future__ import annotations

import pytest

from benchmarks.throughput import FIRST, figures, rate, summary


def test_rate_leaves_out_what_came_before() -> None:
    times = [5.0 + 0.1 * i for i in range(11)]
    assert rate(times, 1, 11) == pytest.approx(10.0)
    assert rate(times, 0, 11) == pytest.approx(11 / 6.0)


def test_a_rate_that_halves_has_decayed_by_half() -> None:
    noop, at = [], 3.0  # a slow start is not counted
    for i in range(FIRST + 1_000):
        at += 0.001 if i < FIRST + 500 else 0.002
        noop.append(at)
    sleep = [1.0 + i / 320 for i in range(400)]
    found = figures(noop, sleep, window=500)
    assert found["decay"] == pytest.approx(0.5)
    assert found["noop_per_s"] == pytest.approx(1_000 / 1.5)
    assert found["sleep10ms_efficiency"] == pytest.approx(320 / 400)


def test_summary_is_the_median_with_its_spread() -> None:
    found = summary([{"decay": 0.3}, {"decay": 0.1}, {"decay": 0.2}])
    assert found == {"decay": 0.2, "spread": {"decay": [0.1, 0.3]}}
