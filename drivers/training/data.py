"""Inputs and targets for training: read once in each process, checked, and split the same way for every network."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.drivers.training import graphs
from matloop.orchestrator.randomness import derive
from matloop.search_spaces.networks.graph.graphs import Graphs


@dataclass(frozen=True, slots=True)
class Data:
    """Inputs and targets as the file has them.

    Attributes:
        x: (n, *input) float32, or n graphs.
        y: (n, ...) int64 if whole numbers were saved, else float64.
        names: of the targets or the classes; empty if the file has none.
        path: where they are from, for messages.
    """

    x: npt.NDArray[np.float32] | Graphs
    y: npt.NDArray[Any]
    names: tuple[str, ...]
    path: Path


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of the three parts, (k,) int64 each, disjoint."""

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]


def load(path: Path) -> Data:
    """Read an .npz with `x` or the arrays of graphs, `y` and, if it likes, `names`; one that did not change only once.

    Raises:
        ValueError: the file lacks an array, or one has a wrong shape or values that are not finite.
        FileNotFoundError: there is no such file.
    """
    try:
        state = path.stat()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"expected training data in {path}, found no such file; correct `data`") from error
    return _load(path, state.st_mtime_ns, state.st_size)


def rows(path: Path) -> int | None:
    """Number of points in an .npz, read from the header of its y; None where `load` would find something amiss."""
    try:
        with zipfile.ZipFile(path) as file, file.open("y.npy") as y:
            version = np.lib.format.read_magic(y)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, _ = read(y)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    return int(shape[0]) if shape else None


def split(n: int, shares: tuple[float, float, float], seed: int) -> Split:
    """Random parts in the given shares, the same for the same n, shares and seed.

    Raises:
        ValueError: too few points for two to train on, one to validate with and one to test.
    """
    first, second = round(n * shares[0]), round(n * (shares[0] + shares[1]))
    rows = derive("split", seed).permutation(n)[: round(n * sum(shares))]
    parts = Split(train=rows[:first], validation=rows[first:second], test=rows[second:])
    if len(parts.train) < 2 or len(parts.validation) < 1 or len(parts.test) < 1:
        raise ValueError(
            f"expected enough data for 2 points to train on, 1 to validate with and 1 to test, got {n} in shares "
            f"{list(shares)}; add data or change `split`"
        )
    return parts


@lru_cache(maxsize=2)
def _load(path: Path, mtime_ns: int, size: int) -> Data:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, npt.NDArray[Any]] = {name: file[name] for name in file.files}
    except (ValueError, zipfile.BadZipFile, AttributeError) as error:
        raise ValueError(f"expected {path} to be an .npz of plain arrays x and y, got: {error}") from error
    y = _required("y", arrays, path)
    names = tuple(str(name) for name in arrays.get("names", ()))
    whole = np.issubdtype(y.dtype, np.integer) or y.dtype == bool
    x: npt.NDArray[np.float32] | Graphs
    if "nodes" in arrays:
        x = graphs.read(arrays, path)
    else:
        x = _numbers("x", _required("x", arrays, path), np.float32, path)
    if len(x.shape) < 2 or y.ndim < 1 or len(x) != len(y):
        raise ValueError(f"expected x (n, ...) and y (n, ...) in {path}, got {x.shape} and {y.shape}")
    return Data(x, _numbers("y", y, np.int64 if whole else np.float64, path), names, path)


def _required(name: str, arrays: dict[str, npt.NDArray[Any]], path: Path) -> npt.NDArray[Any]:
    if name not in arrays:
        raise ValueError(
            f"expected arrays x and y in {path}, got {sorted(arrays)}; save it with np.savez(path, x=x, y=y)"
        )
    return arrays[name]


def _numbers(name: str, array: npt.NDArray[Any], dtype: type, path: Path) -> npt.NDArray[Any]:
    if not np.issubdtype(array.dtype, np.number) and array.dtype != bool:
        raise ValueError(f"expected numbers in {name} of {path}, got {array.dtype}")
    array = array.astype(dtype)
    bad = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
    if len(bad):
        raise ValueError(f"expected finite {name} in {path}, got {len(bad)} rows that are not, the first is {bad[0]}")
    array.setflags(write=False)
    return array
