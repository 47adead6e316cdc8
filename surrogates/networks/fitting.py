"""Minibatch training of a network: early stopping, best weights kept, interrupted and continued without a trace.

Shared by the training driver and by the dropout surrogate; the same on every run by seed. Inputs and targets are taken
as they are: bringing them to mean 0 and standard deviation 1 is the caller's business, who also has to undo it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from matloop.orchestrator.randomness import torch_seed
from matloop.search_spaces.networks.graph.graphs import Graphs
from matloop.surrogates.networks.precision import Precision, autocast, gradient_scaler, half_type
from matloop.surrogates.networks.schedule import GRADIENT_NORM, set_rate
from matloop.surrogates.networks.training_state import TrainingState

Transform = Callable[[torch.Tensor], torch.Tensor]
Loss = Literal["squared_error", "cross_entropy"]
Inputs = torch.Tensor | Graphs

_LOSSES: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "squared_error": nn.functional.mse_loss,
    "cross_entropy": nn.functional.cross_entropy,
}


@dataclass(frozen=True, slots=True)
class FitResult:
    """How a training went.

    Attributes:
        train: mean loss of each epoch's batches, dropout on.
        validation: loss on the validation data after each epoch; empty without such data.
        best_epoch: from 1, the epoch whose weights the network has now.
        epochs: how many were run, in earlier calls too if it was continued.
        seconds: wall time of this call.
        state: to go on from; None unless `until` was given.
    """

    train: tuple[float, ...]
    validation: tuple[float, ...]
    best_epoch: int
    epochs: int
    seconds: float
    state: TrainingState | None = None


def fit(
    network: nn.Module,
    x: Inputs,
    y: torch.Tensor,
    *,
    x_validation: Inputs | None = None,
    y_validation: torch.Tensor | None = None,
    loss: Loss = "squared_error",
    epochs: int = 30,
    until: int | None = None,
    state: TrainingState | None = None,
    batch: int = 16,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    optimiser: Literal["adam", "adamw", "sgd"] = "adam",
    patience: int = 8,
    seed: int = 0,
    device: str = "cpu",
    precision: Precision = "float32",
    transform: Transform | None = None,
) -> FitResult:
    """Train in place; the network ends in evaluation mode on `device`.

    The learning rate rises for a tenth of all steps and then falls along a cosine, whether or not they are run in one
    call: on the CPU, a training in several calls gives the same weights to the bit.

    Args:
        network: takes (n, *input); its initial weights are the caller's.
        x: (n, *input) float, or graphs, n >= 2.
        y: for "squared_error" (n, m) float and a network that gives (n, m); for "cross_entropy" (n, *places) int64
            and a network that gives (n, classes, *places).
        x_validation: (v, *input) float; with `y_validation` it decides which epoch is best and when to stop.
            Without them every epoch is run and the last weights are kept.
        y_validation: as y.
        loss: what is minimised.
        epochs: most passes over the data, >= 1.
        until: stop after so many of them, >= 1, and hand out the state; None for all.
        state: of an earlier call with the same arguments, `until` aside; it is changed.
        batch: most points in a step, >= 2; an epoch is divided evenly, and never into single points.
        learning_rate: its highest.
        weight_decay: L2 penalty for "adam" and "sgd", decoupled decay for "adamw".
        optimiser: "sgd" has Nesterov momentum 0.9.
        patience: epochs without a better validation loss before it stops, >= 1.
        seed: decides order of points, dropout and transform; the global generators are left as they were.
        device: e.g. "cpu" or "cuda"; only the CPU repeats exactly.
        precision: see `half_type`; validation is always in 32 bits.
        transform: applied to each training batch, drawing from torch's global generator (seeded here); targets that
            have places go with the inputs as one more channel, so that it may only move these places.

    Raises:
        ValueError: shapes or options that do not fit.
        FloatingPointError: the loss became infinite or not a number.
    """
    last = epochs if until is None else min(until, epochs)
    _check(x, y, x_validation, y_validation, loss, {"epochs": epochs, "until": last, "patience": patience}, batch)
    started = time.perf_counter()
    network.to(device)
    x, y = x.to(device), y.to(device)
    held_out = None
    if x_validation is not None and y_validation is not None:
        held_out = x_validation.to(device), y_validation.to(device)
    half = half_type(precision, device)
    step = _Step(network, _optimiser(optimiser, network, learning_rate, weight_decay), loss, half)
    steps = min(math.ceil(len(x) / batch), len(x) // 2)
    state = state or TrainingState()
    with torch_seed(seed):
        state.restore(network, step.descent, step.scaler)
        while state.epochs < last and not state.stale(patience):
            network.train()
            epoch, total = state.epochs, torch.zeros((), device=device)
            for i, rows in enumerate(torch.randperm(len(x)).to(device).tensor_split(steps)):
                set_rate(step.descent, learning_rate, (epoch + (i + 1) / steps) / epochs)
                total += step(*_transformed(transform, x[rows], y[rows])) * len(rows)
            state.train.append(_finite(total.item() / len(x), epoch, learning_rate))
            if held_out:
                state.validation.append(_finite(mean_loss(network, *held_out, loss), epoch, learning_rate))
                state.keep_if_best(network)
        if until is not None:
            state.take(network, step.descent, step.scaler)
    if state.best_weights:
        network.load_state_dict(state.best_weights)
    network.eval()
    return FitResult(
        train=tuple(state.train),
        validation=tuple(state.validation),
        best_epoch=state.best_epoch or state.epochs,
        epochs=state.epochs,
        seconds=time.perf_counter() - started,
        state=None if until is None else state,
    )


def predict(network: nn.Module, x: Inputs, *, chunk: int = 256) -> torch.Tensor:
    """(n, ...) outputs with dropout off, computed in chunks and without gradients, on the device of x."""
    network.eval()
    with torch.no_grad():
        return torch.cat([network(part) for part in x.split(chunk)])


def mean_loss(network: nn.Module, x: Inputs, y: torch.Tensor, loss: Loss = "squared_error") -> float:
    """Loss over all points and outputs, dropout off."""
    return _LOSSES[loss](predict(network, x), y).item()


class _Step:
    """One step down the gradient of a batch's loss, which it returns."""

    def __init__(
        self, network: nn.Module, descent: torch.optim.Optimizer, loss: Loss, half: torch.dtype | None
    ) -> None:
        self.network, self.descent, self.loss, self.half = network, descent, _LOSSES[loss], half
        self.scaler = gradient_scaler(half)

    def __call__(self, x: Inputs, y: torch.Tensor) -> torch.Tensor:
        self.descent.zero_grad()
        with autocast(self.half):
            outputs = self.network(x)
        loss = self.loss(outputs.float(), y)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.descent)
        nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
        self.scaler.step(self.descent)
        self.scaler.update()
        return loss.detach()


def _transformed(transform: Transform | None, x: Inputs, y: torch.Tensor) -> tuple[Inputs, torch.Tensor]:
    if transform is None:
        return x, y
    if isinstance(x, Graphs):
        raise ValueError("expected no transform for graphs, got one; use augment: none")
    if y.is_floating_point() or y.ndim < 2:
        return transform(x), y
    both = transform(torch.cat([x, y[:, None].to(x.dtype)], dim=1))  # exact for classes below 2²⁴
    return both[:, :-1], both[:, -1].to(y.dtype)


def _optimiser(name: str, network: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    weights = network.parameters()
    match name:
        case "adam":
            return torch.optim.Adam(weights, lr=learning_rate, weight_decay=weight_decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(weights, lr=learning_rate, weight_decay=weight_decay, fused=True)
        case "sgd":
            return torch.optim.SGD(
                weights, lr=learning_rate, weight_decay=weight_decay, momentum=0.9, nesterov=True, fused=True
            )
        case _:
            raise ValueError(f"expected optimiser to be adam, adamw or sgd, got {name!r}")


def _finite(loss: float, epoch: int, learning_rate: float) -> float:
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"training diverged: the loss is {loss} in epoch {epoch + 1} at learning rate {learning_rate:g}; lower it"
        )
    return loss


def _check(
    x: Inputs,
    y: torch.Tensor,
    x_validation: Inputs | None,
    y_validation: torch.Tensor | None,
    loss: Loss,
    lengths: Mapping[str, int],
    batch: int,
) -> None:
    if loss not in _LOSSES:
        raise ValueError(f"expected loss to be one of {list(_LOSSES)}, got {loss!r}")
    if (x_validation is None) != (y_validation is None):
        raise ValueError("expected both x_validation and y_validation or neither, got one of them")
    pairs: list[tuple[str, Inputs, torch.Tensor, int]] = [("x and y", x, y, 2)]
    if x_validation is not None and y_validation is not None:
        pairs.append(("x_validation and y_validation", x_validation, y_validation, 1))
    for names, a, b, least in pairs:
        if len(a) != len(b) or len(a) < least or (loss == "squared_error" and b.ndim != 2):
            shape = "(n, m)" if loss == "squared_error" else "(n, *places)"
            raise ValueError(
                f"expected {names} of shapes (n, ...) and {shape} with n >= {least}, "
                f"got {tuple(a.shape)} and {tuple(b.shape)}; give a single target a second axis with y[:, None]"
            )
    for name, value, least in (*((name, value, 1) for name, value in lengths.items()), ("batch", batch, 2)):
        if value < least:
            raise ValueError(f"expected {name} to be at least {least}, got {value}")
