"""Shapley values against closed forms, the definition, and captum."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from captum.attr import ShapleyValues

from matloop.orchestrator.randomness import derive
from matloop.surrogates.attribution import BACKGROUND, EVALUATIONS, background, predicted_mean, shapley
from matloop.surrogates.gaussian_process.gp import GP
from matloop.testing.surrogate import data

Function = Callable[[torch.Tensor], torch.Tensor]


def points(n: int, d: int) -> torch.Tensor:
    return torch.as_tensor(derive("attribution", n, d).random((n, d)))


def wavy(x: torch.Tensor) -> torch.Tensor:
    """A function with interactions of all orders: (n, 4) -> (n, 1)."""
    return (torch.sin(3 * x[:, :1] * x[:, 1:2] + x[:, 2:3]) + x.prod(dim=1, keepdim=True)) * (1 + x[:, 3:4])


def by_definition(function: Function, x: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(d,) from all subsets, against one background point."""
    d, shares = len(x), torch.zeros(len(x), dtype=torch.float64)
    for i in range(d):
        for size in range(d):
            weight = math.factorial(size) * math.factorial(d - size - 1) / math.factorial(d)
            for subset in itertools.combinations([j for j in range(d) if j != i], size):
                without = b.clone()
                without[list(subset)] = x[list(subset)]
                whole = without.clone()
                whole[i] = x[i]
                shares[i] += weight * float(function(whole[None]) - function(without[None]))
    return shares


def test_of_an_additive_function_each_share_is_its_own_term() -> None:
    def additive(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([3 * x[:, 0] + x[:, 1] ** 2 - torch.exp(x[:, 2]), x[:, 2]], dim=1)

    x, known = points(1, 3)[0], points(20, 3)
    shares = shapley(additive, x, known, range(3))
    terms = torch.stack([3 * x[0] - 3 * known[:, 0].mean(), x[1] ** 2 - (known[:, 1] ** 2).mean(),
                         -torch.exp(x[2]) + torch.exp(known[:, 2]).mean()])  # fmt: skip
    assert torch.allclose(shares[0], terms, atol=1e-12)
    assert torch.allclose(shares[1], torch.stack([x.new_zeros(()), x.new_zeros(()), x[2] - known[:, 2].mean()]))


def test_shares_add_up_whatever_the_function() -> None:
    x, known = points(1, 4)[0], points(9, 4)
    difference = wavy(x[None])[0] - wavy(known).mean(dim=0)
    for seed in range(3):
        assert torch.allclose(shapley(wavy, x, known, range(4), seed).sum(dim=1), difference, atol=1e-12)


def test_pairs_of_interacting_parameters_are_exact() -> None:
    def pairs(x: torch.Tensor) -> torch.Tensor:
        return x[:, :1] * x[:, 1:2] + torch.sin(x[:, 2:3]) * x[:, 3:4] ** 2 + x[:, 3:4]

    x, known = points(1, 4)[0], points(5, 4)
    exact = torch.stack([by_definition(pairs, x, b) for b in known]).mean(dim=0)
    assert torch.allclose(shapley(pairs, x, known, range(4))[0], exact, atol=1e-12)


def test_sampling_converges_to_the_definition_and_to_captum() -> None:
    x, b = points(1, 4)[0], points(2, 4)[1]
    exact = by_definition(wavy, x, b)
    captum = ShapleyValues(lambda z: wavy(z)[:, 0]).attribute(x[None], baselines=b[None])[0].double()
    assert torch.allclose(captum, exact, atol=1e-6)
    found = shapley(wavy, x, b.repeat(400, 1), range(4))[0]
    assert torch.allclose(found, exact, atol=0.02 * float(exact.abs().max()))


def test_a_group_changes_as_a_whole() -> None:
    seen: list[torch.Tensor] = []

    def record(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return x[:, :1] + 10 * x[:, 2:3]

    x, known = torch.tensor([0.0, 1.0, 5.0]).double(), torch.tensor([[1.0, 0.0, 2.0]]).double()
    shares = shapley(record, x, known, [0, 0, 1])
    assert torch.allclose(shares[0], torch.tensor([-1.0, 30.0]).double())
    assert (seen[0][:, :2].sum(dim=1) == 1).all()  # a one-hot block stays one


def test_the_share_of_a_gaussian_process_equals_captums() -> None:
    x, y = data(30)
    mean = predicted_mean(GP().fit(x, y, 0))
    fresh, known = data(1, seed=5)[0][0], x[:6]
    ours = shapley(mean, fresh, known.repeat(40, 1), range(3))
    for output in range(2):
        method = ShapleyValues(lambda z, output=output: mean(z)[:, output])
        theirs = torch.stack([method.attribute(fresh[None], baselines=b[None])[0].double() for b in known]).mean(dim=0)
        assert torch.allclose(ours[output], theirs, atol=0.02 * float(y[:, output].std()))


def test_predicted_mean_is_the_mean_and_leaves_the_variance_alone() -> None:
    x, y = data(20)
    model = GP().fit(x, y, 0)
    fresh = data(600, seed=3)[0]
    assert torch.allclose(predicted_mean(model)(fresh), model.posterior(fresh).mean, atol=1e-9)
    assert (model.posterior(fresh).variance > 0).all()


def test_the_background_is_bounded() -> None:
    assert len(background(points(10, 2), 2)) == 10
    assert len(background(points(5000, 2), 2)) == BACKGROUND
    assert 2 * 101 * len(background(points(500, 2), 100)) <= EVALUATIONS


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="d groups"):
        shapley(wavy, points(1, 4)[0], points(3, 4), [0, 1])
