"""What the benchmark of stopping makes of a record, by hand."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "stopping.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stopping_benchmark", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record(p: list[float], better: list[int]) -> dict[str, Any]:
    n = list(range(5, 5 + len(p)))
    return {"n": n, "record": p, "better": better, "regret": [0.1 * b for b in better]}


def test_the_first_low_probability_stops_and_is_held_against_the_truth(bench: ModuleType) -> None:
    records = [
        record([0.9, 0.04, 0.5, 0.01], [1, 1, 0, 0]),
        record([0.9, 0.5, 0.04, 0.03], [1, 1, 0, 0]),
        record([0.9, 0.8, 0.7, 0.6], [1, 1, 1, 1]),
    ]
    found = bench.stops(records, "record", 0.05)
    assert (found["stopped"], found["false_stops"], found["false_stop_rate"]) == (2, 1, 0.5)
    assert found["used"] == pytest.approx((6 + 7 + 8) / 3)
    assert found["regret"] == pytest.approx(100 * (0.1 + 0 + 0.1) / 3)
    patient = bench.stops(records, "record", 0.05, patience=2)
    assert (patient["stopped"], patient["false_stops"], patient["used"]) == (1, 0, 8.0)


def test_a_rule_that_never_stops_has_no_rate(bench: ModuleType) -> None:
    found = bench.stops([record([0.9], [1])], "record", 0.05)
    assert found["false_stop_rate"] is None and (found["low"], found["high"]) == (0.0, 1.0)


def test_reliability_counts_each_answer_in_its_bin(bench: ModuleType) -> None:
    rows = bench.reliability([record([0.01, 0.03, 0.5, 1.0], [0, 1, 1, 1])], "record")
    assert [(r["n"], r["stated"], r["came"]) for r in rows] == [(2, 0.02, 0.5), (1, 0.5, 1.0), (1, 1.0, 1.0)]


def test_made_up_problems_are_what_they_say(bench: ModuleType) -> None:
    for name, d in bench.SYNTHETIC.items():
        pool, truth, noise = bench.synthetic(name, 0)
        assert len(pool.points) == len(truth) == bench.SIZE and pool.dimension == d
        assert noise == pytest.approx(0.02 * (truth.max() - truth.min()))
    assert -bench.branin(bench.np.array([[0.5427728435726528, 0.1516666666666666]]))[0] == pytest.approx(0.397887, abs=1e-4)  # fmt: skip  # noqa: E501
