"""What every task says: before data are known, what it is measured by; bound to data, its targets and figures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from matloop.drivers.training.data import Data
from matloop.surrogates.networks.losses import Loss
from matloop.surrogates.networks.rows import Rows as Lazy

Rows = npt.NDArray[np.int64]
Direction = Literal["minimise", "maximise"]
Judge = Callable[[Rows | slice], dict[str, float]]
"""Figures of some of the rows that it was made for, by their places among them; asking again for others is cheap."""


class Task(Protocol):
    """One kind of targets, bound to data and to the rows that are trained on."""

    @property
    def outputs(self) -> int:
        """Length, or channels, of the network's output."""
        ...

    @property
    def targets(self) -> npt.NDArray[Any]:
        """Of all rows: numbers standardised, classes as the data have them."""
        ...

    @property
    def loss(self) -> Loss:
        """What is minimised, unless a genome has a loss of its own."""
        ...

    def rows(self, numbers: Rows) -> torch.Tensor | Lazy:
        """Targets of some rows, as the loss takes them."""
        ...

    def named_loss(self, name: str) -> Loss:
        """A loss of `Aim.losses`, with the weights of classes that this task has."""
        ...

    def aligned(self, outputs: torch.Tensor, numbers: Rows) -> torch.Tensor:
        """(k, ...): one row of a network's outputs for each of k rows of the data, where it gives others."""
        ...

    def judge(self, outputs: torch.Tensor, rows: Rows) -> Judge:
        """Of aligned outputs for these rows; names and directions of its figures are in `Aim.metrics`."""
        ...

    def measure(self, outputs: torch.Tensor, rows: Rows) -> dict[str, float]:
        """Figures of all these rows."""
        ...

    def baseline(self, rows: Rows) -> float:
        """The first figure of the best constant answer."""
        ...

    def by_class(self, outputs: torch.Tensor, rows: Rows) -> dict[str, float]:
        """The first figure, or what stands for it, of each class; empty where there are none."""
        ...

    def side_by_side(self, outputs: torch.Tensor, rows: Rows) -> npt.NDArray[Any]:
        """(2, k, ...): measured and predicted."""
        ...

    def described(self) -> Mapping[str, Any]:
        """What a user of the weights needs to know to read the outputs, as JSON holds it."""
        ...


@runtime_checkable
class Aim(Protocol):
    """A task before it is bound to data."""

    @property
    def kind(self) -> str:
        """Its name in a campaign file."""
        ...

    @property
    def places(self) -> bool:
        """Whether there are targets at each place of an input."""
        ...

    @property
    def directed(self) -> bool:
        """Whether targets may be others where an input is mirrored or turned, such as vectors."""
        ...

    @property
    def metrics(self) -> Mapping[str, Direction]:
        """Figures; the first is the usual objective."""
        ...

    @property
    def in_unit(self) -> Collection[str]:
        """Figures that are in the unit of the targets."""
        ...

    @property
    def losses(self) -> Sequence[str]:
        """Among which a search may choose; one, if the campaign says which."""
        ...

    def bind(self, data: Data, train: Rows) -> Task:
        """The task on data.

        Raises:
            ValueError: the data do not suit it.
        """
        ...
