"""What a network is trained for: how targets become tensors, and outputs become figures that people know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from matloop.drivers.training.classes import numbered_classes
from matloop.drivers.training.data import Data
from matloop.surrogates.networks.losses import Loss

Rows = npt.NDArray[np.int64]
Kind = Literal["regression", "classification", "segmentation"]


class Task(Protocol):
    """One kind of targets, bound to data and to the rows that are trained on."""

    outputs: int
    """Length, or channels, of the network's output."""
    targets: torch.Tensor
    """As `fit` takes them, all rows."""
    loss: str | Loss
    """What is minimised, unless a genome has a loss of its own."""

    def measure(self, outputs: torch.Tensor, rows: Rows) -> dict[str, float]:
        """Figures, of the network's outputs for these rows; their names and directions are in `METRICS`."""
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

    def described(self) -> Mapping[str, list[Any]]:
        """What a user of the weights needs to know to read the outputs, as JSON holds it."""
        ...


METRICS: Mapping[Kind, Mapping[str, Literal["minimise", "maximise"]]] = {
    "regression": {"mae": "minimise", "rmse": "minimise"},
    "classification": {"error": "minimise", "accuracy": "maximise", "cross_entropy": "minimise"},
    "segmentation": {"pixel_error": "minimise", "mean_iou": "maximise", "cross_entropy": "minimise"},
}
"""Figures of each task; the first is the usual objective."""


class Regression:
    """Numbers, standardised by the training rows; errors are in their own unit, averaged over the columns.

    Args:
        data: y (n,) or (n, m).
        train: rows.
        target: column or name; None for all.

    Raises:
        ValueError: no such target, or y has another shape.
    """

    loss: str | Loss = "huber"

    def __init__(self, data: Data, train: Rows, target: int | str | None = None) -> None:
        y = data.y[:, None] if data.y.ndim == 1 else data.y
        if y.ndim != 2:
            raise ValueError(f"expected y (n,) or (n, m) in {data.path} for regression, got {data.y.shape}")
        if data.names and len(data.names) != y.shape[1]:
            raise ValueError(f"expected {y.shape[1]} names, one for each target in {data.path}, got {list(data.names)}")
        if target is not None:
            column = _column(target, data.names, y.shape[1])
            y = y[:, column : column + 1]
        self.y = y.astype(np.float64)
        self.mean, std = self.y[train].mean(axis=0), self.y[train].std(axis=0)
        self.std = np.where(std > 0, std, 1.0)
        self.outputs = self.y.shape[1]
        self.targets = torch.from_numpy(((self.y - self.mean) / self.std).astype(np.float32))

    def measure(self, outputs: torch.Tensor, rows: Rows) -> dict[str, float]:
        """See `Task`."""
        errors = self._predicted(outputs) - self.y[rows]
        return {"mae": float(np.abs(errors).mean()), "rmse": float(np.sqrt(np.square(errors).mean()))}

    def baseline(self, rows: Rows) -> float:
        """Error of the training rows' mean."""
        return float(np.abs(self.y[rows] - self.mean).mean())

    def by_class(self, outputs: torch.Tensor, rows: Rows) -> dict[str, float]:
        """See `Task`."""
        return {}

    def side_by_side(self, outputs: torch.Tensor, rows: Rows) -> npt.NDArray[np.float32]:
        """(2, k, m), in the target's own unit."""
        return np.stack([self.y[rows], self._predicted(outputs)]).astype(np.float32)

    def described(self) -> Mapping[str, list[Any]]:
        """Scales of the outputs."""
        return {"y_mean": self.mean.tolist(), "y_std": self.std.tolist()}

    def _predicted(self, outputs: torch.Tensor) -> npt.NDArray[np.float64]:
        return np.asarray(outputs.double().numpy() * self.std + self.mean, dtype=np.float64)


class Labels:
    """Classes numbered from 0, of a whole input or of each of its places (pixels, voxels), trained by cross-entropy.

    Args:
        data: y (n,) for a class of each input, (n, *places) for one of each place; optionally the classes' names.
        train: rows.
        places: whether it is one of each place.

    Raises:
        ValueError: y has another shape or other values.
    """

    loss: str | Loss = "cross_entropy"

    def __init__(self, data: Data, train: Rows, *, places: bool) -> None:
        task, shape = ("segmentation", data.x.shape[2:]) if places else ("classification", ())
        if data.y.shape[1:] != shape or (places and not shape):
            raise ValueError(
                f"expected y {('n', *shape) if shape else '(n,)'} in {data.path} for {task} of x {data.x.shape}, "
                f"got {data.y.shape}".replace("'n'", "n")
            )
        y, names = numbered_classes(data.y, data.names, data.path)
        self.places, self.outputs = places, max(len(names), 2)
        self.names = names
        self.targets = torch.from_numpy(y)
        self._commonest = int(np.bincount(y[train].ravel()).argmax())

    def measure(self, outputs: torch.Tensor, rows: Rows) -> dict[str, float]:
        """See `Task`."""
        expected = self.targets[rows]
        wrong = float((outputs.argmax(dim=1) != expected).double().mean())
        cross_entropy = float(torch.nn.functional.cross_entropy(outputs, expected))
        if not self.places:
            return {"error": wrong, "accuracy": 1 - wrong, "cross_entropy": cross_entropy}
        mean_iou = float(np.mean(list(self.by_class(outputs, rows).values())))
        return {"pixel_error": wrong, "mean_iou": mean_iou, "cross_entropy": cross_entropy}

    def baseline(self, rows: Rows) -> float:
        """Error of the commonest class of the training rows."""
        return float((self.targets[rows] != self._commonest).double().mean())

    def by_class(self, outputs: torch.Tensor, rows: Rows) -> dict[str, float]:
        """Of each class that occurs: the share of errors, or intersection over union where places are classified."""
        expected, predicted = self.targets[rows].numpy(), outputs.argmax(dim=1).numpy()
        found = {}
        for number, name in enumerate(self.names):
            inside, said = expected == number, predicted == number
            if self.places and (union := int((inside | said).sum())):
                found[name] = float((inside & said).sum() / union)
            elif not self.places and inside.any():
                found[name] = float((inside & ~said).sum() / inside.sum())
        return found

    def side_by_side(self, outputs: torch.Tensor, rows: Rows) -> npt.NDArray[np.int16]:
        """(2, k, *places) class numbers."""
        return torch.stack([self.targets[rows], outputs.argmax(dim=1)]).numpy().astype(np.int16)

    def described(self) -> Mapping[str, list[Any]]:
        """Names of the classes."""
        return {"classes": list(self.names)}


def task(kind: Kind, data: Data, train: Rows, target: int | str | None) -> Task:
    """Bind data to the task of that name.

    Raises:
        ValueError: the data do not suit it.
    """
    if kind == "regression":
        return Regression(data, train, target)
    return Labels(data, train, places=kind == "segmentation")


def _column(target: int | str, names: tuple[str, ...], columns: int) -> int:
    if isinstance(target, str):
        if target not in names:
            known = f"has {list(names)}" if names else "has no array `names`; give the column's number"
            raise ValueError(f"expected a target of the data, got {target!r}; the file {known}")
        return names.index(target)
    if not 0 <= target < columns:
        raise ValueError(f"expected target in 0 to {columns - 1}, got {target}")
    return target
