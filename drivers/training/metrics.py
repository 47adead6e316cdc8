"""Figures by which predictions are judged, by name: of numbers, of classes; or a function of one's own.

One's own is "module:function" of measured and predicted values, (k, m, ...) in the target's own unit or (k, ...)
numbers of classes, to one number; less is better, unless the function has an attribute `direction = "maximise"`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.networks.losses import own

Array = npt.NDArray[Any]
Table = npt.NDArray[np.int64]
Direction = Literal["minimise", "maximise"]
Places = npt.NDArray[np.int64] | slice
"""Some of the rows that are judged, by their places among them."""

Figure = Callable[[Places], float]

_VALUES = 2**22  # that are looked at together


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure, which follows either from values or from a table of classes.

    Attributes:
        of: from measured and predicted values to the figure of any of the rows.
        table: from how often each class was taken for each to the figure.
        direction: which way is better.
        unit: whether it is in the unit of the targets.
        outputs: whether `of` takes a network's outputs instead of the predicted classes.
    """

    of: Callable[[Array, Array], Figure] | None = None
    table: Callable[[Table], float] | None = None
    direction: Direction = "minimise"
    unit: bool = False
    outputs: bool = False


@dataclass(frozen=True, slots=True)
class OfAll:
    """A figure that has to be computed again for other rows."""

    function: Callable[[Array, Array], float]

    def __call__(self, measured: Array, predicted: Array) -> Figure:
        """See `Metric`."""
        return lambda places: float(self.function(measured[places], predicted[places]))


@dataclass(frozen=True, slots=True)
class MeanOf:
    """A figure that follows from a mean over rows, so that each row is looked at only once.

    Attributes:
        each: of some rows, a number for each of their values.
        whole: from the mean to the figure.
    """

    each: Callable[[Array, Array], Array]
    whole: Callable[[float], float] = float

    def __call__(self, measured: Array, predicted: Array) -> Figure:
        """See `Metric`."""
        step = max(_VALUES * len(predicted) // max(predicted.size, 1), 1)
        parts = [slice(start, start + step) for start in range(0, len(measured), step)]
        found = [self.each(measured[part], predicted[part]) for part in parts]
        means = np.concatenate([values.reshape(len(values), -1).mean(axis=1) for values in found])
        return lambda places: self.whole(float(means[places].mean()))


def judge(judged: Mapping[str, Metric], measured: Array, predicted: Array) -> Callable[[Places], dict[str, float]]:
    """Figures, none of which is of a table, of any of the rows."""
    figures = {name: metric.of(measured, predicted) for name, metric in judged.items() if metric.of is not None}
    return lambda places: {name: figure(places) for name, figure in figures.items()}


def first(judged: Mapping[str, Metric], measured: Array, predicted: Array) -> float:
    """The first of such figures alone, of all rows."""
    name = next(iter(judged))
    return judge({name: judged[name]}, measured, predicted)(slice(None))[name]


def _absolute(measured: Array, predicted: Array) -> Array:
    return np.asarray(np.abs(predicted - measured))


def _squared(measured: Array, predicted: Array) -> Array:
    return np.asarray(np.square(predicted - measured))


def _median(measured: Array, predicted: Array) -> float:
    return float(np.median(np.abs(predicted - measured)))


def _largest(measured: Array, predicted: Array) -> float:
    return float(np.abs(predicted - measured).max())


def _mape(measured: Array, predicted: Array) -> float:
    """Mean error in per cent of the measured values' mean size, which a value near 0 does not blow up."""
    return float(100 * np.abs(predicted - measured).mean() / max(np.abs(measured).mean(), 1e-300))


def _r2(measured: Array, predicted: Array) -> float:
    """Mean over the columns; 0 for one that does not vary."""
    axes = (0, *range(2, measured.ndim))
    total = np.square(measured - measured.mean(axis=axes, keepdims=True)).sum(axis=axes)
    left = np.square(predicted - measured).sum(axis=axes)
    return float(np.mean(np.where(total > 0, 1 - left / np.where(total > 0, total, 1.0), 0.0)))


NUMBERS: Mapping[str, Metric] = {
    "mae": Metric(MeanOf(_absolute), unit=True),
    "rmse": Metric(MeanOf(_squared, math.sqrt), unit=True),
    "r2": Metric(OfAll(_r2), direction="maximise"),
    "mape": Metric(OfAll(_mape)),
    "median_error": Metric(OfAll(_median), unit=True),
    "largest_error": Metric(OfAll(_largest), unit=True),
}
"""Of numbers, averaged over the columns if there are several."""


def confusion(measured: Array, predicted: Array, classes: int) -> Table:
    """(classes, classes): how often each class, by row, was taken for each."""
    pairs = measured.ravel().astype(np.int64) * classes + predicted.ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def counted(measured: Array, predicted: Array, classes: int) -> Callable[[Places], Table]:
    """The confusion of any of the rows; where a row has many places, they are counted only once."""
    if measured.ndim == 1 or len(measured) * classes**2 > _VALUES:
        return lambda places: confusion(measured[places], predicted[places], classes)
    pairs = zip(measured, predicted, strict=True)
    tables = np.stack([confusion(one, other, classes) for one, other in pairs])
    return lambda places: np.asarray(tables[places].sum(axis=0))


def overlap(table: Table) -> npt.NDArray[np.float64]:
    """(classes,) intersection over union; not a number for a class that is nowhere."""
    return _ratio(np.diag(table), table.sum(0) + table.sum(1) - np.diag(table))


def found(table: Table) -> npt.NDArray[np.float64]:
    """(classes,) share of each that was found; not a number for a class that was not measured."""
    return _ratio(np.diag(table), table.sum(1))


def _f1(table: Table) -> npt.NDArray[np.float64]:
    return _ratio(2 * np.diag(table), table.sum(0) + table.sum(1))


def _ratio(part: Array, whole: Array) -> npt.NDArray[np.float64]:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


def _error(table: Table) -> float:
    return float(1 - np.diag(table).sum() / table.sum())


def _accuracy(table: Table) -> float:
    return 1 - _error(table)


def _mean(each: Callable[[Table], npt.NDArray[np.float64]], table: Table) -> float:
    return float(np.nanmean(each(table)))


def _surprise(measured: Array, outputs: Array) -> Array:
    """Cross-entropy at each place of (k, classes, *places) outputs."""
    targets = torch.from_numpy(measured.astype(np.int64))
    each = torch.nn.functional.cross_entropy(torch.from_numpy(outputs), targets, reduction="none")
    return np.asarray(each.double().numpy())


CLASSES: Mapping[str, Metric] = {
    "error": Metric(table=_error),
    "pixel_error": Metric(table=_error),
    "accuracy": Metric(table=_accuracy, direction="maximise"),
    "balanced_accuracy": Metric(table=partial(_mean, found), direction="maximise"),
    "f1": Metric(table=partial(_mean, _f1), direction="maximise"),
    "mean_iou": Metric(table=partial(_mean, overlap), direction="maximise"),
    "cross_entropy": Metric(MeanOf(_surprise), outputs=True),
}
"""Of classes; means over the classes that occur. The cross-entropy is of the outputs themselves."""


def chosen(wish: Sequence[str] | None, usual: Sequence[str], known: Mapping[str, Metric]) -> dict[str, Metric]:
    """Figures that a campaign asks for, in front of the usual ones.

    Raises:
        ConfigError: an unknown one, or two of one name.
    """
    metrics: dict[str, Metric] = {}
    for name in dict.fromkeys((*(wish or ()), *usual)):
        short = name.rpartition(":")[2]
        if short in metrics or (":" in name and short in known):
            raise ConfigError(
                f"expected metrics with names of their own, got a second {short!r}; call your function something else",
                at="metrics",
            )
        if ":" not in name and name not in known:
            raise ConfigError(
                f'expected metrics: some of {list(known)} or "module:function", got {name!r}', at="metrics"
            )
        metrics[short] = _of_user(name) if ":" in name else known[name]
    return metrics


@dataclass(frozen=True, slots=True)
class _Own:
    """A user's function, whose answers are checked."""

    name: str
    function: Callable[[Array, Array], Any]

    def __call__(self, measured: Array, predicted: Array) -> float:
        found = np.asarray(self.function(measured, predicted))
        if found.size != 1 or found.dtype.kind not in "buif":
            raise ValueError(
                f"expected the metric {self.name} to return one number, got {found.dtype} of shape {found.shape}"
            )
        return float(found.item())


def _of_user(name: str) -> Metric:
    function = own(name, "metrics")
    maximised = getattr(function, "direction", "minimise") == "maximise"
    return Metric(OfAll(_Own(name, function)), direction="maximise" if maximised else "minimise")
