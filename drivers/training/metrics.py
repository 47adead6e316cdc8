"""Figures by which predictions are judged, by name: of numbers, of classes; or a function of one's own.

One's own is "module:function" of measured and predicted values, (k, m, ...) in the target's own unit or (k, ...)
numbers of classes, to one number; less is better, unless the function has an attribute `direction = "maximise"`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.networks.losses import own

Array = npt.NDArray[Any]
Direction = Literal["minimise", "maximise"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure.

    Attributes:
        function: of two arrays; of a confusion matrix alone where `confusion`.
        direction: which way is better.
        unit: whether it is in the unit of the targets.
        confusion: whether it follows from how often each class was taken for each.
    """

    function: Callable[..., float]
    direction: Direction = "minimise"
    unit: bool = False
    confusion: bool = False


def _mae(measured: Array, predicted: Array) -> float:
    return float(np.abs(predicted - measured).mean())


def _rmse(measured: Array, predicted: Array) -> float:
    return float(np.sqrt(np.square(predicted - measured).mean()))


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
    "mae": Metric(_mae, unit=True),
    "rmse": Metric(_rmse, unit=True),
    "r2": Metric(_r2, "maximise"),
    "mape": Metric(_mape),
    "median_error": Metric(_median, unit=True),
    "largest_error": Metric(_largest, unit=True),
}
"""Of numbers, averaged over the columns if there are several."""


def confusion(measured: Array, predicted: Array, classes: int) -> npt.NDArray[np.int64]:
    """(classes, classes): how often each class, by row, was taken for each."""
    pairs = measured.ravel().astype(np.int64) * classes + predicted.ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def overlap(table: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(classes,) intersection over union; not a number for a class that is nowhere."""
    return _ratio(np.diag(table), table.sum(0) + table.sum(1) - np.diag(table))


def found(table: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(classes,) share of each that was found; not a number for a class that was not measured."""
    return _ratio(np.diag(table), table.sum(1))


def _f1(table: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return _ratio(2 * np.diag(table), table.sum(0) + table.sum(1))


def _ratio(part: Array, whole: Array) -> npt.NDArray[np.float64]:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


def _error(table: npt.NDArray[np.int64]) -> float:
    return float(1 - np.diag(table).sum() / table.sum())


def _accuracy(table: npt.NDArray[np.int64]) -> float:
    return 1 - _error(table)


def _mean(each: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]], table: npt.NDArray[np.int64]) -> float:
    return float(np.nanmean(each(table)))


def _of_outputs(*_: Array) -> float:
    return 0.0


CLASSES: Mapping[str, Metric] = {
    "error": Metric(_error, confusion=True),
    "pixel_error": Metric(_error, confusion=True),
    "accuracy": Metric(_accuracy, "maximise", confusion=True),
    "balanced_accuracy": Metric(partial(_mean, found), "maximise", confusion=True),
    "f1": Metric(partial(_mean, _f1), "maximise", confusion=True),
    "mean_iou": Metric(partial(_mean, overlap), "maximise", confusion=True),
    "cross_entropy": Metric(_of_outputs),
}
"""Of classes; means over the classes that occur. The cross-entropy is of the outputs themselves."""


def chosen(wish: Sequence[str] | None, usual: Sequence[str], known: Mapping[str, Metric]) -> dict[str, Metric]:
    """Figures that a campaign asks for, in front of the usual ones.

    Raises:
        ConfigError: an unknown one.
    """
    metrics = {}
    for name in dict.fromkeys((*(wish or ()), *usual)):
        if ":" in name:
            function = own(name, "metrics")
            maximised = getattr(function, "direction", "minimise") == "maximise"
            metrics[name.rpartition(":")[2]] = Metric(function, "maximise" if maximised else "minimise")
        elif name in known:
            metrics[name] = known[name]
        else:
            raise ConfigError(
                f'expected metrics: some of {list(known)} or "module:function", got {name!r}', at="metrics"
            )
    return metrics
