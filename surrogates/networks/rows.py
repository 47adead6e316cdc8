"""Rows of an array of any size and type, perhaps on disk: read and converted batch by batch, never as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from matloop.search_spaces.networks.graph.graphs import Graphs

Convert = Callable[[torch.Tensor], torch.Tensor]

_RESIDENT = 2 * 2**30  # bytes of raw rows that are kept on a GPU
_VALUES, _CPU_VALUES = 2**20, 2**17
"""Of a chunk's inputs; the maps of a layer take some fifty times as much. On a CPU, maps that leave its cache made a
prediction of 64 x 64 images five times as long."""

_MOST = 1024  # rows of a chunk
_KNOWN = {np.dtype(name) for name in ("u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "?")}
"""Types of arrays that torch computes with."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of an array, as a network or a loss takes them.

    Attributes:
        array: (N, ...) numbers of any type, such as a read-only memory map.
        numbers: (n,) int64, which rows; n is the length.
        convert: from a batch as the array has it, on the device, to what is used.
        held: (n, ...) the rows on a GPU, as the array has them; None where they are read from the array.
    """

    array: npt.NDArray[Any]
    numbers: npt.NDArray[np.int64]
    convert: Convert
    held: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, ...) of the array's rows, before they are converted."""
        return len(self), *self.array.shape[1:]

    def take(self, index: torch.Tensor | slice, device: str | torch.device) -> torch.Tensor:
        """Converted rows on a device; index numbers the n rows."""
        if self.held is not None:
            return self.convert(self.held[index.to(self.held.device) if isinstance(index, torch.Tensor) else index])
        chosen = self.numbers[index.numpy() if isinstance(index, torch.Tensor) else index]
        batch = _tensor(self.array[chosen])
        if torch.device(device).type == "cuda":
            return self.convert(batch.pin_memory().to(device, non_blocking=True))
        return self.convert(batch.to(device))

    def to(self, device: str | torch.device) -> Rows:
        """The same; with the rows on a GPU, if that is the device and they are not too many."""
        size = self.array.dtype.itemsize * int(np.prod(self.shape))
        if torch.device(device).type != "cuda" or size > _RESIDENT:
            return self
        return replace(self, held=_tensor(self.array[self.numbers]).to(device))


Inputs = torch.Tensor | Graphs | Rows
"""What a network is trained on: n examples in memory, n graphs, or rows that are read when they are needed."""


def take(x: Any, index: torch.Tensor | slice, device: str | torch.device) -> Any:
    """Examples of any kind of inputs, on a device; tensors and graphs are there already."""
    if isinstance(x, Rows):
        return x.take(index, device)
    return x[index.to(device) if isinstance(index, torch.Tensor) else index]


def chunks(x: Inputs, device: str | torch.device, size: int | None = None) -> Iterator[Any]:
    """All examples in order, so many at a time that a network's maps fit into memory; or in chunks of a size."""
    values = int(np.prod(x.shape[1:])) if not isinstance(x, Graphs) else 1024
    most = _CPU_VALUES if torch.device(device).type == "cpu" else _VALUES
    step = size or max(min(most // max(values, 1), _MOST), 1)
    for start in range(0, len(x), step):
        yield take(x, slice(start, start + step), device)


def _tensor(batch: npt.NDArray[Any]) -> torch.Tensor:
    batch = np.ascontiguousarray(batch)
    return torch.from_numpy(batch if batch.dtype in _KNOWN else batch.astype(np.float32))
