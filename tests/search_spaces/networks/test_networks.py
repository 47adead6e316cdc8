"""The space of convolutional networks: its contract over shapes, and every genome held against torch."""

from __future__ import annotations

import copy
import json
import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Finite, Vectorised
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.search_spaces.networks.dense import DenseNetworks
from matloop.search_spaces.networks.families import FAMILIES, Family, family
from matloop.search_spaces.networks.grammar.grammar import choices
from matloop.search_spaces.networks.layered.costs import costs, field
from matloop.search_spaces.networks.layered.plan import plan
from matloop.search_spaces.networks.module import build
from matloop.search_spaces.networks.source import to_source
from matloop.testing.space import SpaceContract, many
from tests.search_spaces.networks.usual import TRAINING

GENOME = {
    "input": [1, 32, 32],
    "outputs": 1,
    "padding": "circular",
    "readout": "avg",
    "dropout": 0.1,
    "layers": [
        {
            "kind": "conv",
            "width": 16,
            "kernel": 5,
            "stride": 1,
            "normalisation": "batch",
            "activation": "relu",
            "dropout": 0.0,
            "skip": 0,
        },
        {"kind": "pool", "mode": "max", "size": 2},
        {
            "kind": "conv",
            "width": 24,
            "kernel": 3,
            "stride": 2,
            "normalisation": "none",
            "activation": "silu",
            "dropout": 0.2,
            "skip": 2,
        },
        {"kind": "dense", "width": 32, "activation": "gelu", "dropout": 0.0},
    ],
    "training": TRAINING,
}
seeds = st.integers(0, 2**32 - 1)


OPTIONS = [
    {"input": [1, 32, 32]},
    {"input": [1, 8, 8]},
    {"input": [3, 33, 17], "outputs": 3},
    {"input": [2, 1, 64], "max_layers": 4},
    {"input": [1, 1, 1]},
    {"input": [1, 128, 128], "max_layers": 1},
    {"input": [4, 16, 16], "max_layers": 12, "max_parameters": 300, "max_multiply_adds": 20_000},
    {"input": [1, 8, 8], "outputs": 400, "max_parameters": 3_000},
    {"input": [1, 256]},
    {"input": [3, 1], "outputs": 2},
    {"input": [2, 1, 5, 9], "max_layers": 5},
]
DENSE_OPTIONS = [
    {"input": [12]},
    {"input": [1], "outputs": 3, "max_layers": 1},
    {"input": [100], "outputs": 2, "max_parameters": 900},
]


def _shape(options):
    return "x".join(map(str, options["input"]))


class NetworkContract(SpaceContract):
    """What the spaces of networks promise beside: every genome builds, runs, trains and costs what it says."""

    @many
    @given(seed=seeds)
    def test_descendants_build_and_run(self, space, seed):
        rng = np.random.default_rng(seed)
        a, b = space.sample(rng), space.sample(rng)
        for _ in range(4):
            a, b = space.mutate(a, rng), space.cross(a, b, rng)
        for genome in (a, b):
            network = build(genome)
            trainable = sum(p.numel() for p in network.parameters())
            assert trainable == plan(genome).parameters <= space.budget.parameters
            x = torch.randn(2, *space.fixed["input"])
            network.train()(x).sum().backward()
            y = network.eval()(x)
            assert y.shape == (2, space.fixed["outputs"])
            assert y.isfinite().all()


class TestConvNetworks(NetworkContract):
    @pytest.fixture(params=OPTIONS, ids=_shape)
    def space(self, request):
        return ConvNetworks(**request.param)


class TestDenseNetworks(NetworkContract):
    @pytest.fixture(params=DENSE_OPTIONS, ids=_shape)
    def space(self, request):
        return DenseNetworks(**request.param)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_there(name):
    assert isinstance(family({"family": name} if name else {}), Family)


def test_an_unknown_family_is_refused():
    for use in (build, to_source):
        with pytest.raises(InvalidPoint, match=r"family to be one of .* got 'quantum'"):
            use(GENOME | {"family": "quantum"})


def test_it_claims_no_more_than_it_can():
    space = ConvNetworks(input=[1, 8, 8])
    assert not isinstance(space, Finite)
    assert not isinstance(space, Vectorised)


def test_long_chains_of_mutations_build():
    space, rng = ConvNetworks(input=[1, 16, 16]), np.random.default_rng(0)
    elders = [space.sample(rng) for _ in range(20)]
    for chain in range(200):
        genome = elders[chain % 20]
        for _ in range(int(rng.integers(1, 6))):
            genome = space.mutate(genome, rng)
        space.check(genome)
        with torch.no_grad():
            assert build(genome).eval()(torch.zeros(2, 1, 16, 16)).shape == (2, 1)
        elders[chain % 20] = genome


def _count_by_hooks(network, x):
    """Multiply-adds of one image, counted from what torch really runs."""
    total = 0

    def count(module, inputs, output):
        nonlocal total
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            total += module.weight[0].numel() * output[0].numel()
        elif isinstance(module, nn.Linear):
            total += module.weight.numel()

    for module in network.modules():
        module.register_forward_hook(count)
    network.eval()(x)
    return total


SHAPES = [[7], [2, 40], [1, 16, 16], [3, 21, 12], [2, 1, 40], [2, 7, 5, 6]]


def space_of(shape, **options):
    """The space for inputs of that shape."""
    return (DenseNetworks if len(shape) == 1 else ConvNetworks)(input=shape, **options)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_costs_shapes_and_field_agree_with_torch(shape):
    space, rng = space_of(shape), np.random.default_rng(1)
    for _ in range(25):
        genome = space.mutate(space.sample(rng), rng)
        layout, network = plan(genome), build(genome)
        counted = _count_by_hooks(network, torch.zeros(1, *shape))
        assert layout.multiply_adds == counted <= space.budget.multiply_adds
        shapes = {}
        for name, module in network.named_children():
            module.register_forward_hook(partial(_note_shape, shapes, name))
        network(torch.zeros(1, *shape))
        for number, (layer, expected) in enumerate(
            zip(genome["layers"], costs(genome).blocks[1:], strict=True), start=1
        ):
            assert shapes[{"pool": "pool"}.get(layer["kind"], "activation") + str(number)] == expected.shape


def _note_shape(shapes, name, module, inputs, output):
    shapes[name] = tuple(output.shape[1:])


def test_receptive_field_is_what_gradients_see():
    layers = [layer for layer in copy.deepcopy(GENOME["layers"]) if layer["kind"] != "dense"]
    for layer in layers:
        layer |= {"skip": 0, "activation": "silu"} if layer["kind"] == "conv" else {"mode": "avg"}
    genome = GENOME | {"layers": layers, "padding": "zeros", "readout": "flatten"}
    features = {}
    network = build(genome).eval()
    network.flatten.register_forward_hook(lambda module, inputs, output: features.update(maps=inputs[0]))
    x = torch.randn(1, 1, 32, 32, requires_grad=True)
    network(x)
    features["maps"][0, :, 4, 4].sum().backward()
    seen = (x.grad[0, 0] != 0).any(dim=0).sum().item()
    assert seen == 10  # 5, then 5 + 1, then 6 + 2 * 2
    assert field(genome) == (seen, 4)


def test_circular_padding_makes_the_average_blind_to_shifts():
    layers = [layer for layer in copy.deepcopy(GENOME["layers"]) if layer["kind"] == "conv"]
    for layer in layers:
        layer |= {"stride": 1, "skip": 1}
    genome = GENOME | {"layers": layers}
    x = torch.randn(4, 1, 32, 32)
    for padding, blind in (("circular", True), ("zeros", False)):
        network = build(genome | {"padding": padding}).eval()
        assert torch.allclose(network(x), network(x.roll((5, 11), (2, 3))), atol=1e-6) == blind


def test_skips_add_what_they_say():
    genome = copy.deepcopy(GENOME)
    network = build(genome).eval()
    x = torch.randn(3, 1, 32, 32)
    first = torch.relu(network.norm1(network.conv1(x)))
    second = nn.functional.conv2d(
        nn.functional.pad(nn.functional.max_pool2d(first, 2), (1, 1, 1, 1), mode="circular"),
        network.conv3.weight,
        network.conv3.bias,
        stride=2,
    )
    skipped = nn.functional.conv2d(nn.functional.avg_pool2d(first, 4), network.project3.weight)
    features = nn.functional.silu(second + skipped).mean(dim=(2, 3))
    expected = network.output(nn.functional.gelu(network.dense4(features)))
    assert torch.allclose(network(x), expected, atol=1e-5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=seeds, shape=st.sampled_from(SHAPES), outputs=st.integers(1, 3))
def test_source_is_the_network(seed, shape, outputs):
    space, rng = space_of(shape, outputs=outputs), np.random.default_rng(seed)
    genome = space.mutate(space.sample(rng), rng)
    namespace = {}
    exec(compile(to_source(genome), "network.py", "exec"), namespace)
    network, copied = build(genome), namespace["Network"]()
    network.train()(torch.randn(4, *shape))  # moves the running statistics
    copied.load_state_dict(network.state_dict())
    x = torch.randn(2, *shape)
    assert torch.equal(network.eval()(x), copied.eval()(x))
    for seen in (network, copied):
        seen.train()
    torch.manual_seed(0)
    trained = network(x)
    torch.manual_seed(0)
    assert torch.equal(trained, copied(x))


def test_source_reads_well():
    source = to_source(GENOME)
    assert 'self.conv3 = nn.Conv2d(16, 24, 3, stride=2, padding=1, padding_mode="circular")' in source
    assert "        x = x + self.project3(self.resize3(x1))\n" in source
    assert source.rstrip().endswith("return self.output(self.dropout(x))")
    assert "matloop" not in source and "search_spaces" not in source


def test_every_network_has_a_dropout():
    space, rng = ConvNetworks(input=[1, 16, 16]), np.random.default_rng(3)
    genome = space.sample(rng)
    for _ in range(300):
        genome = space.mutate(genome, rng)
        rates = [m.p for m in build(genome).modules() if isinstance(m, nn.Dropout | nn.Dropout2d)]
        assert max(rates) >= 0.05


def test_variation_reaches_every_gene():
    space, rng = ConvNetworks(input=[1, 32, 32], max_multiply_adds=10**9), np.random.default_rng(4)
    grammar, training, layers = space.grammar, choices(space.grammar.training), space.grammar.series["layers"].kinds
    seen, genome, lengths = set(), space.sample(rng), set()
    for _ in range(3000):
        genome = space.mutate(genome, rng)
        lengths.add(len(genome["layers"]))
        seen |= {(gene, genome[gene]) for gene in grammar.settings}
        seen |= {(gene, genome["training"][gene]) for gene in training}
        seen |= {(layer["kind"], gene, value) for layer in genome["layers"] for gene, value in layer.items()}
    tables = (grammar.settings, training)
    wanted = {(name, value) for table in tables for name, gene in table.items() for value in gene.choices}
    wanted |= {(kind, name, v) for kind, genes in layers.items() for name, gene in genes.items() for v in gene.choices}
    assert wanted <= seen
    assert lengths == set(range(1, 9))


def test_children_mix_the_layers_and_settings_of_both():
    space, rng = ConvNetworks(input=[1, 32, 32]), np.random.default_rng(5)
    other = GENOME | {
        "padding": "zeros",
        "layers": [GENOME["layers"][0] | {"width": 48, "normalisation": "group"}, GENOME["layers"][3] | {"width": 8}],
        "training": {
            "optimiser": "sgd",
            "learning_rate": 5e-3,
            "weight_decay": 1e-3,
            "batch": 64,
            "warm_up": 0.02,
            "final_rate": 0.0,
            "gradient_norm": 1.0,
            "averaging": 0.98,
        },
    }
    children = [space.cross(GENOME, other, rng) for _ in range(200)]
    assert any([layer["width"] for layer in c["layers"] if layer["kind"] != "pool"] == [16, 8] for c in children)
    for gene in GENOME["training"]:
        assert {c["training"][gene] for c in children} == {GENOME["training"][gene], other["training"][gene]}


def test_encoding_has_a_name_for_every_column_and_tells_genomes_apart():
    space, rng = ConvNetworks(input=[1, 32, 32]), np.random.default_rng(6)
    names = space.columns
    assert len(names) == len(set(names)) == space.dimension
    row = dict(zip(names, space.encode([GENOME])[0], strict=True))
    assert row["padding = circular"] == row["optimiser = adam"] == row["layers[1] is pool"] == 1
    assert row["layers[2] conv kernel"] == pytest.approx(1 / 3)
    assert row["layers[4] is conv"] == row["layers[3] conv width"] == 0
    assert row["log10 parameters / 6"] == pytest.approx(math.log10(plan(GENOME).parameters) / 6)
    genomes = [space.sample(rng) for _ in range(200)]
    x = space.encode(genomes)
    assert len(np.unique(x, axis=0)) == len({json.dumps(genome) for genome in genomes})
    assert x.min() >= 0 and x.max() <= 1


def _changed(path, value):
    genome = copy.deepcopy(GENOME)
    inner = genome
    for key in path[:-1]:
        inner = inner[key]
    if value is KeyError:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return genome


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["input"], [1, 32, 31], "input"),
        (["input"], [1.0, 32, 32], "input"),
        (["outputs"], 2, "outputs"),
        (["outputs"], True, "outputs"),
        (["padding"], "reflect", "padding"),
        (["dropout"], 0.01, "dropout"),
        (["layers", 0, "kind"], "cnov", r"layers\[0\].kind"),
        (["layers", 0], "conv", r"layers\[0\]"),
        (["layers", 0, "width"], 17, r"layers\[0\].width"),
        (["layers", 0, "width"], 16.0, r"layers\[0\].width"),
        (["layers", 0, "dropout"], 0, None),
        (["layers", 0, "stride"], True, r"layers\[0\].stride"),
        (["layers", 0, "skip"], 2, r"layers\[0\].skip"),
        (["layers", 0, "krenel"], 3, "did you mean 'kernel'"),
        (["layers", 2, "kernel"], KeyError, "kernel"),
        (["layers", 0, "activation"], ["relu"], r"layers\[0\].activation"),
        (["layers", 3], GENOME["layers"][0], None),
        (["layers"], GENOME["layers"][::-1], "dense"),
        (["layers"], GENOME["layers"][:1] * 9, "0 to 8"),
        (["layers"], [GENOME["layers"][1]] * 6, r"layers\[5\].*size"),
        (["layers"], [GENOME["layers"][0] | {"width": 64, "kernel": 7}] * 3, "multiply_adds"),
        (["training", "learning_rate"], 1.0, "training.learning_rate"),
        (["training", "learning_rate"], math.nan, "training.learning_rate"),
        (["training", "batch"], 12, "training.batch"),
        (["training", "epochs"], 12, "epochs"),
        (["training"], None, "training"),
    ],
)
def test_check_names_the_gene(path, value, message):
    space = ConvNetworks(input=[1, 32, 32])
    space.check(GENOME)
    genome = _changed(path, value)
    if message is None:
        space.check(genome)
        return
    with pytest.raises(InvalidPoint, match=message):
        space.check(genome)


def test_check_asks_for_a_dropout():
    genome = _changed(["layers", 2, "dropout"], 0.0) | {"dropout": 0.0}
    with pytest.raises(InvalidPoint, match="dropout"):
        ConvNetworks(input=[1, 32, 32]).check(genome)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": [32]}, "channels, height, width"),
        ({"input": [1, 2, 3, 4, 5]}, "channels, height, width"),
        ({"input": [1, 0, 32]}, "each at least 1"),
        ({"input": [1, 32.0, 32]}, "channels, height, width"),
        ({"input": [1, 32, 32], "outputs": 0}, "outputs"),
        ({"input": [1, 32, 32], "max_layers": 0}, "max_layers"),
        ({"input": [9, 32, 32], "outputs": 10, "max_parameters": 99}, "at least 100"),
    ],
)
def test_impossible_spaces_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        ConvNetworks(**options)


@pytest.mark.parametrize(
    "place",
    [("training", "optimiser"), ("training", "batch"), ("padding",), ("outputs",), ("input", 0), ("layers", 0, "kind")],
)
@pytest.mark.parametrize(
    "evil",
    [
        'adam"""\nimport os\nos.system("touch x")\n"""',
        'zeros", device=print(1), x="',
        "1)\n        print(1",
        "\\",
        "{0}",
        "a#",
    ],
)
def test_a_text_of_a_genome_does_not_become_a_statement_of_the_source(place, evil):
    """Recorded genomes are made into files that people run; the first of these texts ran its command."""
    genome = copy.deepcopy(GENOME)
    holder = genome
    for part in place[:-1]:
        holder = holder[part]
    holder[place[-1]] = evil
    with pytest.raises(InvalidPoint, match="expected words and numbers in a genome"):
        to_source(genome)
    with pytest.raises(InvalidPoint, match="expected words and numbers in a genome"):
        to_source(GENOME | {evil: 1})
