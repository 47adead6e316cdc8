"""Classes as targets: of a whole input, or of each of its places (pixels, voxels)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch

from matloop.drivers.training.classes import numbered_classes
from matloop.drivers.training.data import Data
from matloop.drivers.training.metrics import CLASSES, Metric, chosen, confusion, found, overlap
from matloop.drivers.training.tasks.task import Direction, Rows, Task
from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.networks import losses
from matloop.surrogates.networks.losses import Loss
from matloop.surrogates.networks.rows import Rows as Lazy

_COUNTED = 2**25  # values that classes are counted in; rows are left out evenly where there are more


class Labelling:
    """What the tasks of classes have in common.

    Args:
        loss: "cross_entropy", "focal", "dice" or "module:function"; None has a search choose where places are
            classified, and takes cross-entropy elsewhere.
        class_weights: of each class in the loss; "balanced" for those that make up for how rare it is.
        metrics: figures, see `matloop.drivers.training.metrics`; the first is the usual objective.

    Raises:
        ConfigError: no such loss or metric.
    """

    kind: ClassVar[str]
    places: ClassVar[bool]
    usual: ClassVar[tuple[str, ...]]
    offered: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        *,
        loss: str | None = None,
        class_weights: Literal["balanced"] | list[float] | None = None,
        metrics: list[str] | None = None,
    ) -> None:
        if loss is not None and ":" not in loss and loss not in losses.CLASSES:
            raise ConfigError(
                f'expected loss: one of {list(losses.CLASSES)} or "module:function" for {self.kind}, got {loss!r}',
                at="loss",
            )
        if isinstance(class_weights, str) and class_weights != "balanced":
            raise ConfigError(
                f"expected class_weights: balanced or a number for each class, got {class_weights!r}",
                at="class_weights",
            )
        if loss is not None and ":" in loss:
            losses.loss(loss)
        self.loss, self.class_weights = loss, class_weights
        self.judged: Mapping[str, Metric] = chosen(metrics, self.usual, CLASSES)

    @property
    def metrics(self) -> Mapping[str, Direction]:
        """See `Aim`."""
        return {name: metric.direction for name, metric in self.judged.items()}

    @property
    def in_unit(self) -> Collection[str]:
        """See `Aim`."""
        return ()

    @property
    def losses(self) -> Sequence[str]:
        """See `Aim`."""
        return self.offered if self.loss is None else (self.loss,)

    def bind(self, data: Data, train: Rows) -> Task:
        """See `Aim`; y is (n,), or (n, *places) for classes of places."""
        return BoundLabels(self, data, train)


class Classification(Labelling):
    """A class of each input."""

    kind, places = "classification", False
    usual, offered = ("error", "accuracy", "cross_entropy"), ("cross_entropy",)


class Segmentation(Labelling):
    """A class of each place of an input."""

    kind, places = "segmentation", True
    usual, offered = ("pixel_error", "mean_iou", "cross_entropy"), ("dice", "cross_entropy")


class BoundLabels:
    """Classes numbered from 0 in data.

    Args:
        aim: options.
        data: y whole numbers; optionally the classes' names.
        train: rows, in which classes are counted.

    Raises:
        ValueError: y has another shape or other values, or there are not as many weights as classes.
    """

    def __init__(self, aim: Labelling, data: Data, train: Rows) -> None:
        shape = tuple(data.x.shape[2:]) if aim.places else ()
        if data.y.shape[1:] != shape or (aim.places and not shape):
            raise ValueError(
                f"expected y {('n', *shape) if shape else '(n,)'} in {data.path} for {aim.kind} of x {data.x.shape}, "
                f"got {data.y.shape}".replace("'n'", "n")
            )
        self.aim = aim
        self.targets, self.names = numbered_classes(data.y, data.names, data.path)
        self.outputs = len(self.names)
        self.counts = self._count(train)
        self.weights = self._weights()
        self.loss = self.named_loss(aim.loss or aim.offered[0])

    def rows(self, numbers: Rows) -> torch.Tensor | Lazy:
        """See `Task`."""
        return Lazy(self.targets, numbers, torch.Tensor.long)

    def named_loss(self, name: str) -> Loss:
        """See `Task`."""
        return losses.loss(name, None if ":" in name else self.weights)

    def aligned(self, outputs: torch.Tensor, numbers: Rows) -> torch.Tensor:
        """See `Task`."""
        return outputs

    def measure(self, outputs: torch.Tensor, rows: Rows) -> dict[str, float]:
        """See `Task`."""
        measured, predicted = self.targets[rows].astype(np.int64), outputs.argmax(dim=1).numpy()
        table, figures = confusion(measured, predicted, self.outputs), {}
        for name, metric in self.aim.judged.items():
            if metric.confusion:
                figures[name] = metric.function(table)
            elif name == "cross_entropy":
                figures[name] = float(torch.nn.functional.cross_entropy(outputs, torch.from_numpy(measured)))
            else:
                figures[name] = float(metric.function(measured, predicted))
        return figures

    def baseline(self, rows: Rows) -> float:
        """The first figure of the commonest class of the training rows."""
        commonest = int(self.counts.argmax())
        outputs = torch.zeros(1, self.outputs).index_fill_(1, torch.tensor(commonest), 1.0)
        return next(iter(self.measure(self._everywhere(outputs, rows), rows).values()))

    def by_class(self, outputs: torch.Tensor, rows: Rows) -> dict[str, float]:
        """Of each class that occurs: the share of errors, or intersection over union where places are classified."""
        table = confusion(self.targets[rows], outputs.argmax(dim=1).numpy(), self.outputs)
        each = overlap(table) if self.aim.places else 1 - found(table)
        return {name: float(value) for name, value in zip(self.names, each, strict=True) if np.isfinite(value)}

    def side_by_side(self, outputs: torch.Tensor, rows: Rows) -> npt.NDArray[np.int16]:
        """(2, k, *places) class numbers."""
        return np.stack([self.targets[rows], outputs.argmax(dim=1).numpy()]).astype(np.int16)

    def described(self) -> Mapping[str, Any]:
        """Names of the classes."""
        return {"classes": list(self.names)}

    def _everywhere(self, outputs: torch.Tensor, rows: Rows) -> torch.Tensor:
        """One answer at all places of rows."""
        places = self.targets.shape[1:]
        return outputs.reshape(1, -1, *[1] * len(places)).expand(len(rows), self.outputs, *places)

    def _count(self, train: Rows) -> npt.NDArray[np.int64]:
        size = max(int(np.prod(self.targets.shape[1:])), 1)
        rows = train[:: max(-(-len(train) * size // _COUNTED), 1)]
        counts = np.zeros(self.outputs, dtype=np.int64)
        for part in np.array_split(rows, max(len(rows) * size // 2**22, 1)):
            counts += np.bincount(self.targets[part].ravel().astype(np.int64), minlength=self.outputs)
        return counts

    def _weights(self) -> list[float] | None:
        given = self.aim.class_weights
        if given == "balanced":
            there = np.maximum(self.counts, 1)
            return [float(weight) for weight in there.sum() / (len(there) * there)]
        if given is not None and len(given) != self.outputs:
            raise ValueError(f"expected class_weights for {self.outputs} classes {list(self.names)}, got {given}")
        return None if given is None else [float(weight) for weight in given]
