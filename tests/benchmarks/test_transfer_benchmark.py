"""The benchmark of transfer: a related earlier campaign finds the top in fewer experiments, in one seed of it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "transfer.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("transfer_benchmark", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_experiments_until_the_regret_is_small_are_counted(bench):
    assert bench.needed([3.0, 1.0, 0.5, 0.1], 0.6) == 3 and bench.needed([3.0, 1.0], 0.6) == 2


@pytest.mark.slow
def test_what_is_related_saves_experiments_and_what_is_not_costs_few(bench):
    needed = {
        relation: sum(bench.campaign(relation, seed, 14, "gp")["needed"] for seed in range(2))
        for relation in ("alone", "shifted", "unrelated")
    }
    assert needed["shifted"] <= 0.6 * needed["alone"] and needed["unrelated"] <= needed["alone"] + 2
