"""Climbing an acquisition function, held against a dense grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from matloop.orchestrator.strategies.modelled.acquisitions import Utility, acquisition
from matloop.orchestrator.strategies.modelled.candidates import by_trials, climb, evaluate
from matloop.search_spaces.box import Box
from matloop.search_spaces.experiment.space import Experiment
from matloop.surrogates.blend import Blend
from matloop.surrogates.forest import Forest
from matloop.surrogates.gaussian_process.gp import GP

SQUARE = {name: {"type": "float", "low": 0.0, "high": 1.0} for name in "ab"}


def measured(space, n=14):
    rng = np.random.default_rng(0)
    x = torch.as_tensor(space.encode([space.sample(rng) for _ in range(n)]))
    y = -((x[:, :2] - torch.tensor([0.6, 0.4])).square().sum(dim=1, keepdim=True)) + (x[:, 0:1] > 0.7) * 0.1
    return x, y


def improvement(model, x, y):
    return acquisition("log_ei", model, Utility.of(y), x, y, torch.empty(0, x.shape[1], dtype=torch.float64), 1.0)


@pytest.mark.parametrize(("family", "lack"), [(GP, 0.01), (Forest, 0.05), (Blend, 0.05)])
def test_a_climb_ends_near_the_highest_of_a_dense_grid(family, lack) -> None:
    space = Box(parameters=SQUARE)
    x, y = measured(space)
    function = improvement(family(space=space).fit(x, y, seed=0), x, y)
    axis = torch.linspace(0, 1, 61, dtype=torch.float64)
    highest = float(evaluate(function, torch.cartesian_prod(axis, axis)).max())
    rng = np.random.default_rng(1)
    places = torch.as_tensor(rng.random((64, 2)))
    starts = places[evaluate(function, places).argsort(descending=True)[:4]]
    found = climb(function, starts, space, 25, rng)
    value = evaluate(function, torch.as_tensor(space.encode(found)))
    assert float(value.max()) > highest - lack
    assert float(value.max()) > float(evaluate(function, starts).max())


def test_trials_end_no_lower_than_they_began_and_repeat_themselves() -> None:
    space = Box(parameters=SQUARE)
    x, y = measured(space)
    function = improvement(Blend(space=space).fit(x, y, seed=0), x, y)
    starts = torch.as_tensor(np.random.default_rng(2).random((5, 2)))
    found = by_trials(function, starts, space, 10, np.random.default_rng(3))
    assert (evaluate(function, found) >= evaluate(function, starts)).all()
    assert torch.equal(found, by_trials(function, starts, space, 10, np.random.default_rng(3)))
    assert torch.equal(starts, by_trials(function, starts, space, 0, np.random.default_rng(3)))


def test_trials_leave_categories_alone_and_amounts_their_sum() -> None:
    space = Experiment(
        parameters={"s": {"type": "categorical", "choices": ["u", "v"]}, "t": {"type": "float", "low": 0, "high": 9}},
        mixtures={"m": {"components": ["A", "B", "C"]}},
    )
    rng = np.random.default_rng(0)
    x = torch.as_tensor(space.encode([space.sample(rng) for _ in range(12)]))
    y = (x @ torch.tensor([1.0, 0.0, -1.0, 2.0, 1.0, 0.0], dtype=torch.float64))[:, None]
    function = improvement(Blend(space=space).fit(x, y, seed=0), x, y)
    inside = torch.tensor([[1.0, 0.0, 0.5, 0.3, 0.3, 0.4]], dtype=torch.float64)
    found = by_trials(function, inside, space, 1, np.random.default_rng(1))  # none of its trials reaches a bound
    assert found[0, :2].tolist() == [1.0, 0.0]
    assert float(found[0, 3:].sum()) == pytest.approx(1)
    assert not torch.equal(found, inside)
