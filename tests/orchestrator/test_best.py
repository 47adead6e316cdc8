"""The best trial: repeats are judged by their mean, as a plain search over all groups finds it."""

from __future__ import annotations

import json
from collections import defaultdict

import numpy as np
import pytest

from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Objective, Trial, best


def trial(i: int, x: int, value: float, noise: float | None = None) -> Trial:
    stated = {} if noise is None else {"y": noise}
    return Trial(id=i, study="s", number=i, point={"x": x}, seed=0, state="answered", values={"y": value}, noise=stated)


@pytest.mark.parametrize("direction", ["minimise", "maximise"])
def test_the_mean_of_repeats_counts(direction: str) -> None:
    objective, rng = Objective("y", direction), derive("best", direction)  # type: ignore[arg-type]
    for _ in range(200):
        trials = [
            trial(i, int(x), float(y))
            for i, (x, y) in enumerate(zip(rng.integers(0, 5, 12), rng.normal(size=12), strict=True))
        ]
        groups = defaultdict(list)
        for t in trials:
            groups[json.dumps(t.point)].append(objective.loss((t.values or {})["y"]))
        wanted = min(groups, key=lambda k: np.mean(groups[k]))
        found = best(trials, objective)
        assert found is not None and json.dumps(found.point) == wanted
        off = [abs(loss - np.mean(groups[wanted])) for loss in groups[wanted]]
        own = objective.loss((found.values or {})["y"])
        assert abs(own - np.mean(groups[wanted])) == pytest.approx(min(off))


def test_what_is_known_of_the_noise_weighs_and_a_single_trial_is_itself() -> None:
    up = Objective("y", "maximise")
    assert best([], up) is None
    lucky = [trial(0, 1, 9.0, 10.0), trial(1, 1, 3.0, 1.0), trial(2, 2, 5.0)]
    found = best(lucky, up)  # the mean of the first two would be 6, but the lucky one is hardly worth anything
    assert found is not None and found.id == 2
    equal = best([trial(0, 1, 5.0), trial(1, 2, 5.0)], up)
    assert equal is not None and equal.id == 0
