"""Tasks of the training driver: figures against scikit-learn's, targets as tensors, data that do not suit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score, log_loss

from matloop.drivers.training.sources.loading import load
from matloop.drivers.training.tasks import METRICS, task


def bind(tmp_path, kind, x, y, train=None, target=None, **arrays):
    np.savez(tmp_path / "data.npz", x=x, y=y, **arrays)
    return task(kind, load(tmp_path / "data.npz"), np.arange(len(x) // 2) if train is None else train, target)


def scores(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape).astype(np.float32))


def test_classification(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 40)
    goal = bind(tmp_path, "classification", rng.normal(size=(40, 5)), y, names=np.array(["a", "b", "c"]))
    rows, outputs = np.arange(20, 40), scores(rng, 20, 3)
    predicted = outputs.argmax(dim=1).numpy()
    found = goal.measure(outputs, rows)
    assert set(found) == set(METRICS["classification"])
    assert found["accuracy"] == pytest.approx(accuracy_score(y[rows], predicted))
    assert found["error"] == pytest.approx(1 - found["accuracy"])
    assert found["cross_entropy"] == pytest.approx(log_loss(y[rows], outputs.double().softmax(dim=1).numpy()), rel=1e-5)
    assert goal.outputs == 3 and goal.targets.dtype == torch.int64
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
    assert set(found) == set(METRICS["segmentation"])
    assert found["mean_iou"] == pytest.approx(jaccard_score(y[rows].ravel(), predicted.ravel(), average="macro"))
    assert found["pixel_error"] == pytest.approx((predicted != y[rows]).mean())
    assert goal.targets.shape == (10, 6, 5)
    assert goal.described() == {"classes": ["0", "1", "2"]}
    perfect = torch.nn.functional.one_hot(goal.targets[rows], 3).movedim(-1, 1).float()
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
    assert goal.targets[:, 0].tolist() == [-1.0, 1.0, 3.0, 7.0]
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
