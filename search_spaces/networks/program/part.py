"""One module of a network, and what the plans of all families say alike about shapes and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

Shape = tuple[int, ...]
"""(channels, *extent) of feature maps with one to three axes, (features,) of a vector."""

NO_OPTIONS: Mapping[str, Any] = {}
ACTIVATIONS: Mapping[str, str] = {"relu": "ReLU", "gelu": "GELU", "silu": "SiLU", "elu": "ELU"}
"""Classes of `torch.nn` by the word of a genome."""

_PER_GROUP = 4


class Part(NamedTuple):
    """One module of the network.

    Attributes:
        name: attribute that holds it.
        kind: class in `torch.nn`, or in the program's library.
        arguments: its positional arguments.
        options: its keyword arguments.
        block: number of the block it belongs to, as `Grammar.places` lists them; 0 for the output and what leads to it.
        parameters: number of trainable values.
        multiply_adds: for one input.
        given: extents of the maps that it is given, where what it does depends on them.
    """

    name: str
    kind: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = NO_OPTIONS
    block: int = 0
    parameters: int = 0
    multiply_adds: int = 0
    given: Shape = ()


def clip(size: int, shape: Shape) -> tuple[int, ...]:
    """Extent of a pooling window, no larger than the maps along any axis."""
    return tuple([min(size, extent) for extent in shape[1:]])


def clip_odd(size: int, shape: Shape) -> tuple[int, ...]:
    """Extent of an odd kernel, no larger than the maps and still odd along any axis."""
    return tuple([min(size, extent - (extent + 1) % 2) for extent in shape[1:]])


def even(sizes: Sequence[int]) -> int | tuple[int, ...]:
    """One number if all are the same, as torch takes it."""
    return sizes[0] if min(sizes) == max(sizes) else tuple(sizes)


@cache
def per_group(width: int) -> int:
    """Channels that a group normalisation takes together: 4, or the next larger number that divides the width.

    A group of one value, such as a channel of 1 x 1 maps, would be normalised to nothing. All channels are one group
    where no number between divides the width.
    """
    return next((size for size in range(_PER_GROUP, width) if width % size == 0), width)
