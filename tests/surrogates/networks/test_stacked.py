"""Networks that are trained at once: each is alone what it is in the stack; rows that it leaves out do not count."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from matloop.orchestrator.randomness import torch_seed
from matloop.surrogates.networks.ensemble import Ensemble
from matloop.surrogates.networks.perceptrons import Perceptrons
from matloop.surrogates.networks.recipe import Recipe
from matloop.surrogates.networks.residual import Block, Residuals
from matloop.surrogates.networks.stacked import train
from matloop.testing.surrogate import data

RECIPE = Recipe(width=16, depth=2, steps=30, batch=16, heads=True)


def stack(kind: type, recipe: Recipe = RECIPE) -> Perceptrons | Residuals:
    return Perceptrons(torch.zeros(3), 2, 1, recipe) if kind is Perceptrons else Residuals(3, 2, 1, recipe)


@pytest.mark.parametrize("kind", [Perceptrons, Residuals])
def test_a_member_by_itself_is_the_member_of_the_stack(kind: type) -> None:
    with torch_seed(0):
        networks = stack(kind)
        for parameter in networks.parameters():  # gains and shifts as well
            nn.init.normal_(parameter)
    x = torch.rand(5, 2)
    with torch.no_grad():
        together = networks(x.expand(3, 5, 2))
        for i in range(3):
            assert torch.allclose(networks.member(i, heads=True)(x), together[i], atol=1e-4)
            assert torch.allclose(networks.member(i, heads=False)(x), together[i, :, :1], atol=1e-4)


@pytest.mark.parametrize("kind", [Perceptrons, Residuals])
def test_rows_that_a_member_leaves_out_change_nothing_in_it(kind: type) -> None:
    x, y = torch.rand(24, 2), torch.rand(24, 1)
    held = torch.zeros(3, 24, dtype=torch.bool)
    held[0, ::4] = held[1, 1::4] = held[2, 2::4] = True
    other = torch.where(held[0][:, None], 9.0, y)
    first, second = (train(lambda: stack(kind), x, values, held, seed=0, device="cpu") for values in (y, other))
    with torch.no_grad():
        before, after = (networks(x.expand(3, 24, 2)) for networks in (first, second))
    assert not torch.allclose(before[1], after[1], atol=1e-3)
    # the gradients of all are cut together, so that others may move a member in the last digits, not in the first
    assert float((before[0] - after[0]).abs().max()) < 0.1 * float((before[1] - after[1]).abs().max())


def test_a_residual_block_adds_to_what_it_was_given() -> None:
    block = Block(nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, 4))
    nn.init.zeros_(block.second.weight)
    nn.init.constant_(block.second.bias, 0.5)
    x = torch.rand(3, 4)
    assert torch.allclose(block(x), x + 0.5)


def test_residual_networks_take_smaller_steps_and_fewer_layers() -> None:
    few, many = (Recipe.suited(n).as_residual() for n in (100, 5000))
    assert (few.depth, many.depth) == (1, 2)
    assert few.learning_rate < Recipe.suited(100).learning_rate


def test_every_fold_has_networks_of_both_kinds() -> None:
    model = Ensemble(folds=3, members=2, steps=5).fit(*data(30), 0)
    for fold in model.networks:
        residual = [any(isinstance(layer, Block) for layer in network) for network in fold.networks]
        assert residual == [False, True]


def test_scatter_is_believed_only_with_enough_rows() -> None:
    few, many = (Ensemble(folds=2, members=2, steps=5).fit(*data(n), 0) for n in (150, 250))
    assert not few.heads and many.heads
