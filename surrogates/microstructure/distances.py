"""How far microstructures are from each other, pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def pairwise_distances(phase: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Shares of pixels in which two-phase microstructures differ.

    Args:
        phase: (n, H, W) or (n, D, H, W), 0 or 1.

    Returns:
        (n, n) float64 in [0, 1]; the diagonal is 0.
    """
    sign = 2.0 * phase.reshape(len(phase), -1) - 1.0
    distances: npt.NDArray[np.float64] = 0.5 - 0.5 * (sign @ sign.T) / sign.shape[1]
    return distances
