"""Label maps as phases: one indicator for each label, and whether a map is one at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MOST = 8
"""Phases of a label map; more of them are grey values that nobody has put a threshold to."""

Labels = npt.NDArray[np.uint8]


def indicators(labels: npt.NDArray[Any], phases: int) -> npt.NDArray[np.float64]:
    """Indicators of the phases 0, 1, …, k - 1.

    Args:
        labels: (..., H, W) or (..., D, H, W).
        phases: their number k.

    Returns:
        (k, ..., H, W) float64 of 0 and 1.
    """
    return np.stack([labels == k for k in range(phases)]).astype(np.float64)


def loaded(path: Path) -> npt.NDArray[Any]:
    """The array of a NumPy file.

    Raises:
        ValueError: it holds none, or one of Python objects.
        OSError: it cannot be read.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except EOFError as error:
        raise ValueError("expected an array, got an empty file") from error
    if not isinstance(found, np.ndarray):
        raise ValueError("expected one array (.npy), got an archive of several (.npz)")
    return found


def label_map(values: npt.NDArray[Any]) -> Labels:
    """A label map of the phases 0, 1, …, k - 1 from one with any values, which are numbered in rising order.

    Args:
        values: (H, W) or (D, H, W), bool, int or float.

    Returns:
        As `values`, uint8.

    Raises:
        ValueError: it has another shape, values that are not finite, one phase only, or more than MOST.
    """
    given = np.asarray(values)
    if given.ndim not in (2, 3) or not given.size:
        raise ValueError(f"expected a label map of shape (H, W) or (D, H, W), got {given.shape}")
    if given.dtype.kind not in "biuf" or not np.isfinite(given).all():
        raise ValueError("expected labels that are finite numbers")
    found, labels = np.unique(given, return_inverse=True)
    if not 2 <= len(found) <= MOST:
        raise ValueError(
            f"expected a label map of 2 to {MOST} phases, got {len(found)} different values; give thresholds for "
            "grey values"
        )
    return labels.reshape(given.shape).astype(np.uint8)


def cut(values: npt.NDArray[Any], thresholds: list[float] | tuple[float, ...]) -> Labels:
    """Grey values as phases: 0 up to the first threshold, 1 above it, 2 above the second, and so on.

    Raises:
        ValueError: thresholds do not rise, values are not finite, or one phase has no pixels.
    """
    if not thresholds or not np.isfinite(thresholds).all() or list(thresholds) != sorted(set(thresholds)):
        raise ValueError(f"expected thresholds that rise, such as [100, 180], got {list(thresholds)}")
    given = np.asarray(values)
    if given.dtype.kind not in "biuf" or not np.isfinite(given).all():
        raise ValueError("expected grey values that are finite numbers")
    labels = np.digitize(given.astype(np.float64), thresholds, right=True).astype(np.uint8)
    counts = np.bincount(labels.ravel(), minlength=len(thresholds) + 1)
    if not counts.all():
        raise ValueError(
            f"expected pixels on both sides of each threshold, got phases of {counts.tolist()} pixels at thresholds "
            f"{list(thresholds)}; the values go from {np.min(values):g} to {np.max(values):g}"
        )
    return labels
