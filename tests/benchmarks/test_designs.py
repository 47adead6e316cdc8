"""The benchmark of starting designs: its distance by hand, and its comparison on one space."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "designs.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("designs_benchmark", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_distance_is_what_its_definition_says(bench: ModuleType) -> None:
    """On a line, where the mean over inputs and all together are the same: twice between, less within each."""
    space = bench.Box(parameters={"x": bench.NUMBER})
    reference, x = np.array([[0.0], [1.0], [0.5]]), np.array([[0.25], [1.0]])
    scale = np.sqrt(2 * reference.var())
    between = np.abs(x - reference.T).mean()
    within = np.abs(x - x.T).mean(), np.abs(reference - reference.T).mean()
    assert bench.Distance(space, reference)(x) == pytest.approx((2 * between - sum(within)) / scale)


def test_the_points_of_a_mixture_are_more_even_than_others(bench: ModuleType) -> None:
    space = bench.SPACES["mixture of 8"]()
    measure = bench.Distance(space, bench.sample(space, 500, -1))
    found = {name: np.mean([measure(draw(space, 12, s)) for s in range(2)]) for name, draw in bench.METHODS.items()}
    usual = np.mean([measure(bench.sample(space, 12, s)) for s in range(6)])
    assert found["designs"] < 0.7 * usual < 0.7 * min(found["maximin"], found["sobol"])
