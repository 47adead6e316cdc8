"""Classes as numbers from 0 without gaps, whatever numbers they were given in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MANY = 50
"""Classes from which on it is asked whether they are meant to be."""

_SMALL = 2**16  # numbers that are counted rather than sorted
_CHUNK = 2**22
_BYTE = 256


def numbered_classes(
    y: npt.NDArray[Any], names: tuple[str, ...], path: Path
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Numbers of the classes from 0 and their names; without names, a class is called by the number that it had.

    Args:
        y: (n, ...) whole numbers, 0 or above.
        names: of the classes, in the order of their numbers; empty if there are none.
        path: for messages.

    Returns:
        (n, ...) integers, y itself if there is nothing to change; and at least two names.

    Raises:
        ValueError: other numbers, or next to as many classes as rows.
    """
    whole = y.dtype.kind in "iub" or np.array_equal(y.astype(np.int64), y)
    if not whole or y.min() < 0 or (names and y.max() >= max(len(names), 2)):
        high = f" to {max(len(names), 2) - 1}, one for each class in `names`" if names else ", one for each class"
        raise ValueError(
            f"expected y in {path} to be whole numbers from 0{high}, got {np.unique(y)[:8].tolist()}; "
            "use `task: regression` for numbers that are no classes"
        )
    codes = y if y.dtype.kind in "iu" else y.astype(np.int64)
    if names:
        return codes, names if len(names) > 1 else (*names, f"not {names[0]}")
    values = _values(codes)
    if len(values) >= MANY and 2 * len(values) > len(y):
        raise ValueError(
            f"expected classes in y of {path}, got {len(values)} different numbers in {len(y)} rows; use "
            "`task: regression` for numbers that are no classes"
        )
    if len(values) == 1:  # a network needs two outputs
        values = np.array([0, 1]) if values[0] == 0 else np.append(values, values[0] + 1)
    if len(values) != values[-1] + 1:
        codes = _renumbered(codes, values)
    return codes, tuple(str(value) for value in values)


def _renumbered(codes: npt.NDArray[Any], values: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Places of the codes among the values, a part at a time."""
    found = np.empty(codes.shape, dtype=np.uint8 if len(values) <= _BYTE else np.int64)
    step = max(_CHUNK * len(codes) // codes.size, 1)
    for start in range(0, len(codes), step):
        found[start : start + step] = np.searchsorted(values, codes[start : start + step])
    return found


def _values(codes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Numbers that occur, in order."""
    if codes.size < _CHUNK or codes.max() >= _SMALL:
        return np.unique(codes).astype(np.int64)
    counts = np.zeros(_SMALL, dtype=np.int64)
    step = max(_CHUNK * len(codes) // codes.size, 1)
    for start in range(0, len(codes), step):
        counts += np.bincount(codes[start : start + step].ravel(), minlength=_SMALL)
    return np.flatnonzero(counts)
