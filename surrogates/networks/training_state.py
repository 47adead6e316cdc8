"""All that an interrupted training needs in order to go on as if nothing had happened."""

from __future__ import annotations

import copy
import io
from dataclasses import dataclass, field, fields
from typing import Any, Self

import torch
from torch import nn

Weights = dict[str, torch.Tensor]


@dataclass(slots=True)
class TrainingState:
    """Where a training stands after some whole epochs.

    Attributes:
        train: mean loss of each epoch's batches so far.
        validation: loss on the validation data after each epoch so far.
        best_epoch: from 1; 0 before there is one.
        best_weights: of that epoch; empty before there is one.
        weights, optimiser, scaler: state dicts of network, optimiser and gradient scaler after the last epoch.
        owner: what is trained, for whoever keeps states apart; not used here.
        cpu, cuda: states of torch's generators; None before the first epoch, and `cuda` where none was used.
    """

    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best_epoch: int = 0
    best_weights: Weights = field(default_factory=dict)
    weights: Weights = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    owner: str = ""
    cpu: torch.Tensor | None = None
    cuda: torch.Tensor | None = None

    @property
    def epochs(self) -> int:
        """How many were run."""
        return len(self.train)

    def stale(self, patience: int) -> bool:
        """Whether the last `patience` epochs did not improve the validation loss."""
        return bool(self.validation) and self.epochs - self.best_epoch >= patience

    def keep_if_best(self, network: nn.Module) -> None:
        """Remember the network's weights if the last validation loss is the lowest."""
        if self.validation[-1] <= min(self.validation):
            self.best_epoch, self.best_weights = self.epochs, copy.deepcopy(network.state_dict())

    def take(self, network: nn.Module, optimiser: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
        """Write down the moving parts and torch's generators."""
        self.weights = copy.deepcopy(network.state_dict())
        self.optimiser = copy.deepcopy(optimiser.state_dict())
        self.scaler = scaler.state_dict()
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]

    def restore(self, network: nn.Module, optimiser: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
        """Put back what `take` wrote down; does nothing before the first epoch."""
        if self.cpu is None:
            return
        network.load_state_dict(self.weights)
        optimiser.load_state_dict(self.optimiser)
        if self.scaler and scaler.is_enabled():
            scaler.load_state_dict(self.scaler)
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
