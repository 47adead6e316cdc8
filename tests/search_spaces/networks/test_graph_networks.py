"""The space of graph networks: its contract, every genome held against torch, and the symmetries of graphs."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.search_spaces.networks.graph.genome import LAYER, SETTINGS
from matloop.search_spaces.networks.graph.graphs import Graphs
from matloop.search_spaces.networks.graph.layers import GatedConvolution, aggregate
from matloop.search_spaces.networks.graph.space import GraphNetworks
from matloop.search_spaces.networks.module import build
from matloop.search_spaces.networks.source import to_source
from matloop.testing.space import SpaceContract, many
from tests.search_spaces.networks.usual import TRAINING

GENOME = {
    "family": "graph",
    "input": [5, 4],
    "outputs": 2,
    "nodes": 8,
    "edges": 96,
    "embedding": 16,
    "pooling": "mean",
    "dropout": 0.1,
    "layers": [
        {
            "message": "gated",
            "aggregation": "sum",
            "width": 16,
            "normalisation": "batch",
            "activation": "silu",
            "dropout": 0.0,
            "skip": True,
        }
    ],
    "head": [{"width": 32, "activation": "silu", "dropout": 0.0}],
    "training": TRAINING,
}
seeds = st.integers(0, 2**32 - 1)
OPTIONS = [
    {"node_features": 5, "edge_features": 4, "outputs": 2},
    {"node_features": 1, "edge_features": 1, "max_layers": 1, "max_parameters": 400, "max_multiply_adds": 30_000},
    {"node_features": 5, "edge_features": 4, "max_layers": 32, "max_head": 7, "genes": {"width": [16, 48, 256]}},
]


def graphs(seed, count=3, nodes=5, edges=14, node_features=5, edge_features=4):
    """Random graphs, each a node and an edge larger than the one before; the last node of each has no neighbours."""
    rng = np.random.default_rng(seed)
    return together(
        [
            Graphs(
                torch.as_tensor(rng.normal(size=(nodes + i, node_features)), dtype=torch.float32),
                torch.as_tensor(rng.integers(nodes + i - 1, size=(2, edges + i))),
                torch.as_tensor(rng.normal(size=(edges + i, edge_features)), dtype=torch.float32),
                torch.tensor([0, nodes + i]),
                torch.tensor([0, edges + i]),
            )
            for i in range(count)
        ]
    )


def together(parts):
    """Single graphs side by side, one after the other."""
    nodes, edges, node_offsets, edge_offsets = [], [], [0], [0]
    for part in parts:
        nodes.append(part.nodes)
        edges.append(part.edges + node_offsets[-1])
        node_offsets.append(node_offsets[-1] + len(part.nodes))
        edge_offsets.append(edge_offsets[-1] + part.edges.shape[1])
    features = torch.cat([part.edge_features for part in parts])
    return Graphs(
        torch.cat(nodes), torch.cat(edges, dim=1), features, torch.tensor(node_offsets), torch.tensor(edge_offsets)
    )


def equal(a, b):
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in Graphs.__slots__)


def double(batch):
    return replace(batch, nodes=batch.nodes.double(), edge_features=batch.edge_features.double())


class TestGraphNetworks(SpaceContract):
    @pytest.fixture(params=OPTIONS, ids=("wide", "narrow", "deep"))
    def space(self, request):
        return GraphNetworks(**request.param)

    @many
    @given(seed=seeds)
    def test_descendants_build_run_and_learn(self, space, seed):
        rng = np.random.default_rng(seed)
        a, b = space.sample(rng), space.sample(rng)
        for _ in range(4):
            a, b = space.mutate(a, rng), space.cross(a, b, rng)
        fixed = space.fixed
        node_features, edge_features = fixed["input"]
        batch = graphs(seed, node_features=node_features, edge_features=edge_features)
        for genome in (a, b):
            network = build(genome)
            assert sum(p.numel() for p in network.parameters()) == network.layout.parameters
            assert network.layout.parameters <= space.budget.parameters
            y = network.train()(batch)
            assert y.shape == (3, fixed["outputs"])
            y.square().sum().backward()
            assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
            assert network.eval()(batch).isfinite().all()


def networks(seed, count=12):
    """Networks of random genomes with every kind of message and pooling among them, in double precision."""
    space, rng = GraphNetworks(node_features=5, edge_features=4, outputs=2), np.random.default_rng(seed)
    for number in range(count):
        genome = space.sample(rng) | {"pooling": ("mean", "sum", "max")[number % 3]}
        genome["layers"][0]["message"] = ("gated", "filter", "sum")[number // 3 % 3]
        yield build(genome).double().eval()


def test_a_graph_alone_is_the_graph_in_a_batch():
    batch = double(graphs(1))
    for network in networks(1):
        alone = torch.cat([network(batch[[i]]) for i in range(3)])
        assert torch.allclose(network(batch), alone, rtol=1e-10, atol=1e-10)
        assert not torch.allclose(alone[0], alone[1])


def test_order_of_nodes_and_edges_does_not_matter():
    batch, rng = double(graphs(2, count=1, nodes=7)), np.random.default_rng(0)
    order, edge_order = torch.as_tensor(rng.permutation(7)), torch.as_tensor(rng.permutation(14))
    place = torch.argsort(order)  # where each node went
    moved = replace(
        batch,
        nodes=batch.nodes[order],
        edges=place[batch.edges][:, edge_order],
        edge_features=batch.edge_features[edge_order],
    )
    for network in networks(2):
        assert torch.allclose(network(batch), network(moved), rtol=1e-10, atol=1e-10)


def test_messages_reach_as_far_as_there_are_layers():
    """Along a chain of five nodes, each sending to the next, what the first is told arrives after four layers."""
    edges = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
    for message in ("gated", "filter", "sum"):
        for layers, reached in ((3, False), (4, True)):
            torch.manual_seed(0)
            layer = GENOME["layers"][0] | {"message": message, "normalisation": "none"}
            network = build(GENOME | {"layers": [layer] * layers}).eval()
            received = []
            network.get_submodule(f"layer{layers}_activation").register_forward_hook(
                lambda module, inputs, output, received=received: received.append(output[4])
            )
            nodes, features = torch.randn(5, 5), torch.randn(4, 4)
            for told in (0.0, 3.0):
                network((torch.cat([nodes[:1] + told, nodes[1:]]), edges, features, torch.zeros(5, dtype=torch.int64)))
            assert (not torch.equal(*received)) == reached


def test_gated_convolution_is_that_of_its_paper():
    """Equation 5 of Xie & Grossman (2018), neighbour by neighbour, from the concatenated vectors z."""
    torch.manual_seed(0)
    layer, batch = GatedConvolution(5, 4, 3, "sum"), graphs(3, count=1)
    weight = torch.cat([layer.receiver.weight, layer.sender.weight, layer.edge.weight], dim=1)
    expected = torch.zeros(5, 3)
    for number, (sender, receiver) in enumerate(batch.edges.T.tolist()):
        z = torch.cat([batch.nodes[receiver], batch.nodes[sender], batch.edge_features[number]])
        gate, core = (weight @ z + layer.receiver.bias).chunk(2)
        expected[receiver] += torch.sigmoid(gate) * nn.functional.softplus(core)
    assert torch.allclose(layer(*batch.tensors[:3]), expected, atol=1e-6)


def test_aggregation_against_a_loop():
    values, index = torch.randn(9, 2), torch.tensor([0, 0, 1, 1, 1, 3, 3, 3, 3])
    for mode, function in (("sum", lambda v: v.sum(0)), ("mean", lambda v: v.mean(0)), ("max", lambda v: v.amax(0))):
        expected = torch.stack([function(values[index == i]) if i != 2 else torch.zeros(2) for i in range(4)])
        assert torch.allclose(aggregate(values, index, 4, mode), expected)


def test_gradient_reaches_every_parameter():
    space, rng = GraphNetworks(node_features=5, edge_features=4), np.random.default_rng(4)
    batch = double(graphs(4, count=6))
    for _ in range(40):
        genome = space.sample(rng)
        for block in (*genome["layers"], *genome["head"]):
            block |= {"activation": "silu", "dropout": 0.0}
        network = build(genome | {"dropout": 0.0}).double()
        (network(batch) - 1).square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad.abs().max() > 0, name


def _count(network, batch):
    """Multiply-adds of the linear maps that torch really runs."""
    counted = 0

    def count(module, inputs, output):
        nonlocal counted
        counted += module.weight.numel() * len(output)

    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(count)
    network.eval()(batch)
    return counted


def test_multiply_adds_are_what_torch_runs():
    space = GraphNetworks(node_features=5, edge_features=4, outputs=2, nodes=5, edges=14)
    batch, rng = graphs(5, count=1), np.random.default_rng(5)
    for _ in range(60):
        network = build(space.mutate(space.sample(rng), rng))
        assert network.layout.multiply_adds == _count(network, batch)


def test_source_is_the_same_network_and_needs_only_torch():
    space, rng, batch = GraphNetworks(node_features=5, edge_features=4), np.random.default_rng(6), graphs(6)
    for _ in range(30):
        genome = space.sample(rng)
        network, scope = build(genome).eval(), {}
        source = to_source(genome)
        assert "search_spaces" not in source
        exec(source, scope)
        other = scope["Network"]()
        other.load_state_dict(network.state_dict())
        assert torch.equal(network(batch), other.eval()(batch.tensors))


def test_mutation_reaches_every_gene():
    space, rng = GraphNetworks(node_features=5, edge_features=4, max_layers=3), np.random.default_rng(7)
    seen: set[tuple[str, object]] = set()
    genome = space.sample(rng)
    for _ in range(2000):
        genome = space.mutate(genome, rng)
        seen |= {(gene, genome[gene]) for gene in SETTINGS}
        seen |= {("layers." + gene, layer[gene]) for layer in genome["layers"] for gene in LAYER}
        seen |= {("layers", len(genome["layers"])), ("head", len(genome["head"]))}
    expected = {(gene, choice) for gene, spec in SETTINGS.items() for choice in spec.choices}
    expected |= {("layers." + gene, choice) for gene, spec in LAYER.items() for choice in spec.choices}
    assert expected | {("layers", n) for n in (1, 2, 3)} | {("head", n) for n in (0, 1, 2)} <= seen


def test_different_genomes_have_different_codes():
    space, rng = GraphNetworks(node_features=5, edge_features=4), np.random.default_rng(8)
    genomes = [space.sample(rng) for _ in range(200)]
    x = space.encode(genomes)
    assert len(np.unique(x, axis=0)) == len({json.dumps(genome) for genome in genomes})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["family"], "segmentation", "family"),
        (["input"], [5, 5], "input"),
        (["outputs"], True, "outputs"),
        (["pooling"], "median", "pooling"),
        (["layers"], [], "1 to 5"),
        (["layers", 0, "message"], "gate", r"layers\[0\]\.message"),
        (["layers", 0, "skip"], 1, r"layers\[0\]\.skip"),
        (["head"], GENOME["head"] * 3, "0 to 2"),
        (["head", 0, "wdith"], 3, "did you mean 'width'"),
        (["layers"], [GENOME["layers"][0] | {"width": 128}] * 5, "parameters"),
        (["dropout"], 0.0, "dropout of at least 0.05"),
    ],
)
def test_check_names_the_gene(path, value, message):
    space = GraphNetworks(node_features=5, edge_features=4, outputs=2, max_parameters=100_000)
    space.check(GENOME)
    genome = copy.deepcopy(GENOME)
    inner = genome
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(InvalidPoint, match=message):
        space.check(genome)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"node_features": 0}, "node_features"),
        ({"edge_features": 0}, "edge_features"),
        ({"outputs": 0}, "outputs"),
        ({"max_layers": 0}, "max_layers"),
        ({"max_head": -1}, "max_head"),
        ({"max_parameters": 10}, "max_parameters of at least"),
        ({"nodes": 0}, "nodes"),
    ],
)
def test_impossible_spaces_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        GraphNetworks(**({"node_features": 5, "edge_features": 4} | options))


def test_rows_of_graphs_are_like_rows_of_a_tensor():
    singles = [graphs(seed, count=1, nodes=3 + seed, edges=2 + seed) for seed in range(6)]
    batch = together(singles)
    assert len(batch) == 6 and batch.shape == (6, 5, 4) and batch.device == torch.device("cpu")
    for rows in ([4], [5, 0, 3], [2, 2]):
        for asked in (rows, np.array(rows), torch.tensor(rows)):
            assert equal(batch[asked], together([singles[row] for row in rows]))
    assert equal(batch[1:4], together(singles[1:4]))
    assert [len(part) for part in batch.split(4)] == [4, 2]
    assert equal(together([batch[[i]] for i in range(6)]), batch)
    assert batch[[1, 4]].tensors[3].tolist() == [0] * 4 + [1] * 7
    assert equal(batch.to("cpu"), batch)


def test_a_graph_without_edges_has_its_nodes():
    bare = replace(
        graphs(9, count=1, edges=1),
        edges=torch.zeros((2, 0), dtype=torch.int64),
        edge_features=torch.zeros((0, 4)),
        edge_offsets=torch.tensor([0, 0]),
    )
    batch = together([graphs(9, count=1), bare, bare])
    for message in ("gated", "filter", "sum"):
        network = build(GENOME | {"layers": [GENOME["layers"][0] | {"message": message}]}).eval()
        y = network(batch)
        assert y.isfinite().all()
        assert torch.allclose(y[1], y[2], atol=1e-6) and torch.allclose(y[1:2], network(bare), atol=1e-6)
