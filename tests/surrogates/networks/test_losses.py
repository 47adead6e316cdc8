"""Losses against formulas written out, and by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.networks.losses import LOSSES, loss


def test_losses_of_numbers():
    outputs, targets = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.05], [3.0]])
    assert float(loss("squared")(outputs, targets)) == pytest.approx((0.05**2 + 2**2) / 2)
    assert float(loss("absolute")(outputs, targets)) == pytest.approx((0.05 + 2) / 2)
    assert float(loss("huber")(outputs, targets)) == pytest.approx((0.5 * 0.05**2 / 0.1 + 2 - 0.05) / 2)


def test_the_gaussian_loss_is_least_at_mean_and_variance():
    y = torch.tensor(np.random.default_rng(0).normal(2.0, 3.0, size=(4000, 1)), dtype=torch.float32)
    heads = torch.nn.Parameter(torch.zeros(1, 2))
    descent = torch.optim.Adam([heads], lr=0.1)
    for _ in range(300):
        descent.zero_grad()
        loss("gaussian")(heads.expand(4000, 2), y).backward()
        descent.step()
    mean, log_variance = heads[0].tolist()
    assert mean == pytest.approx(float(y.mean()), abs=0.02)
    assert np.exp(log_variance) == pytest.approx(float(y.var(correction=0)), rel=0.02)


def test_the_focal_loss_forgets_what_is_sure():
    logits, classes = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1])
    p = torch.softmax(logits, dim=1)[torch.arange(2), classes].numpy()
    assert float(loss("focal")(logits, classes)) == pytest.approx(float((-((1 - p) ** 2) * np.log(p)).mean()))
    weighted = (-((1 - p) ** 2) * np.log(p) * [1, 3]).sum() / 4
    assert float(loss("focal", [1.0, 3.0])(logits, classes)) == pytest.approx(float(weighted))


def test_dice_adds_what_does_not_overlap():
    logits = torch.tensor([[[50.0, -50.0], [50.0, -50.0]], [[-50.0, 50.0], [-50.0, 50.0]]])[None]  # columns 0, 1
    right, wrong = torch.tensor([[[0, 1], [0, 1]]]), torch.tensor([[[1, 0], [1, 0]]])
    assert float(loss("dice")(logits, right)) == pytest.approx(0, abs=1e-6)
    assert float(loss("dice")(logits, wrong)) == pytest.approx(100 + 1 - 1 / 5, rel=1e-3)


def test_ones_own():
    assert float(loss(f"{__name__}:_own")(torch.tensor([1.0, 5.0]), torch.tensor([0.0, 2.0]))) == 3
    with pytest.raises(ConfigError, match="expected loss: one of"):
        loss("hinge")
    with pytest.raises(ConfigError, match="class weights only"):
        loss("squared", [1.0])
    with pytest.raises(ConfigError, match="a function"):
        loss("math:pi")
    assert set(LOSSES) >= {"squared", "absolute", "huber", "gaussian", "cross_entropy", "focal", "dice"}


def _own(outputs, targets):
    return (outputs - targets).abs().max()


def test_a_single_target_needs_its_axis():
    for name in ("squared", "absolute", "huber", "gaussian"):
        with pytest.raises(ValueError, match=r"y\[:, None\]"):
            loss(name)(torch.zeros(4, 2 if name == "gaussian" else 1), torch.zeros(4))


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "dice"])
def test_a_batch_without_any_class_that_counts_teaches_nothing(name):
    outputs = torch.randn(4, 2, 3, 3, requires_grad=True)
    found = loss(name, [0.0, 1.0])(outputs, torch.zeros(4, 3, 3, dtype=torch.int64))
    found.backward()
    assert torch.isfinite(found) and torch.isfinite(outputs.grad).all()
    if name != "dice":
        assert float(found.detach()) == 0 and not outputs.grad.any()
