"""Genes given by a campaign file: what they become, what is refused, and that every family lives with them."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.search_spaces.networks.dense import DenseNetworks
from matloop.search_spaces.networks.grammar.gene import Gene, Range
from matloop.search_spaces.networks.graph.space import GraphNetworks
from matloop.search_spaces.networks.module import build
from matloop.search_spaces.networks.segmentation.space import SegmentationNetworks
from matloop.search_spaces.networks.source import to_source
from matloop.testing.space import SpaceContract

KINDS = {
    "dense": (DenseNetworks, {"input": [7], "outputs": 2}),
    "signal": (ConvNetworks, {"input": [2, 30], "outputs": 2}),
    "image": (ConvNetworks, {"input": [1, 13, 10]}),
    "volume": (ConvNetworks, {"input": [1, 5, 4, 6]}),
    "segmentation": (SegmentationNetworks, {"input": [1, 13, 10], "classes": 3}),
    "graph": (GraphNetworks, {"node_features": 5, "edge_features": 4, "outputs": 2}),
}
LIMITS = {"max_parameters": 400_000, "max_multiply_adds": 12_000_000}
RATES = {"learning_rate": [1e-4, 1e-2], "weight_decay": [1e-5], "batch": [256, 2, 1024, 256]}
WIDE = {
    "dense": {
        "width": [5, 6, 9, 100, 512],
        "dropout": [0, 0.25],
        "normalisation": ["group"],
        "skip": [0, 1, 5],
        **RATES,
    },
    "signal": {
        "width": [3, 7, 10, 96, 256],
        "dense.width": [33],
        "kernel": [9, 1, 15],
        "stride": [1, 3],
        "normalisation": ["group", "batch"],
        "readout": ["flatten"],
        **RATES,
    },
    "image": {"width": [2, 6, 128], "kernel": [3, 5], "size": [4], "stride": [2], "skip": [1], "padding": ["zeros"]},
    "volume": {"width": [10], "kernel": [3], "dense.width": [12, 300], "readout": ["flatten", "max"]},
    "segmentation": {
        "width": [6, 10, 96],
        "stem.width": [14],
        "kernel": [3, 7],
        "convolutions": [2, 4],
        "hypercolumns": [0, 2, 5],
        "normalisation": ["group"],
        **RATES,
    },
    "graph": {"width": [20, 200], "head.width": [8], "embedding": [3, 30], "skip": [True], "pooling": ["max"], **RATES},
}
SINGLE = {
    "dense": {
        "width": [16],
        "blocks": [1],
        "normalisation": ["none"],
        "activation": ["silu"],
        "dropout": [0.1],
        "skip": [0],
    },
    "image": {
        "width": [8],
        "kernel": [3],
        "stride": [1],
        "normalisation": ["batch"],
        "activation": ["relu"],
        "dropout": [0.2],
        "skip": [0],
        "mode": ["max"],
        "size": [2],
        "padding": ["circular"],
        "readout": ["avg"],
    },
    "segmentation": {
        "downsampling": ["max"],
        "upsampling": ["nearest"],
        "skip": ["add"],
        "width": [8],
        "convolutions": [1],
        "kernel": [3],
        "normalisation": ["none"],
        "activation": ["elu"],
        "dropout": [0.5],
        "padding": ["zeros"],
        "hypercolumns": [0],
    },
    "graph": {
        "message": ["sum"],
        "aggregation": ["mean"],
        "width": [8],
        "normalisation": ["layer"],
        "activation": ["gelu"],
        "dropout": [0.1],
        "skip": [False],
        "embedding": [8],
        "pooling": ["sum"],
    },
}
FIXED_TRAINING = {"optimiser": ["sgd"], "batch": [32], "learning_rate": [0.01], "weight_decay": [1e-4, 1e-4]}
FIXED_TRAINING |= {"warm_up": [0.1], "final_rate": [0.0], "gradient_norm": [1.0], "averaging": [0.0]}
ROOT = Path(__file__).parents[3]
FAST = settings(
    max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def space_of(kind, genes=None, **options):
    make, given = KINDS[kind]
    limits = {key: value for key, value in LIMITS.items() if make is not DenseNetworks or key == "max_parameters"}
    return make(**given | limits | options, genes=genes)


def example(space):
    """Something to feed to a network of the space."""
    if space.fixed.get("family") == "graph":
        nodes, edges = torch.randn(7, 5), torch.randint(0, 7, (2, 12))
        return nodes, edges, torch.randn(12, 4), torch.tensor([0, 0, 0, 1, 1, 1, 1])
    return torch.randn(3, *space.fixed["input"])


class TestWidened(SpaceContract):
    """The contract, in a space of every kind with other choices than its own."""

    @pytest.fixture(params=WIDE)
    def space(self, request):
        return space_of(request.param, WIDE[request.param])


class TestSingle(SpaceContract):
    """The contract where only depth and training are left to vary."""

    @pytest.fixture(params=SINGLE)
    def space(self, request):
        return space_of(request.param, SINGLE[request.param])


@pytest.mark.parametrize(("kind", "genes"), [*WIDE.items(), *((kind, None) for kind in KINDS)])
@FAST
@given(seed=st.integers(0, 2**32 - 1))
def test_every_descendant_is_a_network(kind, genes, seed):
    """It passes the check, is its own repair, has a code, survives JSON, builds, learns and runs."""
    space, rng = space_of(kind, genes), np.random.default_rng(seed)
    a, b = space.sample(rng), space.sample(rng)
    x = example(space)
    for generation in range(6):
        a, b = space.mutate(a, rng), space.cross(a, b, rng)
        for genome in (a, b):
            restored = json.loads(json.dumps(genome, allow_nan=False))
            space.check(restored)
            assert space.repair(restored) == restored == genome
            assert np.isfinite(space.encode([genome])).all()
            if generation == 5:
                network = build(genome)
                trainable = sum(p.numel() for p in network.parameters())
                assert trainable == network.layout.parameters == space.rules.costs(genome).parameters
                network.train()(x).square().sum().backward()
                assert network.eval()(x).isfinite().all()
                assert "class Network" in to_source(genome)


@pytest.mark.parametrize("kind", WIDE)
def test_samples_and_mutants_have_the_given_choices_and_only_these(kind):
    space, rng = space_of(kind, WIDE[kind]), np.random.default_rng(0)
    genome = space.sample(rng)
    seen = {}
    for _ in range(1500):
        genome = space.mutate(genome, rng) if rng.random() < 0.9 else space.sample(rng)
        for place in space.grammar.places(genome):
            for name, gene in place.table.items():
                seen.setdefault((place.key, place.block.get("kind"), name), (set(), gene))[0].add(place.block[name])
    for where, (values, gene) in seen.items():
        unused = set(gene.choices) - values
        assert values <= set(gene.choices)
        assert not unused or where[-1] in space.rules.shrink or where[-1] in ("size", "stride"), (where, unused)


def test_a_plain_name_is_for_all_and_a_qualified_one_wins():
    tables = space_of("image", {"dense.width": [2048, 512], "width": [64], "network.dropout": [0.5]}).grammar.tables()
    assert tables["conv"]["width"].choices == (64,)
    assert tables["dense"]["width"].choices == (512, 2048)
    assert tables["network"]["dropout"].choices == (0.5,)
    assert tables["conv"]["dropout"].choices == (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
    tables = space_of("segmentation", {"stem.width": [8], "levels.width": [16]}).grammar.tables()
    assert (tables["stem"]["width"].choices, tables["levels"]["width"].choices) == ((8,), (16,))
    tables = space_of("graph", {"head.width": [8], "training.batch": [4]}).grammar.tables()
    assert (tables["head"]["width"].choices, tables["training"]["batch"].choices) == ((8,), (4,))
    assert tables["layers"]["width"].choices == (8, 16, 32, 64, 128)


def test_numbers_are_sorted_and_each_is_taken_once():
    space = space_of("dense", {"width": [64, 8, 64], "dropout": [0.5, 0], "learning_rate": [1e-2, 1e-4]})
    table = space.grammar.tables()["dense"]
    assert table["width"].choices == (8, 64)
    assert table["dropout"].choices == (0.0, 0.5) and isinstance(table["dropout"].choices[0], float)
    assert space.grammar.training["learning_rate"] == Range(1e-4, 1e-2)


def test_known_choices_keep_their_odds_and_new_ones_get_the_mean():
    gene = Gene((1, 3, 5), (0.2, 0.6, 0.1))
    assert gene.given("kernel", [3, 5]).odds == (0.6, 0.1)
    assert gene.given("kernel", [1, 3, 9]).odds == pytest.approx((0.2, 0.6, 0.4))
    assert gene.given("kernel", [9, 11]).odds is None
    drawn = [gene.given("kernel", [3, 5]).draw(np.random.default_rng(seed)) for seed in range(400)]
    assert drawn.count(3) / 400 == pytest.approx(6 / 7, abs=0.06)


@pytest.mark.parametrize(
    ("kind", "genes", "message"),
    [
        ("dense", {"wdith": [8]}, "unknown gene 'wdith' in genes; did you mean 'width'"),
        ("dense", {"conv.width": [8]}, "unknown gene 'conv.width' in genes; did you mean"),
        ("dense", {"kernel": [3]}, "unknown gene 'kernel'"),
        ("image", {"colour": ["red"]}, "unknown gene 'colour' in genes; known are .*'activation'"),
        ("dense", {"width": 64}, r"'width' in genes to be a list of choices, got 64; write \[64\]"),
        ("dense", {"width": []}, "'width' in genes to be a list of choices, got an empty one"),
        ("dense", {"width": [64.0]}, "'width' in genes to be whole numbers of at least 2, got 64.0"),
        ("dense", {"width": ["wide"]}, "'width' in genes to be whole numbers"),
        ("dense", {"width": [True]}, "'width' in genes to be whole numbers"),
        ("dense", {"width": [0, 8]}, "'width' in genes to be whole numbers of at least 2, got 0"),
        ("dense", {"width": [8, 100_000]}, "'width' in genes: 100000 is more than any network"),
        ("image", {"dense.width": [500_000]}, "'dense.width' in genes: 500000 .* raise max_parameters"),
        ("image", {"kernel": [4]}, "'kernel' in genes to be odd whole numbers of at least 1, got 4"),
        ("image", {"skip": [2, 3]}, "'skip' in genes to have a choice of at most 1"),
        ("image", {"readout": ["median"]}, "'readout' in genes to have some of .*'flatten'.*got 'median'"),
        ("image", {"dropout": [1.0]}, "'dropout' in genes to be numbers of at least 0 and at most 0.95, got 1.0"),
        ("segmentation", {"hypercolumns": [1, 2]}, "'hypercolumns' in genes to have a choice of at most 0"),
        ("segmentation", {"levels.width": [10**6]}, "'levels.width' in genes: 1000000 is more"),
        ("graph", {"skip": [1]}, r"'skip' in genes to have some of \[False, True\], got 1"),
        ("graph", {"embedding": [10**6]}, "'embedding' in genes: 1000000 is more"),
        ("graph", {"batch": [1]}, "'batch' in genes to be whole numbers of at least 2, got 1"),
        ("dense", {"learning_rate": [0.0, 0.1]}, r"'learning_rate' in genes to be \[lowest, highest\]"),
        ("dense", {"learning_rate": [1e-4, 1e-3, 1e-2]}, "'learning_rate' in genes to be .* one number keeps it fixed"),
        ("dense", {"learning_rate": []}, "'learning_rate' in genes"),
        ("dense", {"weight_decay": ["small"]}, "'weight_decay' in genes"),
        ("dense", {"weight_decay": [1e-3, float("inf")]}, "'weight_decay' in genes"),
    ],
)
def test_genes_that_cannot_be_are_refused(kind, genes, message):
    with pytest.raises(ConfigError, match=message):
        space_of(kind, genes)


@pytest.mark.parametrize("kind", SINGLE)
def test_a_space_of_one_network_is_searched_without_end_or_error(kind):
    """Nothing is left to vary but, where the limits say so, not even the depth."""
    limit = {"segmentation": {"max_levels": 0}}.get(kind, {"max_layers": 1})
    genes = SINGLE[kind] | FIXED_TRAINING
    if kind == "image":
        limit |= {"max_multiply_adds": 30_000, "max_parameters": 1_000}
    space, rng = space_of(kind, genes, **limit), np.random.default_rng(0)
    genomes = [space.sample(rng) for _ in range(5)]
    genomes += [space.mutate(genome, rng) for genome in genomes] + [space.cross(*genomes[:2], rng)]
    for genome in genomes:
        space.check(genome)
    assert np.isfinite(space.encode(genomes)).all()


def test_where_no_dropout_can_be_chosen_none_is_asked_for():
    rng = np.random.default_rng(1)
    for kind in KINDS:
        space = space_of(kind, {"dropout": [0.0]})
        genome = space.mutate(space.sample(rng), rng)
        space.check(genome)
        assert genome["dropout"] == 0.0
        assert not any("dropout" in name for name, _ in build(genome).named_modules())
        space = space_of(kind, {"dropout": [0, 0.4]})
        for _ in range(20):
            assert any("dropout" in name for name, _ in build(space.sample(rng)).named_modules())
        none = space.sample(rng) | {"dropout": 0.0}
        for place in space.grammar.inner(none):
            place.block.update({"dropout": 0.0} if "dropout" in place.table else {})
        with pytest.raises(InvalidPoint, match=r"dropout of at least 0\.4 somewhere, got none; set dropout: 0\.4"):
            space.check(none)


@pytest.mark.parametrize("kind", KINDS)
def test_every_gene_out_of_its_choices_is_named(kind):
    space, rng = space_of(kind, WIDE[kind]), np.random.default_rng(2)
    genome = max((space.sample(rng) for _ in range(20)), key=lambda g: len(json.dumps(g)))
    for number, place in enumerate(space.grammar.places(genome)):
        for name in place.table:
            changed = json.loads(json.dumps(genome))
            for wrong in ("nonsense", None, 10**9, 0.123456):
                list(space.grammar.places(changed))[number].block[name] = wrong
                with pytest.raises(InvalidPoint) as caught:
                    space.check(changed)
                assert place.path(name) in str(caught.value)
    for name in space.grammar.training:
        for wrong in ("nonsense", None, -1, 10**9):
            with pytest.raises(InvalidPoint, match=rf"training\.{name}"):
                space.check(genome | {"training": genome["training"] | {name: wrong}})


CAMPAIGN = """name: c
studies:
  search:
{space}
    driver: {{kind: training, data: data.npz, task: classification}}
    strategy: {{kind: evolution}}
    budget: {{trials: 4}}
"""


def documented():
    """The space with genes as docs/extending.md shows it."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [block for block in blocks if "conv.width" in block]
    return textwrap.indent(textwrap.dedent(block), "    ")


@pytest.fixture
def folder(tmp_path):
    """With data of 5,000 rows; three in five are for training."""
    np.savez(tmp_path / "data.npz", x=np.zeros((5_000, 3, 32, 32), dtype=np.uint8), y=np.arange(5_000) % 10)
    return tmp_path


def test_the_documented_genes_are_taken_from_a_campaign_file(folder):
    (folder / "c.yaml").write_text(CAMPAIGN.format(space=documented()))
    (study,), resolved = validate(load(folder / "c.yaml"))
    tables = study.space.grammar.tables()
    assert tables["conv"]["width"].choices == (64, 128, 256) and tables["dense"]["width"].choices == (512, 2048)
    assert tables["training"]["learning_rate"] == Range(1e-4, 1e-2)
    assert tables["training"]["batch"].choices == (64, 128, 256)
    assert resolved["studies"]["search"]["space"]["examples"] == 3_000


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "conv.width:",
            "conv.wdith:",
            r"c\.yaml:\d+:\d+: .*genes\.conv\.wdith: unknown gene .*'conv\.width'",
        ),
        ("[512, 2048]", "[512, 0]", r"c\.yaml:\d+:\d+: .*genes\.dense\.width: expected .* whole numbers"),
        ("[3, 5]", "3", r"c\.yaml:\d+:\d+: .*genes\.kernel: expected a valid list, got 3"),
    ],
)
def test_a_wrong_gene_is_shown_where_it_stands(old, new, message, folder):
    (folder / "c.yaml").write_text(CAMPAIGN.format(space=documented().replace(old, new)))
    with pytest.raises(ConfigError, match=message):
        validate(load(folder / "c.yaml"))


def test_batches_follow_the_data_of_the_study(folder):
    space = "    space: {kind: conv_network, input: [3, 8, 8]}"
    np.savez(folder / "data.npz", x=np.zeros((50_000, 3, 8, 8), dtype=np.uint8), y=np.arange(50_000) % 2)
    for options, batches in (("", (32, 64, 128, 256, 512)), (", examples: 100", (8, 16, 32, 64))):
        (folder / "c.yaml").write_text(CAMPAIGN.format(space=space.replace("}", options + "}")))
        (study,), _ = validate(load(folder / "c.yaml"))
        assert study.space.grammar.training["batch"].choices == batches
