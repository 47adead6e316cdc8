"""Mutual information against its limits and against Monte Carlo."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from botorch.models.ensemble import EnsembleModel

from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.active import ActiveLearning
from matloop.orchestrator.strategies.modelled.information import information
from matloop.surrogates.gaussian_process.gp import GP
from tests.orchestrator.strategies import toys
from tests.orchestrator.strategies.modelled.test_active import told


class Constants(EnsembleModel):
    """s functions that are constant."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.constants = torch.tensor(values, dtype=torch.float64)
        self._num_outputs = 1

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.constants[:, None, None].expand(*X.shape[:-2], -1, X.shape[-2], 1)


def of(values: list[float], noise: float) -> float:
    model = Constants(values)
    variance = model.constants.var().reshape(1, 1)
    x = torch.zeros((1, 2), dtype=torch.float64)
    return float(information(model, x, variance, torch.tensor([noise], dtype=torch.float64)))


def test_functions_far_apart_are_told_apart_and_equal_ones_are_not() -> None:
    assert of([0.0, 100.0, 200.0, 300.0], 1.0) == pytest.approx(math.log(4), rel=1e-6)
    assert of([3.0, 3.0, 3.0], 1.0) == pytest.approx(0, abs=1e-9)


def test_equals_monte_carlo_in_between() -> None:
    values, noise = [0.0, 1.0, 2.5], 0.8
    rng = derive(0)
    drawn = rng.choice(values, 200_000) + math.sqrt(noise) * rng.standard_normal(200_000)
    density = torch.tensor(values)[:, None] - torch.as_tensor(drawn)
    log = torch.logsumexp(-(density**2) / (2 * noise), dim=0) - math.log(3) - 0.5 * math.log(2 * math.pi * noise)
    assert of(values, noise) == pytest.approx(
        float(-log.mean()) - 0.5 * math.log(2 * math.pi * math.e * noise), abs=0.01
    )


def test_of_a_gaussian_is_half_the_logarithm_of_the_ratio() -> None:
    x = torch.as_tensor(derive(0).random((10, 2)))
    model = GP().fit(x, torch.sin(5 * x[:, :1]), 0)
    variance, noise = torch.tensor([[3.0, 0.0]]).double(), torch.tensor([1.0]).double()
    assert information(model, x[:2], variance, noise).tolist() == pytest.approx([math.log(2), 0])


def test_active_learning_by_information_spreads_a_batch() -> None:
    space, objectives = toys.reals(2), toys.loss()
    strategy: Any = ActiveLearning(
        space=space,
        objectives=objectives,
        surrogate=GP(space=space),
        acquisition="bald",
        data=told(space, 12, objectives),
    )
    x = torch.as_tensor(space.encode([p.point for p in strategy.ask(4, (), derive(0))]))
    assert torch.pdist(x).min() > 0.05
