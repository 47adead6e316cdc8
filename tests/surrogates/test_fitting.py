"""Network fitting: finds the least-squares answer, keeps the best weights, repeats exactly, says when it diverges."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from orchestrator.randomness import torch_seed
from surrogates.fitting import fit, mean_squared_error, predict


def data(n, seed=0, noise=0.1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    y = x @ [[1.0, 0.5], [-2.0, 0.0], [0.3, 1.0]] + [[0.5, -1.0]] + noise * rng.normal(size=(n, 2))
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


def network(seed=0):
    with torch_seed(seed):
        return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2))


@pytest.mark.parametrize(("optimiser", "learning_rate"), [("adam", 0.05), ("adamw", 0.05), ("sgd", 0.05)])
def test_a_linear_network_finds_least_squares(optimiser, learning_rate):
    x, y = data(120)
    with torch_seed(1):
        line = nn.Linear(3, 2)
    fit(line, x, y, epochs=80, batch=20, learning_rate=learning_rate, optimiser=optimiser, seed=0)
    design = np.c_[x.numpy(), np.ones(len(x))]
    expected = np.linalg.lstsq(design, y.numpy(), rcond=None)[0]
    assert line.weight.detach().numpy() == pytest.approx(expected[:3].T, abs=0.01)
    assert line.bias.detach().numpy() == pytest.approx(expected[3], abs=0.01)


def test_the_best_weights_are_restored_and_patience_ends_it():
    x, y = data(12, noise=2.0)
    x_validation, y_validation = data(40, seed=1, noise=0.1)
    net = network()
    held_out = {"x_validation": x_validation, "y_validation": y_validation}
    result = fit(net, x, y, **held_out, epochs=400, batch=6, learning_rate=0.02, patience=7, seed=0)
    assert result.epochs == len(result.train) == len(result.validation) == result.best_epoch + 7 < 400
    assert result.validation[result.best_epoch - 1] == min(result.validation)
    assert mean_squared_error(net, x_validation, y_validation) == pytest.approx(min(result.validation), rel=1e-6)
    assert result.validation[-1] > min(result.validation)
    assert not net.training


def test_without_validation_every_epoch_is_run():
    x, y = data(20)
    result = fit(network(), x, y, epochs=9, batch=8, learning_rate=0.02, seed=0)
    assert (result.epochs, result.best_epoch, result.validation) == (9, 9, ())
    assert result.train[-1] < result.train[0]


def test_the_seed_decides_everything_and_global_state_is_left_alone():
    x, y = data(50)

    def trained(seed):
        net = network()
        fit(net, x, y, epochs=3, seed=seed, transform=lambda batch: batch + 0.1 * torch.randn_like(batch))
        return net(x)

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = trained(1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, trained(1))
    assert not torch.equal(first, trained(2))


@pytest.mark.parametrize(("n", "expected"), [(2, [2]), (17, [9, 8]), (31, [16, 15]), (33, [11, 11, 11])])
def test_batches_are_even_and_within_the_limit(n, expected):
    x, y = data(n)
    sizes = []

    def note(batch):
        sizes.append(len(batch))
        return batch

    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    fit(net, x, y, epochs=1, batch=16, transform=note)
    assert sizes == expected


def test_three_points_in_batches_of_two_are_one_step():
    x, y = data(3)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    fit(net, x, y, epochs=4, batch=2)
    assert net[1].num_batches_tracked == 4


def test_weight_decay_shrinks_weights():
    x, y = data(60)
    norms = []
    for weight_decay in (0.0, 3.0):
        line = copy.deepcopy(network())
        fit(line, x, y, epochs=10, learning_rate=0.05, weight_decay=weight_decay, optimiser="adamw")
        norms.append(line[0].weight.norm().item())
    assert norms[1] < 0.5 * norms[0]


def test_divergence_is_an_error_that_names_the_learning_rate():
    x, y = data(40)
    with pytest.raises(FloatingPointError, match=r"diverged.* at learning rate 1e\+30"):
        fit(network(), x, y, epochs=20, learning_rate=1e30, optimiser="sgd", x_validation=x, y_validation=y)


def test_prediction_is_without_dropout_and_independent_of_chunks():
    x, _ = data(10)
    net = network().train()
    assert torch.allclose(predict(net, x, chunk=3), net.eval()(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": torch.zeros(40)}, r"y\[:, None\]"),
        ({"y": torch.zeros(39, 2)}, "x and y"),
        ({"x": torch.zeros(1, 3), "y": torch.zeros(1, 2)}, "n >= 2"),
        ({"x_validation": torch.zeros(4, 3)}, "both x_validation and y_validation"),
        ({"x_validation": torch.zeros(4, 3), "y_validation": torch.zeros(3, 2)}, "x_validation and y_validation of"),
        ({"epochs": 0}, "epochs"),
        ({"batch": 1}, "batch"),
        ({"patience": 0}, "patience"),
        ({"optimiser": "lion"}, "optimiser"),
    ],
)
def test_bad_arguments_are_named(change, message):
    x, y = data(40)
    arguments = {"x": x, "y": y} | change
    with pytest.raises(ValueError, match=message):
        fit(network(), arguments.pop("x"), arguments.pop("y"), **arguments)
