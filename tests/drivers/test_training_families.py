"""The training driver on inputs of every rank and on graphs, with random networks of each family."""

from __future__ import annotations

import json

import numpy as np
import pytest

from drivers.training.driver import Training
from drivers.training.graphs import Graph, save
from orchestrator.evaluation import as_measurement
from orchestrator.trial import Trial
from search_spaces.networks.conv import ConvNetworks
from search_spaces.networks.dense import DenseNetworks
from search_spaces.networks.graph.space import GraphNetworks
from search_spaces.networks.segmentation.space import SegmentationNetworks


def trained(driver, space, seed=0, **options):
    point = space.sample(np.random.default_rng(seed))
    trial = Trial(id=0, study="s", number=0, point=json.loads(json.dumps(point)), seed=seed, **options)
    return as_measurement(driver(trial), driver.objectives)


@pytest.mark.parametrize(
    ("shape", "space"),
    [
        ((5,), DenseNetworks(input=[5])),
        ((2, 16), ConvNetworks(input=[2, 16], max_layers=3)),
        ((1, 5, 6, 4), ConvNetworks(input=[1, 5, 6, 4], max_layers=3)),
    ],
)
def test_inputs_of_other_ranks(tmp_path, shape, space):
    x = np.random.default_rng(0).normal(size=(40, *shape))
    np.savez(tmp_path / "data.npz", x=x, y=x.reshape(40, -1).mean(axis=1))
    driver = Training(data=tmp_path / "data.npz", epochs=3, device="cpu")
    for seed in range(3):
        whole = trained(driver, space, seed)
        assert whole.artifacts["test_predictions"].shape == (2, 8, 1)
    assert "checkpoint" in trained(driver, space, fidelity=0.4).artifacts


def test_segmentation_learns(tmp_path):
    rng = np.random.default_rng(0)
    y = (rng.random((60, 8, 8)) < rng.uniform(0.2, 0.8, (60, 1, 1))).astype(np.uint8)
    np.savez(tmp_path / "data.npz", x=y[:, None] + 0.3 * rng.normal(size=(60, 1, 8, 8)), y=y)
    driver = Training(data=tmp_path / "data.npz", task="segmentation", epochs=12, device="cpu", augment="square")
    found = [trained(driver, SegmentationNetworks(input=[1, 8, 8], max_levels=2), seed) for seed in range(3)]
    best = min(found, key=lambda m: m.values["validation_pixel_error"])
    assert best.values["test_pixel_error"] < 0.3 * best.info["baseline_test_pixel_error"]
    assert best.values["test_mean_iou"] > 0.8
    assert best.artifacts["test_predictions"].shape == (2, 12, 8, 8)


def test_graphs_train(tmp_path):
    rng = np.random.default_rng(0)
    graphs, y = [], []
    for _ in range(50):
        n = int(rng.integers(2, 6))
        edges = np.array([(i, j) for i in range(n) for j in range(n) if i != j]).T
        nodes = rng.normal(size=(n, 3)).astype(np.float32)
        graphs.append(Graph(nodes, edges, np.ones((edges.shape[1], 2), dtype=np.float32)))
        y.append(nodes[:, 0].mean())
    save(tmp_path / "graphs.npz", graphs, np.array(y))
    driver = Training(data=tmp_path / "graphs.npz", epochs=4, device="cpu")
    space = GraphNetworks(node_features=3, edge_features=2, max_multiply_adds=50_000)
    whole = trained(driver, space)
    assert whole.artifacts["test_predictions"].shape == (2, 10, 1)
    assert np.isfinite(list(whole.values.values())).all()
    with pytest.raises(ValueError, match="augment: none"):
        trained(Training(data=tmp_path / "graphs.npz", epochs=1, augment="roll", device="cpu"), space)
