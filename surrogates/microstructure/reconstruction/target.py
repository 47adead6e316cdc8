"""What a reconstruction has to match: correlations and lineal paths of a micrograph, and its volume fractions.

A volume is held to the statistics of a plane in each of its three directions, as isotropic materials have them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.surrogates.microstructure.lineal_path import lineal_path
from matloop.surrogates.microstructure.phases import indicators
from matloop.surrogates.microstructure.two_point import material_correlation, within

Floats = npt.NDArray[np.float64]

NEIGHBOURS = 0.2
"""Share of the lags' weight that those to the nearest pixels have while pixels are exchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is to be matched, for a periodic structure of a given shape.

    Attributes:
        shape: of the structure, (H, W) or (D, H, W).
        counts: pixels that each phase shall have.
        pairs: phases from and to which correlations are matched: all pairs, or phase 1 alone of two phases, since
            the others follow from it.
        correlations: (pairs, *shape), by lag, float32.
        lags: (pairs, *shape), how much each lag counts: 0 where the micrograph has no such lag, and else such that the
            sum of squared errors is relative to the covariances of the micrograph.
        paths: (k, dimensions, longest + 1), lineal paths of the phases along each axis.
    """

    shape: tuple[int, ...]
    counts: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    correlations: npt.NDArray[np.float32]
    lags: npt.NDArray[np.float32]
    paths: Floats

    @property
    def phases(self) -> int:
        """Number k of phases."""
        return len(self.counts)


def target_of(micrograph: npt.NDArray[Any], shape: tuple[int, ...], *, periodic: bool) -> Target:
    """Statistics of a micrograph, for a structure of a shape.

    Args:
        micrograph: (H, W) or (D, H, W) of 0, 1, …, k - 1.
        shape: of the structure: with as many axes, or (D, H, W) for a micrograph (H, W).
        periodic: whether the micrograph is a unit cell; else nothing is taken to go on at its borders.
    """
    k = 1 + int(micrograph.max())
    pairs = tuple(combinations_with_replacement(range(k), 2)) if k > 2 else ((1, 1),)
    phases = indicators(micrograph, k)
    each = [material_correlation(phases[a], phases[b], dimensions=micrograph.ndim, periodic=periodic) for a, b in pairs]
    found, known = np.stack([correlation for correlation, _ in each]), each[0][1]
    paths = np.stack([_path(micrograph == phase, shape, periodic) for phase in range(k)])
    if len(shape) == micrograph.ndim:
        correlations, lags = _placed(found, known, shape)
    else:
        correlations, lags = _in_planes(found, known, shape)
        paths = np.repeat(paths.mean(axis=1, keepdims=True), 3, axis=1)
    far = [phases[a].mean() * phases[b].mean() for a, b in pairs]
    covariances = correlations - np.reshape(far, (-1, *(1,) * len(shape)))
    weights = lags * np.reshape([1 if a == b else 2 for a, b in pairs], (-1, *(1,) * len(shape)))
    return Target(
        shape=shape,
        counts=whole_counts([(micrograph == phase).mean() for phase in range(k)], int(np.prod(shape))),
        pairs=pairs,
        correlations=correlations.astype(np.float32),
        lags=(weights / (weights * np.square(covariances)).sum()).astype(np.float32),
        paths=paths,
    )


def with_neighbours(target: Target) -> Target:
    """A target in which the lags to the nearest pixels, diagonal ones included, count for NEIGHBOURS of all lags.

    They hold how much interface there is and how frayed it is, which the eye sees at once, and are a few among
    thousands of lags.
    """
    lags = target.lags.copy()
    near = np.ix_(*[[-1, 0, 1]] * len(target.shape))
    for weights in lags:
        block = weights[near]
        block.flat[block.size // 2] = 0.0  # lag 0 is the volume fraction
        if block.any():
            weights[near] += block * (NEIGHBOURS / (1 - NEIGHBOURS) * weights.sum() / block.sum())
    return replace(target, lags=lags)


def whole_counts(shares: list[float], total: int) -> tuple[int, ...]:
    """Whole numbers with a given sum, nearest to shares of it (largest remainders)."""
    exact = np.asarray(shares) * total
    counts = np.floor(exact + 1e-9).astype(int)
    for k in np.argsort(counts - exact, kind="stable")[: total - counts.sum()]:
        counts[k] += 1
    return tuple(int(count) for count in counts)


def _path(phase: npt.NDArray[np.bool_], shape: tuple[int, ...], periodic: bool) -> Floats:
    longest = max(min(*phase.shape, *shape) // 2 - 1, 0)
    return lineal_path(phase, dimensions=phase.ndim, periodic=periodic, longest=longest)


def _placed(correlation: Floats, known: Floats, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Correlations by the lags of another shape, and how well these are known."""
    n = len(shape)
    both = tuple(map(min, zip(shape, correlation.shape[-n:], strict=True)))
    lags = [np.rint(np.fft.fftfreq(b, 1 / b)).astype(int) for b in both]
    at: tuple[Any, ...] = np.ix_(*[lag % s for lag, s in zip(lags, shape, strict=True)])
    placed, weights = np.zeros((*correlation.shape[:-n], *shape)), np.zeros(shape)
    placed[(..., *at)] = within(correlation, both)
    weights[at] = within(known, both)
    for axis, (b, s) in enumerate(zip(both, shape, strict=True)):
        if b < s and b % 2 == 0:  # of the lags -b / 2 and b / 2 only one is known
            weights[(slice(None),) * axis + (-b // 2 % s,)] = 0.0
    return placed, weights


def _in_planes(correlation: Floats, known: Floats, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Correlations of a plane at the lags within the three planes of a volume, the same in all directions."""
    side = min(correlation.shape[-2:])
    square, known = (within(a, (side, side)) for a in (correlation, known))
    square = (square + square.swapaxes(-1, -2)) / 2
    for axis in (-2, -1):
        square = (square + np.roll(np.flip(square, axis), 1, axis)) / 2
    total, weights = np.zeros((*correlation.shape[:-2], *shape)), np.zeros(shape)
    for normal in range(3):
        sides = tuple(n for axis, n in enumerate(shape) if axis != normal)
        placed, here = _placed(square, known, sides)
        at: tuple[Any, ...] = tuple(0 if axis == normal else slice(None) for axis in range(3))
        total[(..., *at)] += placed * here
        weights[at] += here
    return total / np.where(weights > 0, weights, 1), weights
