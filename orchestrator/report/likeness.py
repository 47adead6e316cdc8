"""How like random structures one is: correlations, paths, volume fraction, specks and smallest features.

Whoever makes a material from a design wants to know whether the process behind the data could have made it. A range
holds 95 % of the random structures, as the limits do that strategies of design keep by default: of the volume fraction
the middle, of all else the end that is no fault. How far correlations or paths are from the mean of the random
structures is a distance, of which only the upper limit matters; each random structure's own is to the mean of the
others. Both are freed from the volume fraction φ, which differs much between small structures and would hide all else:
two-point correlations S2 as (S2 - φ²) / (φ - φ²), lineal paths L as L / φ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.report.structures import Labels

LEAST, MOST = 20, 200
"""Random structures that a range is taken from, and that are looked at."""

LOW, HIGH = 0.05, 0.95
"""Quantiles between which the band of a curve lies."""

HELD = 0.95
"""Share of the random structures within a range, at least."""

LITTLE = 1e-9

TINY = 1e-6
"""Least variance, and share, of a phase that statistics are divided by."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """A statistic over lags.

    Attributes:
        lags: (k,) pixels.
        best: (k,) of the structure.
        random: (n, k) of random ones.
    """

    lags: Array
    best: Array
    random: Array

    @property
    def band(self) -> tuple[Array, Array]:
        """(k,) each: between which 90 % of random structures lie."""
        low, high = np.quantile(self.random, [LOW, HIGH], axis=0)
        return low, high

    @property
    def outside(self) -> int:
        """At how many lags the structure lies outside the band, but for rounding."""
        return int(self._outside(self.best))

    @property
    def outlying(self) -> bool:
        """Whether it does at more lags than 95 % of the random structures do."""
        return self.outside > float(np.quantile(self._outside(self.random), HIGH))

    def _outside(self, curves: Array) -> Array:
        low, high = self.band
        return np.asarray(np.sum((curves < low - LITTLE) | (curves > high + LITTLE), axis=-1))


@dataclass(frozen=True, slots=True)
class Figure:
    """A statistic that is one number.

    Attributes:
        name: in words.
        best: of the structure.
        low: of the range; None where small is no fault.
        high: of the range; None where large is none.
        pixels: whether it is a length.
    """

    name: str
    best: float
    low: float | None
    high: float | None
    pixels: bool = False

    @property
    def within(self) -> bool:
        """Whether it lies in the range, but for rounding."""
        little = LITTLE * max(1.0, abs(self.best))
        above = self.low is None or self.best >= self.low - little
        return above and (self.high is None or self.best <= self.high + little)


@dataclass(frozen=True, slots=True)
class Likeness:
    """Of a structure to random ones, by its phase 1."""

    correlation: Curve
    path: Curve
    figures: tuple[Figure, ...]
    random: int


def likeness(best: Labels, random: Sequence[Labels]) -> Likeness | None:
    """Compare.

    Args:
        best: (H, W) or (D, H, W).
        random: others; those of the same shape count.

    Returns:
        None where there are fewer than `LEAST` of them, or a side is one pixel long and nothing can correlate.
    """
    from matloop.surrogates.microstructure.two_point import without_fraction

    alike = [one for one in random if one.shape == best.shape][:MOST]
    if len(alike) < LEAST or min(best.shape) < 2:
        return None
    phases = np.stack([best, *alike]) == 1
    share = phases.reshape(len(phases), -1).mean(axis=1)
    correlation = without_fraction(phases.astype(np.float64), dimensions=phases.ndim - 1)
    paths = _paths(phases, share)
    rings, lags = _by_length(correlation)
    steps = np.arange(paths.shape[1], dtype=np.float64)
    return Likeness(
        correlation=Curve(lags, rings[0], rings[1:]),
        path=Curve(steps, paths[0], paths[1:]),
        figures=tuple(_figures(phases, share, correlation, paths)),
        random=len(alike),
    )


def _by_length(correlation: Array) -> tuple[Array, Array]:
    """(n, k) means over directions, and (k,) the lags' lengths in pixels, up to half of the shortest side."""
    shape = correlation.shape[1:]
    steps = [np.minimum(np.arange(n), n - np.arange(n)) for n in shape]
    lengths = np.sqrt(sum(np.square(one) for one in np.ix_(*steps))).ravel()
    rings = np.rint(lengths).astype(np.int64)
    inside = rings <= min(shape) // 2
    counts = np.bincount(rings[inside])
    flat = correlation.reshape(len(correlation), -1)[:, inside]
    means = np.stack([np.bincount(rings[inside], weights=one) for one in flat]) / counts
    return means, np.bincount(rings[inside], weights=lengths[inside]) / counts


def _paths(phases: npt.NDArray[np.bool_], share: Array) -> Array:
    """(n, k) averaged over the axes, by lag up to half of the shortest side."""
    from matloop.surrogates.microstructure.lineal_path import lineal_path

    found = lineal_path(phases, dimensions=phases.ndim - 1, longest=max(1, min(phases.shape[1:]) // 2))
    return np.asarray(found.mean(axis=-2) / np.maximum(share, TINY)[:, None])


def _figures(phases: npt.NDArray[np.bool_], share: Array, correlation: Array, paths: Array) -> list[Figure]:
    from matloop.surrogates.microstructure.features import smallest_feature
    from matloop.surrogates.microstructure.speckle import speckle

    def each(of: Callable[[npt.NDArray[np.bool_]], float]) -> Array:
        return np.array([of(one) for one in phases], dtype=np.float64)

    dimensions = phases.ndim - 1
    return [
        _figure("volume fraction", share),
        _figure("two-point distance", _distances(correlation), low=False),
        _figure("lineal path distance", _distances(paths), low=False),
        _figure("speckle", each(lambda one: float(speckle(one, dimensions=dimensions))), low=False),
        _figure("smallest feature", each(smallest_feature), high=False, pixels=True),
        _figure("smallest gap", each(lambda one: smallest_feature(~one)), high=False, pixels=True),
    ]


def _figure(name: str, values: Array, *, low: bool = True, high: bool = True, pixels: bool = False) -> Figure:
    """Of the structure, which comes first, and the range of the others."""
    beyond = (1 - HELD) / (low + high)
    least = float(np.quantile(values[1:], beyond, method="lower"))
    most = float(np.quantile(values[1:], 1 - beyond, method="higher"))
    return Figure(name, float(values[0]), least if low else None, most if high else None, pixels)


def _distances(curves: Array) -> Array:
    """(n,) root mean square from the mean of the random ones, of which the first row is none, over that of the mean."""
    curves = curves.reshape(len(curves), -1)
    random, n = curves[1:], len(curves) - 1
    total = random.sum(axis=0)
    means = np.concatenate([[total / n], (total - random) / (n - 1)])
    size = np.sqrt(np.mean(np.square(total / n)))
    return np.asarray(np.sqrt(np.mean(np.square(curves - means), axis=1)) / (size or 1.0))
