"""Tasks of the training driver: figures against scikit-learn's, targets as tensors, data that do not suit."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, jaccard_score, log_loss, r2_score
from sklearn.utils.class_weight import compute_class_weight

from matloop.drivers.training.data import data
from matloop.drivers.training.driver import Training
from matloop.drivers.training.sources.loading import load
from matloop.drivers.training.tasks.orientation import disorientation, group
from matloop.drivers.training.tasks.registry import KINDS, aim, targeted
from matloop.orchestrator.errors import ConfigError
from matloop.search_spaces.networks.graph.graphs import Graphs
from matloop.surrogates.networks.rows import take


def bind(tmp_path, kind, x, y, train=None, target=None, **arrays):
    np.savez(tmp_path / "data.npz", x=x, y=y, **arrays)
    found = aim(kind) if target is None else targeted(aim(kind), target)
    return found.bind(load(tmp_path / "data.npz"), np.arange(len(x) // 2) if train is None else train)


def targets(goal, rows):
    return take(goal.rows(np.asarray(rows)), slice(None), "cpu")


def scores(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape).astype(np.float32))


def test_classification(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 40)
    goal = bind(tmp_path, "classification", rng.normal(size=(40, 5)), y, names=np.array(["a", "b", "c"]))
    rows, outputs = np.arange(20, 40), scores(rng, 20, 3)
    predicted = outputs.argmax(dim=1).numpy()
    found = goal.measure(outputs, rows)
    assert set(found) == set(aim("classification").metrics)
    assert found["accuracy"] == pytest.approx(accuracy_score(y[rows], predicted))
    assert found["error"] == pytest.approx(1 - found["accuracy"])
    assert found["cross_entropy"] == pytest.approx(log_loss(y[rows], outputs.double().softmax(dim=1).numpy()), rel=1e-5)
    assert goal.outputs == 3 and targets(goal, rows).dtype == torch.int64
    commonest = np.bincount(y[:20]).argmax()
    assert goal.baseline(rows) == pytest.approx((y[rows] != commonest).mean())
    by_class = goal.by_class(outputs, rows)
    assert by_class == {name: pytest.approx((predicted[y[rows] == i] != i).mean()) for i, name in enumerate("abc")}
    assert np.array_equal(goal.side_by_side(outputs, rows), [y[rows], predicted])
    assert goal.described() == {"classes": ["a", "b", "c"]}


def test_segmentation(tmp_path):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(10, 2, 6, 5)), rng.integers(0, 3, (10, 6, 5), dtype=np.uint8)
    goal = bind(tmp_path, "segmentation", x, y)
    rows, outputs = np.arange(5, 10), scores(rng, 5, 3, 6, 5)
    predicted = outputs.argmax(dim=1).numpy()
    found = goal.measure(outputs, rows)
    assert set(found) == set(aim("segmentation").metrics)
    assert found["mean_iou"] == pytest.approx(jaccard_score(y[rows].ravel(), predicted.ravel(), average="macro"))
    assert found["pixel_error"] == pytest.approx((predicted != y[rows]).mean())
    assert targets(goal, rows).shape == (5, 6, 5) and goal.targets.dtype == np.uint8
    assert goal.described() == {"classes": ["0", "1", "2"]}
    perfect = torch.nn.functional.one_hot(targets(goal, rows), 3).movedim(-1, 1).float()
    assert goal.measure(perfect, rows)["mean_iou"] == 1.0


def test_a_class_that_occurs_nowhere_does_not_count(tmp_path):
    y = np.array([[0, 0], [1, 1], [0, 1], [1, 0]])
    x = np.zeros((4, 1, 2))
    goal = bind(tmp_path, "segmentation", x, y, names=np.array(["matrix", "fibre", "void"]))
    outputs = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])  # predicts 0 1
    assert goal.by_class(outputs, np.array([0])) == {"matrix": 0.5, "fibre": 0.0}
    assert goal.measure(outputs, np.array([0]))["mean_iou"] == 0.25
    assert goal.outputs == 3


def test_regression_takes_whole_numbers_and_one_column_of_several(tmp_path):
    y = np.array([[1, 10], [3, 10], [5, 10], [9, 10]])
    goal = bind(tmp_path, "regression", np.zeros((4, 2)), y, target="a", names=np.array(["a", "constant"]))
    assert goal.described() == {"y_mean": [2.0], "y_std": [1.0]}
    assert targets(goal, range(4))[:, 0].tolist() == goal.targets[:, 0].tolist() == [-1.0, 1.0, 3.0, 7.0]
    assert goal.measure(torch.tensor([[4.0], [6.0]]), np.array([2, 3])) == {"mae": 1.0, "rmse": 1.0}
    both = bind(tmp_path, "regression", np.zeros((4, 2)), y)
    assert (both.outputs, both.described()["y_std"]) == (2, [1.0, 1.0])  # a constant is not divided by 0


@pytest.mark.parametrize(
    ("kind", "x", "y", "names", "message"),
    [
        ("classification", (4, 2), [0, 1, 2, -1], (), "whole numbers from 0, one"),
        ("classification", (4, 2), [0, 1, 2, 0.5], (), "whole numbers from 0"),
        ("classification", (4, 2), [0, 1, 2, 1], ("a", "b"), "one for each class in `names`"),
        ("classification", (2, 2), [[0, 1], [1, 0]], (), r"y \(n,\) .* for classification"),
        ("segmentation", (2, 1, 3), [[0, 1], [1, 0]], (), r"y \(n, 3\) .* got \(2, 2\)"),
        ("segmentation", (4, 2), [0, 1, 1, 0], (), "for segmentation"),
        ("regression", (2, 2), [[[0.0]], [[1.0]]], (), r"y \(n,\) or \(n, m\)"),
    ],
)
def test_data_that_do_not_suit_are_named(tmp_path, kind, x, y, names, message):
    arrays = {"names": np.array(names)} if names else {}
    with pytest.raises(ValueError, match=message):
        bind(tmp_path, kind, np.zeros(x), np.array(y), **arrays)


def test_figures_of_numbers_are_those_of_scikit_learn(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.normal(5, 2, size=(40, 2))
    wish = {"kind": "regression", "metrics": ["r2", "mape", "median_error", f"{__name__}:_own"]}
    goal = bind(tmp_path, wish, rng.normal(size=(40, 3)), y)
    assert list(goal.aim.metrics.items())[:2] == [("r2", "maximise"), ("mape", "minimise")]
    assert goal.aim.metrics["_own"] == "maximise" and set(goal.aim.in_unit) == {"mae", "rmse", "median_error"}
    rows = np.arange(20, 40)
    outputs = scores(rng, 20, 2)
    predicted = outputs.numpy() * y[:20].std(axis=0) + y[:20].mean(axis=0)
    found = goal.measure(outputs, rows)
    assert found["r2"] == pytest.approx(r2_score(y[rows], predicted), rel=1e-5)
    assert found["median_error"] == pytest.approx(np.median(np.abs(predicted - y[rows])), rel=1e-5)
    assert found["mape"] == pytest.approx(100 * np.abs(predicted - y[rows]).sum() / np.abs(y[rows]).sum(), rel=1e-5)
    assert found["rmse"] == pytest.approx(np.sqrt(((predicted - y[rows]) ** 2).mean()), rel=1e-5)
    assert found["_own"] == pytest.approx(predicted.max() - y[rows].max(), rel=1e-5)


def _own(measured, predicted):
    return predicted.max() - measured.max()


_own.direction = "maximise"


def mae(measured, predicted):
    return 0.0


def test_figures_of_classes_are_those_of_scikit_learn(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.choice(3, p=[0.7, 0.25, 0.05], size=400)
    wish = {"kind": "classification", "metrics": ["balanced_accuracy", "f1"], "class_weights": "balanced"}
    goal = bind(tmp_path, wish, rng.normal(size=(400, 3)), y, train=np.arange(300))
    rows, outputs = np.arange(300, 400), scores(rng, 100, 3)
    predicted = outputs.argmax(dim=1).numpy()
    found = goal.measure(outputs, rows)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y[rows], predicted))
    assert found["f1"] == pytest.approx(f1_score(y[rows], predicted, average="macro"))
    assert next(iter(goal.aim.metrics)) == "balanced_accuracy"
    assert goal.weights == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=y[:300]))
    weights = torch.tensor(goal.weights, dtype=torch.float32)
    expected = torch.nn.functional.cross_entropy(outputs, torch.from_numpy(y[rows]), weights)
    assert goal.loss(outputs, torch.from_numpy(y[rows])) == pytest.approx(float(expected))


@pytest.mark.parametrize("shape", [(8, 7), (8, 2, 7), (6, 4, 5), (6, 3, 4, 5), (5, 2, 3, 4, 2)])
def test_a_field_has_numbers_at_each_place(tmp_path, shape):
    rng = np.random.default_rng(0)
    places = {(8, 7): (7,), (8, 2, 7): (7,), (5, 2, 3, 4, 2): (3, 4, 2)}.get(shape, (4, 5))
    y = rng.normal(300, 20, size=shape).astype(np.float16)
    goal = bind(tmp_path, "field", rng.normal(size=(len(y), 1, *places)), y)
    m = 1 if shape[1:] == places else shape[1]
    full, rows = y.reshape(len(y), m, *places).astype(np.float64), np.arange(len(y) // 2, len(y))
    assert goal.outputs == m and targets(goal, rows).shape == (len(rows), m, *places)
    known = full[: len(y) // 2]
    axes = (0, *range(2, full.ndim))
    mean, std = known.mean(axis=axes, keepdims=True), known.std(axis=axes, keepdims=True)
    assert targets(goal, rows).numpy() == pytest.approx((full[rows] - mean) / std, abs=1e-5)
    outputs = scores(rng, len(rows), m, *places)
    predicted = outputs.numpy() * std + mean
    assert goal.measure(outputs, rows)["mae"] == pytest.approx(np.abs(predicted - full[rows]).mean(), rel=1e-5)
    assert goal.baseline(rows) == pytest.approx(np.abs(mean - full[rows]).mean())
    assert goal.side_by_side(outputs, rows)[1] == pytest.approx(predicted, rel=1e-5)


def test_a_gaussian_network_has_twice_the_outputs(tmp_path):
    wish = {"kind": "regression", "loss": "gaussian"}
    goal = bind(tmp_path, wish, np.zeros((8, 2)), np.arange(16.0).reshape(8, 2))
    assert goal.outputs == 4 and len(goal.described()["y_mean"]) == 2
    outputs = torch.zeros(3, 4)
    expected = np.abs(np.arange(6.0).reshape(3, 2) - [3, 4]).mean()  # the training rows' means
    assert goal.measure(outputs, np.arange(3))["mae"] == pytest.approx(expected)
    assert goal.aim.losses == ("gaussian",)


def _graphs():
    counts = [2, 3, 1, 4]
    offsets = torch.tensor([0, *np.cumsum(counts)])
    nodes = torch.arange(10.0)[:, None]
    edges = torch.zeros((2, 0), dtype=torch.int64)
    return Graphs(nodes, edges, torch.zeros(0, 1), offsets, torch.zeros(5, dtype=torch.int64)), counts


def test_nodes_of_graphs_have_numbers_of_their_own(tmp_path):
    graphs, counts = _graphs()
    y = np.full((4, 6), 1e6)  # beyond a graph's nodes anything may stand
    for i, count in enumerate(counts):
        y[i, :count] = 10 * i + np.arange(count)
    goal = aim("node").bind(data(graphs, y, path=tmp_path), np.array([0, 1]))
    known = np.array([0, 1, 10, 11, 12])
    assert goal.described() == {"y_mean": [known.mean()], "y_std": [known.std()]}
    rows = np.array([3, 2])
    outputs = torch.arange(5.0)[:, None]  # four nodes, then one
    loss = goal.named_loss("squared")(outputs, goal.rows(rows))
    wanted = (np.array([30, 31, 32, 33, 20]) - known.mean()) / known.std()
    assert float(loss) == pytest.approx(((np.arange(5) - wanted) ** 2).mean(), rel=1e-5)
    aligned = goal.aligned(outputs, rows)
    assert aligned.shape == (2, 4, 1) and aligned[1, 0] == 4 and aligned[1, 1:].isnan().all()
    predicted = np.arange(5) * known.std() + known.mean()
    assert goal.measure(aligned, rows)["mae"] == pytest.approx(
        np.abs(predicted - [30, 31, 32, 33, 20]).mean(), rel=1e-6
    )
    assert goal.baseline(rows) == pytest.approx(np.abs(known.mean() - np.array([30, 31, 32, 33, 20])).mean())


def matrices(q):
    """(n, 3, 3) rotation matrices of quaternions, another way than by products of quaternions."""
    w, x, y, z = q.T
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    ).transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("symmetry", "order"),
    [("cubic", 24), ("hexagonal", 12), ("tetragonal", 8), ("trigonal", 6), ("orthorhombic", 4), ("none", 1)],
)
def test_disorientations_are_those_of_rotation_matrices(symmetry, order):
    elements = group(symmetry)
    assert len(elements) == order
    rotations = matrices(elements.numpy())
    closed = np.einsum("aij,bjk->abik", rotations, rotations).reshape(-1, 9)
    assert len(np.unique(closed.round(6) + 0.0, axis=0)) == order
    rng = np.random.default_rng(0)
    p, q = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(size=(2, 60, 4)))
    between = np.einsum("sij,njk,nlk->nsil", rotations, matrices(q), matrices(p))  # s q p⁻¹
    angles = np.degrees(np.arccos(np.clip((np.trace(between, axis1=2, axis2=3) - 1) / 2, -1, 1)))
    found = disorientation(torch.from_numpy(p), torch.from_numpy(q), elements).numpy()
    assert found == pytest.approx(angles.min(axis=1), abs=1e-4)
    if symmetry == "cubic":
        assert found.max() < 62.8  # Mackenzie: no two cubes are further apart


def test_orientations_that_symmetry_makes_equal_are_right(tmp_path):
    rng = np.random.default_rng(0)
    q = rng.normal(size=(30, 4))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    goal = bind(tmp_path, {"kind": "orientation", "symmetry": "cubic"}, rng.normal(size=(30, 1, 4, 4)), q)
    assert goal.outputs == 4 and next(iter(goal.aim.metrics)) == "disorientation"
    rows, turn = np.arange(15, 30), np.array([0.5**0.5, 0, 0, 0.5**0.5])  # a quarter about z, on the left
    w, x, y, z = q[rows].T
    equal = np.stack([turn[0] * w - turn[3] * z, turn[0] * x - turn[3] * y, turn[0] * y + turn[3] * x], axis=1)
    equal = np.concatenate([equal, (turn[0] * z + turn[3] * w)[:, None]], axis=1)
    figures = goal.measure(torch.from_numpy(-3 * equal).float(), rows)
    assert figures["disorientation"] < 0.1 and figures["within_5_degrees"] == 1
    right, wrong = (float(goal.loss(torch.from_numpy(v).float(), goal.rows(rows))) for v in (equal, q[rows[::-1]]))
    assert right < 1e-3 < 0.1 < wrong
    assert 20 < goal.baseline(rows) < 50


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ("ranking", "task: one of"),
        ({"kind": "regression", "loss": "dice"}, "for regression"),
        ({"kind": "segmentation", "loss": "huber"}, "for segmentation"),
        ({"kind": "segmentation", "class_weights": "fair"}, "class_weights: balanced, or"),
        ({"kind": "segmentation", "class_weights": [1, -1]}, "none below 0 and one above"),
        ({"kind": "segmentation", "class_weights": [0, 0]}, "none below 0 and one above"),
        ({"kind": "segmentation", "class_weights": []}, "none below 0 and one above"),
        ({"kind": "regression", "metrics": [f"{__name__}:mae"]}, "names of their own, got a second 'mae'"),
        ({"kind": "regression", "metrics": ["accuracy"]}, "metrics: some of"),
        ({"kind": "regression", "metrics": ["absent:figure"]}, "can be imported"),
        ({"kind": "orientation", "symmetry": "round"}, "symmetry: one of"),
        ({"kind": "field", "depth": 3}, "options of the task"),
    ],
)
def test_tasks_that_cannot_be_are_refused(wish, message):
    with pytest.raises(ConfigError, match=message):
        aim(wish)


@pytest.mark.parametrize("kind", list(KINDS.kinds))
def test_drivers_of_every_task_travel_to_workers(tmp_path, kind):
    driver = Training(data=tmp_path / "data.npz", task=kind)
    assert pickle.loads(pickle.dumps(driver)).objectives == driver.objectives


def test_as_many_weights_as_classes(tmp_path):
    with pytest.raises(ValueError, match="class_weights for 3 classes"):
        bind(tmp_path, {"kind": "classification", "class_weights": [1, 2]}, np.zeros((4, 2)), np.array([0, 1, 2, 1]))


@pytest.mark.parametrize(
    ("wish", "x", "y"),
    [
        ({"kind": "regression", "metrics": ["r2", "mape", f"{__name__}:_own"]}, (12, 2), (12, 3)),
        ("field", (12, 1, 4, 5), (12, 2, 4, 5)),
        ({"kind": "classification", "metrics": ["f1", f"{__name__}:_own"]}, (12, 2), (12,)),
        ({"kind": "segmentation", "metrics": ["cross_entropy", f"{__name__}:_own"]}, (12, 1, 4, 5), (12, 4, 5)),
        ({"kind": "orientation", "metrics": [f"{__name__}:_own"]}, (12, 1, 4, 4), (12, 4)),
    ],
)
def test_figures_of_some_rows_are_those_of_a_part_of_these_rows(tmp_path, wish, x, y):
    """A judge looks at each row once; measuring the part by itself has to find the same."""
    rng = np.random.default_rng(0)
    kind = wish if isinstance(wish, str) else wish["kind"]
    targets = rng.integers(0, 3, y) if kind in ("classification", "segmentation") else rng.normal(size=y)
    if kind == "orientation":
        targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    goal = bind(tmp_path, wish, rng.normal(size=x), targets)
    rows, some = np.arange(3, 12), np.array([1, 4, 4, 7])
    outputs = scores(rng, 9, goal.outputs, *(y[-2:] if len(y) > 2 else ()))
    found = goal.judge(outputs, rows)
    assert list(found(some)) == list(goal.aim.metrics)
    assert found(some) == pytest.approx(goal.measure(outputs[some], rows[some]))
    assert found(slice(None)) == pytest.approx(goal.measure(outputs, rows))


def test_nodes_count_alike_in_any_part_of_the_graphs(tmp_path):
    graphs, counts = _graphs()
    y = np.random.default_rng(0).normal(size=(4, 4))
    goal = aim("node").bind(data(graphs, y, path=tmp_path), np.arange(4))
    outputs = torch.zeros(10, 1)
    some = np.array([3, 0])
    known = np.concatenate([y[i, : counts[i]] for i in range(4)])
    wanted = np.abs(np.concatenate([y[3, :4], y[0, :2]]) - known.mean()).mean()
    assert goal.judge(goal.aligned(outputs, np.arange(4)), np.arange(4))(some)["mae"] == pytest.approx(wanted)


def test_the_baseline_of_any_figure_is_what_a_constant_answer_scores(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.choice(3, p=[0.2, 0.7, 0.1], size=(20, 4, 5))
    counts = np.bincount(y[:10].ravel()) + 1
    constant = np.log(counts / counts.sum())
    for figure in ("pixel_error", "mean_iou", "balanced_accuracy", "cross_entropy"):
        goal = bind(tmp_path, {"kind": "segmentation", "metrics": [figure]}, rng.normal(size=(20, 1, 4, 5)), y)
        outputs = torch.tensor(constant, dtype=torch.float32).reshape(1, 3, 1, 1).expand(10, 3, 4, 5)
        expected = goal.measure(outputs, np.arange(10, 20))[figure]
        assert goal.baseline(np.arange(10, 20)) == pytest.approx(expected), figure
