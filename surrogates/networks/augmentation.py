"""Symmetries that an image's property does not notice, applied at random to training batches.

A periodic microstructure has no origin, and many properties have no direction either: a network that sees shifted,
mirrored and turned copies need not learn these symmetries from measurements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from matloop.search_spaces.networks.graph.graphs import Graphs
from matloop.surrogates.networks.fitting import Transform

Augmentation = Literal["none", "roll", "square"]


def augmentation(kind: Augmentation) -> Transform | None:
    """Transform of that name; None for "none"."""
    move = {"none": None, "roll": roll, "square": square}[kind]
    return None if move is None else _with_places(move)


def _with_places(move: Callable[[torch.Tensor], torch.Tensor]) -> Transform:
    """Labels of places go with the inputs as one more channel, so that both move alike."""

    def transform(x: Any, y: torch.Tensor) -> tuple[Any, torch.Tensor]:
        if isinstance(x, Graphs):
            raise ValueError("expected no transform for graphs, got one; use augment: none")
        if y.is_floating_point() or y.ndim < 2:
            return move(x), y
        both = move(torch.cat([x, y[:, None].to(x.dtype)], dim=1))  # exact for classes below 2²⁴
        return both[:, :-1], both[:, -1].to(y.dtype)

    return transform


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
