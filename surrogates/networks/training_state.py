"""All that an interrupted training needs in order to go on as if nothing had happened."""

from __future__ import annotations

import copy
import io
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Self

import torch
from torch import nn

from matloop.surrogates.networks.averaging import Averaging

Weights = dict[str, torch.Tensor]

EQUAL = 0.01
"""Share of the lowest validation loss within which a later one is as good: on few rows so small a difference is chance,
and with a learning rate that has fallen further the later weights do better on new rows."""


class Parts(NamedTuple):
    """What changes in the course of a training."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    averaging: Averaging


@dataclass(slots=True)
class TrainingState:
    """Where a training stands after some steps.

    Attributes:
        seed: of the first call, which decides the order of examples.
        steps: of the optimiser so far.
        used: share of the budget so far, in [0, 1].
        shares: of the budget at each validation so far; without validation data, where there would have been one.
        train: mean loss of the batches since the validation before, for each.
        validation: loss on the validation data, for each.
        best: number of the validation whose weights are kept, from 0: the last that is as good as the best (`EQUAL`);
            -1 before there is one.
        best_weights: of it; empty before there is one.
        running: sum of the losses of examples since the last validation, and their number.
        weights, optimiser, scaler, average: of network, optimiser, gradient scaler and averaging after the last step.
        owner: what is trained, for whoever keeps states apart; not used here.
        cpu, cuda: states of torch's generators; None before the first step, and `cuda` where none was used.
    """

    seed: int = 0
    steps: int = 0
    used: float = 0.0
    shares: list[float] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best: int = -1
    best_weights: Weights = field(default_factory=dict)
    running: tuple[float, int] = (0.0, 0)
    weights: Weights = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    average: dict[str, Any] = field(default_factory=dict)
    owner: str = ""
    cpu: torch.Tensor | None = None
    cuda: torch.Tensor | None = None

    def stale(self, patience: float) -> bool:
        """Whether the validation loss did not improve for that share of the budget."""
        if not self.validation:
            return False
        lowest = len(self.validation) - 1 - self.validation[::-1].index(min(self.validation))
        return self.shares[-1] - self.shares[lowest] >= patience - 1e-9

    def keep_if_best(self, network: nn.Module) -> bool:
        """Remember the network's weights if the last validation loss is the lowest, or as good; whether it is."""
        lowest = min(self.validation)
        best = self.validation[-1] <= lowest + EQUAL * abs(lowest)
        if best:
            self.best, self.best_weights = len(self.validation) - 1, copy.deepcopy(network.state_dict())
        return best

    def take(self, parts: Parts) -> None:
        """Write down the moving parts and torch's generators."""
        self.weights = copy.deepcopy(parts.network.state_dict())
        self.optimiser = copy.deepcopy(parts.optimiser.state_dict())
        self.scaler = parts.scaler.state_dict()
        self.average = parts.averaging.state()
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]

    def restore(self, parts: Parts) -> None:
        """Put back what `take` wrote down; does nothing before the first step."""
        if self.cpu is None:
            return
        parts.network.load_state_dict(self.weights)
        parts.optimiser.load_state_dict(self.optimiser)
        parts.averaging.restore(self.average)
        if self.scaler and parts.scaler.is_enabled():
            parts.scaler.load_state_dict(self.scaler)
        torch.set_rng_state(self.cpu)
        if self.cuda is not None and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.set_rng_state(self.cuda)

    def to_bytes(self) -> bytes:
        """As torch saves tensors, without pickled code."""
        buffer = io.BytesIO()
        torch.save({f.name: getattr(self, f.name) for f in fields(self)}, buffer)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what `to_bytes` wrote, onto the CPU.

        Raises:
            ValueError: it is something else.
        """
        try:
            return cls(**torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
        except Exception as error:  # torch raises whatever its readers do
            raise ValueError(
                f"expected the state of a training, got {len(content)} bytes that are none: {error}"
            ) from error
