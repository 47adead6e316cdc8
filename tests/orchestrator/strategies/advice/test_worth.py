"""Gains of candidates against brute force: fronts by inclusion and exclusion, ranges by counting."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.advice.goals import Tradeoff
from matloop.orchestrator.strategies.advice.worth import Best, Front, Within


def volume(points: np.ndarray, reference: np.ndarray) -> float:
    """Dominated hypervolume, by inclusion and exclusion over all subsets."""
    points = points[(points > reference).all(axis=1)]
    total = 0.0
    for size in range(1, len(points) + 1):
        for chosen in combinations(range(len(points)), size):
            total -= (-1) ** size * float(np.prod(points[list(chosen)].min(axis=0) - reference))
    return total


@pytest.mark.parametrize("m", [2, 3])
def test_the_front_grows_by_what_brute_force_says(m: int) -> None:
    rng = derive("front", m)
    reference = np.full(m, -0.3)
    known, others = rng.normal(size=(5, 4, m)), rng.normal(size=(5, 3, m)) + 0.5
    others[0, 1] = -np.inf  # it fails
    whole = np.mean([volume(k, reference) for k in known])
    front = Front(torch.as_tensor(reference), torch.as_tensor(known), torch.as_tensor(others))
    for taken in ([], [2], [2, 0]):
        if taken:
            front.take(taken[-1])
        for s in range(5):
            base = np.concatenate([known[s], others[s, taken]])
            added = [volume(np.concatenate([base, others[s, i : i + 1]]), reference) for i in range(3)]
            exact = (np.array(added) - volume(base, reference)) / whole
            assert front.gains()[s].numpy() == pytest.approx(exact, abs=1e-9)


def test_part_of_the_functions_has_the_unit_of_all() -> None:
    rng = derive("part")
    known, others = (torch.as_tensor(rng.normal(size=(6, n, 2))) for n in (3, 4))
    front = Front(torch.full((2,), -3.0, dtype=torch.float64), known, others)
    gains = front.gains()
    front.take(1)
    assert torch.equal(front.of(slice(2, 5)).gains(), gains[2:5])


def test_the_units_of_objectives_do_not_matter() -> None:
    rng = derive("units")
    measured, scale = torch.as_tensor(rng.normal(size=(9, 2))), torch.tensor([1e3, 1e-4], dtype=torch.float64)
    known, others = (torch.as_tensor(rng.normal(size=(4, n, 2))) for n in (9, 5))
    others = others + 1.5
    plain = Tradeoff.of(measured).worth(known, others).gains()
    scaled = Tradeoff.of(measured * scale).worth(known * scale, others * scale).gains()
    assert torch.allclose(plain, scaled, rtol=1e-8) and float(plain.max()) > 0


def test_an_objective_that_never_changed_leaves_finite_gains() -> None:
    measured = torch.tensor([[1.0, 5.0], [2.0, 5.0]], dtype=torch.float64)
    goal = Tradeoff.of(measured)
    gains = goal.worth(measured[None], torch.tensor([[[3.0, 5.0], [0.0, 4.0]]], dtype=torch.float64)).gains()
    assert bool(gains.isfinite().all()) and float(gains[0, 0]) > 0 == float(gains[0, 1])


def test_each_point_within_counts_once() -> None:
    interval = torch.tensor([[-1.0, -torch.inf], [1.0, 0.0]], dtype=torch.float64)
    others = torch.tensor([[[0.0, -5.0], [0.0, 0.5], [2.0, -1.0], [-torch.inf, -torch.inf]]], dtype=torch.float64)
    within = Within(interval, others)
    assert within.gains().tolist() == [[1.0, 0.0, 0.0, 0.0]]
    within.take(0)
    assert not within.gains().any()
    mean, std = torch.zeros(1, 2).double(), torch.ones(1, 2).double()
    assert float(Within.score(interval)(mean, std)) == pytest.approx(0.6827 * 0.5, abs=1e-4)


def test_the_best_is_what_was_reached_so_far() -> None:
    known = torch.tensor([[[1.0], [3.0]]], dtype=torch.float64)
    best = Best(known, torch.tensor([[[2.0], [4.0], [5.0], [-torch.inf]]], dtype=torch.float64))
    assert best.gains().tolist() == [[0.0, 1.0, 2.0, 0.0]]
    best.take(1)
    assert best.gains().tolist() == [[0.0, 0.0, 1.0, 0.0]]
