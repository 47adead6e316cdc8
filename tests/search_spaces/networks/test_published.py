"""Published networks are points of spaces with genes given for them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.search_spaces.networks.dense import DenseNetworks
from matloop.search_spaces.networks.module import build
from matloop.search_spaces.networks.source import to_source

TRAINING = {
    "optimiser": "adam",
    "batch": 32,
    "learning_rate": 1e-4,
    "weight_decay": 1e-6,
    "warm_up": 0.1,
    "final_rate": 0.01,
    "gradient_norm": 5.0,
    "averaging": 0.0,
}


def elemnet():
    """17 layers over the fractions of 86 elements (Jha et al., Sci. Rep. 2018): 16 hidden ones and the output."""
    sizes = [(1024, 4, 0.2), (512, 3, 0.1), (256, 3, 0.3), (128, 3, 0.2), (64, 2, 0.0), (32, 1, 0.0)]
    layers = []
    for width, count, dropout in sizes:
        plain = {"kind": "dense", "width": width, "normalisation": "none", "activation": "relu", "skip": 0}
        layers += [plain | {"dropout": 0.0} for _ in range(count - 1)] + [plain | {"dropout": dropout}]
    space = DenseNetworks(
        input=[86],
        max_layers=32,
        max_parameters=10_000_000,
        genes={"width": [32, 64, 128, 256, 512, 1024], "learning_rate": [1e-4, 1e-2], "batch": [32, 64, 128, 256]},
    )
    return space, {"input": [86], "outputs": 1, "dropout": 0.0, "layers": layers, "training": TRAINING}


def conv(width, *, stride=1, skip=0, kernel=3):
    found = {"kind": "conv", "width": width, "kernel": kernel, "stride": stride, "normalisation": "batch"}
    return found | {"activation": "relu", "dropout": 0.0, "skip": skip}


def image_space(**genes):
    return ConvNetworks(
        input=[3, 32, 32],
        outputs=10,
        max_layers=40,
        max_parameters=30_000_000,
        max_multiply_adds=1_000_000_000,
        genes={"conv.width": [64, 128, 256], "kernel": [3, 5, 7], "learning_rate": [1e-4, 0.1], **genes},
    )


def vgg():
    """Blocks of 3 x 3 convolutions, halved by pooling, before two wide dense layers (Simonyan & Zisserman, 2015)."""
    pool, wide = {"kind": "pool", "mode": "max", "size": 2}, {"kind": "dense", "width": 2048, "activation": "relu"}
    layers = []
    for width, count in ((64, 2), (128, 2), (256, 3)):
        layers += [conv(width) for _ in range(count)] + [pool]
    layers += [wide | {"dropout": 0.5}] * 2
    network = {"input": [3, 32, 32], "outputs": 10, "padding": "zeros", "readout": "flatten", "dropout": 0.0}
    return image_space(**{"dense.width": [512, 2048]}), network | {"layers": layers, "training": TRAINING}


def resnet():
    """20 convolutions, a skip over every second, up to 256 wide (He et al., CVPR 2016); no dropout at all."""
    layers = [conv(64, kernel=3)]
    for width in (64, 128, 256):
        for block in range(3):
            first = conv(width, stride=2 if block == 0 and width > 64 else 1)
            layers += [first, conv(width, skip=2)]
    layers += [conv(256)]
    network = {"input": [3, 32, 32], "outputs": 10, "padding": "zeros", "readout": "avg", "dropout": 0.0}
    return image_space(dropout=[0.0]), network | {"layers": layers, "training": TRAINING}


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        # By hand from the papers' widths: sum of (inputs + 1) outputs.
        (
            elemnet,
            sum(
                (a + 1) * b
                for a, b in zip(
                    (86, *[1024] * 4, *[512] * 3, *[256] * 3, *[128] * 3, 64, 64, 32),
                    (*[1024] * 4, *[512] * 3, *[256] * 3, *[128] * 3, 64, 64, 32, 1),
                    strict=True,
                )
            ),
        ),
        (vgg, None),
        (resnet, None),
    ],
    ids=("elemnet", "vgg", "resnet"),
)
def test_it_is_a_point_of_the_space(make, parameters):
    space, genome = make()
    rng = np.random.default_rng(0)
    space.check(genome)
    assert space.repair(genome) == genome
    assert np.isfinite(space.encode([genome])).all()
    assert space.encode([genome]).shape == (1, space.dimension)
    network = build(genome)
    trainable = sum(p.numel() for p in network.parameters())
    assert trainable == network.layout.parameters and parameters in (None, trainable)
    with torch.no_grad():
        assert network.eval()(torch.randn(2, *genome["input"])).shape == (2, genome["outputs"])
    other = space.sample(rng)
    for child in (space.mutate(genome, rng), space.cross(genome, other, rng), space.cross(other, genome, rng)):
        space.check(json.loads(json.dumps(child)))
        assert child != genome
    scope = {}
    exec(to_source(genome), scope)
    scope["Network"]().load_state_dict(network.state_dict())


def test_they_are_as_wide_and_as_deep_as_published():
    _, genome = elemnet()
    widths = [part.arguments[1] for part in build(genome).layout.parts if part.kind == "Linear"]
    assert widths == [1024] * 4 + [512] * 3 + [256] * 3 + [128] * 3 + [64] * 2 + [32, 1] and len(widths) == 17
    parts = {part.name: part for part in build(vgg()[1]).layout.parts}
    assert parts["dense11"].arguments == (256 * 4 * 4, 2048) and parts["conv9"].arguments[:2] == (256, 256)
    kinds = [part.name for part in build(resnet()[1]).layout.parts if part.name.startswith(("conv", "project"))]
    assert len([name for name in kinds if name.startswith("conv")]) == 20
    assert [name for name in kinds if name.startswith("project")] == ["project9", "project15"]


@pytest.mark.parametrize("make", [elemnet, vgg, resnet])
def test_onnx_holds_them(make):
    onnx = pytest.importorskip("onnxruntime")
    from matloop.search_spaces.networks.onnx import to_onnx

    _, genome = make()
    network = build(genome).eval()
    x = torch.randn(1, *genome["input"])
    session = onnx.InferenceSession(to_onnx(genome, network.state_dict()), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = network(x).numpy()
    np.testing.assert_allclose(session.run(["y"], {"x": x.numpy()})[0], expected, rtol=1e-3, atol=1e-4)
