"""Standardising inputs, for each channel or feature, by the part of the data that is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from matloop.drivers.training.graphs import GraphScales
from matloop.search_spaces.networks.graph.graphs import Graphs

Values = npt.NDArray[np.float32]


class Scales(Protocol):
    """How inputs as they were measured become inputs as a network takes them."""

    def apply(self, x: Any) -> Any:
        """Standardise."""
        ...

    def listed(self) -> dict[str, list[float]]:
        """One value for each channel or feature, as JSON holds it."""
        ...


def scales(x: Values | Graphs) -> Scales:
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
    def of(cls, x: Values) -> ArrayScales:
        """Those of inputs (n, channels, ...) of any rank."""
        axes = (0, *range(2, x.ndim))
        std = x.std(axis=axes, keepdims=True)[0]
        return cls(mean=x.mean(axis=axes, keepdims=True)[0], std=np.where(std > 0, std, np.float32(1)))

    def apply(self, x: Values) -> torch.Tensor:
        """Inputs as a network takes them."""
        return torch.from_numpy((x - self.mean) / self.std)

    def listed(self) -> dict[str, list[float]]:
        """One value for each channel, as JSON holds it."""
        return {"x_mean": self.mean.ravel().tolist(), "x_std": self.std.ravel().tolist()}
