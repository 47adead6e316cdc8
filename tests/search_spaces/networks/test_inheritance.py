"""Morphisms keep the function, in every number of dimensions; other children take over what matches."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from matloop.orchestrator.errors import ConfigError
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.search_spaces.networks.dense import DenseNetworks
from matloop.search_spaces.networks.grammar.gene import duplicate
from matloop.search_spaces.networks.inheritance import inherit
from matloop.search_spaces.networks.layered.correspondence import compare
from matloop.search_spaces.networks.module import build
from matloop.search_spaces.networks.segmentation.space import SegmentationNetworks
from tests.search_spaces.networks.usual import TRAINING

SHAPES = [[6], [2, 24], [1, 8, 8], [3, 9, 1], [1, 4, 5, 6]]
MANY = settings(max_examples=25, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def space_of(shape, **options):
    options = {"max_parameters": 30_000} | options
    if len(shape) == 1:
        return DenseNetworks(input=shape, **options)
    return ConvNetworks(input=shape, max_multiply_adds=500_000, **options)


def trained(genome, seed=0):
    """A network in double precision with weights and statistics that no initialisation has."""
    torch.manual_seed(seed)
    network = build(genome).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
        if "Norm" in type(module).__name__:
            module.weight.data.uniform_(-2, 2)
            module.bias.data.normal_()
    return network.eval()


def disagreement(parent, child, **options):
    """Largest difference of the two networks' outputs, relative to their size, and what was inherited."""
    old, new = trained(parent, 1), trained(child, 2)
    told = inherit(parent, old.state_dict(), child, new, **options)
    x = torch.randn(5, *parent["input"], dtype=torch.float64)
    with torch.no_grad():
        return float((old(x) - new.eval()(x)).abs().max() / (1 + old(x).abs().max())), told


def changed(parent, child):
    """What a morphism changed: a gene of one layer, or "deeper" for a layer more."""
    if len(child["layers"]) != len(parent["layers"]):
        return "deeper"
    pairs = zip(parent["layers"], child["layers"], strict=True)
    return next((gene for a, b in pairs for gene in a if a[gene] != b[gene]), "no layer")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_morphisms_keep_the_function(shape):
    space, rng, seen = space_of(shape, outputs=2, max_layers=4, morphisms=1.0), np.random.default_rng(1), {}
    for _ in range(40):
        parent = space.sample(rng)
        child = space.mutate(parent, rng)
        space.check(child)
        if not compare(parent, child).exact:
            continue  # nothing of this parent can be changed like that
        difference, told = disagreement(parent, child)
        assert difference < 1e-10, (parent, child)
        assert told.exact
        assert told.share == 1 or changed(parent, child) in ("deeper", "blocks")
        what = changed(parent, child)
        seen[what] = seen.get(what, 0) + 1
    wanted = {"width", "deeper", "blocks"} | (set() if len(shape) == 1 else {"kernel"})
    assert wanted <= set(seen)
    assert sum(seen[what] for what in wanted) > 15


@MANY
@given(seed=seeds, shape=st.sampled_from(SHAPES), generations=st.integers(1, 4))
def test_what_is_called_exact_is(seed, shape, generations):
    """Any child, bred in any way: never wrong about keeping the function, and always fit to train."""
    space, rng = space_of(shape, morphisms=0.5), np.random.default_rng(seed)
    parent = space.sample(rng)
    child = parent
    for _ in range(generations):
        child = space.mutate(child, rng) if rng.random() < 0.8 else space.cross(child, space.sample(rng), rng)
    difference, told = disagreement(parent, child)
    assert told.exact == compare(parent, child).exact
    assert 0 <= told.inherited <= told.parameters
    if told.exact:
        assert difference < 1e-10


CONV = {
    "kind": "conv",
    "width": 8,
    "kernel": 3,
    "stride": 1,
    "normalisation": "batch",
    "activation": "relu",
    "dropout": 0.0,
    "skip": 0,
}
PARENT = {
    "input": [1, 12, 12],
    "outputs": 1,
    "padding": "circular",
    "readout": "flatten",
    "dropout": 0.1,
    "layers": [
        CONV,
        CONV | {"normalisation": "group", "skip": 1},
        {"kind": "pool", "mode": "max", "size": 2},
        CONV | {"normalisation": "none", "skip": 2, "stride": 2, "activation": "silu"},
        {"kind": "dense", "width": 16, "activation": "relu", "dropout": 0.0},
    ],
    "training": TRAINING,
}


def edited(edit):
    child = copy.deepcopy(PARENT)
    edit(child["layers"])
    return child


def widen(index, width):
    return edited(lambda layers: layers[index].update(width=width))


def insert(index, layer, skips=()):
    def edit(layers):
        for later, skip in skips:
            layers[later]["skip"] = skip
        layers.insert(index, layer)

    return edited(edit)


@pytest.mark.parametrize(
    ("child", "exact"),
    [
        (widen(0, 24), True),  # its skip is projected from now on
        (widen(1, 16), True),  # group normalisation: whole groups are repeated
        (widen(3, 64), True),  # read by a dense layer through `flatten`
        (widen(4, 128), True),
        (widen(0, 4), False),
        (edited(lambda layers: (layers[0].update(width=16), layers[1].update(width=16))), True),  # both skips alike
        (edited(lambda layers: layers[3].update(kernel=7)), True),
        (edited(lambda layers: layers[3].update(kernel=1)), False),
        (edited(lambda layers: layers[3].update(skip=0)), False),
        (edited(lambda layers: layers[0].update(skip=1)), True),  # a new projected skip begins at zero
        (edited(lambda layers: layers[0].update(activation="elu")), False),
        (edited(lambda layers: layers[0].update(dropout=0.3)), True),
        (insert(1, CONV | {"skip": 1}), True),
        (insert(1, CONV | {"normalisation": "group", "skip": 1, "activation": "elu"}), True),
        (insert(1, CONV | {"normalisation": "none", "kernel": 5}), True),
        (insert(2, CONV | {"normalisation": "none", "kernel": 5}, [(3, 3)]), True),
        (insert(2, CONV | {"normalisation": "none", "kernel": 5}), True),  # the skip starts from the copy
        (insert(3, CONV | {"skip": 1}, [(3, 3)]), True),  # after pooling
        (insert(3, CONV | {"skip": 1}), False),  # the skip starts elsewhere
        (insert(5, PARENT["layers"][4]), True),
        (insert(1, CONV), False),  # training would normalise by other statistics
        (insert(1, CONV | {"skip": 1, "activation": "gelu"}), False),
        (insert(0, CONV | {"skip": 1}), False),  # inputs may be negative
        (insert(4, CONV | {"normalisation": "none"}), False),  # silu may be negative
        (insert(1, CONV | {"skip": 1, "stride": 2}), False),
        (edited(lambda layers: layers.pop(0)), False),
        (PARENT | {"training": PARENT["training"] | {"batch": 8}, "dropout": 0.3}, True),
        (PARENT | {"readout": "avg"}, False),
        (PARENT | {"padding": "zeros"}, False),
    ],
)
def test_which_children_are_the_same_function(child, exact):
    difference, told = disagreement(PARENT, child)
    assert told.exact == exact
    assert (difference < 1e-10) == exact
    assert told.inherited > 0


def test_it_holds_in_single_precision_and_while_training():
    """Batch statistics and gradients see the same function too, and copies of a channel learn to differ."""
    child = edited(lambda layers: (layers[0].update(width=16), layers[3].update(width=16)))
    child["dropout"] = PARENT["dropout"] = 0.1
    torch.manual_seed(0)
    old, new = build(PARENT), build(child)
    inherit(PARENT, old.state_dict(), child, new)
    for network in (old, new):
        network.dropout.p = 0.0
    x = torch.randn(8, 1, 12, 12)
    assert (old.eval()(x) - new.eval()(x)).abs().max() < 1e-5
    assert (old.train()(x) - new.train()(x)).abs().max() < 1e-5
    first, copied = new.conv1.weight[:8], new.conv1.weight[8:]
    assert torch.equal(first, copied)
    torch.optim.Adam(new.parameters(), 1e-3).zero_grad()
    new(x).square().sum().backward()
    with torch.no_grad():
        torch.optim.Adam(new.parameters(), 1e-3).step()
    assert (new.conv1.weight[:8] - new.conv1.weight[8:]).abs().max() > 1e-5


def test_other_children_take_over_what_matches():
    parent, child = build(PARENT), edited(lambda layers: layers.pop(1))
    child["layers"][0] = CONV | {"width": 4, "kernel": 1}
    network = build(child)
    untouched = network.conv3.weight.clone()
    told = inherit(PARENT, parent.state_dict(), child, network)
    assert torch.equal(network.conv1.weight, parent.conv1.weight[:4, :, 1:2, 1:2])
    assert torch.equal(network.norm1.running_var, parent.norm1.running_var[:4])
    assert torch.equal(network.conv3.weight, parent.conv4.weight[:, :4])
    assert not torch.equal(network.conv3.weight, untouched)
    assert torch.equal(network.output.weight, parent.output.weight)
    assert not told.exact
    assert 0.9 < told.share <= 1


def test_what_does_not_match_stays():
    child = PARENT | {"readout": "avg", "layers": [*PARENT["layers"][:4], PARENT["layers"][4] | {"width": 8}]}
    parent, network = build(PARENT), build(child)
    untouched = copy.deepcopy(network.state_dict())
    told = inherit(PARENT, parent.state_dict(), child, network)
    assert torch.equal(network.dense5.weight, untouched["dense5.weight"])  # pixels are averaged where they were listed
    assert torch.equal(network.dense5.bias, parent.dense5.bias[:8])
    expected = sum(p.numel() for p in network.parameters()) - network.dense5.weight.numel()
    assert told.inherited == expected


def test_the_same_seed_shares_weights_out_the_same_way():
    child, parent = widen(0, 64), build(PARENT)
    networks = [build(child) for _ in range(3)]
    for network, seed in zip(networks, (0, 0, 1), strict=True):
        inherit(PARENT, parent.state_dict(), child, network, seed=seed)
    assert torch.equal(networks[0].conv2.weight, networks[1].conv2.weight)
    assert not torch.equal(networks[0].conv2.weight, networks[2].conv2.weight)


def test_weights_of_another_network_are_refused():
    with pytest.raises(ValueError, match=r"conv1.weight of \(8, 1\), got \(16, 1, 3, 3\)"):
        inherit(PARENT, build(widen(0, 16)).state_dict(), PARENT, build(PARENT))
    with pytest.raises(ValueError, match="got None"):
        inherit(PARENT, {}, PARENT, build(PARENT))


def test_other_families_inherit_by_name():
    """Where layers are not aligned, tensors of the same name give what fits; the function is kept only by itself."""
    space = SegmentationNetworks(input=[1, 16, 16], classes=2)
    rng = np.random.default_rng(0)
    parent = space.sample(rng)
    same = parent | {"training": parent["training"] | {"batch": 64}}
    old, new, x = build(parent).eval(), build(same).eval(), torch.randn(2, 1, 16, 16)
    told = inherit(parent, old.state_dict(), same, new)
    assert told.exact and told.share == 1
    assert torch.equal(old(x), new(x))
    assert parent["stem"]["width"] < 64
    other = parent | {"stem": parent["stem"] | {"width": 64}}
    network = build(other)
    told = inherit(parent, old.state_dict(), other, network)
    assert not told.exact and 0 < told.share < 1
    assert network(x).isfinite().all()


def test_a_share_of_mutations_keeps_the_function():
    rng, plain = np.random.default_rng(1), ConvNetworks(input=[1, 16, 16])
    parents = [plain.sample(rng) for _ in range(100)]
    shares = []
    for morphisms in (0.0, 0.5, 1.0):
        space = ConvNetworks(input=[1, 16, 16], morphisms=morphisms)
        children = [space.mutate(parent, rng) for parent in parents]
        same = [compare(p, c).exact and p["training"] == c["training"] for p, c in zip(parents, children, strict=True)]
        shares.append(np.mean(same))
    assert shares[0] < 0.3 < shares[1] < 0.7 < shares[2]  # at the limit of a budget nothing can grow
    for wrong in (-0.1, 1.5):
        with pytest.raises(ConfigError, match="morphisms"):
            ConvNetworks(input=[1, 8, 8], morphisms=wrong)


def test_a_copy_shares_nothing():
    child = duplicate(PARENT)
    child["layers"][0]["width"] = child["input"][0] = child["training"]["batch"] = 99
    assert "99" not in str(PARENT)
