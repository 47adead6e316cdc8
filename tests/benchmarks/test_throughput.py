"""The throughput benchmark's figures, from times that are known."""

from __future__ import annotations

from itertools import pairwise

import pytest

from benchmarks.throughput import FIRST, PEERS, ROOT, campaign, figures, rate, summary


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


@pytest.mark.mpi
@pytest.mark.parametrize("name", ["matloop", *PEERS])
def test_every_system_reports_every_result(name: str) -> None:
    python = ROOT / ".venv-peers" / "bin" / "python"
    if name != "matloop" and not python.exists():
        pytest.skip("the peers are not installed; run `make peers`")
    times = campaign(name, python, n=40, sleep_s=0.01)
    assert len(times) >= 40  # DeepHyper also finishes what it has begun
    assert times[0] > 0.0 and all(a <= b for a, b in pairwise(times))
    assert times[-1] >= 40 * 0.01 / 4  # no faster than four workers can sleep
