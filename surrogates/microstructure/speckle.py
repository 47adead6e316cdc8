"""Speckle: pixels that stand out from their neighbours, which correlations hardly see and the eye does."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.surrogates.microstructure.arrays import axes


def speckle(labels: npt.NDArray[Any], *, dimensions: int = 2) -> float:
    """Share of pixels that differ from all but at most one of their neighbours, with periodic boundaries.

    Args:
        labels: (..., H, W) or (..., D, H, W), phases. A pixel has four neighbours, a voxel six.
        dimensions: of space, 2 or 3.
    """
    differing = sum(
        (labels != np.roll(labels, step, axis)).astype(np.int64) for axis in axes(dimensions) for step in (1, -1)
    )
    return float(np.mean(differing >= 2 * dimensions - 1))
