"""Standardising inputs, for each channel, by the part of the data that is trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch


@dataclass(frozen=True, slots=True)
class InputScales:
    """Mean and standard deviation; a constant channel has 1, so that nothing is divided by 0.

    Attributes:
        mean, std: float32, (channels, 1, ...) for inputs (n, channels, ...), (features,) for inputs (n, features).
    """

    mean: npt.NDArray[np.float32]
    std: npt.NDArray[np.float32]

    @classmethod
    def of(cls, x: npt.NDArray[np.float32]) -> InputScales:
        """Those of inputs (n, channels, ...) of any rank."""
        axes = (0, *range(2, x.ndim))
        std = x.std(axis=axes, keepdims=True)[0]
        return cls(mean=x.mean(axis=axes, keepdims=True)[0], std=np.where(std > 0, std, np.float32(1)))

    def apply(self, x: npt.NDArray[np.float32]) -> torch.Tensor:
        """Inputs as a network takes them."""
        return torch.from_numpy((x - self.mean) / self.std)

    def listed(self) -> dict[str, list[float]]:
        """One value for each channel, as JSON holds it."""
        return {"x_mean": self.mean.ravel().tolist(), "x_std": self.std.ravel().tolist()}
