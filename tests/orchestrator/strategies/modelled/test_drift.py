"""Drift is taken away where there is some and left alone where there is none; batches stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.strategies.modelled.drift import shifts
from matloop.orchestrator.strategies.modelled.outcomes import Outcomes
from matloop.orchestrator.trial import Objective, Point, Trial
from matloop.search_spaces.box import Box
from matloop.search_spaces.pool import Pool
from matloop.surrogates.gaussian_process.gp import GP

UP = Objective("y", "maximise")
LINE: dict[str, Any] = {
    "x": {"type": "float", "low": 0.0, "high": 10.0},
    "z": {"type": "float", "low": 0.0, "high": 10.0},
}
BATCHED = LINE | {"batch": {"type": "categorical", "choices": ["A", "B", "C"]}}


def true(p: Point) -> float:
    return float(10 * np.exp(-((p["x"] - 7) ** 2) / 12 - (p["z"] - 3) ** 2 / 20))


def trial(i: int, point: Point, value: float) -> Trial:
    return Trial(id=i, study="s", number=i, point=point, seed=0, state="answered", values={"y": value},
                 finished_at=1e9 + 3600.0 * i)  # fmt: skip


@pytest.mark.parametrize("kind", ["trend", "jump"])
def test_a_drift_is_found_beside_a_function_of_the_points(kind: str) -> None:
    found, least = [], []
    for seed in range(4):
        rng = derive("found", seed)
        x, n = rng.random((30, 2)), np.arange(30)
        function = np.sin(4 * x[:, 0]) + x[:, 1]
        drift = 2.0 * n / 29 if kind == "trend" else np.where(n < 12, 1.5, 0.0)
        marks: list[Any] = [float(i) for i in n] if kind == "trend" else ["old" if i < 12 else "new" for i in n]
        estimated = shifts(x, function + drift + 0.05 * rng.normal(size=30), marks)
        found.append(np.abs(estimated - (drift - drift[-1])).mean())
        least.append(np.abs(drift - drift[-1]).mean())
    assert np.mean(found) < 0.15 * np.mean(least)


def test_without_drift_next_to_nothing_is_taken_away() -> None:
    for seed in range(4):
        rng = derive("none", seed)
        x = rng.random((25, 2))
        values = np.sin(4 * x[:, 0]) + x[:, 1] + 0.05 * rng.normal(size=25)
        for marks in ([float(i) for i in range(25)], ["abc"[i % 3] for i in range(25)]):
            assert np.abs(shifts(x, values, marks)).mean() < 0.06 * values.std()
    assert (shifts(x, np.ones(25), marks) == 0).all() and (shifts(x[:3], values[:3], marks[:3]) == 0).all()


def test_what_was_not_measured_is_neither_filled_in_nor_in_the_way() -> None:
    rng = derive("partial")
    x = torch.as_tensor(rng.random((20, 2)))
    gains = torch.stack([x[:, 0] + 0.3 * torch.arange(20), 5 + x[:, 1]], dim=1)
    gains[3, 0], gains[5:9, 1], gains[12, 1] = 4e6, torch.nan, 9e5
    marks = [float(i) for i in range(20)]
    unknown = torch.full_like(gains, torch.nan)

    def drift(x: Any, units: Any, which: Any) -> Any:
        return shifts(x, units, marks, which)

    objectives = (UP, Objective("side", "maximise"))
    found = Outcomes.of(objectives, x, gains, unknown, 20, drift)
    assert torch.equal(found.units.isnan(), gains.isnan()) and torch.equal(found.pooled.isnan(), gains.isnan())
    assert found.left_out.nonzero().tolist() == [[3, 0], [12, 1]]
    assert float(found.units[:, 0].std()) < 1.0  # neither the slip nor most of the drift, whose spread is 1.7
    whole = Outcomes.of((UP,), x, gains[:, :1], unknown[:, :1], 20, drift)
    assert torch.allclose(found.units[:, :1], whole.units)


def recommended(seed: int, added: Callable[[int], float], **options: Any) -> float:
    """True value where the first recommendation goes after 24 results in an order that misleads.

    What is good was tried first, when all results were lower by the drift; what is poor came last.
    """
    space = Box(parameters=LINE)
    family = GP(space=space)
    asked = Bayesian(space=space, objectives=(UP,), surrogate=family, initial=5, explain=False, seed=seed, **options)
    rng = derive("misled", seed)
    points = sorted((space.sample(rng) for _ in range(24)), key=lambda p: -true(p) + 4 * float(rng.normal()))
    for i, point in enumerate(points):
        asked.tell(trial(i, point, true(point) + added(i)))
    return true(asked.ask(1, (), derive("ask", seed))[0].point)


def test_a_known_drift_does_not_hide_the_best_place() -> None:
    def climbing(i: int) -> float:
        return 0.8 * i

    seeds = range(4)
    by_order = [recommended(s, climbing, drift="order") for s in seeds]
    by_time = [recommended(s, climbing, drift="time") for s in seeds]
    misled = [recommended(s, climbing) for s in seeds]
    steady = [recommended(s, lambda i: 0.0) for s in seeds]
    needless = [recommended(s, lambda i: 0.0, drift="order") for s in seeds]
    assert np.mean(by_order) > 8.5 and np.mean(by_time) > 8.5  # of 10
    assert np.mean(misled) < 6
    assert np.mean(needless) > np.mean(steady) - 0.7


def test_recommendations_stay_in_the_present_batch_and_its_offset_is_known() -> None:
    space, offset = Box(parameters=BATCHED), {"A": 0.0, "B": 8.0, "C": 0.0}
    asked = Bayesian(space=space, objectives=(UP,), initial=4, explain=False, drift="batch")
    rng = derive("batches")
    assert {p.point["batch"] for p in asked.ask(3, (), derive("start"))} <= {"A", "B", "C"}
    for i in range(24):
        point = {**space.sample(rng), "batch": "B" if i < 12 else "A"}
        asked.tell(trial(i, point, true(point) + offset[point["batch"]]))
    proposals = asked.ask(3, (), derive("ask"))
    assert [p.point["batch"] for p in proposals] == ["A"] * 3
    assert true(proposals[0].point) > 8.5
    prediction = proposals[0].prediction
    assert prediction is not None and prediction.mean["y"] == pytest.approx(true(proposals[0].point), abs=1.5)
    asked.tell(trial(24, {**space.sample(rng), "batch": "C"}, 3.0))
    assert asked.ask(1, (), derive("then"))[0].point["batch"] == "C"
    listed = Pool(points=[{"x": float(i), "batch": "AB"[i % 2]} for i in range(20)])
    one = Bayesian(space=listed, objectives=(UP,), initial=2, explain=False, drift="batch")
    for i in (0, 2, 5):
        one.tell(trial(i, dict(listed.points[i]), float(i)))
    assert [p.point["batch"] for p in one.ask(4, (), derive("pool"))] == ["B"] * 4


def test_what_nothing_can_drift_with_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected drift: order, time or a parameter, such as a batch, got 'batch'"):
        Bayesian(space=Box(parameters=LINE), objectives=(UP,), drift="batch")
