"""How the benchmark of active learning compares curves, by hand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    sys.path.insert(0, str(FOLDER))  # as for a script: it imports the one beside it
    try:
        spec = importlib.util.spec_from_file_location("active_learning_benchmark", FOLDER / "active_learning.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


def test_points_needed_are_read_off_between_the_numbers_measured(bench: ModuleType) -> None:
    curve = {"100": 4.0, "200": 2.0, "300": 1.0}
    assert bench.needed(curve, 3.0) == pytest.approx(150)
    assert bench.needed(curve, 5.0) == 100
    assert np.isnan(bench.needed(curve, 0.5))


def test_a_policy_is_held_against_random_choice_on_the_same_seeds(bench: ModuleType) -> None:
    random = {0: {"10": 4.0, "20": 2.0, "30": 1.0}, 1: {"10": 4.0, "20": 2.0, "30": 2.0}}
    own = {0: {"10": 4.0, "20": 1.0, "30": 0.5}, 1: {"10": 4.0, "20": 1.0, "30": 1.5}}
    found = bench.against(own, random, [0, 1])
    assert found["last"] == [pytest.approx(-0.375), pytest.approx(0.125)]
    assert found["all"][0] == pytest.approx(np.mean([-0.5, -0.5, -0.5, -0.25]))
    assert found["ahead_at_last"] == "2 of 2"
    assert found["points_for_randoms_last"] == 18  # 4 to 1 between 10 and 20, and 1.5 is random's mean at 30
    assert found["random_points_for_its_last"] == "over 30"


def test_every_policy_starts_alike_and_proposes_new_points_of_the_space(bench: ModuleType) -> None:
    task = bench.function("branin", 0, True)
    first = {policy: bench.learn(task, policy, 0) for policy in ("random", "integrated_variance")}
    assert list(first["random"]["mae"]) == ["10", "15", "20"]
    assert first["random"]["mae"]["10"] == first["integrated_variance"]["mae"]["10"]
    assert first["random"]["mae"]["20"] != first["integrated_variance"]["mae"]["20"]
