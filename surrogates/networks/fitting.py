"""Minibatch training of a network within a budget: best weights kept, interrupted and continued without a trace.

Shared by the training driver and by the surrogates; the same on every run by seed, unless the budget is in seconds.
Inputs and targets are taken as they are, or as `Rows` convert them: bringing them to mean 0 and standard deviation 1
is the caller's business, who also has to undo it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from matloop.orchestrator.randomness import torch_seed
from matloop.search_spaces.networks.graph.graphs import Graphs
from matloop.surrogates.networks.averaging import Averaging
from matloop.surrogates.networks.batches import Order, ahead
from matloop.surrogates.networks.budget import Budget, Seconds, Steps
from matloop.surrogates.networks.losses import Loss
from matloop.surrogates.networks.losses import loss as named
from matloop.surrogates.networks.precision import Precision, autocast, gradient_scaler, half_type
from matloop.surrogates.networks.rows import Inputs, Rows, chunks, take
from matloop.surrogates.networks.schedule import FINAL, GRADIENT_NORM, WARM_UP, set_rate
from matloop.surrogates.networks.training_state import Parts, TrainingState

Transform = Callable[[Any, torch.Tensor], tuple[Any, torch.Tensor]]
"""Changes a batch of inputs and its targets, drawing from torch's global generator."""

Targets = torch.Tensor | Rows
VALIDATIONS = 20
"""Most in one training, evenly over its budget."""

_PROBED = 10  # one of so many validation rows is predicted to know how long that takes


@dataclass(frozen=True, slots=True)
class FitResult:
    """How a training went.

    Attributes:
        shares: of the budget at each validation, in earlier calls too if the training was continued.
        train: mean loss of the batches since the one before, dropout on.
        validation: loss on the validation data; empty without such data.
        best_share: of the budget, where the weights are from that the network has now.
        used: share of the budget, in all calls.
        steps: of the optimiser, in all calls.
        epochs: passes over the data, likewise.
        seconds: wall time of this call.
        stage: seconds that this call had, with set-up and what the caller predicts afterwards; None for a budget that
            is not in seconds.
        least: those that it takes without any training; likewise.
        outputs: (v, ...) of the network as it is now for the validation data, on the CPU; None if its weights are
            older than this call, or nothing was validated.
        state: to go on from; None unless `until` was given.
    """

    shares: tuple[float, ...]
    train: tuple[float, ...]
    validation: tuple[float, ...]
    best_share: float
    used: float
    steps: int
    epochs: float
    seconds: float
    stage: float | None = None
    least: float | None = None
    outputs: torch.Tensor | None = None
    state: TrainingState | None = None


def fit(
    network: nn.Module,
    x: Inputs,
    y: Targets,
    *,
    x_validation: Inputs | None = None,
    y_validation: Targets | None = None,
    loss: str | Loss = "squared",
    budget: Budget | None = None,
    until: float | None = None,
    state: TrainingState | None = None,
    batch: int = 16,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    optimiser: Literal["adam", "adamw", "sgd"] = "adam",
    warm_up: float = WARM_UP,
    final_rate: float = FINAL,
    gradient_norm: float = GRADIENT_NORM,
    averaging: float = 0.0,
    patience: float = 1.0,
    seed: int = 0,
    device: str = "cpu",
    precision: Precision = "float32",
    transform: Transform | None = None,
    views: int = 1,
    compiled: bool = False,
    afterwards: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
    began: float | None = None,
) -> FitResult:
    """Train in place; the network ends in evaluation mode on `device`.

    The learning rate rises for `warm_up` of the budget and then falls along a cosine, whether or not it is used in one
    call: on the CPU, a training in several calls gives the same weights to the bit, unless its budget is in seconds.

    Args:
        network: takes (n, *input); its initial weights are the caller's.
        x: (n, *input) float, graphs, or rows that are read batch by batch; n >= 2.
        y: (n, ...), as the loss takes them.
        x_validation: v >= 1 examples; with `y_validation` they decide which weights are best. Without them all of the
            budget is used and the last weights are kept.
        y_validation: as y.
        loss: what is minimised, see `matloop.surrogates.networks.losses`.
        budget: of the whole training; None for 30 epochs.
        until: stop at this share of it, in (0, 1], and hand out the state; None for all.
        state: of an earlier call with the same arguments, `until` aside; it is changed.
        batch: most examples in a step, >= 2; an epoch is divided evenly, and never into single examples.
        learning_rate: its highest.
        weight_decay: L2 penalty for "adam" and "sgd", decoupled decay for "adamw".
        optimiser: "sgd" has Nesterov momentum 0.9.
        warm_up: share of the budget, in [0, 1).
        final_rate: learning rate at the end over its highest, in [0, 1].
        gradient_norm: longer gradients are cut to it, > 0.
        averaging: decay of a running average of the weights, in [0, 1), which validates and is kept; 0 for none.
        patience: share of the budget without a better validation loss before it stops, in (0, 1]; 1 never stops.
        seed: decides order of examples, dropout and transform, unless a state goes on with its own; the global
            generators are left as they were.
        device: e.g. "cpu" or "cuda"; only the CPU repeats exactly.
        precision: see `half_type`; validation is always in 32 bits.
        transform: applied to each training batch.
        views: how many examples each one stands for in an epoch, >= 1, such as crops of a large image.
        compiled: whether `torch.compile` makes the training step faster on a GPU; not for graphs.
        afterwards: examples that the caller predicts within a budget in seconds, over those that validate.
        clock: for a budget in seconds.
        began: when this call's set-up began, by the clock; None for now.

    Raises:
        ValueError: shapes or options that do not fit.
        ConfigError: no such loss.
        FloatingPointError: the loss became infinite or not a number.
    """
    started = clock()
    last, budget = 1.0 if until is None else until, budget or Budget(epochs=30)
    _check(x, y, x_validation, y_validation)
    _within(until=(last, 0, 1), patience=(patience, 0, 1), batch=(batch, 1, None), views=(views, 0, None))
    network.to(device)
    state = state or TrainingState(seed=seed)
    order = Order(len(x), views, batch, state.seed)
    total = budget.total_steps(order.examples, order.steps)
    training = _Training(
        network,
        (x.to(device), y.to(device)),
        None if x_validation is None or y_validation is None else (x_validation.to(device), y_validation.to(device)),
        loss=named(loss) if isinstance(loss, str) else loss,
        rates=_Rates(_optimiser(optimiser, network, learning_rate, weight_decay), learning_rate, warm_up, final_rate),
        gradient_norm=gradient_norm,
        averaging=Averaging(network, averaging),
        half=half_type(precision, device),
        compiled=compiled,
        transform=transform,
        device=device,
        clock=clock,
    )
    progress: Steps | Seconds
    if total is not None:
        most = min(VALIDATIONS, budget.epochs or VALIDATIONS)
        progress = Steps(total, done=state.steps, until=last, validations=most)
    else:
        progress = Seconds(
            budget.seconds or 0.0,
            used=state.used,
            until=last,
            validations=VALIDATIONS,
            afterwards=afterwards,
            clock=clock,
            began=began,
            validation=training.validation_seconds(),
        )
    with torch_seed(seed):
        training.run(order, progress, state, patience)
        if until is not None:
            training.leave(state)
    training.finish(state)
    return FitResult(
        shares=tuple(state.shares),
        train=tuple(state.train),
        validation=tuple(state.validation),
        best_share=state.shares[state.best] if state.best >= 0 else state.used,
        used=state.used,
        steps=state.steps,
        epochs=state.steps / order.steps,
        seconds=clock() - started,
        stage=progress.stage if isinstance(progress, Seconds) else None,
        least=progress.least if isinstance(progress, Seconds) else None,
        outputs=training.outputs,
        state=None if until is None else state,
    )


def predict(network: nn.Module, x: Inputs, *, chunk: int | None = None) -> torch.Tensor:
    """(n, ...) outputs with dropout off, computed in chunks and without gradients, on the network's device."""
    network.eval()
    device = _device(network, x)
    with torch.no_grad():
        return torch.cat([network(part) for part in chunks(x, device, chunk)])


def mean_loss(network: nn.Module, x: Inputs, y: Targets, loss: str | Loss = "squared") -> float:
    """Loss over all points and outputs, dropout off."""
    return _loss(predict(network, x), y, named(loss) if isinstance(loss, str) else loss)


def _loss(outputs: torch.Tensor, y: Targets, loss: Loss) -> float:
    return loss(outputs, take(y, slice(None), outputs.device)).item()


@dataclass(frozen=True, slots=True)
class _Rates:
    """An optimiser and how its learning rate goes."""

    descent: torch.optim.Optimizer
    highest: float
    warm_up: float
    final: float

    def set(self, share: float) -> None:
        set_rate(self.descent, self.highest, share, warm_up=self.warm_up, final=self.final)


class _Training:
    """One call of `fit`: steps down the gradient, validations between them."""

    def __init__(
        self,
        network: nn.Module,
        data: tuple[Inputs, Targets],
        held_out: tuple[Inputs, Targets] | None,
        *,
        loss: Loss,
        rates: _Rates,
        gradient_norm: float,
        averaging: Averaging,
        half: torch.dtype | None,
        compiled: bool,
        transform: Transform | None,
        device: str,
        clock: Callable[[], float],
    ) -> None:
        self.network, self.data, self.held_out, self.loss, self.rates = network, data, held_out, loss, rates
        self.gradient_norm, self.averaging, self.half, self.transform = gradient_norm, averaging, half, transform
        self.device, self.clock, self.scaler = device, clock, gradient_scaler(half)
        self.on_gpu = torch.device(device).type == "cuda"
        faster = compiled and self.on_gpu and not isinstance(data[0], Graphs)
        self.forward: Callable[[Any], torch.Tensor] = torch.compile(network) if faster else network
        self.outputs: torch.Tensor | None = None

    def validation_seconds(self) -> float:
        """What a validation takes, by predicting the first of its rows; 0 without any."""
        if self.held_out is None:
            return 0.0
        x, n, per_row = self.held_out[0], len(self.held_out[0]), 0.0
        for few in sorted({1, max(n // _PROBED, 1)}):  # the first prediction of all takes longer than others
            before = self.clock()
            predict(self.network, take(x, slice(0, few), self.device)).cpu()
            per_row = (self.clock() - before) / few
        return per_row * n

    def run(self, order: Order, progress: Steps | Seconds, state: TrainingState, patience: float) -> None:
        """Train until the stage is over or the validation loss stays."""
        state.restore(self._parts)
        running, seen = torch.tensor(state.running[0], device=self.device), state.running[1]
        self.network.train()
        for rows, (x, y) in self._batches(order, state.steps):
            if progress.ended or state.stale(patience):
                break
            running += self._step(x, y, progress) * len(rows)
            seen += len(rows)
            state.steps += 1
            if progress.advance():
                state.shares.append(progress.share)
                state.train.append(self._finite(running.item() / seen, progress.share))
                running.zero_()
                seen = 0
                self._validate(progress, state)
        state.used = progress.share
        state.running = self._finite(running.item(), state.used), seen

    def leave(self, state: TrainingState) -> None:
        """Write down what goes on from here."""
        state.take(self._parts)

    def finish(self, state: TrainingState) -> None:
        """Leave the best weights in the network, the average of the last ones if nothing was validated."""
        if state.best_weights:
            self.network.load_state_dict(state.best_weights)
        else:
            self.averaging.settle()
        self.network.eval()

    @property
    def _parts(self) -> Parts:
        return Parts(self.network, self.rates.descent, self.scaler, self.averaging)

    def _batches(self, order: Order, step: int) -> Iterator[tuple[torch.Tensor, tuple[Any, torch.Tensor]]]:
        batches = order.batches(step)
        return ahead(self._load, batches) if self.on_gpu else ((rows, self._load(rows)) for rows in batches)

    def _load(self, rows: torch.Tensor) -> tuple[Any, torch.Tensor]:
        x, y = self.data
        return take(x, rows, self.device), take(y, rows, self.device)

    def _step(self, x: Any, y: torch.Tensor, progress: Steps | Seconds) -> torch.Tensor:
        """One step down the gradient of a batch's loss, which it returns.

        By a clock, the share of the budget is read when the gradient is known: few and long steps would otherwise
        begin with one of no length.
        """
        if self.transform is not None:
            x, y = self.transform(x, y)
        descent = self.rates.descent
        descent.zero_grad()
        with autocast(self.half, self.device):
            outputs = self.forward(x)
        loss = self.loss(outputs.float(), y)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(descent)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.gradient_norm)
        self.rates.set(progress.upcoming())
        self.scaler.step(descent)
        self.scaler.update()
        self.averaging.update()
        return loss.detach()

    def _validate(self, progress: Steps | Seconds, state: TrainingState) -> None:
        if self.held_out is None:
            return
        before = self.clock()
        with self.averaging.used():
            x, y = self.held_out
            outputs = predict(self.network, x)
            state.validation.append(self._finite(_loss(outputs, y, self.loss), progress.share))
            if state.keep_if_best(self.network):
                self.outputs = outputs.cpu()
        self.network.train()
        progress.validated(self.clock() - before)

    def _finite(self, loss: float, share: float) -> float:
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"training diverged: the loss is {loss} after {100 * share:.3g} % of the budget at learning rate "
                f"{self.rates.highest:g}; lower it"
            )
        return loss


def _device(network: nn.Module, x: Inputs) -> torch.device:
    """Where a network computes; where its inputs are, if it has no weights."""
    first = next(network.parameters(), None)
    if first is not None:
        return first.device
    return x.device if isinstance(x, torch.Tensor | Graphs) else torch.device("cpu")


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


def _check(x: Inputs, y: Targets, x_validation: Inputs | None, y_validation: Targets | None) -> None:
    if (x_validation is None) != (y_validation is None):
        raise ValueError("expected both x_validation and y_validation or neither, got one of them")
    pairs: list[tuple[str, Inputs, Targets, int]] = [("x and y", x, y, 2)]
    if x_validation is not None and y_validation is not None:
        pairs.append(("x_validation and y_validation", x_validation, y_validation, 1))
    for names, a, b, least in pairs:
        if len(a) != len(b) or len(a) < least:
            raise ValueError(
                f"expected {names} of shapes (n, ...) with n >= {least}, got {tuple(a.shape)} and {tuple(b.shape)}"
            )


def _within(**numbers: tuple[float, float, float | None]) -> None:
    """Each is above its second number and, if there is a third, at most that."""
    for name, (value, low, high) in numbers.items():
        if not low < value or (high is not None and value > high):
            raise ValueError(
                f"expected {name} above {low}{'' if high is None else f' and at most {high}'}, got {value}"
            )
