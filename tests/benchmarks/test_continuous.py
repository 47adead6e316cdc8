"""The continuous benchmark's own arithmetic: problems and their scale, campaigns."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from continuous import STARTS, Task
from experiments.functions import PROBLEMS
from scipy.optimize import minimize

from matloop.orchestrator.protocols import Vectorised


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
    starts = space.encode([points[i] for i in values.argsort()[-20:]])
    best = max(
        -minimize(lambda x: -problem.value(space.decode(x)), x, bounds=[(0, 1)] * len(x), method="Nelder-Mead").fun
        for x in starts
    )
    assert best == pytest.approx(1, abs=1e-3)


def test_a_campaign_records_falling_regret_and_repeats_itself() -> None:
    task = Task("mixture", "random", 3, 12)
    found = task.run(None)
    assert len(found["regret"]) == 12 and len(found["seconds"]) == 12 - STARTS
    assert (np.diff(found["regret"]) <= 0).all()
    assert task.run(None)["regret"] == found["regret"]
    assert Task("mixture", "random", 4, 12).run(None)["regret"] != found["regret"]
