"""Nearest amounts with a given sum: Euclidean projection onto a simplex with limits, exact or in whole units."""

from __future__ import annotations

import numpy as np

from matloop.orchestrator.protocols import Array


def project(aim: Array, low: Array, high: Array, total: float) -> Array:
    """The x nearest to `aim` with low <= x <= high and a sum of `total`.

    x = clip(aim − λ, low, high), where λ solves a piecewise linear equation; its corners are sorted.

    Args:
        aim: (s,) float64.
        low: (s,) float64.
        high: (s,) float64, >= low.
        total: between the sums of low and of high.

    Returns:
        (s,) float64.
    """
    corners = np.sort(np.concatenate([aim - high, aim - low]))
    sums = np.minimum(np.maximum(aim - corners[:, None], low), high).sum(axis=1)  # falls along the corners
    last = int(np.searchsorted(-sums, -total, side="left"))
    if last == 0:
        return high.copy()
    if last == len(corners):
        return low.copy()
    left, right, above, below = corners[last - 1], corners[last], sums[last - 1], sums[last]
    share = (above - total) / (above - below)
    nearest: Array = np.minimum(np.maximum(aim - (left + share * (right - left)), low), high)
    return nearest


def project_whole(aim: Array, low: Array, high: Array, total: int) -> Array:
    """As `project`, in whole numbers.

    The squared distance is a sum of convex functions of one amount each, so moving single units while that helps ends
    at the nearest (Ibaraki & Katoh, Resource Allocation Problems, 1988).

    Args:
        aim: (s,) float64.
        low: (s,) float64, whole numbers.
        high: (s,) float64, whole numbers, >= low.
        total: between their sums.

    Returns:
        (s,) float64, whole numbers.
    """
    x = np.clip(np.round(project(aim, low, high, total)), low, high)
    while True:
        up = np.where(x < high, 2 * (x - aim) + 1, np.inf)  # change of the squared distance by one unit more
        down = np.where(x > low, 2 * (aim - x) + 1, np.inf)
        more, fewer = int(np.argmin(up)), int(np.argmin(down))
        excess = x.sum() - total
        if excess < 0:
            x[more] += 1
        elif excess > 0:
            x[fewer] -= 1
        elif up[more] + down[fewer] < -1e-9:
            x[more] += 1
            x[fewer] -= 1
        else:
            return x
