"""Fabrication errors of a periodic structure: phase 1 grown (dilated) or shrunk (eroded) by a disc or ball."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch

Offset = tuple[int, ...]


def offsets(radii: Sequence[float]) -> list[Offset]:
    """Steps to the pixels whose centres lie in an ellipse or ellipsoid about a pixel's centre.

    Args:
        radii: along each axis of an array, pixels, >= 0.
    """
    ranges = [range(-math.floor(r + 1e-9), math.floor(r + 1e-9) + 1) for r in radii]
    within = [(1 + 1e-9) * max(r, 1e-9) for r in radii]
    return [o for o in itertools.product(*ranges) if sum((i / r) ** 2 for i, r in zip(o, within, strict=True)) <= 1]


def dilated(density: torch.Tensor, steps: Sequence[Offset]) -> torch.Tensor:
    """The largest density within the steps, periodic.

    Differentiable: the derivative goes to the pixel whose density it is, and where several have that density, as many
    do in a microstructure, to each of them alike.

    Args:
        density: ([D,] H, W).
        steps: see `offsets`.
    """
    axes = tuple(range(density.dim()))
    return torch.stack([density.roll(step, axes) for step in steps]).amax(dim=0)


def eroded(density: torch.Tensor, steps: Sequence[Offset]) -> torch.Tensor:
    """The smallest density within the steps, periodic; differentiable as `dilated` is."""
    return -dilated(-density, steps)
