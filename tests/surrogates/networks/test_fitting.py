"""Network fitting: finds the least-squares answer, keeps the best weights, repeats exactly, says when it diverges."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.randomness import torch_seed
from matloop.surrogates.networks.augmentation import transform
from matloop.surrogates.networks.budget import Budget
from matloop.surrogates.networks.fitting import fit, mean_loss, predict
from matloop.surrogates.networks.precision import half_type
from matloop.surrogates.networks.training_state import TrainingState


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
    fit(line, x, y, budget=Budget(epochs=80), batch=20, learning_rate=learning_rate, optimiser=optimiser, seed=0)
    design = np.c_[x.numpy(), np.ones(len(x))]
    expected = np.linalg.lstsq(design, y.numpy(), rcond=None)[0]
    assert line.weight.detach().numpy() == pytest.approx(expected[:3].T, abs=0.01)
    assert line.bias.detach().numpy() == pytest.approx(expected[3], abs=0.01)


def test_the_best_weights_are_restored_and_patience_ends_it():
    x, y = data(12, noise=2.0)
    x_validation, y_validation = data(40, seed=1, noise=0.1)
    net = network()
    held_out = {"x_validation": x_validation, "y_validation": y_validation}
    result = fit(net, x, y, **held_out, budget=Budget(epochs=400), batch=6, learning_rate=0.02, patience=0.25, seed=0)
    assert len(result.shares) == len(result.train) == len(result.validation) < 20
    best = result.validation.index(min(result.validation))
    assert result.best_share == result.shares[best]
    assert result.used == pytest.approx(result.best_share + 0.25)
    assert mean_loss(net, x_validation, y_validation) == pytest.approx(min(result.validation), rel=1e-6)
    assert result.validation[-1] > min(result.validation)
    assert not net.training


def test_without_validation_all_of_the_budget_is_used():
    x, y = data(20)
    result = fit(network(), x, y, budget=Budget(epochs=9), batch=8, learning_rate=0.02, seed=0)
    assert (result.epochs, result.used, result.best_share, result.validation) == (9, 1, 1, ())
    assert result.shares == pytest.approx([k / 9 for k in range(1, 10)])
    assert result.train[-1] < result.train[0]


def test_the_seed_decides_everything_and_global_state_is_left_alone():
    x, y = data(50)

    def trained(seed):
        net = network()
        fit(net, x, y, budget=Budget(epochs=3), seed=seed, transform=shaken)
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

    def note(batch, targets):
        sizes.append(len(batch))
        return batch, targets

    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    fit(net, x, y, budget=Budget(epochs=1), batch=16, transform=note)
    assert sizes == expected


def test_three_points_in_batches_of_two_are_one_step():
    x, y = data(3)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    fit(net, x, y, budget=Budget(epochs=4), batch=2)
    assert net[1].num_batches_tracked == 4


def test_weight_decay_shrinks_weights():
    x, y = data(60)
    norms = []
    for weight_decay in (0.0, 3.0):
        line = copy.deepcopy(network())
        fit(line, x, y, budget=Budget(epochs=10), learning_rate=0.05, weight_decay=weight_decay, optimiser="adamw")
        norms.append(line[0].weight.norm().item())
    assert norms[1] < 0.5 * norms[0]


def test_divergence_is_an_error_that_names_the_learning_rate():
    x, y = data(40)
    with pytest.raises(FloatingPointError, match=r"diverged.* at learning rate 1e\+30"):
        fit(
            network(),
            x,
            y,
            budget=Budget(epochs=20),
            learning_rate=1e30,
            optimiser="sgd",
            x_validation=x,
            y_validation=y,
        )


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
        ({"until": 0.0}, "until above 0 and at most 1"),
        ({"until": 1.5}, "until"),
        ({"loss": "hinge"}, "loss: one of"),
        ({"loss": "absent:loss"}, "that can be imported"),
        ({"loss": "cross_entropy", "y": torch.zeros(39, dtype=torch.int64)}, "x and y"),
        ({"batch": 1}, "batch"),
        ({"views": 0}, "views"),
        ({"patience": 0}, "patience"),
        ({"optimiser": "lion"}, "optimiser"),
    ],
)
def test_bad_arguments_are_named(change, message):
    x, y = data(40)
    arguments = {"x": x, "y": y} | change
    with pytest.raises((ValueError, ConfigError), match=message):
        fit(network(), arguments.pop("x"), arguments.pop("y"), **arguments)


def shaken(batch, targets):
    return batch + 0.1 * torch.randn_like(batch), targets


def in_stages(net, stages, *data, **options):
    """Train, writing the state to bytes and starting anew at each stage; return the last result and network."""
    state = None
    for until in stages:
        net = copy.deepcopy(net)  # the weights of the state count, not those that the network happens to have
        result = fit(net, *data, **options, until=until, state=state)
        state = TrainingState.from_bytes(result.state.to_bytes())
    return result, net


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("patience", [1.0, 0.08])
@pytest.mark.parametrize("budget", [Budget(epochs=12), Budget(steps=50), Budget(samples=300)], ids=str)
def test_a_training_in_stages_equals_one_in_one_go_to_the_bit(optimiser, patience, budget):
    x, y = data(40, noise=1.0)
    with torch_seed(4):
        net = nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))
    x_validation, y_validation = data(15, seed=1)
    options = {"x_validation": x_validation, "y_validation": y_validation, "budget": budget, "batch": 7}
    options |= {"learning_rate": 0.05, "weight_decay": 1e-3, "optimiser": optimiser, "patience": patience, "seed": 9}
    options |= {"transform": shaken, "averaging": 0.9}
    whole = copy.deepcopy(net)
    expected = fit(whole, x, y, **options)
    result, last = in_stages(net, (0.1, 0.37, 1.0), x, y, **options)
    assert (result.train, result.validation, result.shares) == (expected.train, expected.validation, expected.shares)
    assert (result.best_share, result.epochs, result.used) == (expected.best_share, expected.epochs, expected.used)
    assert (expected.used < 1) == (patience < 1)
    for name, value in whole.state_dict().items():
        assert torch.equal(last.state_dict()[name], value), name


def test_without_validation_stages_are_equal_too():
    x, y = data(20)
    whole = network()
    fit(whole, x, y, budget=Budget(epochs=6), seed=2)
    _, last = in_stages(network(), (0.4, 1.0), x, y, budget=Budget(epochs=6), seed=2)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), last.parameters(), strict=True))


def test_a_stage_ends_where_it_is_told_and_one_that_was_reached_does_nothing():
    x, y = data(20)
    first = fit(network(), x, y, budget=Budget(epochs=9), until=1 / 3)
    assert (first.epochs, first.used, first.state.used) == (3, 1 / 3, 1 / 3)
    assert fit(network(), x, y, budget=Budget(epochs=9), until=2 / 9, state=first.state).epochs == 3
    assert fit(network(), x, y, budget=Budget(epochs=3)).state is None
    assert fit(network(), x, y, budget=Budget(steps=7), until=0.001).steps == 1


def test_what_is_no_state_is_refused():
    with pytest.raises(ValueError, match="expected the state of a training, got 3 bytes"):
        TrainingState.from_bytes(b"xyz")


def test_cross_entropy_finds_the_shares_of_classes():
    x, y = torch.zeros(90, 3), torch.arange(90) % 3 % 2  # class 0 twice as often
    line = nn.Linear(3, 2)
    fit(line, x, y, loss="cross_entropy", budget=Budget(epochs=60), batch=90, learning_rate=0.2)
    shares = line(x[:1]).softmax(dim=1)[0]
    assert shares.tolist() == pytest.approx([2 / 3, 1 / 3], abs=0.02)
    entropy = -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))
    assert mean_loss(line, x, y, "cross_entropy") == pytest.approx(entropy, abs=1e-3)


def test_labels_of_places_move_with_the_inputs():
    x = (torch.rand(24, 1, 6, 6, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    y = x[:, 0].long()  # each pixel's class is its value: learnable by a pixel only if both move alike
    with torch_seed(1):
        net = nn.Conv2d(1, 2, 1)
    options = {"loss": "cross_entropy", "budget": Budget(epochs=30), "learning_rate": 0.3, "batch": 8}
    fit(net, x, y, transform=transform(["shift", "turn", "flip"]), **options)
    assert torch.equal(predict(net, x).argmax(dim=1), y)


@pytest.mark.parametrize(("able", "mixed"), [(True, torch.bfloat16), (False, None)])
def test_the_cpu_computes_in_16_bits_only_where_it_is_asked_to_and_can(able, mixed, monkeypatch):
    monkeypatch.setattr("matloop.surrogates.networks.precision._on_cpu", lambda: able)
    assert [half_type(p, "cpu") for p in ("auto", "float32", "mixed")] == [None, None, mixed]


def test_16_bits_learn_on_the_cpu_and_predict_in_32(monkeypatch):
    monkeypatch.setattr("matloop.surrogates.networks.precision._on_cpu", lambda: True)
    x, y = data(200, noise=0.01)
    options = {"budget": Budget(epochs=40), "learning_rate": 0.02}
    nets = [network() for _ in range(3)]
    half, again, full = (
        fit(net, x, y, precision=precision, **options)
        for net, precision in zip(nets, ("mixed", "mixed", "float32"), strict=True)
    )
    assert half.train == again.train and half.train != full.train
    assert half.train[-1] == pytest.approx(full.train[-1], rel=0.3)
    assert predict(nets[0], x).dtype is torch.float32


@pytest.mark.gpu
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_mixed_precision_learns_and_continues_on_a_gpu(half, monkeypatch):
    monkeypatch.setattr("matloop.surrogates.networks.fitting.half_type", lambda precision, device: half)
    x, y = data(200, noise=0.01)
    options = {"budget": Budget(epochs=40), "learning_rate": 0.02, "device": "cuda", "precision": "mixed"}
    first = fit(network(), x, y, until=0.25, **options)
    state = TrainingState.from_bytes(first.state.to_bytes())
    result = fit(network(), x, y, state=state, **options)
    assert (result.epochs, result.train[:5]) == (40, first.train)
    assert result.train[-1] < 0.3 * result.train[4] or result.train[-1] < 0.2


def test_later_weights_are_kept_where_they_are_as_good():
    state, net = TrainingState(), nn.Linear(1, 1)
    for share, loss in zip((0.2, 0.4, 0.6, 0.8, 1.0), (1.0, 0.8, 0.806, 0.81, 0.79), strict=True):
        with torch.no_grad():
            net.weight.fill_(share)
        state.shares.append(share)
        state.validation.append(loss)
        state.keep_if_best(net)
        if share == 0.8:
            assert state.best == 2 and state.best_weights["weight"].item() == pytest.approx(0.6)
            assert state.stale(0.4) and not state.stale(0.5)  # since the lowest
    assert state.best == 4
    negative = TrainingState(shares=[0.5], validation=[-2.0])
    negative.keep_if_best(net)
    negative.validation.append(-1.9)
    negative.keep_if_best(net)
    assert negative.best == 0
