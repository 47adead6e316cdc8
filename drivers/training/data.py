"""Inputs and targets for training, with what is known of each row: its name, its group, its part, its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from matloop.search_spaces.networks.graph.graphs import Graphs

PARTS = ("train", "validation", "test")
"""What a row may be for; "" where that is left to `split`."""

LARGEST = float(np.finfo(np.float32).max)
"""Networks compute in 32 bits."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Data:
    """n rows, as their source has them: nothing is standardised, and numbers keep their precision.

    Attributes:
        x: (n, *input) numbers of any type, possibly a read-only memory map; or n graphs.
        y: (n, ...) integers where whole numbers or classes were given, else floating-point numbers.
        ids: (n,) str, different ones; what a row is called in the source.
        groups: (n,) int64, equal for rows that belong together (a specimen, a micrograph, a formula); None if unknown.
        group_names: (n, k) str, by which they belong together: rows with a name in common in one of k columns, "" being
            none. None if groups are unknown.
        parts: (n,) str, one of `PARTS` or "" each, where the source decides what a row is for; else None.
        time: (n,) float64, when a row was measured, in any unit; None if unknown.
        names: of the targets or the classes; empty if the source has none.
        problems: rows that were left out, each with file, row and reason; and what else is worth knowing.
        known: what the source learnt from the data and needs to read others of the same kind, JSON-able.
        path: where they are from, for messages.
    """

    x: Array | Graphs
    y: Array
    ids: npt.NDArray[np.str_]
    groups: npt.NDArray[np.int64] | None = None
    group_names: npt.NDArray[np.str_] | None = None
    parts: npt.NDArray[np.str_] | None = None
    time: npt.NDArray[np.float64] | None = None
    names: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    known: Mapping[str, Any] = field(default_factory=dict)
    path: Path = Path()

    def __len__(self) -> int:
        return len(self.y)


def data(
    x: Array | Graphs,
    y: Array,
    *,
    path: Path,
    ids: Sequence[Any] | Array | None = None,
    groups: Sequence[Any] | Array | None = None,
    parts: Sequence[Any] | Array | None = None,
    time: Sequence[Any] | Array | None = None,
    names: Sequence[Any] | Array = (),
    problems: Sequence[str] = (),
    known: Mapping[str, Any] | None = None,
) -> Data:
    """Checked data: texts in y become classes, groups of any kind become numbers, rows without id are numbered.

    Args:
        x: (n, *input) finite numbers, or n graphs.
        y: (n, ...) finite numbers, or (n,) names of classes.
        path: for messages.
        ids: (n,) different ones; None for the number of the row.
        groups: (n,) names or numbers, or (n, k): rows with one of k columns in common are one group, "" being none.
        parts: (n,) of `PARTS`.
        time: (n,) numbers.
        names: of the targets or the classes.
        problems: as `Data`.
        known: as `Data`.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, ids twice, or another part.
    """
    y, names = classes(np.asarray(y), tuple(str(name) for name in names), path)
    n = len(y) if y.ndim else 0
    if len(x.shape) < 2 or y.ndim < 1 or len(x) != n or 0 in x.shape[1:]:
        raise ValueError(f"expected x (n, ...) and y (n, ...) in {path}, got {tuple(x.shape)} and {y.shape}")
    x = x if isinstance(x, Graphs) else _numbers("x", x, path)
    y = _numbers("y", y, path)
    called = None if groups is None else _names(groups, n, path)
    if not n:
        raise ValueError(f"expected rows in {path}, got none that can be used{_first(problems)}")
    return Data(
        x=x,
        y=y,
        ids=_ids(ids, n, path),
        groups=None if called is None else joined(called),
        group_names=called,
        parts=None if parts is None else _parts(_column("parts", parts, n, path), path),
        time=None if time is None else _numbers("time", _column("time", time, n, path), path).astype(np.float64),
        names=names,
        problems=tuple(problems),
        known=dict(known or {}),
        path=path,
    )


def classes(y: Array, names: tuple[str, ...], path: Path) -> tuple[Array, tuple[str, ...]]:
    """Texts as numbers of classes, in the order of `names` or of the alphabet; numbers are left as they are.

    Raises:
        ValueError: a text that is none of the names.
    """
    if y.dtype.kind not in "US":
        return y, names
    texts = y.astype(str)
    found = names or tuple(np.unique(texts).tolist())
    unknown = sorted({*np.unique(texts).tolist()} - {*found})
    if unknown:
        raise ValueError(f"expected the classes {list(found)} of `names` in y of {path}, got {unknown[:5]}")
    places = {name: i for i, name in enumerate(found)}
    return np.vectorize(places.__getitem__, otypes=[np.int64])(texts), found


def numbered(values: Array) -> npt.NDArray[np.int64]:
    """(n,) int64: equal values have equal numbers, from 0 in the order in which they first occur."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[inverse.reshape(-1)]


def joined(names: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    """(n,) numbers of groups of (n, k) names: rows with a name in common in one of the columns are in the same.

    An empty name is none.
    """
    n, pairs = len(names), []
    for column in names.T:
        codes = numbered(column)
        first = np.full(n, -1)
        first[codes[::-1]] = np.arange(n)[::-1]
        pairs.append(np.stack([np.arange(n), np.where(column == "", np.arange(n), first[codes])]))
    rows, others = np.concatenate(pairs, axis=1)
    links = coo_array((np.ones(len(rows)), (rows, others)), shape=(n, n))
    return numbered(connected_components(links, directed=False)[1])


def _names(groups: Sequence[Any] | Array, n: int, path: Path) -> npt.NDArray[np.str_]:
    found = np.asarray(groups)
    if found.ndim < 1 or found.ndim > 2 or len(found) != n:
        raise ValueError(f"expected groups (n,) or (n, k) in {path} with n = {n}, as y has it, got {found.shape}")
    return found.astype(np.str_).reshape(n, -1)


def _ids(ids: Sequence[Any] | Array | None, n: int, path: Path) -> npt.NDArray[np.str_]:
    if ids is None:
        return np.arange(n).astype(np.str_)
    found = _column("ids", ids, n, path).astype(np.str_)
    names, counts = np.unique(found, return_counts=True)
    if len(names) < n:
        raise ValueError(
            f"expected different ids in {path}, got {str(names[counts > 1][0])!r} more than once; an id that several "
            "rows have is a group"
        )
    return found


def _parts(parts: Array, path: Path) -> npt.NDArray[np.str_]:
    found = parts.astype(np.str_)
    if unknown := sorted({*found.tolist()} - {*PARTS, ""}):
        raise ValueError(f"expected parts in {path} to be {', '.join(PARTS)}, got {unknown[:5]}")
    return found


def _column(name: str, values: Sequence[Any] | Array, n: int, path: Path) -> Array:
    column = np.asarray(values)
    if column.shape != (n,):
        raise ValueError(f"expected {name} (n,) in {path} with n = {n}, as y has it, got {column.shape}")
    return column


def _numbers(name: str, array: Array, path: Path) -> Array:
    if array.dtype.kind not in "iufb":
        raise ValueError(f"expected real numbers in {name} of {path}, got {array.dtype}")
    if array.dtype == bool:
        array = array.view(np.uint8)
    bad = not_finite(array)
    if len(bad):
        raise ValueError(
            f"expected finite numbers up to {LARGEST:.1e} in {name} of {path}, got others in {len(bad)} rows, the "
            f"first is row {bad[0]}; leave these rows out"
        )
    if array.flags.writeable:
        array = array.view()
        array.setflags(write=False)
    return array


def not_finite(array: Array) -> npt.NDArray[np.int64]:
    """Rows of (n, ...) numbers that hold something else than finite ones of 32 bits, found a part at a time."""
    if array.dtype.kind != "f" or not array.size:
        return np.zeros(0, dtype=np.int64)
    step = max(len(array) * 2**22 // array.size, 1)
    found = []
    for start in range(0, len(array), step):
        rows = array[start : start + step].reshape(-1, array[0].size)
        good = np.isfinite(rows) if array.dtype.itemsize <= 4 else np.abs(rows) <= LARGEST
        found.append(start + np.flatnonzero(~good.all(axis=1)))
    return np.concatenate(found)


def _first(problems: Sequence[str]) -> str:
    return f"; the first problem of {len(problems)}: {problems[0]}" if problems else ""
