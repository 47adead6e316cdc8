"""Classes as targets: of a whole input, or of each of its places (pixels, voxels)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from matloop.drivers.training.classes import numbered_classes
from matloop.drivers.training.data import Data
from matloop.drivers.training.metrics import CLASSES, Places, confusion, counted, first, found, judge, overlap
from matloop.drivers.training.tasks.shared import Bound, Judged
from matloop.drivers.training.tasks.task import Judge, Rows, Task
from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.networks import losses
from matloop.surrogates.networks.losses import Loss
from matloop.surrogates.networks.rows import Rows as Lazy

_COUNTED = 2**25  # values that classes are counted in; rows are left out evenly where there are more


class Labelling(Judged):
    """What the tasks of classes have in common.

    Args:
        loss: "cross_entropy", "focal", "dice" or "module:function"; None has a search choose where places are
            classified, and takes cross-entropy elsewhere.
        class_weights: of each class in the loss, at least 0 and one of them above; "balanced" for those that make up
            for how rare it is among the training rows.
        metrics: figures, see `matloop.drivers.training.metrics`; the first is the usual objective.

    Raises:
        ConfigError: no such loss or metric, or weights that are none.
    """

    named = tuple(losses.CLASSES)

    def __init__(
        self,
        *,
        loss: str | None = None,
        class_weights: Literal["balanced"] | list[float] | None = None,
        metrics: list[str] | None = None,
    ) -> None:
        super().__init__(loss, metrics, CLASSES)
        wrong = isinstance(class_weights, str) and class_weights != "balanced"
        if wrong or (isinstance(class_weights, list) and not (min(class_weights, default=0) >= 0 < sum(class_weights))):
            raise ConfigError(
                f"expected class_weights: balanced, or a number for each class, none below 0 and one above, got "
                f"{class_weights!r}",
                at="class_weights",
            )
        if class_weights is not None and loss is not None and ":" in loss:
            raise ConfigError(
                f"expected class_weights only with a loss of {list(losses.CLASSES)}, got {loss}; weight classes in it",
                at="class_weights",
            )
        self.class_weights = class_weights

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


class BoundLabels(Bound):
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

    def judge(self, outputs: torch.Tensor, rows: Rows) -> Judge:
        """See `Task`."""
        measured, predicted = self.targets[rows], outputs.argmax(dim=1).numpy()
        judged = self.aim.judged
        of_outputs = judge({name: m for name, m in judged.items() if m.outputs}, measured, outputs.numpy())
        of_classes = judge(
            {name: m for name, m in judged.items() if not m.outputs}, measured.astype(np.int64), predicted
        )
        table = counted(measured, predicted, self.outputs)

        def figures(places: Places) -> dict[str, float]:
            confused = table(places)
            found = {**of_outputs(places), **of_classes(places)}
            return {name: m.table(confused) if m.table else found[name] for name, m in judged.items()}

        return figures

    def baseline(self, rows: Rows) -> float:
        """The first figure of the training rows' shares of classes, so of the commonest class."""
        name, metric = next(iter(self.aim.judged.items()))
        measured = self.targets[rows]
        if metric.table:
            confused = np.zeros((self.outputs, self.outputs), dtype=np.int64)
            confused[:, self.counts.argmax()] = np.bincount(measured.ravel(), minlength=self.outputs)
            return metric.table(confused)
        shares = torch.from_numpy((self.counts + 1) / (self.counts + 1).sum()).log().float()
        places = measured.shape[1:]
        outputs = shares.reshape(1, -1, *[1] * len(places)).expand(len(rows), -1, *places)
        return first({name: metric}, measured, (outputs if metric.outputs else outputs.argmax(dim=1)).numpy())

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
            return _balanced(self.counts)
        if given is not None and len(given) != self.outputs:
            raise ValueError(f"expected class_weights for {self.outputs} classes {list(self.names)}, got {given}")
        return None if given is None else [float(weight) for weight in given]


def _balanced(counts: npt.NDArray[np.int64]) -> list[float]:
    """Weights that give all classes the same share; 1 for a class that is not trained on, of which nothing follows."""
    there = counts > 0
    weights = np.where(there, counts.sum() / (there.sum() * np.maximum(counts, 1)), 1.0)
    return [float(weight) for weight in weights]
