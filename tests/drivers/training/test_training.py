"""The training driver: it learns, goes on where it stopped, its figures follow from its weights, its messages."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load as load_weights

from matloop.drivers.training.data import data
from matloop.drivers.training.driver import Training
from matloop.drivers.training.graphs import Graph, save
from matloop.drivers.training.predictions import Predictions
from matloop.drivers.training.sources.loading import load
from matloop.drivers.training.splits import Random, Split
from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.loop.evaluation import as_measurement
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.search_spaces.networks.module import build
from matloop.testing.driver import DriverContract


def layer(**genes):
    base = {"kind": "conv", "width": 8, "kernel": 3, "stride": 2, "normalisation": "batch", "activation": "relu"}
    return base | {"dropout": 0.0, "skip": 0} | genes


def genome(outputs=1, **changes):
    base = {
        "input": [1, 12, 12],
        "outputs": outputs,
        "padding": "circular",
        "readout": "avg",
        "dropout": 0.05,
        "layers": [layer(), layer(width=16)],
        "training": {"optimiser": "adam", "learning_rate": 0.01, "weight_decay": 1e-5, "batch": 16},
    }
    return base | changes


def split(n, shares, seed) -> Split:
    known = data(np.zeros((n, 1)), np.zeros(n), path=Path())
    return Random(shares=shares).split(known, None, seed)


def trial(point, seed=1, **options):
    return Trial(id=0, study="search", number=0, point=point, seed=seed, **options)


@pytest.fixture
def arrays():
    """Binary images; the targets are the share of edges and the mean, in large units."""
    rng = np.random.default_rng(0)
    x = (rng.random((120, 1, 12, 12)) < rng.uniform(0.1, 0.9, (120, 1, 1, 1))).astype(np.float32)
    edges = np.abs(x - np.roll(x, 1, axis=3)).mean(axis=(1, 2, 3))
    return x, np.stack([300 + 1000 * edges, x.mean(axis=(1, 2, 3))], axis=1)


@pytest.fixture
def path(tmp_path, arrays):
    np.savez(tmp_path / "data.npz", x=arrays[0], y=arrays[1], names=np.array(["edges", "mean"]))
    return tmp_path / "data.npz"


class TestTraining(DriverContract):
    @pytest.fixture
    def driver(self, path):
        return Training(data=path, target="edges", epochs=3, device="cpu")

    @pytest.fixture
    def trial(self):
        return trial(genome())


def test_it_tells_spaces_what_they_need_to_know(path, tmp_path):
    assert Training(data=path, target="edges").fills == {
        "input": [1, 12, 12], "outputs": 1, "classes": 1, "examples": 72,  # three in five of 120
        "training": {"loss": ["absolute", "huber", "squared"]},
    }  # fmt: skip
    both = Training(data=path, split=[0.25, 0.25, 0.25]).fills
    assert (both["outputs"], both["examples"]) == (2, 30)
    pair = Graph(np.ones((2, 3)), np.array([[0, 1, 1], [1, 0, 1]]), np.ones((3, 2)))
    save(tmp_path / "graphs.npz", [pair] * 20, np.zeros(20))
    assert Training(data=tmp_path / "graphs.npz").fills == {
        "node_features": 3, "edge_features": 2, "nodes": 2, "edges": 3, "outputs": 1, "classes": 1, "examples": 12,
        "per": "graph",
        "training": {"loss": ["absolute", "huber", "squared"]},
    }  # fmt: skip
    with pytest.raises(ConfigError, match="no such file") as caught:
        _ = Training(data=tmp_path / "none.npz").fills
    assert caught.value.problems[0].place == ("data",)


def test_it_learns_and_its_figures_follow_from_its_weights(path, arrays):
    driver = Training(data=path, target="edges", epochs=25, device="cpu", unit="1/m")
    measurement = as_measurement(driver(trial(genome())), driver.objectives)
    values, info = measurement.values, measurement.info
    assert values["validation_mae"] < 0.5 * info["baseline_mae"]
    assert values["test_mae"] < 0.5 * info["baseline_test_mae"]
    assert values["validation_mae"] <= values["validation_rmse"]
    assert [(o.name, o.unit) for o in driver.objectives] == [("validation_mae", "1/m"), ("parameters", "")]

    network = build(genome()).eval()
    network.load_state_dict(load_weights(measurement.artifacts["weights"]))
    assert values["parameters"] == sum(p.numel() for p in network.parameters())
    file = path.with_name("weights.safetensors")
    file.write_bytes(measurement.artifacts["weights"])
    with safe_open(file, "pt") as opened:
        metadata = json.loads(opened.metadata()["matloop"])
    assert metadata["genome"] == genome()
    scales = metadata["scales"]
    x, y = arrays
    parts = split(120, (0.6, 0.2, 0.2), 0)
    assert scales["y_mean"] == pytest.approx([y[parts.train, 0].mean()])
    assert scales["x_std"] == pytest.approx([x[parts.train].std()], rel=1e-5)
    with torch.no_grad():
        inputs = (torch.from_numpy(x) - scales["x_mean"][0]) / scales["x_std"][0]
        predicted = network(inputs).numpy()[:, 0] * scales["y_std"][0] + scales["y_mean"][0]
    for name, rows in (("validation_mae", parts.validation), ("test_mae", parts.test)):
        assert values[name] == pytest.approx(np.abs(predicted[rows] - y[rows, 0]).mean(), rel=1e-3)
    mean = y[parts.train, 0].mean()
    assert info["baseline_test_mae"] == pytest.approx(np.abs(y[parts.test, 0] - mean).mean())
    ids, measured, saved = Predictions.from_bytes(measurement.artifacts["test_predictions"])
    assert ids.tolist() == [str(row) for row in parts.test]
    assert measured[:, 0] == pytest.approx(y[parts.test, 0], rel=1e-6)
    assert saved[:, 0] == pytest.approx(predicted[parts.test], rel=1e-3)


def test_the_trial_seed_decides_everything(path):
    driver = Training(data=path, target=0, epochs=3, device="cpu", augment="roll")
    first, again, other = (driver(trial(genome(), seed=seed)) for seed in (1, 1, 2))
    assert first.values == again.values
    assert first.artifacts["weights"] == again.artifacts["weights"]
    assert first.values != other.values
    assert first.info["baseline_mae"] == other.info["baseline_mae"]  # the same split


def test_the_split_depends_on_its_own_seed():
    parts = split(100, (0.5, 0.3, 0.2), 3)
    rows = np.concatenate([parts.train, parts.validation, parts.test])
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [50, 30, 20]
    assert sorted(rows) == list(range(100))
    assert np.array_equal(parts.train, split(100, (0.5, 0.3, 0.2), 3).train)
    assert not np.array_equal(parts.train, split(100, (0.5, 0.3, 0.2), 4).train)


def test_fidelity_is_the_share_of_epochs(path):
    driver = Training(data=path, target=0, epochs=10, device="cpu")
    found = [driver(trial(genome(), fidelity=share)).info for share in (0.001, 0.5, None)]
    assert [info["steps"] for info in found] == [1, 25, 50]
    assert [info["used"] for info in found] == [0.02, 0.5, 1]


def test_seconds_are_kept(path):
    """With reading, validation and predictions; a training that continues another takes the rest."""
    driver = Training(data=path, target=0, budget={"seconds": 1.0}, device="cpu")
    half = driver(trial(genome(), fidelity=0.5))
    rest = driver(trial(genome()), {"checkpoint": half.artifacts["checkpoint"]})
    assert half.info["used"] == 0.5 and rest.info["used"] == 1
    assert rest.info["steps"] > half.info["steps"] >= 1
    assert half.info["seconds"] + rest.info["seconds"] > 0.5  # at least half of it is training
    assert rest.info["history"]["share"][-1] == 1


def test_rungs_equal_one_training_to_the_bit(path):
    driver = Training(data=path, target=0, epochs=9, device="cpu", augment="square")
    point = genome(layers=[layer(dropout=0.2), layer(width=16)])
    whole = driver(trial(point))
    first = driver(trial(point, fidelity=1 / 9))
    second = driver(trial(point, seed=77, fidelity=1 / 3), {"checkpoint": first.artifacts["checkpoint"]})
    last = driver(trial(point, seed=78, fidelity=1.0), {"checkpoint": second.artifacts["checkpoint"]})
    assert [m.info["epochs"] for m in (first, second)] == [1, 3]
    assert (second.info["continued_from"], last.info["continued_from"]) == (1 / 9, 1 / 3)
    assert last.artifacts["weights"] == whole.artifacts["weights"]
    assert (last.values, last.info["history"]) == (whole.values, whole.info["history"])
    assert "checkpoint" not in whole.artifacts and "checkpoint" not in last.artifacts


def test_a_child_begins_with_what_its_parent_learnt(path):
    parent = Training(data=path, target=0, epochs=20, device="cpu")(trial(genome()))
    brief = Training(data=path, target=0, epochs=1, device="cpu")
    child = genome(layers=[layer(width=16), layer(width=16)], training=genome()["training"] | {"learning_rate": 1e-3})
    heir = brief(trial(child), {"parent_weights": parent.artifacts["weights"]})
    fresh = brief(trial(child))
    assert heir.info["inherited"] == 1.0 and heir.info["inherited_exactly"]
    assert heir.values["validation_mae"] < 0.5 * fresh.values["validation_mae"]
    again = brief(trial(child), {"parent_weights": parent.artifacts["weights"]})
    assert again.artifacts["weights"] == heir.artifacts["weights"]


def test_inputs_that_do_not_belong_are_refused(path):
    driver = Training(data=path, target=0, epochs=4, device="cpu")
    checkpoint = driver(trial(genome(), fidelity=0.25)).artifacts["checkpoint"]
    with pytest.raises(ValueError, match="this very genome"):
        driver(trial(genome(readout="max")), {"checkpoint": checkpoint})
    with pytest.raises(ValueError, match=r"got \['model'\]"):
        driver(trial(genome()), {"model": b""})
    with pytest.raises(ValueError, match="expected the weights of a trained network"):
        driver(trial(genome()), {"parent_weights": b"12345678"})


def test_what_the_study_asks_for_is_declared_and_measured(path):
    usual = Training(data=path, target=0, epochs=1, device="cpu", unit="eV")
    assert [o.name for o in usual.objectives] == ["validation_mae", "parameters"]
    assert "latency_ms" not in usual(trial(genome())).values
    asked = tuple(map(Objective, ("validation_mae", "parameters", "latency_ms", "test_mae")))
    driver = Training(data=path, target=0, epochs=1, device="cpu", unit="eV", objectives=asked)
    assert [(o.name, o.unit) for o in driver.objectives] == [
        ("validation_mae", "eV"),
        ("parameters", ""),
        ("latency_ms", "ms"),
    ]  # the test part is for judging, not for choosing
    small, large = (driver(trial(genome(layers=[layer(width=w, kernel=7, stride=1)] * 3))).values for w in (4, 64))
    assert large["latency_ms"] > 2 * small["latency_ms"] > 0
    assert large["multiply_adds"] > 100 * small["multiply_adds"]


def test_classification_learns(tmp_path, arrays):
    x, y = arrays
    crowded = (y[:, 1] > np.median(y[:, 1])).astype(np.int64)
    np.savez(tmp_path / "data.npz", x=x, y=crowded, names=np.array(["sparse", "crowded"]))
    driver = Training(data=tmp_path / "data.npz", task="classification", epochs=15, device="cpu")
    assert [(o.name, o.direction) for o in driver.objectives] == [
        ("validation_error", "minimise"),
        ("parameters", "minimise"),
    ]
    measurement = as_measurement(driver(trial(genome(outputs=2))), driver.objectives)
    assert measurement.values["test_error"] < 0.5 * measurement.info["baseline_test_error"]
    assert measurement.values["test_accuracy"] == pytest.approx(1 - measurement.values["test_error"])
    assert set(measurement.info["test_by_class"]) == {"sparse", "crowded"}
    file = tmp_path / "weights.safetensors"
    file.write_bytes(measurement.artifacts["weights"])
    with safe_open(file, "pt") as opened:
        assert json.loads(opened.metadata()["matloop"])["scales"]["classes"] == ["sparse", "crowded"]


def test_several_targets_and_random_genomes(path):
    space, rng = ConvNetworks(input=[1, 12, 12], outputs=2, max_multiply_adds=200_000), np.random.default_rng(0)
    driver = Training(data=path, epochs=2, device="cpu")
    for seed in range(8):
        measurement = as_measurement(driver(trial(space.sample(rng), seed=seed)), driver.objectives)
        assert Predictions.from_bytes(measurement.artifacts["test_predictions"]).predicted.shape == (24, 2)
        json.dumps(measurement.info)


def test_data_are_read_once_until_the_file_changes(path, arrays):
    first = load(path)
    assert load(path) is first
    np.savez(path, x=arrays[0][:50], y=arrays[1][:50])
    assert len(load(path).x) == 50


def test_a_driver_travels_light(path):
    driver = Training(data=path)
    driver(trial(genome(outputs=2), fidelity=0.01))
    assert driver.repeatable
    assert len(pickle.dumps(driver)) < 1000
    for kind in ("regression", "classification", "segmentation"):
        other = Training(data=path, task=kind)
        assert pickle.loads(pickle.dumps(other)).objectives == other.objectives


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": [1, 12, 11]}, r"input: \[1, 12, 12\]"),
        ({"outputs": 3}, "outputs: 1"),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_refused(path, change, message):
    with pytest.raises(InvalidPoint, match=message):
        Training(data=path, target=0)(trial(genome() | change))


def test_divergence_fails_the_trial(path):
    wild = genome(training=genome()["training"] | {"learning_rate": 1e30, "optimiser": "sgd"})
    with pytest.raises(FloatingPointError, match="diverged"):
        Training(data=path, target=0, device="cpu")(trial(wild))


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"x": np.zeros((9, 1, 2, 2))}, r"arrays x and y .* got \['x'\]"),
        ({"x": np.zeros((9, 1, 2, 2)), "y": np.zeros(8)}, r"\(9, 1, 2, 2\) and \(8,\)"),
        ({"x": np.full((9, 1, 2, 2), np.nan), "y": np.zeros(9)}, "in x of .* the first is row 0"),
        ({"x": np.zeros((9, 1, 2, 2)), "y": np.array([0.0] * 8 + [np.inf])}, "in y of .* the first is row 8"),
        ({"x": np.array(["a"] * 9)[:, None], "y": np.zeros(9)}, "numbers in x"),
        ({"x": np.zeros((9, 1, 2, 2)), "y": np.zeros(9), "names": np.array(["a", "b"])}, "1 names"),
        ({"x": np.zeros((3, 1, 2, 2)), "y": np.zeros(3)}, "enough data"),
        ({"x": np.array([None] * 9), "y": np.zeros(9)}, "plain arrays"),
    ],
)
def test_bad_data_are_named(tmp_path, saved, message):
    np.savez(tmp_path / "bad.npz", **saved)
    point = genome(input=[1, 2, 2])
    with pytest.raises(ValueError, match=message):
        Training(data=tmp_path / "bad.npz")(trial(point))


def test_a_file_that_is_no_archive_or_not_there_is_named(tmp_path):
    file = tmp_path / "data.npz"
    with pytest.raises(FileNotFoundError, match="correct `data`"):
        Training(data=file)(trial(genome()))
    file.write_text("x, y")
    with pytest.raises(ValueError, match="plain arrays x and y"):
        Training(data=file)(trial(genome()))


@pytest.mark.parametrize(("target", "message"), [("edge", "has \\['edges', 'mean'\\]"), (2, "0 to 1"), (-1, "0 to 1")])
def test_unknown_targets_are_named(path, target, message):
    with pytest.raises(ValueError, match=message):
        Training(data=path, target=target)(trial(genome()))


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"patience": 0},
        {"patience": 3},
        {"budget": {}},
        {"budget": {"minutes": 3}},
        {"budget": {"seconds": 3, "steps": 10}},
        {"budget": {"seconds": 0}},
        {"budget": {"steps": 10.5}},
        {"epochs": 3, "budget": {"steps": 10}},
        {"threads": 0},
        {"latency_batch": 0},
        {"task": "ranking"},
        {"target": 0, "task": "classification"},
        {"split": (0.5, 0.5)},
        {"split": (0.9, 0.1, 0)},
        {"split": (1, 1, 1)},
    ],
)
def test_bad_options_are_named(path, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Training(data=path, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_named(path):
    with pytest.raises(ConfigError, match="device: auto"):
        Training(data=path, target=0, device="cuda")(trial(genome()))


@pytest.mark.gpu
def test_it_trains_on_a_gpu(path):
    driver = Training(data=path, target=0, epochs=25, device="cuda")
    measurement = driver(trial(genome()))
    assert measurement.values["validation_mae"] < 0.5 * measurement.info["baseline_mae"]
