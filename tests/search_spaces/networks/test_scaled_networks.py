"""Scales inside a network: module, printed source and ONNX take raw values and give the target's unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load

from matloop.orchestrator.errors import MatloopError
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.search_spaces.networks.dense import DenseNetworks
from matloop.search_spaces.networks.files import unscaled, write
from matloop.search_spaces.networks.graph.graphs import Graphs
from matloop.search_spaces.networks.graph.space import GraphNetworks
from matloop.search_spaces.networks.module import build, build_scaled
from matloop.search_spaces.networks.segmentation.space import SegmentationNetworks


def drawn(space, seed=0):
    rng = np.random.default_rng(seed)
    genome = space.mutate(space.sample(rng), rng)
    torch.manual_seed(seed)
    return genome, build(genome).eval()


def scales_of(channels, outputs=None):
    rng = np.random.default_rng(1)
    scales = {"x_mean": rng.uniform(50, 150, channels).tolist(), "x_std": rng.uniform(20, 60, channels).tolist()}
    scales["x_limit"] = 1.5
    if outputs:
        scales |= {"y_mean": rng.normal(0, 100, outputs).tolist(), "y_std": rng.uniform(1, 9, outputs).tolist()}
    return scales


def by_hand(network, raw, scales):
    """Standardise, run, restore; in double precision where nothing else is needed."""
    channels = (-1, *[1] * (raw.ndim - 2))
    mean, std = (np.array(scales[key]).reshape(channels) for key in ("x_mean", "x_std"))
    with torch.no_grad():
        x = np.clip((raw - mean) / std, -scales["x_limit"], scales["x_limit"])
        y = network(torch.from_numpy(x.astype(np.float32))).double().numpy()
    return y * np.array(scales["y_std"]) + np.array(scales["y_mean"]) if "y_mean" in scales else y


def from_files(folder):
    """The exported network as its user loads it: two files and torch."""
    scope = {}
    exec((folder / "network.py").read_text(encoding="utf-8"), scope)
    network = scope["Network"]()
    network.load_state_dict(load((folder / "network.safetensors").read_bytes()))
    return network.eval()


CASES = {
    "features": (DenseNetworks(input=[5], outputs=2), (5,), 2),
    "images": (ConvNetworks(input=[3, 9, 7], outputs=1), (3, 9, 7), 1),
    "classes": (ConvNetworks(input=[2, 20], outputs=3), (2, 20), None),
    "pixels": (SegmentationNetworks(input=[1, 11, 8], classes=3), (1, 11, 8), None),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_raw_values_in_and_units_out(case, dtype, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    space, shape, outputs = CASES[case]
    genome, network = drawn(space)
    scales = scales_of(shape[0], outputs)
    raw = np.random.default_rng(2).integers(0, 256, (4, *shape)).astype(dtype)
    expected = by_hand(network, raw, scales)
    assert write(tmp_path, network.state_dict(), {"genome": genome, "scales": scales}) is None
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        answers = [
            build_scaled(genome, network.state_dict(), scales)(torch.from_numpy(raw)).numpy(),
            from_files(tmp_path)(torch.from_numpy(raw)).numpy(),
            session.run(None, {"x": raw.astype(np.float32)})[0],
        ]
    for answer in answers:
        np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-4 if outputs else 1e-5)
    assert "raw values" in (tmp_path / "network.py").read_text()


def test_graphs_have_scales_for_nodes_and_edges(tmp_path):
    rng = np.random.default_rng(3)
    raw = Graphs(
        nodes=torch.tensor(rng.normal(5, 2, (7, 3)), dtype=torch.float32),
        edges=torch.tensor([[0, 1, 2, 3, 4, 5, 6], [1, 0, 1, 4, 3, 6, 5]]),
        edge_features=torch.tensor(rng.normal(-1, 3, (7, 2)), dtype=torch.float32),
        node_offsets=torch.tensor([0, 3, 7]),
        edge_offsets=torch.tensor([0, 3, 7]),
    )
    genome, network = drawn(GraphNetworks(node_features=3, edge_features=2, outputs=2), seed=4)
    scales = scales_of(5, 2)
    mean, std = (torch.tensor(scales[key], dtype=torch.float32) for key in ("x_mean", "x_std"))
    scaled = replace(
        raw,
        nodes=((raw.nodes - mean[:3]) / std[:3]).clamp(-1.5, 1.5),
        edge_features=((raw.edge_features - mean[3:]) / std[3:]).clamp(-1.5, 1.5),
    )
    with torch.no_grad():
        expected = network(scaled) * torch.tensor(scales["y_std"]) + torch.tensor(scales["y_mean"])
        write(tmp_path, network.state_dict(), {"genome": genome, "scales": scales})
        module = build_scaled(genome, network.state_dict(), scales)
        torch.testing.assert_close(module(raw), expected, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(from_files(tmp_path)(raw.tensors), expected, rtol=1e-5, atol=1e-4)


def test_logarithms_of_variances_have_the_units_squared(tmp_path):
    genome, network = drawn(DenseNetworks(input=[3], outputs=4))
    scales = scales_of(3, 2)
    x = torch.rand(5, 3) * 200
    module = build_scaled(genome, network.state_dict(), scales)
    plain = build_scaled(genome, network.state_dict(), scales, outputs=False)
    std = torch.tensor(scales["y_std"])
    with torch.no_grad():
        expected = torch.cat([plain(x)[:, :2] * std + torch.tensor(scales["y_mean"]), plain(x)[:, 2:]], dim=1)
        variance = plain(x)[:, 2:].exp() * std**2
        torch.testing.assert_close(module(x)[:, :2], expected[:, :2])
        torch.testing.assert_close(module(x)[:, 2:].exp(), variance, rtol=1e-4, atol=1e-4)


def test_the_state_without_scales_comes_back(tmp_path):
    genome, network = drawn(DenseNetworks(input=[3]))
    notes = {"genome": genome, "scales": scales_of(3, 1)}
    write(tmp_path, network.state_dict(), notes)
    state = load((tmp_path / "network.safetensors").read_bytes())
    assert {"x_mean", "x_std", "y_mean", "y_std"} <= set(state)
    found = unscaled(state, notes)
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in network.state_dict().items()
    }


def test_scales_that_do_not_fit_are_refused():
    genome, network = drawn(DenseNetworks(input=[3]))
    with pytest.raises(MatloopError, match="expected scales for 3 input channels or features, got 2 means"):
        build_scaled(genome, network.state_dict(), {"x_mean": [0, 0], "x_std": [1, 1]})
    with pytest.raises(MatloopError, match="expected scales for 1 outputs, got 2 means"):
        build_scaled(genome, network.state_dict(), {"y_mean": [0, 0], "y_std": [1, 1]})
