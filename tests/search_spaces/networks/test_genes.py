"""Batch sizes that follow the data, and group normalisation of any width."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from matloop.orchestrator.errors import ConfigError
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.search_spaces.networks.dense import DenseNetworks
from matloop.search_spaces.networks.grammar.training import batches
from matloop.search_spaces.networks.graph.space import GraphNetworks
from matloop.search_spaces.networks.module import build
from matloop.search_spaces.networks.program.part import per_group
from matloop.search_spaces.networks.segmentation.space import SegmentationNetworks

SPACES = [
    lambda **options: DenseNetworks(input=[12], **options),
    lambda **options: ConvNetworks(input=[1, 32, 32], **options),
    lambda **options: SegmentationNetworks(input=[1, 32, 32], **options),
    lambda **options: GraphNetworks(node_features=12, edge_features=16, **options),
]


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        (None, (8, 16, 32, 64)),
        (1, (8, 16, 32, 64)),
        (300, (8, 16, 32, 64)),
        (2_048, (8, 16, 32, 64)),
        (30_000, (32, 64, 128, 256, 512)),
        (100_000, (128, 256, 512, 1024, 2048)),
        (10_000_000, (256, 512, 1024, 2048)),
    ],
)
def test_batches_follow_the_examples(examples, expected):
    assert batches(examples, (12,)) == expected
    for make in SPACES:
        assert make(examples=examples).grammar.training["batch"].choices == expected


def test_an_epoch_has_neither_too_many_nor_too_few_steps():
    for examples in range(2_048, 60_000, 1_111):
        found = batches(examples, (12,))
        assert examples / found[-1] >= 32 and examples / found[0] <= 1_024
        assert len(found) >= 4


def test_batches_of_large_inputs_stay_within_memory():
    assert batches(100_000, (3, 64, 64))[-1] * 3 * 64 * 64 <= 2**22
    assert batches(100_000, (1, 256, 256, 256)) == (8, 16, 32, 64)
    assert all(len(batches(examples, (3, 64, 64))) >= 4 for examples in (10, 10**4, 10**6, 10**8))


def test_given_batches_win():
    space = DenseNetworks(input=[12], examples=30_000, genes={"batch": [8, 2048]})
    assert space.grammar.training["batch"].choices == (8, 2048)


@pytest.mark.parametrize("make", SPACES)
def test_no_examples_are_refused(make):
    with pytest.raises(ConfigError, match="examples to be at least 1, got 0"):
        make(examples=0)


def test_groups_divide_every_width():
    for width in range(1, 300):
        size = per_group(width)
        assert width % size == 0
        assert size == width if width < 4 else size >= 4
        assert size == 4 or width % 4
    assert [per_group(width) for width in (5, 6, 9, 10, 25, 26)] == [5, 6, 9, 5, 5, 13]


@pytest.mark.parametrize("width", [2, 3, 5, 6, 10, 13, 30])
def test_group_normalisation_of_any_width_sees_its_input(width):
    layer = {"width": width, "normalisation": "group", "activation": "silu", "dropout": 0.0}
    training = {"optimiser": "adam", "batch": 16, "learning_rate": 1e-3, "weight_decay": 1e-5}
    common = {"outputs": 1, "dropout": 0.1, "training": training}
    conv = layer | {"kind": "conv", "kernel": 1, "stride": 1, "skip": 0}
    block = layer | {"convolutions": 1, "kernel": 3}
    networks = [
        common | {"input": [4], "layers": [layer | {"kind": "dense", "skip": 0}]},
        common | {"input": [4, 1, 1], "padding": "zeros", "readout": "flatten", "layers": [conv]},
        common
        | {"input": [4, 5, 5], "family": "segmentation", "padding": "zeros", "hypercolumns": 0, "outputs": 2}
        | {"stem": block, "levels": []},
    ]
    for genome in networks:
        torch.manual_seed(0)
        network = build(genome)
        norm = next(m for m in network.modules() if isinstance(m, nn.GroupNorm))
        assert norm.num_groups * per_group(width) == norm.num_channels == width
        y = network.eval()(torch.randn(16, *genome["input"]))
        assert y.isfinite().all() and y.flatten(1).std(dim=0).min() > 1e-3


def test_widths_without_a_divisor_of_four_inherit_only_what_keeps_its_groups():
    from matloop.search_spaces.networks.inheritance import inherit

    layer = {"kind": "dense", "normalisation": "group", "activation": "relu", "dropout": 0.0, "skip": 0}
    training = {"optimiser": "adam", "batch": 16, "learning_rate": 1e-3, "weight_decay": 1e-5}
    x = torch.randn(8, 3, dtype=torch.float64)
    for old, new, exact in ((5, 10, True), (6, 12, False), (4, 8, True), (6, 9, False), (8, 12, True), (5, 15, True)):
        genomes = [
            {"input": [3], "outputs": 1, "dropout": 0.1, "layers": [layer | {"width": width}], "training": training}
            for width in (old, new)
        ]
        torch.manual_seed(1)
        parent, child = (build(genome).double() for genome in genomes)
        told = inherit(genomes[0], parent.state_dict(), genomes[1], child)
        difference = (parent.eval()(x) - child.eval()(x)).abs().max().item()
        assert told.exact == exact
        assert (difference < 1e-10) == exact


def test_a_morphism_stays_within_the_given_choices():
    space = ConvNetworks(
        input=[1, 12, 12], morphisms=1.0, genes={"width": [6, 12, 18], "kernel": [3, 5], "skip": [0, 1]}
    )
    rng = np.random.default_rng(0)
    genome = space.sample(rng)
    for _ in range(60):
        genome = space.mutate(genome, rng)
        space.check(genome)
