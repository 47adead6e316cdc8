"""Symmetries that an image's property does not notice, applied at random to training batches.

A periodic microstructure has no origin, and many properties have no direction either: a network that sees shifted,
mirrored and turned copies need not learn these symmetries from measurements.
"""

from __future__ import annotations

from typing import Literal

import torch

from surrogates.fitting import Transform

Augmentation = Literal["none", "roll", "square"]


def augmentation(kind: Augmentation) -> Transform | None:
    """Transform of that name; None for "none"."""
    return {"none": None, "roll": roll, "square": square}[kind]


def roll(x: torch.Tensor) -> torch.Tensor:
    """Shift a batch periodically by one random offset and mirror it along random axes.

    Args:
        x: (n, channels, height, width); the draws come from torch's global generator.
    """
    vertical, horizontal = (int(torch.randint(size, ())) for size in x.shape[-2:])
    axes = [axis for axis in (-2, -1) if torch.rand(()) < 0.5]
    return x.roll((vertical, horizontal), (-2, -1)).flip(axes)


def square(x: torch.Tensor) -> torch.Tensor:
    """As `roll`, and transpose at random: with the mirrors, all eight symmetries of the square.

    Raises:
        ValueError: the images are not square.
    """
    if x.shape[-1] != x.shape[-2]:
        raise ValueError(f"expected square images for augment: square, got {tuple(x.shape[-2:])}; use augment: roll")
    return roll(x.transpose(-1, -2) if torch.rand(()) < 0.5 else x)
