"""The continuous benchmark's own arithmetic: problems and their scale, campaigns."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from continuous import STARTS, Task, ratio
from experiments.functions import PROBLEMS
from scipy.optimize import minimize

from matloop.orchestrator.protocols import Vectorised

PUBLISHED = {"Ackley5": [{f"x{i}": 0.1 for i in range(5)}]}
"""Places close to the published optimum where a search from random points stays in a ripple."""


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_best_is_one_and_the_median_guess_zero(name: str) -> None:
    problem = PROBLEMS[name]
    rng = np.random.default_rng(0)
    points = [problem.space.sample(rng) for _ in range(2000)]
    values = np.array([problem.value(point) for point in points])
    assert values.max() <= 1
    assert np.mean(values > 0) == pytest.approx(0.5, abs=0.04)
    if problem.listed:
        assert max(map(problem.value, problem.listed)) == 1
        return
    assert isinstance(problem.space, Vectorised)
    space = problem.space
    starts = space.encode([*PUBLISHED.get(name, []), *(points[i] for i in values.argsort()[-20:])])
    best = max(
        -minimize(lambda x: -problem.value(space.decode(x)), x, bounds=[(0, 1)] * len(x), method="Nelder-Mead").fun
        for x in starts
    )
    assert best == pytest.approx(1, abs=1e-3)


def test_the_ratio_compares_the_default_with_the_better_of_its_parts() -> None:
    figures = {
        "a": {"matloop": {"regret": 0.2}, "matloop_gp": {"regret": 0.1}, "matloop_forest": {"regret": 0.4}},
        "b": {"matloop": {"regret": 0.2}, "matloop_gp": {"regret": 0.8}, "matloop_forest": {"regret": 0.4}},
        "c": {"matloop": {"regret": 0.0}, "matloop_gp": {"regret": 1e-9}, "matloop_forest": {"regret": 0.4}},
    }
    assert ratio(figures) == pytest.approx(1.0)  # twice, half, and both as good as there
    assert ratio({"a": {"matloop": {"regret": 0.2}}}) is None


def test_a_campaign_records_falling_regret_and_repeats_itself() -> None:
    task = Task("mixture", "random", 3, 12)
    found = task.run(None)
    assert len(found["regret"]) == 12 and len(found["seconds"]) == 12 - STARTS
    assert (np.diff(found["regret"]) <= 0).all()
    assert task.run(None)["regret"] == found["regret"]
    assert Task("mixture", "random", 4, 12).run(None)["regret"] != found["regret"]
