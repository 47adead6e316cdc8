"""Standardising inputs, for each channel or feature, by the part of the data that is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from matloop.drivers.training.graphs import GraphScales
from matloop.search_spaces.networks.graph.graphs import Graphs

Values = npt.NDArray[np.float32]

_VALUES = 2**22
"""That are looked at together."""


class Scales(Protocol):
    """How inputs as they were measured become inputs as a network takes them."""

    def apply(self, x: Any) -> Any:
        """Standardise."""
        ...

    def listed(self) -> dict[str, list[float]]:
        """One value for each channel or feature, as JSON holds it."""
        ...


def scales(x: npt.NDArray[Any] | Graphs) -> Scales:
    """Those of the inputs that are trained on."""
    return GraphScales.of(x) if isinstance(x, Graphs) else ArrayScales.of(x)


@dataclass(frozen=True, slots=True)
class ArrayScales:
    """Mean and standard deviation; a constant channel has 1, so that nothing is divided by 0.

    Attributes:
        mean, std: float32, (channels, 1, ...) for inputs (n, channels, ...), (features,) for inputs (n, features).
    """

    mean: Values
    std: Values

    @classmethod
    def of(cls, x: npt.NDArray[Any]) -> ArrayScales:
        """Those of inputs (n, channels, ...) of any rank and type, n >= 1."""
        mean = np.zeros((1, x.shape[1], *(1 for _ in x.shape[2:])))
        for part in _chunks(x):
            mean += part.sum(axis=_axes(x), keepdims=True, dtype=np.float64)
        mean /= x.size / x.shape[1]
        variance = np.zeros_like(mean)
        for part in _chunks(x):
            variance += np.square(part - mean).sum(axis=_axes(x), keepdims=True)
        std = np.sqrt(variance / (x.size / x.shape[1]))
        return cls(mean=mean[0].astype(np.float32), std=np.where(std > 0, std, 1.0)[0].astype(np.float32))

    def apply(self, x: npt.NDArray[Any]) -> torch.Tensor:
        """Inputs as a network takes them."""
        return torch.from_numpy((x.astype(np.float32) - self.mean) / self.std)

    def listed(self) -> dict[str, list[float]]:
        """One value for each channel, as JSON holds it."""
        return {"x_mean": self.mean.ravel().tolist(), "x_std": self.std.ravel().tolist()}


def _axes(x: npt.NDArray[Any]) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _chunks(x: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Some rows at a time, so that no copy of all of them is made."""
    rows = max(_VALUES * len(x) // max(x.size, 1), 1)
    return (x[start : start + rows] for start in range(0, len(x), rows))
