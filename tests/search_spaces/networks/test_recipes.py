"""What spaces advise to measure first, residual layers, and how searches use both."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from matloop.orchestrator.protocols import Advising
from matloop.orchestrator.strategies.evolution.evolution import Evolution
from matloop.orchestrator.trial import Objective
from matloop.search_spaces.networks.dense import DenseNetworks
from matloop.search_spaces.networks.module import build


class Blocks(nn.Module):
    """A residual network as one writes it by hand."""

    def __init__(self, features, width, blocks, dropout):
        super().__init__()
        self.first = nn.Linear(features, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, width)
            )
            for _ in range(blocks)
        )
        self.last = nn.Sequential(nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)


def test_the_residual_network_of_many_papers_is_a_point_of_the_space():
    space = DenseNetworks(input=[20], examples=16_000, training={"loss": ["squared", "huber", "absolute"]})
    layer = {"kind": "residual", "width": 512, "blocks": 2, "normalisation": "layer", "activation": "silu"}
    genome = space.recipes[0] | {"layers": [layer | {"dropout": 0.2}]}
    space.check(genome)
    network, expected = build(genome).eval(), Blocks(20, 512, 2, 0.2).eval()
    expected.load_state_dict(dict(zip(expected.state_dict(), network.state_dict().values(), strict=True)))
    x = torch.randn(7, 20)
    assert torch.allclose(network(x), expected(x), atol=1e-5)
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in expected.parameters())


@pytest.mark.parametrize("examples", [None, 100, 2_000, 50_000])
def test_recipes_are_points_and_search_begins_with_them(examples):
    space = DenseNetworks(input=[9], outputs=2, examples=examples, genes={"activation": ["relu"], "width": [48, 96]})
    assert isinstance(space, Advising)
    (recipe,) = space.recipes
    space.check(recipe)
    assert recipe["layers"][0]["activation"] == "relu" and "loss" not in recipe["training"]
    search = Evolution(space=space, objectives=(Objective("error"),), population=4)
    first, second = search.ask(2, (), np.random.default_rng(0))
    assert (first.point, first.reason) == (recipe, "the space's own recipe")
    assert second.point != recipe


def test_a_space_chooses_among_the_losses_it_is_told():
    rng = np.random.default_rng(0)
    several = DenseNetworks(input=[9], training={"loss": ["huber", "absolute"]})
    assert {several.sample(rng)["training"]["loss"] for _ in range(20)} == {"huber", "absolute"}
    for given in (None, {"loss": ["huber"]}):
        assert "loss" not in DenseNetworks(input=[9], training=given).sample(rng)["training"]


def test_many_examples_allow_large_networks():
    def largest(examples):
        return DenseNetworks(input=[9], examples=examples).budget.parameters

    assert (largest(None), largest(300), largest(2_000), largest(10**6)) == (100_000, 100_000, 400_000, 2_000_000)
