"""Numbers as targets: properties of whole inputs, or fields with a value at each place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from matloop.drivers.training.data import Data
from matloop.drivers.training.metrics import NUMBERS, first, judge
from matloop.drivers.training.scales import moments
from matloop.drivers.training.tasks.shared import Bound, Judged
from matloop.drivers.training.tasks.task import Judge, Rows, Task
from matloop.surrogates.networks import losses
from matloop.surrogates.networks.losses import Loss
from matloop.surrogates.networks.rows import Rows as Lazy

OFFERED = ("absolute", "huber", "squared")
"""Losses among which a search chooses; the first is taken where a genome has none."""


class Numeric(Judged):
    """What the tasks of numbers have in common.

    Args:
        target: column or name of the property to predict; None for all of them, one output each.
        loss: see `matloop.surrogates.networks.losses`; None has a search choose. With "gaussian" a network predicts,
            besides each number, the logarithm of its variance, and has twice the outputs.
        metrics: figures, see `matloop.drivers.training.metrics`; the first is the usual objective. Mean and root mean
            square error are always among them.

    Raises:
        ConfigError: no such loss or metric.
    """

    usual, offered, named = ("mae", "rmse"), OFFERED, tuple(losses.NUMBERS)

    def __init__(
        self, *, target: int | str | None = None, loss: str | None = None, metrics: list[str] | None = None
    ) -> None:
        super().__init__(loss, metrics, NUMBERS)
        self.target = target


class Regression(Numeric):
    """Numbers, standardised by the training rows; errors are in their own unit, averaged over the columns."""

    kind = "regression"

    def bind(self, data: Data, train: Rows) -> Task:
        """See `Aim`; y is (n,) or (n, m)."""
        y = data.y[:, None] if data.y.ndim == 1 else data.y
        if y.ndim != 2:
            raise ValueError(f"expected y (n,) or (n, m) in {data.path} for regression, got {data.y.shape}")
        return BoundNumbers(self, _columns(y, data, self.target), train)


class Field(Numeric):
    """Numbers at each place of an input, such as strain in each voxel of a microstructure.

    Args:
        scalars: whether none of them has a direction, as a temperature or a density. Only then can training images be
            mirrored and turned: a vector's components would change their signs and places, which is not known here.
        target: as `Numeric`, and so is what follows.
        loss: likewise.
        metrics: likewise.
    """

    kind, places = "field", True

    def __init__(
        self,
        *,
        scalars: bool = False,
        target: int | str | None = None,
        loss: str | None = None,
        metrics: list[str] | None = None,
    ) -> None:
        super().__init__(target=target, loss=loss, metrics=metrics)
        self.directed = not scalars

    def bind(self, data: Data, train: Rows) -> Task:
        """See `Aim`; y is (n, *places) or (n, m, *places)."""
        places = tuple(data.x.shape[2:])
        y = data.y[:, None] if data.y.shape[1:] == places else data.y
        if not places or y.ndim < 3 or y.shape[2:] != places:
            expected = ", ".join(map(str, places))
            raise ValueError(
                f"expected y (n, {expected}) or (n, m, {expected}) in {data.path} for a field over x {data.x.shape}, "
                f"got {data.y.shape}"
            )
        return BoundNumbers(self, _columns(y, data, self.target), train)


class BoundNumbers(Bound):
    """Numbers of data, (n, m, *places).

    Args:
        aim: options.
        y: of all rows, of any type.
        train: rows, by which targets are standardised.
    """

    def __init__(self, aim: Numeric, y: npt.NDArray[Any], train: Rows) -> None:
        self.aim, self.y = aim, y
        self.mean, self.std = moments(y, train)
        self.columns = y.shape[1]
        self.loss = losses.loss(aim.loss or OFFERED[0])
        self.outputs = self.columns * (2 if aim.loss == "gaussian" else 1)
        self._shape = (-1, *[1] * (y.ndim - 2))

    @property
    def targets(self) -> npt.NDArray[np.float32]:
        """See `Task`."""
        return ((self.y - self.mean.reshape(self._shape)) / self.std.reshape(self._shape)).astype(np.float32)

    def rows(self, numbers: Rows) -> torch.Tensor | Lazy:
        """See `Task`."""
        return Lazy(self.y, numbers, self._standardised)

    def named_loss(self, name: str) -> Loss:
        """See `Task`."""
        return losses.loss(name)

    def judge(self, outputs: torch.Tensor, rows: Rows) -> Judge:
        """See `Task`."""
        return judge(self.aim.judged, self._measured(rows), self._predicted(outputs))

    def baseline(self, rows: Rows) -> float:
        """The first figure of the training rows' mean."""
        measured = self._measured(rows)
        return first(self.aim.judged, measured, np.broadcast_to(self.mean.reshape(self._shape), measured.shape))

    def side_by_side(self, outputs: torch.Tensor, rows: Rows) -> npt.NDArray[np.float32]:
        """(2, k, m, *places), in the target's own unit."""
        return np.stack([self._measured(rows), self._predicted(outputs)]).astype(np.float32)

    def described(self) -> Mapping[str, Any]:
        """Scales of the outputs."""
        return {"y_mean": self.mean.tolist(), "y_std": self.std.tolist()}

    def _standardised(self, y: torch.Tensor) -> torch.Tensor:
        mean, std = (torch.from_numpy(values).to(y.device).reshape(self._shape) for values in (self.mean, self.std))
        return ((y.double() - mean) / std).float()

    def _measured(self, rows: Rows) -> npt.NDArray[np.float64]:
        return self.y[rows].astype(np.float64)

    def _predicted(self, outputs: torch.Tensor) -> npt.NDArray[np.float64]:
        values = outputs[:, : self.columns].double().numpy()
        return np.asarray(values * self.std.reshape(self._shape) + self.mean.reshape(self._shape), dtype=np.float64)


def _columns(y: npt.NDArray[Any], data: Data, target: int | str | None) -> npt.NDArray[Any]:
    """(n, m, ...) with the columns that are asked for."""
    if data.names and len(data.names) != y.shape[1]:
        raise ValueError(f"expected {y.shape[1]} names, one for each target in {data.path}, got {list(data.names)}")
    if target is None:
        return y
    column = target
    if isinstance(target, str):
        if target not in data.names:
            known = f"has {list(data.names)}" if data.names else "has no array `names`; give the column's number"
            raise ValueError(f"expected a target of the data, got {target!r}; the file {known}")
        column = data.names.index(target)
    elif not 0 <= target < y.shape[1]:
        raise ValueError(f"expected target in 0 to {y.shape[1] - 1}, got {target}")
    return y[:, int(column) : int(column) + 1]
