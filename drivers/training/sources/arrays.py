"""Arrays in one file or store: what an .npz, an HDF5 file and a Zarr group have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.data import not_finite
from matloop.drivers.training.sources.source import New

OF_ROWS = ("ids", "groups", "parts", "time")
"""Arrays that say something of each row."""

_CHANNELS = 4  # most that a last axis is taken for


def turned(x: npt.NDArray[Any], transpose: bool | None, path: Path, kind: str) -> npt.NDArray[Any]:
    """Inputs with channels before the places.

    Args:
        x: (n, ...).
        transpose: whether channels come last; None to refuse x if it looks so.
        path: for messages.
        kind: of the source.

    Raises:
        ValueError: it looks as if channels came last.
    """
    if transpose:
        return np.moveaxis(x, -1, 1)
    if transpose is None and channels_last(x.shape):
        shape = (x.shape[0], x.shape[-1], *x.shape[1:-1])
        raise ValueError(
            f"expected x (n, channels, ...) in {path}, got {x.shape}, which looks as if channels came last; say "
            f"`data: {{kind: {kind}, path: {path.name}, transpose: true}}` for x {shape}, or `transpose: false` to "
            "take it as it is"
        )
    return x


def channels_last(shape: tuple[int, ...]) -> bool:
    """Whether (n, ...) looks like (n, *places, channels): few at the end, and more everywhere before."""
    return len(shape) > 2 and shape[-1] <= _CHANNELS < min(shape[1:-1])


def unused(name: str, array: npt.NDArray[Any], n: int) -> str:
    """What to say of an array that nothing is made of."""
    text = f"the array {name!r} {array.shape} is not used"
    if array.shape == (n,) and array.dtype.kind in "iuUSO" and len(np.unique(array)) < n:
        return f"{text}; if rows with equal values belong together, save it as `groups`"
    return text


def new_rows(x: npt.NDArray[Any], ids: npt.NDArray[Any] | None, path: Path) -> New:
    """Inputs to be predicted; rows with gaps are left out.

    Args:
        x: (n, *input).
        ids: (n,); None to number the rows.
        path: for messages.

    Raises:
        ValueError: it holds no numbers, or no row without gaps.
    """
    if x.ndim < 2 or x.dtype.kind not in "iufb":
        raise ValueError(f"expected real numbers (n, ...) in {path}, got {x.dtype} {x.shape}")
    names = (np.arange(len(x)) if ids is None else ids).astype(np.str_)
    bad = not_finite(x)
    if not len(x) or len(bad) == len(x):
        raise ValueError(f"expected rows of finite numbers in {path}, got none")
    problems = tuple(f"{names[i]}: expected finite numbers, got others; left out" for i in bad)
    return New(np.delete(x, bad, axis=0), np.delete(names, bad), problems) if problems else New(x, names)


def complaint(error: Exception) -> str:
    """What numpy has against a file, without its advice to load what it would rather not."""
    text = str(error) or type(error).__name__
    return "a file that is damaged, or that holds objects" if "pickle" in text else text


def texts(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Text as numpy has it, from bytes or objects; numbers are left as they are."""
    if array.dtype.kind == "O":
        return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in array.ravel()]).reshape(array.shape)
    return np.char.decode(array) if array.dtype.kind == "S" else array


def said(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Of the rows, as arguments of `matloop.drivers.training.data.data`."""
    return {name: texts(np.asarray(arrays[name])) for name in OF_ROWS if name in arrays}
