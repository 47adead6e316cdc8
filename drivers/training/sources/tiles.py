"""Cutting large arrays into overlapping tiles of one size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along an axis: evenly, and the last one so that it ends with the axis."""
    found = list(range(0, length - tile + 1, tile - overlap))
    return found if found[-1] == length - tile else [*found, length - tile]


def corners(shape: Sequence[int], tile: Sequence[int], overlap: int) -> npt.NDArray[np.int64]:
    """(k, d) first places of the tiles that cover an array.

    Raises:
        ValueError: the array is smaller than a tile.
    """
    if any(length < size for length, size in zip(shape, tile, strict=True)):
        raise ValueError(f"expected at least {_by(tile)} for a tile, got {_by(shape)}")
    axes = [starts(length, size, overlap) for length, size in zip(shape, tile, strict=True)]
    return np.array([*product(*axes)], dtype=np.int64)


def cut(corner: Sequence[int], tile: Sequence[int]) -> tuple[slice, ...]:
    """Where a tile lies along the last axes of an array; begin with `...`."""
    return tuple(slice(int(start), int(start) + size) for start, size in zip(corner, tile, strict=True))


def _by(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))
