"""Clusters: connected pieces of a phase, and how probable it is that two points lie in the same one (C2).

Source: Torquato, Beasley & Chiew, J. Chem. Phys. 88 (1988) 6540.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.surrogates.microstructure.arrays import axes
from matloop.surrogates.microstructure.runs import hard
from matloop.surrogates.microstructure.two_point import two_point_correlation

SMALL = 24
"""Clusters of up to so many pixels are counted pair by pair, which is faster than a transform of the whole picture."""


def clusters(
    phase: npt.NDArray[Any], *, periodic: bool = True, diagonal: bool = False
) -> tuple[npt.NDArray[np.int64], int]:
    """Label the connected pieces of a phase.

    Args:
        phase: (H, W) or (D, H, W), 0 or 1.
        periodic: whether pieces go on at the other border.
        diagonal: whether pixels that meet in a corner only (in 3-D also along an edge only) are connected.

    Returns:
        Labels from 1 on, 0 outside the phase, int64, and the number of pieces.
    """
    from scipy import ndimage

    inside = hard(phase, phase.ndim)
    neighbours = ndimage.generate_binary_structure(phase.ndim, phase.ndim if diagonal else 1)
    labels, n = ndimage.label(inside, neighbours)
    return _merged(labels.astype(np.int64), n, diagonal) if periodic else (labels.astype(np.int64), int(n))


def cluster_function(
    phase: npt.NDArray[Any], *, dimensions: int = 2, periodic: bool = True, diagonal: bool = False
) -> npt.NDArray[np.float64]:
    """Probability that two pixels a given lag apart lie in one and the same connected piece of the phase.

    Args:
        phase: (..., H, W) or (..., D, H, W), 0 or 1.
        dimensions: of space, 2 or 3.
        periodic: whether the picture is a unit cell.
        diagonal: as `clusters`.

    Returns:
        (..., H, W) or (..., D, H, W) float64, by lag as `two_point_correlation` orders them.
    """
    inside = hard(phase, dimensions)
    shape = inside.shape[inside.ndim - dimensions :]
    flat = inside.reshape(-1, *shape)
    found = [_of_one(one, periodic, diagonal) for one in flat]
    return np.stack(found).reshape(inside.shape) if len(flat) else np.zeros(inside.shape)


def _of_one(phase: npt.NDArray[np.bool_], periodic: bool, diagonal: bool) -> npt.NDArray[np.float64]:
    labels, n = clusters(phase, periodic=periodic, diagonal=diagonal)
    sizes = np.bincount(labels.ravel(), minlength=n + 1)
    pairs = np.zeros(phase.shape)
    order = np.argsort(labels, axis=None, kind="stable")[sizes[0] :]
    places = np.stack(np.unravel_index(order, phase.shape), axis=1)
    small = [one for one in np.split(places, np.cumsum(sizes[1:])[:-1]) if 0 < len(one) <= SMALL]
    if small:
        lags = np.concatenate([(one[None, :] - one[:, None]).reshape(-1, phase.ndim) for one in small])
        if not periodic:
            lags = lags[(lags >= [-(s // 2) for s in phase.shape]).all(axis=1)]
            lags = lags[(lags < [s - s // 2 for s in phase.shape]).all(axis=1)]
        np.add.at(pairs, tuple((lags % phase.shape).T), 1.0)
    possible = _possible(phase.shape, periodic)
    total: npt.NDArray[np.float64] = pairs / possible
    for label in np.flatnonzero(sizes[1:] > SMALL) + 1:
        total += two_point_correlation((labels == label).astype(float), dimensions=phase.ndim, periodic=periodic)
    return total


def _possible(shape: tuple[int, ...], periodic: bool) -> npt.NDArray[np.float64]:
    """Pairs of pixels by lag."""
    if periodic:
        return np.full(shape, float(np.prod(shape)))
    found = np.ones(shape)
    for axis, n in zip(axes(len(shape)), shape, strict=True):
        lag = np.minimum(np.arange(n), n - np.arange(n))
        found *= (n - lag).reshape(-1, *(1,) * (-axis - 1))
    return found


def _merged(labels: npt.NDArray[np.int64], n: int, diagonal: bool) -> tuple[npt.NDArray[np.int64], int]:
    """One label for pieces that meet across a border."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    met = [_across(labels, axis, shift) for axis in range(labels.ndim) for shift in _shifts(labels.ndim, diagonal)]
    first, second = np.concatenate(met, axis=1)
    both = (first > 0) & (second > 0)
    graph = coo_array((np.ones(both.sum()), (first[both], second[both])), shape=(n + 1, n + 1))
    count, merged = connected_components(graph, directed=False)
    pieces = np.zeros(n + 1, dtype=np.int64)
    pieces[1:] = 1 + np.unique(merged[1:], return_inverse=True)[1]
    return pieces[labels], int(count - 1)


def _shifts(dimensions: int, diagonal: bool) -> list[tuple[int, ...]]:
    """Sideways steps between pixels that meet across a border."""
    if not diagonal:
        return [(0,) * (dimensions - 1)]
    return [tuple(int(i) - 1 for i in index) for index in np.ndindex((3,) * (dimensions - 1))]


def _across(labels: npt.NDArray[np.int64], axis: int, shift: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """(2, m): labels of pixels on both sides of the border across an axis."""
    last, first = labels.take(-1, axis), labels.take(0, axis)
    return np.stack([last.ravel(), np.roll(first, shift, tuple(range(first.ndim))).ravel()])
