"""What the kinds of tasks here have in common: the loss that is asked for, and figures by which they are judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import torch

from matloop.drivers.training.metrics import Metric, chosen
from matloop.drivers.training.tasks.task import Direction, Judge, Rows
from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.networks import losses


class Judged:
    """A task before it is bound to data.

    Args:
        loss: name of one of `named`, or "module:function"; None has a search choose among `offered`.
        metrics: figures that are asked for, in front of the usual ones.
        known: figures by name.

    Raises:
        ConfigError: no such loss or metric.
    """

    kind: ClassVar[str]
    places: ClassVar[bool] = False
    directed: bool = False
    usual: ClassVar[tuple[str, ...]]
    offered: ClassVar[tuple[str, ...]] = ()
    named: ClassVar[Collection[str]] = ()

    def __init__(self, loss: str | None, metrics: list[str] | None, known: Mapping[str, Metric]) -> None:
        if loss is not None and ":" not in loss and loss not in self.named:
            one = f"one of {list(self.named)} or " if self.named else ""
            raise ConfigError(f'expected loss: {one}"module:function" for {self.kind}, got {loss!r}', at="loss")
        if loss is not None:
            losses.loss(loss)
        self.loss = loss
        self.judged: Mapping[str, Metric] = chosen(metrics, self.usual, known)

    @property
    def metrics(self) -> Mapping[str, Direction]:
        """See `Aim`."""
        return {name: metric.direction for name, metric in self.judged.items()}

    @property
    def in_unit(self) -> Collection[str]:
        """See `Aim`."""
        return [name for name, metric in self.judged.items() if metric.unit]

    @property
    def losses(self) -> Sequence[str]:
        """See `Aim`."""
        return self.offered if self.loss is None else (self.loss,)


class Bound(ABC):
    """A task on data, as most of them are."""

    @abstractmethod
    def judge(self, outputs: torch.Tensor, rows: Rows) -> Judge:
        """See `Task`."""

    def measure(self, outputs: torch.Tensor, rows: Rows) -> dict[str, float]:
        """See `Task`."""
        return self.judge(outputs, rows)(slice(None))

    def aligned(self, outputs: torch.Tensor, numbers: Rows) -> torch.Tensor:
        """See `Task`."""
        return outputs

    def by_class(self, outputs: torch.Tensor, rows: Rows) -> dict[str, float]:
        """See `Task`."""
        return {}
