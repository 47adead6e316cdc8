"""Classes as numbers from 0 without gaps, whatever numbers they were given in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MANY = 50
"""Classes from which on it is asked whether they are meant to be."""


def numbered_classes(
    y: npt.NDArray[Any], names: tuple[str, ...], path: Path
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Numbers of the classes from 0 and their names; without names, a class is called by the number that it had.

    Args:
        y: (n, ...) whole numbers, 0 or above.
        names: of the classes, in the order of their numbers; empty if there are none.
        path: for messages.

    Raises:
        ValueError: other numbers, or next to as many classes as rows.
    """
    codes = y.astype(np.int64)
    if not np.array_equal(codes, y) or codes.min() < 0 or (names and codes.max() >= max(len(names), 2)):
        high = f" to {max(len(names), 2) - 1}, one for each class in `names`" if names else ", one for each class"
        raise ValueError(
            f"expected y in {path} to be whole numbers from 0{high}, got {np.unique(y)[:8].tolist()}; "
            "use `task: regression` for numbers that are no classes"
        )
    if names:
        return codes, names
    values = np.unique(codes)
    if len(values) >= MANY and 2 * len(values) > len(y):
        raise ValueError(
            f"expected classes in y of {path}, got {len(values)} different numbers in {len(y)} rows; use "
            "`task: regression` for numbers that are no classes"
        )
    if len(values) == 1:  # a network needs two outputs
        values = np.array([0, 1]) if values[0] == 0 else np.append(values, values[0] + 1)
    if len(values) != values[-1] + 1:
        codes = np.searchsorted(values, codes)
    return codes, tuple(str(value) for value in values)
