"""Lineal path: how probable it is that a segment of a given length lies wholly in a phase.

It sees connected paths, to which two-point correlations are nearly blind.
Source: Lu & Torquato, Phys. Rev. A 45 (1992) 922.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from matloop.surrogates.microstructure.arrays import axes, opened
from matloop.surrogates.microstructure.runs import ahead, counted, hard, sides


def lineal_path(
    phase: npt.NDArray[Any], *, dimensions: int = 2, periodic: bool = True, longest: int | None = None
) -> npt.NDArray[np.float64]:
    """Lineal path of hard structures along each axis, exact.

    Args:
        phase: (..., H, W) or (..., D, H, W), 0 or 1.
        dimensions: of space, 2 or 3.
        periodic: whether segments go on at the other border; else those within the picture count.
        longest: lag of the last value, in pixels; by default the shortest side - 1. A segment of lag k covers k + 1
            pixels.

    Returns:
        (..., dimensions, longest + 1) float64: by axis (rows first) and lag; lag 0 is the volume fraction.
    """
    inside = hard(phase, dimensions)
    shape = sides(inside, dimensions)
    longest = checked_lag(longest, shape)
    found = []
    for axis, n in zip(axes(dimensions), shape, strict=True):
        lengths = ahead(inside, axis, periodic=periodic)
        pixels = counted(lengths, np.ones(lengths.shape), n, dimensions)
        starts = pixels[..., :0:-1].cumsum(axis=-1)[..., ::-1]  # those with at least 1, 2, … pixels ahead
        segments = np.prod(shape) / n * (n if periodic else n - np.arange(n))
        found.append((starts / segments)[..., : longest + 1])
    return np.stack(found, axis=-2)


def soft_lineal_path(phase: torch.Tensor, *, dimensions: int = 2, longest: int | None = None) -> torch.Tensor:
    """The same for soft and periodic structures: the mean product of the pixels of a segment. Differentiable.

    Where all pixels are 0 or 1 it equals `lineal_path`.

    Args:
        phase: (..., H, W) or (..., D, H, W) in [0, 1].
        dimensions: of space, 2 or 3.
        longest: as `lineal_path`.

    Returns:
        (..., dimensions, longest + 1), the dtype of `phase`.
    """
    x, _ = opened(phase, dimensions)
    longest = checked_lag(longest, tuple(x.shape[-dimensions:]))
    found = []
    for axis in axes(dimensions):
        segment, means = x, [x.mean(dim=axes(dimensions))]
        for lag in range(1, longest + 1):
            segment = segment * x.roll(-lag, axis)
            means.append(segment.mean(dim=axes(dimensions)))
        found.append(torch.stack(means, dim=-1))
    return torch.stack(found, dim=-2)


def checked_lag(longest: int | None, shape: tuple[int, ...]) -> int:
    """The lag of the last value.

    Raises:
        ValueError: the picture has no such lag.
    """
    most = min(shape) - 1
    if longest is None:
        return most
    if not 0 <= longest <= most:
        raise ValueError(f"expected a lag from 0 to {most} in a picture of {shape}, got {longest}")
    return longest
