"""Answers for whole arrays from answers for their tiles: what several tiles say of a place is averaged, edges least.

A network sees less around a place near the border of its tile, so the weight of a tile falls towards its border.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from matloop.drivers.training.sources.source import Extent

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Whole:
    """An array put together.

    Attributes:
        name: of it.
        values: (channels, *places) float32.
        tiles: numbers of the rows that it was cut into.
    """

    name: str
    values: Array
    tiles: npt.NDArray[np.int64]


def wholes(extent: Extent, answers: Iterator[torch.Tensor]) -> Iterator[Whole]:
    """Put arrays together, one after the other; only one is held at a time.

    Args:
        extent: where the tiles lie; all tiles of an array follow each other.
        answers: (channels, *places) of each tile, in the order of the rows. What lies beyond the array is cut off.

    Yields:
        The arrays, in the order of their tiles.
    """
    whole = np.asarray(extent.whole)
    starts = np.flatnonzero(np.diff(whole, prepend=-1)) if len(whole) else np.zeros(0, dtype=np.int64)
    for start, end in zip(starts, [*starts[1:], len(whole)], strict=True):
        rows, number = np.arange(start, end), int(whole[start])
        shape = tuple(int(size) for size in extent.shapes[number])
        yield Whole(extent.wholes[number], _joined(shape, extent.corner[rows], answers), rows)


def _joined(shape: tuple[int, ...], corners: npt.NDArray[np.int64], answers: Iterator[torch.Tensor]) -> Array:
    total, weight = None, np.zeros(shape, np.float32)
    for corner in corners:
        tile = next(answers).numpy()
        inside = [
            slice(int(c), min(int(c) + size, end)) for c, size, end in zip(corner, tile.shape[1:], shape, strict=True)
        ]
        cut = tuple(slice(0, s.stop - s.start) for s in inside)
        window = _window(tile.shape[1:])[cut]
        if total is None:
            total = np.zeros((len(tile), *shape), np.float32)
        total[(slice(None), *inside)] += tile[(slice(None), *cut)] * window
        weight[tuple(inside)] += window
    assert total is not None
    total /= np.maximum(weight, np.finfo(np.float32).tiny, out=weight)
    return np.asarray(total)


def _window(shape: tuple[int, ...]) -> Array:
    """Product of triangles, 1 in the middle and above 0 at the border."""
    found = np.ones((), np.float32)
    for size in shape:
        edge = np.minimum(np.arange(1, size + 1), np.arange(size, 0, -1)).astype(np.float32)
        found = found[..., None] * (edge / edge.max())
    return found
