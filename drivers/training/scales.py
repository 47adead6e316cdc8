"""Standardising inputs, for each channel or feature, by the part of the data that is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from matloop.drivers.training.graphs import GraphScales
from matloop.search_spaces.networks.graph.graphs import Graphs
from matloop.surrogates.networks.rows import Inputs, Rows

Numbers = npt.NDArray[np.int64]

LIMIT = 6.0
"""Standardised inputs beyond it, in standard deviations, count as it: a network has seen next to none of them."""

_VALUES = 2**25  # that mean and deviation are computed from; rows are left out evenly where there are more
_CHUNK = 2**20  # values at a time


class Scales(Protocol):
    """How inputs as they were measured become inputs as a network takes them."""

    def rows(self, x: Any, numbers: Numbers) -> Inputs:
        """Some rows of the data, standardised when they are used."""
        ...

    def listed(self) -> dict[str, Any]:
        """Values for each channel or feature, as JSON holds them."""
        ...


def scales(x: npt.NDArray[Any] | Graphs, train: Numbers) -> Scales:
    """Those of the rows that are trained on."""
    return GraphScales.of(x[train]) if isinstance(x, Graphs) else ArrayScales.of(x, train)


@dataclass(frozen=True, slots=True)
class ArrayScales:
    """Mean and standard deviation; a constant channel has 1, so that nothing is divided by 0.

    Attributes:
        mean, std: float32, (channels, 1, ...) for inputs (n, channels, ...), (features,) for inputs (n, features).
    """

    mean: torch.Tensor
    std: torch.Tensor

    @classmethod
    def of(cls, x: npt.NDArray[Any], train: Numbers) -> ArrayScales:
        """Those of some rows of inputs (n, channels, ...) of any rank, read a few at a time."""
        mean, std = moments(x, train)
        shape = (-1, *[1] * (x.ndim - 2))
        return cls(*(torch.from_numpy(value.astype(np.float32).reshape(shape)) for value in (mean, std)))

    def rows(self, x: npt.NDArray[Any], numbers: Numbers) -> Rows:
        """Rows of inputs as they were measured, standardised batch by batch."""
        return Rows(x, numbers, self.apply)

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs as a network takes them, float32 from numbers of any type."""
        return ((x.float() - self.mean.to(x.device)) / self.std.to(x.device)).clamp(-LIMIT, LIMIT)

    def listed(self) -> dict[str, Any]:
        """Values for each channel, and the limit of what is standardised, as JSON holds them."""
        return {"x_mean": self.mean.flatten().tolist(), "x_std": self.std.flatten().tolist(), "x_limit": LIMIT}


def moments(x: npt.NDArray[Any], train: Numbers) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation of each channel of some rows of (n, channels, ...), read a few rows at a time.

    Returns:
        (channels,) each; the deviation is 1 for a channel that does not vary.
    """
    size = max(int(np.prod(x.shape[1:])), 1)
    rows = train[:: max(-(-len(train) * size // _VALUES), 1)]
    step = max(_CHUNK // size, 1)
    parts = [rows[start : start + step] for start in range(0, len(rows), step)]
    axes, count = (0, *range(2, x.ndim)), len(rows) * size // x.shape[1]
    mean = np.sum([x[part].astype(np.float64).sum(axis=axes) for part in parts], axis=0) / count
    centre = mean.reshape(-1, *[1] * (x.ndim - 2))
    square = np.sum([((x[part].astype(np.float64) - centre) ** 2).sum(axis=axes) for part in parts], axis=0) / count
    std = np.sqrt(square)
    return mean, np.where(std > 1e-7 * np.abs(mean), std, 1.0)
