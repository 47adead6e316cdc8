"""Minibatch training of a regression network: early stopping, best weights kept, the same on every run by seed.

Shared by the training driver and by the dropout surrogate. Inputs and targets are taken as they are: bringing them to
mean 0 and standard deviation 1 is the caller's business, who also has to undo it.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from orchestrator.randomness import torch_seed

Transform = Callable[[torch.Tensor], torch.Tensor]

_WARM_UP = 0.1  # share of the steps in which the learning rate rises
_FINAL = 0.01  # learning rate at the end over its highest
_GRADIENT_NORM = 5.0  # longer gradients are cut to it, so that plain descent survives its first steps


@dataclass(frozen=True, slots=True)
class FitResult:
    """How a training went.

    Attributes:
        train: mean squared error of each epoch's batches, dropout on, in squared units of y.
        validation: mean squared error on the validation data after each epoch; empty without such data.
        best_epoch: from 1, the epoch whose weights the network has now.
        epochs: how many were run.
        seconds: wall time.
    """

    train: tuple[float, ...]
    validation: tuple[float, ...]
    best_epoch: int
    epochs: int
    seconds: float


def fit(
    network: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    x_validation: torch.Tensor | None = None,
    y_validation: torch.Tensor | None = None,
    epochs: int = 30,
    batch: int = 16,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    optimiser: Literal["adam", "adamw", "sgd"] = "adam",
    patience: int = 8,
    seed: int = 0,
    device: str = "cpu",
    transform: Transform | None = None,
) -> FitResult:
    """Train in place by mean squared error; the network ends in evaluation mode on `device`.

    The learning rate rises for a tenth of the steps and then falls along a cosine.

    Args:
        network: takes (n, *input), gives (n, m); its initial weights are the caller's.
        x: (n, *input) float, n >= 2.
        y: (n, m) float.
        x_validation: (v, *input) float; with `y_validation` it decides which epoch is best and when to stop.
            Without them every epoch is run and the last weights are kept.
        y_validation: (v, m) float.
        epochs: most passes over the data, >= 1.
        batch: most points in a step, >= 2; an epoch is divided evenly, and never into single points.
        learning_rate: its highest.
        weight_decay: L2 penalty for "adam" and "sgd", decoupled decay for "adamw".
        optimiser: "sgd" has Nesterov momentum 0.9.
        patience: epochs without a better validation error before it stops, >= 1.
        seed: decides order of points, dropout and transform; the global generators are left as they were.
        device: e.g. "cpu" or "cuda"; only the CPU repeats exactly.
        transform: applied to each training batch, drawing from torch's global generator (seeded here).

    Raises:
        ValueError: shapes or options that do not fit.
        FloatingPointError: the loss became infinite or not a number.
    """
    _check(x, y, x_validation, y_validation, epochs, batch, patience)
    started = time.perf_counter()
    network.to(device)
    x, y = x.to(device), y.to(device)
    held_out = None
    if x_validation is not None and y_validation is not None:
        held_out = x_validation.to(device), y_validation.to(device)
    descent = _optimiser(optimiser, network, learning_rate, weight_decay)
    steps = min(math.ceil(len(x) / batch), len(x) // 2)
    train: list[float] = []
    validation: list[float] = []
    best_epoch, best_weights = 0, {}
    with torch_seed(seed):
        for epoch in range(epochs):
            network.train()
            total = torch.zeros((), device=device)
            for step, rows in enumerate(torch.randperm(len(x)).to(device).tensor_split(steps)):
                _set_rate(descent, learning_rate, (epoch + (step + 1) / steps) / epochs)
                inputs = transform(x[rows]) if transform else x[rows]
                total += _step(network, descent, inputs, y[rows]) * len(rows)
            train.append(_finite(total.item() / len(x), epoch, learning_rate))
            if held_out:
                error = mean_squared_error(network, *held_out)
                validation.append(_finite(error, epoch, learning_rate))
                if error <= min(validation):
                    best_epoch, best_weights = epoch + 1, copy.deepcopy(network.state_dict())
                elif epoch + 1 - best_epoch >= patience:
                    break
    if best_weights:
        network.load_state_dict(best_weights)
    network.eval()
    return FitResult(
        train=tuple(train),
        validation=tuple(validation),
        best_epoch=best_epoch or len(train),
        epochs=len(train),
        seconds=time.perf_counter() - started,
    )


def predict(network: nn.Module, x: torch.Tensor, *, chunk: int = 256) -> torch.Tensor:
    """(n, m) predictions with dropout off, computed in chunks and without gradients, on the device of x."""
    network.eval()
    with torch.no_grad():
        return torch.cat([network(part) for part in torch.split(x, chunk)])


def mean_squared_error(network: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Mean over points and outputs of the squared error, dropout off."""
    return nn.functional.mse_loss(predict(network, x), y).item()


def _step(network: nn.Module, descent: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    descent.zero_grad()
    loss = nn.functional.mse_loss(network(x), y)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_NORM)
    descent.step()
    return loss.detach()


def _optimiser(name: str, network: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    weights = network.parameters()
    match name:
        case "adam":
            return torch.optim.Adam(weights, lr=learning_rate, weight_decay=weight_decay)
        case "adamw":
            return torch.optim.AdamW(weights, lr=learning_rate, weight_decay=weight_decay)
        case "sgd":
            return torch.optim.SGD(weights, lr=learning_rate, weight_decay=weight_decay, momentum=0.9, nesterov=True)
        case _:
            raise ValueError(f"expected optimiser to be adam, adamw or sgd, got {name!r}")


def _set_rate(descent: torch.optim.Optimizer, highest: float, progress: float) -> None:
    """Linear rise, then a cosine down to `_FINAL`; progress is the share of all steps, in (0, 1]."""
    if progress < _WARM_UP:
        share = progress / _WARM_UP
    else:
        share = _FINAL + (1 - _FINAL) * 0.5 * (1 + math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP)))
    for group in descent.param_groups:
        group["lr"] = highest * share


def _finite(loss: float, epoch: int, learning_rate: float) -> float:
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"training diverged: the loss is {loss} in epoch {epoch + 1} at learning rate {learning_rate:g}; lower it"
        )
    return loss


def _check(
    x: torch.Tensor,
    y: torch.Tensor,
    x_validation: torch.Tensor | None,
    y_validation: torch.Tensor | None,
    epochs: int,
    batch: int,
    patience: int,
) -> None:
    if (x_validation is None) != (y_validation is None):
        raise ValueError("expected both x_validation and y_validation or neither, got one of them")
    pairs = [("x and y", x, y, 2)]
    if x_validation is not None and y_validation is not None:
        pairs.append(("x_validation and y_validation", x_validation, y_validation, 1))
    for names, a, b, least in pairs:
        if b.ndim != 2 or len(a) != len(b) or len(a) < least:
            raise ValueError(
                f"expected {names} of shapes (n, ...) and (n, m) with n >= {least}, "
                f"got {tuple(a.shape)} and {tuple(b.shape)}; give a single target a second axis with y[:, None]"
            )
    for name, value, least in (("epochs", epochs, 1), ("batch", batch, 2), ("patience", patience, 1)):
        if value < least:
            raise ValueError(f"expected {name} to be at least {least}, got {value}")
