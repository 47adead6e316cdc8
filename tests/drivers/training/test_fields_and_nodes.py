"""Networks with an answer at each place or node, from a campaign's options to figures in the target's own unit."""

from __future__ import annotations

import numpy as np
import pytest

from matloop.drivers.training.driver import Training
from matloop.drivers.training.graphs import Graph, save
from matloop.drivers.training.predictions import Predictions
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.loop.returned import as_measurement
from matloop.orchestrator.trial import Trial
from matloop.search_spaces.networks.graph.space import GraphNetworks
from matloop.search_spaces.networks.segmentation.space import FieldNetworks, SegmentationNetworks


def measured(driver, genome, **options):
    trial = Trial(id=0, study="search", number=0, point=genome, seed=1, **options)
    return as_measurement(driver(trial), driver.objectives)


def options_of(space, driver):
    """What the builder gives the space."""
    names = space.__init__.__kwdefaults__ or {}
    known = {*names, "input", "node_features", "edge_features"}
    return {name: value for name, value in driver.fills.items() if name in known}


@pytest.mark.parametrize("places", [(24,), (10, 9), (5, 6, 4)])
def test_a_field_is_learnt_in_any_number_of_dimensions(tmp_path, places):
    """The field is a periodic gradient of the input, so three pixels tell it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 1, *places)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=100 + 10 * (np.roll(x[:, 0], 1, -1) - np.roll(x[:, 0], -1, -1)))
    driver = Training(data=tmp_path / "data.npz", task="field", budget={"steps": 200}, augment=["shift"], device="cpu")
    space = FieldNetworks(**options_of(FieldNetworks, driver), max_levels=0, max_parameters=20_000)
    found = measured(driver, space.recipes[0] | {"padding": "circular"})
    assert found.values["test_mae"] < 0.5 * found.info["baseline_test_mae"]
    assert found.info["baseline_test_mae"] == pytest.approx(10 * 2**0.5 * 0.8, rel=0.2)  # of a normal deviate
    saved = Predictions.from_bytes(found.artifacts["test_predictions"])
    assert saved.predicted.shape == (12, 1, *places)
    assert np.abs(saved.predicted - saved.measured).mean() == pytest.approx(found.values["test_mae"], rel=1e-4)


def test_numbers_of_nodes_are_learnt(tmp_path):
    """A node's target is the sum of its neighbours' charges."""
    rng = np.random.default_rng(1)
    graphs, y = [], np.zeros((80, 6))
    for i in range(80):
        n = int(rng.integers(2, 7))
        charge = rng.choice([-1.0, 1.0], n)
        edges = np.array([(a, b) for a in range(n) for b in range(n) if a != b])
        graphs.append(Graph(charge[:, None].astype(np.float32), edges.T, np.ones((len(edges), 1), np.float32)))
        y[i, :n] = charge.sum() - charge
    save(tmp_path / "graphs.npz", graphs, y)
    driver = Training(data=tmp_path / "graphs.npz", task="node", budget={"steps": 150}, device="cpu")
    space = GraphNetworks(**options_of(GraphNetworks, driver), max_layers=2)
    recipe = space.recipes[0]
    assert recipe["per"] == "node"
    space.check(space.mutate(recipe, rng))
    found = measured(driver, recipe)
    assert found.values["test_mae"] < 0.5 * found.info["baseline_test_mae"]
    first = measured(driver, recipe, fidelity=0.1)
    assert first.values["test_mae"] > found.values["test_mae"] and "checkpoint" in first.artifacts


def test_crops_are_trained_on_and_whole_images_judged(tmp_path):
    rng = np.random.default_rng(0)
    phase = np.kron(rng.random((10, 5, 4)) < 0.5, np.ones((1, 5, 5))).astype(np.uint8)
    noisy = (100 * phase[:, None] + rng.normal(80, 20, (10, 1, 25, 20))).clip(0, 255).astype(np.uint8)
    np.savez(tmp_path / "data.npz", x=noisy, y=phase)
    augment = [{"crop": 12}, "flip", "turn", {"brightness": 0.05}]
    driver = Training(
        data=tmp_path / "data.npz",
        task={"kind": "segmentation", "metrics": ["mean_iou"]},
        budget={"samples": 320},
        augment=augment,
        device="cpu",
    )
    assert driver.fills["examples"] == 6 * 4  # 25 · 20 / 12² crops of each
    assert driver.fills["training"] == {"loss": ["dice", "cross_entropy"], "augmentation": [0.5, 1.0, 2.0]}
    space = SegmentationNetworks(**options_of(SegmentationNetworks, driver), max_levels=1)
    found = measured(driver, space.recipes[0])
    assert next(o.name for o in driver.objectives) == "validation_mean_iou"
    assert found.info["steps"] == 40 and found.values["test_mean_iou"] > 0.8
    with pytest.raises(ConfigError, match="no crop in augment for classification"):
        Training(data=tmp_path / "data.npz", task="classification", augment=augment)
