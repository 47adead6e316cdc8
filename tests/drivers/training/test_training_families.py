"""The training driver on vectors, signals and volumes, with random networks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from matloop.drivers.training.driver import Training
from matloop.drivers.training.graphs import Graph, save
from matloop.drivers.training.predictions import Predictions
from matloop.orchestrator.loop.evaluation import as_measurement
from matloop.orchestrator.trial import Trial
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.search_spaces.networks.dense import DenseNetworks
from matloop.search_spaces.networks.graph.space import GraphNetworks


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
        assert Predictions.from_bytes(whole.artifacts["test_predictions"]).predicted.shape == (8, 1)
    assert "checkpoint" in trained(driver, space, fidelity=0.4).artifacts


def test_graphs_are_not_augmented(tmp_path):
    rng = np.random.default_rng(0)
    pair = np.array([[0, 1], [1, 0]])
    graphs = [Graph(rng.normal(size=(2, 3)), pair, np.ones((2, 1))) for _ in range(20)]
    save(tmp_path / "graphs.npz", graphs, rng.normal(size=20))
    space = GraphNetworks(node_features=3, edge_features=1, max_multiply_adds=20_000)
    with pytest.raises(ValueError, match="augment: none"):
        trained(Training(data=tmp_path / "graphs.npz", epochs=1, augment="roll", device="cpu"), space)
