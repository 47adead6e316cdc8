"""The training driver with networks of other families: segmentation of noisy micrographs, properties of graphs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load as load_weights

from matloop.drivers.training.driver import Training
from matloop.drivers.training.graphs import Graph, save
from matloop.drivers.training.predictions import Predictions
from matloop.orchestrator.errors import InvalidPoint
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.loop.returned import as_measurement
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.networks.graph.space import GraphNetworks
from matloop.search_spaces.networks.module import build
from matloop.search_spaces.networks.segmentation.space import SegmentationNetworks

ROOT = Path(__file__).parents[3]
TRAINING = {"optimiser": "adam", "learning_rate": 0.01, "weight_decay": 1e-6, "batch": 16}
BLOCK = {"convolutions": 1, "kernel": 3, "normalisation": "batch", "activation": "relu", "dropout": 0.0}
SEGMENTER = {
    "family": "segmentation",
    "input": [1, 15, 12],
    "outputs": 2,
    "padding": "circular",
    "hypercolumns": 1,
    "dropout": 0.05,
    "stem": {**BLOCK, "width": 8},
    "levels": [{**BLOCK, "width": 8, "downsampling": "max", "upsampling": "nearest", "skip": "concatenate"}],
    "training": TRAINING,
}
LAYER = {
    "message": "gated",
    "aggregation": "sum",
    "width": 16,
    "normalisation": "batch",
    "activation": "silu",
    "dropout": 0.0,
    "skip": True,
}
GRAPHS = {
    "family": "graph",
    "input": [2, 1],
    "outputs": 1,
    "nodes": 8,
    "edges": 96,
    "embedding": 16,
    "pooling": "mean",
    "dropout": 0.05,
    "layers": [LAYER],
    "head": [],
    "training": TRAINING,
}


def trial(point, seed=1, **options):
    return Trial(id=0, study="search", number=0, point=point, seed=seed, **options)


@pytest.fixture
def micrographs(tmp_path):
    """Two-phase fields from smoothed noise, under so much noise that one pixel does not tell its phase."""
    rng = np.random.default_rng(0)
    field = rng.normal(size=(80, 15, 12))
    for axis in (1, 2):
        field = sum(np.roll(field, shift, axis) for shift in (-2, -1, 0, 1, 2))
    phase = field > 0
    np.savez(tmp_path / "micrographs.npz", x=phase[:, None] + rng.normal(0, 1, (80, 1, 15, 12)), y=phase)
    return tmp_path / "micrographs.npz"


def random_graphs(rng, count):
    """Graphs whose property is the mean over nodes of their neighbours' charge over distance."""
    graphs, y = [], []
    for _ in range(count):
        n = int(rng.integers(3, 9))
        charge = rng.choice([-1.0, 1.0], n)
        edges = np.array([(i, j) for i in range(n) for j in range(n) if i != j and rng.random() < 0.6]).reshape(-1, 2)
        distance = rng.uniform(1, 3, len(edges))
        graphs.append(
            Graph(np.stack([charge, rng.normal(size=n)], axis=1).astype(np.float32), edges.T, distance[:, None])
        )
        y.append(float((charge[edges[:, 0]] * charge[edges[:, 1]] / distance).sum() / n))
    return graphs, np.array(y)


@pytest.fixture
def molecules(tmp_path):
    graphs, y = random_graphs(np.random.default_rng(1), 250)
    save(tmp_path / "molecules.npz", graphs, 100 * y, ["energy"])
    return tmp_path / "molecules.npz"


def test_a_segmentation_network_sees_phases_through_the_noise(micrographs):
    """Much better than the best threshold on single pixels, which errs where noise exceeds half the contrast: 31 %."""
    driver = Training(data=micrographs, task="segmentation", epochs=12, augment="roll", device="cpu")
    measurement = as_measurement(driver(trial(SEGMENTER)), driver.objectives)
    assert measurement.values["validation_pixel_error"] < 0.2
    assert measurement.values["test_mean_iou"] > 0.65
    assert measurement.values["parameters"] == sum(p.numel() for p in build(SEGMENTER).parameters())
    network = build(SEGMENTER)
    network.load_state_dict(load_weights(measurement.artifacts["weights"]))
    assert Predictions.from_bytes(measurement.artifacts["test_predictions"]).predicted.shape == (16, 15, 12)


def test_random_segmentation_networks_train(micrographs):
    space, rng = SegmentationNetworks(input=[1, 15, 12], max_multiply_adds=300_000), np.random.default_rng(0)
    driver = Training(
        data=micrographs, task="segmentation", epochs=1, objectives=(Objective("validation_mean_iou", "maximise"),)
    )
    for seed in range(6):
        measurement = as_measurement(driver(trial(space.sample(rng), seed=seed)), driver.objectives)
        assert 0 <= measurement.values["validation_mean_iou"] <= 1


def test_a_graph_network_learns_a_sum_over_neighbours(molecules):
    driver = Training(data=molecules, epochs=30, device="cpu", unit="meV")
    measurement = as_measurement(driver(trial(GRAPHS)), driver.objectives)
    assert measurement.values["validation_mae"] < 0.35 * measurement.info["baseline_mae"]
    assert measurement.values["test_mae"] < 0.4 * measurement.info["baseline_test_mae"]
    again = driver(trial(GRAPHS))
    assert again.artifacts["weights"] == measurement.artifacts["weights"]


def test_a_graph_training_goes_on_from_its_checkpoint(molecules):
    driver = Training(data=molecules, epochs=6, device="cpu")
    half = driver(trial(GRAPHS, fidelity=0.5))
    last = driver(trial(GRAPHS), {"checkpoint": half.artifacts["checkpoint"]})
    assert last.artifacts["weights"] == driver(trial(GRAPHS)).artifacts["weights"]


def test_random_graph_networks_train_and_their_children_inherit(molecules):
    space, rng = GraphNetworks(node_features=2, edge_features=1), np.random.default_rng(0)
    driver = Training(data=molecules, epochs=1, objectives=(Objective("latency_ms", "minimise"),))
    for seed in range(6):
        parent = space.sample(rng)
        measurement = as_measurement(driver(trial(parent, seed=seed)), driver.objectives)
        assert measurement.values["latency_ms"] > 0
        child = space.mutate(parent, rng)
        heir = driver(trial(child, seed=seed), {"parent_weights": measurement.artifacts["weights"]})
        assert 0 < heir.info["inherited"] <= 1


def test_what_does_not_fit_is_named(molecules, micrographs):
    with pytest.raises(InvalidPoint, match=r"input: \[2, 1\]"):
        Training(data=molecules)(trial(GRAPHS | {"input": [2, 3]}))
    with pytest.raises(InvalidPoint, match=r"outputs: 2"):
        Training(data=micrographs, task="segmentation")(trial(SEGMENTER | {"outputs": 3}))
    with pytest.raises(ValueError, match="augment: none"):
        Training(data=molecules, augment="roll", device="cpu")(trial(GRAPHS))


@pytest.mark.filterwarnings("default")  # of packages that are imported here for the first time
@pytest.mark.parametrize(("name", "figure"), [("phases", "validation_mean_iou"), ("crystals", "validation_mae")])
def test_the_documented_campaigns_run(name, figure, micrographs, molecules, tmp_path, monkeypatch):
    """As they stand, but for data, sizes and budget."""
    from matloop.orchestrator.cli import (
        main as cli,
    )  # needs more than the other tests, which also run on a GPU's machine

    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    (campaign,) = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if f"name: {name}" in block]
    changes = [
        ("trials: 60", "trials: 4"),
        ("training, ", "training, epochs: 1, "),
        ("{kind: local, slots: 2}", "serial"),
    ]
    changes += [("input: [1, 64, 64]", "input: [1, 15, 12]"), ("crystals.npz", "molecules.npz")]
    changes += [("node_features: 12, edge_features: 16", "node_features: 2, edge_features: 1")]
    for old, new in changes:
        campaign = campaign.replace(old, new)
    (tmp_path / "campaign.yaml").write_text(campaign, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for command in (["run", "campaign.yaml"], ["export", f"runs/{name}", "--network", "best"]):
        monkeypatch.setattr(sys, "argv", ["matloop", *command])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert not caught.value.code
    trials = read(tmp_path / "runs" / name / "ledger.db").trials
    assert len(trials) == 4 and all(figure in trial.values for trial in trials)
    scope: dict[str, type] = {}
    exec((tmp_path / "best" / "network.py").read_text(encoding="utf-8"), scope)
    weights = load_weights((tmp_path / "best" / "network.safetensors").read_bytes())
    assert scope["Network"]().load_state_dict(weights).missing_keys == []


@pytest.mark.gpu
def test_both_train_on_a_gpu(molecules, micrographs):
    graphs = Training(data=molecules, epochs=30, device="cuda")(trial(GRAPHS))
    assert graphs.values["validation_mae"] < 0.4 * graphs.info["baseline_mae"]
    images = Training(data=micrographs, task="segmentation", epochs=12, device="cuda")(trial(SEGMENTER))
    assert images.values["validation_pixel_error"] < 0.22
