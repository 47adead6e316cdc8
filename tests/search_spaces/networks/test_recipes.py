"""What spaces advise to measure first, residual layers, and how searches use both."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from matloop.orchestrator.protocols import Advising
from matloop.orchestrator.strategies.evolution.evolution import Evolution
from matloop.orchestrator.trial import Objective
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.search_spaces.networks.dense import DenseNetworks
from matloop.search_spaces.networks.graph.space import GraphNetworks
from matloop.search_spaces.networks.module import build
from matloop.search_spaces.networks.onnx import to_onnx
from matloop.search_spaces.networks.segmentation.space import FieldNetworks, SegmentationNetworks
from matloop.search_spaces.networks.source import to_source


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
    assert (first.extra["origin"], second.extra["origin"]) == ("recipe", "random")
    assert second.point != recipe


SPACES = [
    ConvNetworks(input=[2, 300], examples=90),
    ConvNetworks(input=[1, 5, 4]),
    ConvNetworks(input=[1, 21, 21, 21], examples=1700),
    ConvNetworks(input=[1, 32, 32], max_parameters=500, max_multiply_adds=30_000),
    DenseNetworks(input=[3], max_parameters=60),
    SegmentationNetworks(input=[1, 512, 512], classes=3, examples=160),
    SegmentationNetworks(input=[1, 3, 2], genes={"normalisation": ["batch"], "width": [6]}),
    FieldNetworks(input=[1, 9, 9, 9], outputs=2),
    GraphNetworks(node_features=4, edge_features=3),
    GraphNetworks(node_features=4, edge_features=3, per="node", genes={"width": [20]}),
]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: f"{type(space).__name__}-{space.fixed['input']}")
def test_every_space_of_networks_has_a_recipe_whatever_its_limits(space):
    (recipe,) = space.recipes
    space.check(recipe)
    assert space.repair(recipe) == recipe and np.isfinite(space.encode([recipe])).all()


def test_the_recipe_for_volumes_is_as_large_as_the_best_by_hand():
    """Five convolutions of 16 to 64 channels, of which three halve the maps; 58 million multiplications."""
    recipe = SPACES[2].recipes[0]
    assert [layer["width"] for layer in recipe["layers"] if layer["kind"] == "conv"][:3] == [16, 32, 64]
    assert SPACES[5].recipes[0]["levels"][2]["width"] == 64


@pytest.mark.parametrize("kind", ["none", "batch", "group", "layer"])
@pytest.mark.parametrize("shape", [[5], [2, 14], [1, 9, 7], [1, 5, 6, 4]])
def test_residual_layers_are_what_they_say_in_every_dimension(kind, shape):
    """Against the formula, in torch, in exported source and in ONNX."""
    onnx = pytest.importorskip("onnxruntime")
    layer = {"kind": "residual", "width": 8, "blocks": 2, "normalisation": kind, "activation": "silu", "dropout": 0.1}
    maps = len(shape) > 1
    settings = {"padding": "circular", "readout": "avg"} if maps else {}
    layer |= {"kernel": 3, "stride": 2} if maps else {}
    genome = {"input": shape, "outputs": 2, "dropout": 0.1, "layers": [layer], **settings}
    training = {"optimiser": "adamw", "learning_rate": 0.01, "weight_decay": 0.0, "batch": 8}
    torch.manual_seed(0)
    network, scope = build(genome), {}
    network.train()(torch.randn(6, *shape))  # moves the running statistics
    network.eval()
    x = torch.randn(3, *shape)
    with torch.no_grad():
        h = network.residual1(x)
        for block in (1, 2):
            inner = h if kind == "none" else network.get_submodule(f"norm1_{block}")(h)
            inner = nn.functional.silu(network.get_submodule(f"first1_{block}")(inner))
            h = h + network.get_submodule(f"second1_{block}")(inner)
        h = nn.functional.silu(h if kind == "none" else network.norm1(h))
        expected = network.output(h.flatten(2).mean(dim=2) if maps else h)
        assert torch.allclose(network(x), expected, atol=1e-5)
    exec(to_source(genome | {"training": training}), scope)
    copied = scope["Network"]().eval()
    copied.load_state_dict(network.state_dict())
    assert torch.equal(copied(x), network(x))
    session = onnx.InferenceSession(to_onnx(genome, network.state_dict()), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["y"], {"x": x.numpy()})[0], expected.numpy(), rtol=1e-3, atol=1e-4)


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
