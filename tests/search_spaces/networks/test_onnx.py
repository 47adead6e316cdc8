"""ONNX models, run by ONNX Runtime and held against torch, in every number of dimensions."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matloop.orchestrator.errors import MatloopError
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.search_spaces.networks.dense import DenseNetworks
from matloop.search_spaces.networks.module import build
from matloop.search_spaces.networks.onnx import to_onnx

SHAPES = [[6], [2, 24], [1, 16, 16], [3, 9, 7], [2, 1, 20], [1, 4, 5, 6]]


def run(model, x):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from(SHAPES), n=st.integers(1, 5), scaled=st.booleans())
def test_the_model_is_the_network(seed, shape, n, scaled):
    space = (DenseNetworks if len(shape) == 1 else ConvNetworks)(input=shape, outputs=2)
    rng = np.random.default_rng(seed)
    genome = space.mutate(space.sample(rng), rng)
    torch.manual_seed(0)
    network = build(genome)
    network.train()(torch.randn(8, *shape))  # moves the running statistics
    x = torch.randn(n, *shape)
    with torch.no_grad():
        expected = network.eval()(x).numpy()
    scales = None
    if scaled:
        scales = {"x_mean": rng.normal(size=shape[0]), "x_std": rng.uniform(1, 2, shape[0])}
        scales |= {"y_mean": [3.0, -1.0], "y_std": [10.0, 0.5]}
        channels = (-1, *[1] * (len(shape) - 1))
        x = (x.numpy() * scales["x_std"].reshape(channels) + scales["x_mean"].reshape(channels)).astype(np.float32)
        expected = expected * scales["y_std"] + scales["y_mean"]
    got = run(to_onnx(genome, network.state_dict(), scales), np.asarray(x))
    assert got.shape == (n, 2)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


LAYER = {"kind": "conv", "width": 8, "kernel": 3, "stride": 2, "dropout": 0.1}
EVERY_OPERATOR = [
    LAYER | {"normalisation": "group", "activation": "silu", "skip": 1},
    {"kind": "pool", "mode": "avg", "size": 2},
    LAYER | {"normalisation": "batch", "activation": "gelu", "skip": 3},
    LAYER | {"normalisation": "none", "activation": "elu", "skip": 0, "stride": 1},
    {"kind": "pool", "mode": "max", "size": 3},
    {"kind": "dense", "width": 16, "activation": "relu", "dropout": 0.5},
]


@pytest.mark.parametrize("readout", ["avg", "max", "flatten"])
@pytest.mark.parametrize("padding", ["zeros", "circular"])
@pytest.mark.parametrize("shape", [[2, 45], [2, 45, 31], [1, 17, 20, 23]], ids=str)
def test_every_operator_in_every_dimension(shape, padding, readout):
    """Skips are resized to extents that do not divide."""
    genome = {"input": shape, "outputs": 3, "padding": padding, "readout": readout, "dropout": 0.2}
    genome |= {"layers": EVERY_OPERATOR}
    network = build(genome).eval()
    x = torch.randn(2, *shape)
    model = to_onnx(genome, network.state_dict())
    np.testing.assert_allclose(run(model, x.numpy()), network(x).detach().numpy(), rtol=1e-4, atol=1e-5)
    operators = {node.op_type for node in onnx.load_from_string(model).graph.node}
    wanted = {"Conv", "Gemm", "GroupNormalization", "BatchNormalization", "Einsum", "Add", "AveragePool", "MaxPool"}
    wanted |= {"Sigmoid", "Gelu", "Elu", "Relu", "Flatten"} | ({"Pad"} if padding == "circular" else set())
    assert wanted <= operators


def test_it_says_what_it_is():
    space = ConvNetworks(input=[1, 8, 8])
    genome = space.sample(np.random.default_rng(0))
    model = onnx.load_from_string(to_onnx(genome, build(genome).state_dict()))
    assert json.loads(model.metadata_props[0].value) == genome
    assert "x: (n, 1, 8, 8) to y: (n, 1), float32, standardised" in model.doc_string
    assert {node.name for node in model.graph.node} >= {"flatten", "output"}


def test_other_families_are_refused():
    with pytest.raises(MatloopError, match="got 'graph'"):
        to_onnx({"family": "graph"}, {})
