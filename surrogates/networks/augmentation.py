"""Symmetries that an image's property does not notice, applied at random to training batches.

A periodic microstructure has no origin, and many properties have no direction either: a network that sees shifted,
mirrored and turned copies need not learn these symmetries from measurements.
"""

from __future__ import annotations

from typing import Literal

import torch

from matloop.surrogates.networks.fitting import Transform

Augmentation = Literal["none", "roll", "square"]


def augmentation(kind: Augmentation) -> Transform | None:
    """Transform of that name; None for "none"."""
    return {"none": None, "roll": roll, "square": square}[kind]


def roll(x: torch.Tensor) -> torch.Tensor:
    """Shift a batch periodically by one random offset and mirror it along random axes.

    Args:
        x: (n, channels, height, width), or any other number of axes beyond the channels; the draws come from torch's
            global generator.

    Raises:
        ValueError: there are no axes beyond the channels.
    """
    if x.ndim < 3:
        raise ValueError(f"expected inputs (n, channels, ...) to augment, got {tuple(x.shape)}; use augment: none")
    axes = tuple(range(2, x.ndim))
    offsets = tuple(int(torch.randint(x.shape[axis], ())) for axis in axes)
    mirrored = [axis for axis in axes if torch.rand(()) < 0.5]
    return x.roll(offsets, axes).flip(mirrored)


def square(x: torch.Tensor) -> torch.Tensor:
    """As `roll`, and transpose at random: with the mirrors, all eight symmetries of the square.

    Raises:
        ValueError: the images are not square.
    """
    if x.ndim != 4 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"expected square images for augment: square, got {tuple(x.shape[2:])}; use augment: roll")
    return roll(x.transpose(-1, -2) if torch.rand(()) < 0.5 else x)
