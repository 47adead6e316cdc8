"""The search for where a model expects the best, on functions whose best is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from matloop.orchestrator.strategies.advice import optimum
from matloop.search_spaces.box import Box
from matloop.search_spaces.experiment.space import Experiment
from matloop.search_spaces.pool import Pool


def find(space, merit, known=()):
    def encode(points):
        return torch.as_tensor(space.encode(list(points)))

    return optimum.search(space, encode, merit, known, np.random.default_rng(0))


def test_a_peak_in_six_numbers_is_found():
    space = Box(parameters={f"x{i}": {"type": "float", "low": -1, "high": 1} for i in range(6)})
    peak = torch.linspace(0.1, 0.9, 6, dtype=torch.float64)
    (found,) = find(space, lambda x: -(x - peak).square().sum(dim=1, keepdim=True))
    assert [found[f"x{i}"] for i in range(6)] == pytest.approx((2 * peak - 1).tolist(), abs=0.05)


def test_all_of_a_list_is_looked_at():
    space = Pool(points=[{"a": i, "b": name} for i in range(40) for name in "xyz"])
    best = space.encode([{"a": 17, "b": "y"}])[0]
    assert find(space, lambda x: -(x - torch.as_tensor(best)).abs().sum(dim=1, keepdim=True)) == [{"a": 17, "b": "y"}]


def test_what_is_found_is_allowed_and_measured_points_are_among_the_starts():
    space = Experiment(
        parameters={"t": {"type": "float", "low": 0, "high": 10, "step": 0.5}},
        mixtures={"m": {"components": ["A", "B", "C", "D"], "at_most": 2, "step": 0.05}},
        constraints=["t <= 4 + 10 * A"],
    )
    needle = {"t": 7.5, "A": 0.35, "B": 0.65, "C": 0.0, "D": 0.0}
    place = torch.as_tensor(space.encode([needle])[0])
    (found,) = find(space, lambda x: ((x - place).abs().sum(dim=1, keepdim=True) < 1e-9).double(), known=[needle])
    assert found == needle
    (greedy,) = find(space, lambda x: x[:, :1])
    space.check(greedy)
    assert greedy["t"] == 10.0


def test_several_objectives_give_a_front_spread_over_its_length():
    space = Box(parameters={"x": {"type": "float", "low": 0, "high": 1}, "y": {"type": "float", "low": 0, "high": 1}})
    found = find(space, lambda x: torch.stack([x[:, 0] - 2 * x[:, 1], 1 - x[:, 0] - 2 * x[:, 1]], dim=1))
    assert 4 <= len(found) <= optimum.LEADERS and all(p["y"] < 0.02 for p in found)
    assert max(p["x"] for p in found) > 0.9 and min(p["x"] for p in found) < 0.1


def test_what_is_likely_to_fail_is_held_back():
    merit = torch.tensor([[0.0], [1.0], [5.0]], dtype=torch.float64)
    works = torch.tensor([1.0, 0.6, 0.1], dtype=torch.float64)
    assert int(optimum.likely(merit, works).argmax()) == 1
    assert optimum.likely(merit, None) is merit
