"""The space of segmentation networks: its contract over shapes, and every genome held against torch."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Finite, Vectorised
from matloop.search_spaces.networks.module import build
from matloop.search_spaces.networks.onnx import to_onnx
from matloop.search_spaces.networks.segmentation.genome import BLOCK, LEVEL, SETTINGS
from matloop.search_spaces.networks.segmentation.space import FieldNetworks, SegmentationNetworks
from matloop.search_spaces.networks.source import to_source
from matloop.testing.space import SpaceContract, many
from tests.search_spaces.networks.usual import TRAINING

BASE = {"convolutions": 1, "kernel": 3, "normalisation": "batch", "activation": "relu", "dropout": 0.0}
GENOME = {
    "family": "segmentation",
    "input": [1, 32, 32],
    "outputs": 3,
    "padding": "circular",
    "hypercolumns": 1,
    "dropout": 0.1,
    "stem": {**BASE, "width": 8},
    "levels": [
        {**BASE, "width": 16, "downsampling": "max", "upsampling": "bilinear", "skip": "concatenate"},
        {**BASE, "width": 24, "downsampling": "stride", "upsampling": "nearest", "skip": "add"},
    ],
    "training": TRAINING,
}
seeds = st.integers(0, 2**32 - 1)

OPTIONS = [
    {"input": [3, 17, 10], "classes": 4},
    {"input": [2, 1, 21], "max_levels": 6},
    {"input": [1, 1, 1], "max_levels": 0},
    {"input": [4, 16, 16], "max_levels": 3, "max_parameters": 1_000, "max_multiply_adds": 60_000},
]


class TestSegmentationNetworks(SpaceContract):
    @pytest.fixture(params=OPTIONS, ids=lambda options: "x".join(map(str, options["input"])))
    def space(self, request):
        return SegmentationNetworks(**request.param)

    @many
    @given(seed=seeds)
    def test_descendants_build_run_and_learn(self, space, seed):
        rng = np.random.default_rng(seed)
        a, b = space.sample(rng), space.sample(rng)
        for _ in range(3):
            a, b = space.mutate(a, rng), space.cross(a, b, rng)
        channels, height, width = space.fixed["input"]
        for genome in (a, b):
            network = build(genome)
            assert sum(p.numel() for p in network.parameters()) == network.layout.parameters
            assert network.layout.parameters <= space.budget.parameters
            x = torch.randn(2, channels, height, width)
            logits = network.train()(x)
            assert logits.shape == (2, space.fixed["outputs"], height, width)
            nn.functional.cross_entropy(logits, torch.randint(0, 2, (2, height, width))).backward()
            assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
            assert network.eval()(x).isfinite().all()


def test_it_claims_no_more_than_it_can():
    space = SegmentationNetworks(input=[1, 8, 8])
    assert not isinstance(space, Finite)
    assert not isinstance(space, Vectorised)


@pytest.mark.parametrize("shape", [[3, 19, 14], [2, 1, 40]])
def test_multiply_adds_are_what_torch_runs(shape):
    space, rng = SegmentationNetworks(input=shape, max_multiply_adds=1_000_000), np.random.default_rng(1)
    seen = set()
    for _ in range(40):
        network = build(space.mutate(space.sample(rng), rng)).eval()
        counted = 0

        def count(module, inputs, output):
            nonlocal counted
            pixels = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
            counted += module.weight.numel() // module.weight.shape[0] * module.weight.shape[0] * pixels[0, 0].numel()
            seen.add(type(module).__name__)

        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.register_forward_hook(count)
        network(torch.zeros(1, *shape))
        assert counted == network.layout.multiply_adds <= 1_000_000
    assert seen == {"Conv2d", "ConvTranspose2d"}


def test_gradient_reaches_every_parameter():
    """With smooth activations and random data, nothing trainable is idle."""
    space, rng = SegmentationNetworks(input=[2, 12, 9], classes=3), np.random.default_rng(2)
    for _ in range(30):
        genome = space.sample(rng)
        for block in (genome["stem"], *genome["levels"]):
            block |= {"activation": "silu", "dropout": 0.0}
        network = build(genome | {"dropout": 0.0}).double()
        x, labels = torch.randn(4, 2, 12, 9, dtype=torch.double), torch.randint(0, 3, (4, 12, 9))
        nn.functional.cross_entropy(network(x), labels).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad.abs().max() > 0, name


def test_source_is_the_same_network_and_needs_only_torch():
    space, rng = SegmentationNetworks(input=[2, 13, 10], classes=3), np.random.default_rng(3)
    for _ in range(20):
        genome = space.sample(rng)
        network, scope = build(genome).eval(), {}
        source = to_source(genome)
        assert "search_spaces" not in source
        exec(source, scope)
        other = scope["Network"]()
        other.load_state_dict(network.state_dict())
        x = torch.randn(2, 2, 13, 10)
        assert torch.equal(network(x), other.eval()(x))


@pytest.mark.parametrize("scaled", [True, False])
def test_the_onnx_model_is_the_same_network(scaled):
    """In ONNX Runtime, for images of other extents too."""
    onnxruntime = pytest.importorskip("onnxruntime")
    space, rng = SegmentationNetworks(input=[2, 13, 10], classes=3), np.random.default_rng(8)
    scales = {"x_mean": [2.0, -1.0], "x_std": [3.0, 0.5], "classes": ["a", "b", "c"]} if scaled else None
    for _ in range(8):
        genome = space.sample(rng)
        network = build(genome)
        network.train()(torch.randn(4, 2, 13, 10))  # moves the running statistics
        model = to_onnx(genome, network.state_dict(), scales)
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        for extents in ((13, 10), (16, 9)):
            x = torch.randn(2, 2, *extents)
            with torch.no_grad():
                expected = network.eval()(x).numpy()
            if scaled:
                x = x * torch.tensor([3.0, 0.5])[:, None, None] + torch.tensor([2.0, -1.0])[:, None, None]
            np.testing.assert_allclose(session.run(["y"], {"x": x.numpy()})[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("extents", [(32, 32), (47, 31), (64, 128)])
def test_a_network_segments_images_of_other_extents(extents):
    with torch.no_grad():
        assert build(GENOME).eval()(torch.randn(1, 1, *extents)).shape == (1, 3, *extents)


def test_circular_padding_makes_it_follow_shifts():
    """By whole pixels of the coarsest level; zero padding sees the border."""
    x = torch.randn(1, 1, 32, 32)
    levels = [level | {"upsampling": "nearest"} for level in GENOME["levels"]]
    for padding, follows in (("circular", True), ("zeros", False)):
        network = build(GENOME | {"padding": padding, "levels": levels, "hypercolumns": 0}).eval()
        moved = network(x.roll((4, 8), (2, 3))).roll((-4, -8), (2, 3))
        assert torch.allclose(network(x), moved, atol=1e-5) == follows


def test_genes_do_what_they_say():
    layout = build(GENOME).layout
    parts = {part.name: part for part in layout.parts}
    assert parts["down1"].kind == "MaxPool2d" and parts["down2"].options["stride"] == 2
    assert parts["decoder1_conv1"].arguments[0] == 16  # 24 projected to 16 and added
    assert parts["decoder0_conv1"].arguments[0] == 16 + 8  # appended
    assert parts["output"].arguments[0] == 8 + 16  # with one hypercolumn
    without = GENOME | {"hypercolumns": 0, "levels": [level | {"skip": "none"} for level in GENOME["levels"]]}
    parts = {part.name: part for part in build(without).layout.parts}
    assert parts["decoder1_conv1"].arguments[0] == 24 and parts["decoder0_conv1"].arguments[0] == 16
    assert parts["output"].arguments[0] == 8
    transposed = GENOME | {"levels": [level | {"upsampling": "transposed"} for level in GENOME["levels"]]}
    assert {part.kind for part in build(transposed).layout.parts if part.name in ("up1", "up2")} == {"ConvTranspose2d"}


def test_without_its_decoder_it_still_sees_through_hypercolumns():
    """The deeper level's features reach the output even if the way through the stem's decoder is cut."""
    network = build(GENOME).eval()
    x = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        network.output.weight[:, :8] = 0
        assert network(x).std(dim=(2, 3)).min() > 0
        network.output.weight[:, 8:] = 0
        assert network(x).std(dim=(2, 3)).max() < 1e-6


def test_mutation_reaches_every_gene():
    limits = {"max_levels": 3, "max_parameters": 10**8, "max_multiply_adds": 10**10}
    space, rng = SegmentationNetworks(input=[1, 32, 32], **limits), np.random.default_rng(4)
    seen: set[tuple[str, object]] = set()
    genome = space.sample(rng)
    for _ in range(1500):
        genome = space.mutate(genome, rng)
        seen |= {(gene, genome[gene]) for gene in SETTINGS}
        seen |= {("stem." + gene, genome["stem"][gene]) for gene in BLOCK}
        seen |= {("levels." + gene, level[gene]) for level in genome["levels"] for gene in LEVEL}
        seen.add(("length", len(genome["levels"])))
    expected = {(gene, choice) for gene, spec in SETTINGS.items() for choice in spec.choices}
    expected |= {("stem." + gene, choice) for gene, spec in BLOCK.items() for choice in spec.choices}
    expected |= {("levels." + gene, choice) for gene, spec in LEVEL.items() for choice in spec.choices}
    assert expected | {("length", n) for n in range(4)} <= seen


def test_crossing_takes_the_head_of_one_and_the_tail_of_the_other():
    space, rng = SegmentationNetworks(input=[1, 32, 32]), np.random.default_rng(5)
    wide = GENOME | {"levels": [level | {"width": 16} for level in GENOME["levels"] * 2], "outputs": 2}
    slim = GENOME | {"levels": [level | {"width": 8} for level in GENOME["levels"] * 2], "outputs": 2}
    lengths = set()
    for _ in range(200):
        widths = [level["width"] for level in space.cross(wide, slim, rng)["levels"]]
        assert widths == sorted(widths, reverse=True)
        lengths.add(tuple(widths))
    assert {(16, 16, 8), (16, 8), (8,), (16, 16, 16, 16)} <= lengths


def test_encoding_says_what_its_columns_say():
    space = SegmentationNetworks(input=[1, 32, 32], classes=3)
    row = dict(zip(space.columns, space.encode([GENOME])[0], strict=True))
    assert len(row) == space.dimension
    assert row["padding = circular"] == row["levels[0] skip = concatenate"] == row["levels[1] is there"] == 1
    assert row["levels[2] is there"] == row["levels[0] skip = add"] == row["levels[2] width"] == 0
    assert row["stem kernel"] == 0.5
    assert row["hypercolumns"] == pytest.approx(1 / 3)
    assert row["log10 parameters / 6"] == pytest.approx(math.log10(build(GENOME).layout.parameters) / 6)
    rng = np.random.default_rng(6)
    genomes = [space.sample(rng) for _ in range(200)]
    x = space.encode(genomes)
    assert len(np.unique(x, axis=0)) == len({json.dumps(genome) for genome in genomes})
    assert x.min() >= 0 and x.max() <= 1.5


def changed(path, value):
    genome = copy.deepcopy(GENOME)
    inner = genome
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return genome


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["family"], "conv", "family"),
        (["input"], [1, 32, 31], "input"),
        (["input"], [1.0, 32, 32], "input"),
        (["outputs"], 2, "outputs"),
        (["outputs"], 3.0, "outputs"),
        (["hypercolumns"], 3, "hypercolumns.*at most 2"),
        (["stem", "width"], 17, r"stem\.width"),
        (["stem", "krenel"], 3, "did you mean 'kernel'"),
        (["levels", 0, "skip"], "sum", r"levels\[0\]\.skip"),
        (["levels", 0, "width"], 16.0, r"levels\[0\]\.width"),
        (["levels"], GENOME["levels"] * 3, "0 to 4"),
        (["levels", 1], None, r"levels\[1\]"),
        (["training", "batch"], 12, r"training\.batch"),
        (["stem"], {**BASE, "width": 64, "kernel": 3, "convolutions": 2}, "multiply_adds"),
        (["dropout"], 0.0, "dropout of at least 0.05"),
    ],
)
def test_check_names_the_gene(path, value, message):
    space = SegmentationNetworks(input=[1, 32, 32], classes=3, max_multiply_adds=4_000_000)
    space.check(GENOME)
    with pytest.raises(InvalidPoint, match=message):
        space.check(changed(path, value))


def test_check_knows_what_the_extent_allows():
    space = SegmentationNetworks(input=[1, 3, 3], classes=3)
    small = GENOME | {"input": [1, 3, 3]}
    small["levels"] = [level | {"kernel": 1} for level in small["levels"]]
    space.check(small)
    with pytest.raises(InvalidPoint, match=r"levels\[0\]\.kernel: 3 does not fit"):
        space.check(GENOME | {"input": [1, 3, 3]})
    with pytest.raises(InvalidPoint, match="at most 2 levels"):
        space.check(small | {"levels": [small["levels"][0]] * 3})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": [32]}, "channels, height, width"),
        ({"input": [1, 0, 32]}, "each at least 1"),
        ({"input": [1, 32, 32], "classes": 1}, "classes"),
        ({"input": [1, 32, 32], "max_levels": -1}, "max_levels"),
        ({"input": [1, 32, 32], "max_parameters": 9}, "max_parameters of at least 2"),
        ({"input": [1, 32, 32], "max_multiply_adds": 9}, "max_multiply_adds"),
    ],
)
def test_impossible_spaces_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        SegmentationNetworks(**options)


@pytest.mark.parametrize("shape", [[2, 21], [1, 9, 6, 7]])
def test_signals_and_volumes_have_an_output_at_every_place(shape):
    """Built, costed, printed and run elsewhere as images are; of other extents too."""
    onnx = pytest.importorskip("onnxruntime")
    space, rng = FieldNetworks(input=shape, outputs=3), np.random.default_rng(0)
    for genome in [space.recipes[0], *(space.mutate(space.sample(rng), rng) for _ in range(6))]:
        space.check(genome)
        network, scope = build(genome).eval(), {}
        assert sum(p.numel() for p in network.parameters()) == network.layout.parameters
        exec(to_source(genome), scope)
        copied = scope["Network"]().eval()
        copied.load_state_dict(network.state_dict())
        session = onnx.InferenceSession(to_onnx(genome, network.state_dict()), providers=["CPUExecutionProvider"])
        for extents in (shape[1:], [extent + 3 for extent in shape[1:]]):
            x = torch.randn(2, shape[0], *extents)
            with torch.no_grad():
                y = network(x)
            assert y.shape == (2, 3, *extents) and torch.equal(y, copied(x))
            np.testing.assert_allclose(session.run(["y"], {"x": x.numpy()})[0], y.numpy(), rtol=1e-3, atol=1e-4)
