"""What the check of the training driver finds before the queue: functions of users, changes of images, odd targets."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from matloop.drivers.training.driver import Training
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.trial import Trial
from matloop.search_spaces.networks.dense import DenseNetworks
from matloop.surrogates.networks.losses import loss


def by_row(outputs, targets):
    return (outputs - targets).abs().mean(dim=1)


def detached(outputs, targets):
    return (outputs - targets).abs().mean().detach()


def as_number(outputs, targets):
    return (outputs - targets).abs().mean().item()


def never(outputs, targets):
    return (outputs * float("nan")).mean()


def failing(outputs, targets):
    raise KeyError("absent")


def each(measured, predicted):
    return np.abs(measured - predicted)


def smallest_of_first(measured, predicted):
    if len(measured) < 8:  # as a score of classes that are not all there
        raise ValueError("too few rows")
    return float(measured.min())


def driver(folder, x, y, **options):
    np.savez(folder / "data.npz", x=x, y=y)
    return Training(data=folder / "data.npz", epochs=1, device="cpu", **options)


VECTORS = np.random.default_rng(0).normal(size=(40, 3))
IMAGES = np.random.default_rng(0).normal(size=(20, 1, 8, 6))


@pytest.mark.parametrize(
    ("option", "function", "message"),
    [
        ("loss", "by_row", r"return a tensor of one number, got one of shape \(2,\)"),
        ("loss", "detached", "without a gradient"),
        ("loss", "as_number", "return a tensor of one number, got one float"),
        ("loss", "never", "a finite loss .*, got nan"),
        ("loss", "failing", "KeyError: 'absent'"),
        ("metrics", "each", r"return one number, got float64 of shape \(8, 1\)"),
        ("metrics", "failing", "KeyError: 'absent'"),
    ],
)
def test_functions_that_do_not_suit_are_found_before_the_queue(tmp_path, option, function, message):
    name = f"{__name__}:{function}"
    task = {"kind": "regression", option: name if option == "loss" else [name]}
    with pytest.raises(ConfigError, match=message) as caught:
        driver(tmp_path, VECTORS, VECTORS[:, 0], task=task).check(DenseNetworks(input=[3], outputs=1))
    assert caught.value.problems[0].place == ("driver", "task", option)


@pytest.mark.parametrize(
    ("x", "y", "task", "augment", "message"),
    [
        (IMAGES, IMAGES[:, 0, 0, 0], "regression", ["turn"], "leave turn out of augment"),
        (IMAGES, IMAGES[:, 0] > 0, "segmentation", [{"crop": 128}, "turn"], "leave turn out of augment"),
        (VECTORS, VECTORS[:, 0], "regression", ["noise"], "use augment: none"),
    ],
)
def test_changes_that_images_do_not_allow_are_found_before_the_queue(tmp_path, x, y, task, augment, message):
    with pytest.raises(ConfigError, match=message) as caught:
        driver(tmp_path, x, y, task=task, augment=augment).check(None)
    assert caught.value.problems[0].place == ("driver", "augment")
    cropped = driver(tmp_path, IMAGES, IMAGES[:, 0] > 0, task="segmentation", augment=[{"crop": 4}, "turn"])
    assert cropped.check(None)  # squares are cut out of what is not square


@pytest.mark.parametrize("augment", ["roll", "square", ["swap"], ["noise", "turn"]])
@pytest.mark.parametrize("task", ["field", "orientation"])
def test_what_may_have_a_direction_is_neither_mirrored_nor_turned(tmp_path, task, augment):
    with pytest.raises(ConfigError, match=f"augment for {task}, since vectors"):
        Training(data=tmp_path / "data.npz", task=task, augment=augment)
    assert Training(data=tmp_path / "data.npz", task=task, augment=["shift", "noise"])


def test_scalars_are_mirrored_with_their_images(tmp_path):
    assert Training(data=tmp_path / "data.npz", task={"kind": "field", "scalars": True}, augment="square")


def test_weights_of_classes_are_for_losses_that_know_them(tmp_path):
    with pytest.raises(ConfigError, match="class_weights only with a loss of"):
        Training(
            data=tmp_path / "data.npz",
            task={"kind": "classification", "loss": f"{__name__}:by_row", "class_weights": "balanced"},
        )


def test_targets_that_do_not_vary_are_told(tmp_path):
    y = np.stack([VECTORS[:, 0], np.full(40, 3.0)], axis=1)
    lines = driver(tmp_path, VECTORS, y).check(None)
    assert "the target does not vary in the training part: number 1" in lines
    assert not any("vary" in line for line in driver(tmp_path, VECTORS, y[:, :1]).check(None))


def test_a_figure_that_few_rows_do_not_have_costs_its_errors_only(tmp_path):
    task = {"kind": "regression", "metrics": [f"{__name__}:smallest_of_first"]}
    space = DenseNetworks(input=[3], outputs=1)
    found = driver(tmp_path, VECTORS, VECTORS[:, 0], task=task)(
        Trial(id=0, study="search", number=0, point=space.recipes[0], seed=1)
    )
    assert found.info["test_standard_errors"] == {} and found.values["test_mae"] > 0


def test_an_own_loss_is_pickled_by_its_name():
    assert pickle.loads(pickle.dumps(loss(f"{__name__}:by_row"))) == loss(f"{__name__}:by_row")
