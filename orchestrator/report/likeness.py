"""How like random structures one is: correlations, paths, volume fraction, specks and smallest features.

Whoever makes a material from a design wants to know whether the process behind the data could have made it. A range holds
5–95 % of the random structures. How far correlations or paths are from the mean of the random structures is a distance,
of which only the upper limit matters; each random structure's own is to the mean of the others.
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


@dataclass(frozen=True, slots=True)
class Figure:
    """A statistic that is one number.

    Attributes:
        name: in words.
        best: of the structure.
        low: 5 % of random structures are below; None where small is no fault.
        high: 5 % are above; None where large is none.
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
        little = 1e-9 * max(1.0, abs(self.best))
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
        None where there are fewer than `LEAST` of them.
    """
    alike = [one for one in random if one.shape == best.shape][:MOST]
    if len(alike) < LEAST:
        return None
    phases = np.stack([best, *alike]) == 1
    correlation, lags = _correlations(phases)
    path = _paths(phases)
    steps = np.arange(path.shape[1], dtype=np.float64)
    return Likeness(
        correlation=Curve(lags, correlation[0], correlation[1:]),
        path=Curve(steps, path[0], path[1:]),
        figures=tuple(_figures(phases, correlation, path)),
        random=len(alike),
    )


def _correlations(phases: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """(n, k) two-point correlations averaged over directions, and (k,) their lags in pixels."""
    from matloop.surrogates.microstructure.two_point import two_point_correlation

    shape = phases.shape[1:]
    whole = two_point_correlation(phases.astype(np.float64), dimensions=len(shape)).reshape(len(phases), -1)
    steps = [np.minimum(np.arange(n), n - np.arange(n)) for n in shape]
    lengths = np.sqrt(sum(np.square(one) for one in np.ix_(*steps))).ravel()
    rings = np.rint(lengths).astype(np.int64)
    inside = rings <= min(shape) // 2
    counts = np.bincount(rings[inside])
    means = np.stack([np.bincount(rings[inside], weights=one[inside]) for one in whole]) / counts
    return means, np.bincount(rings[inside], weights=lengths[inside]) / counts


def _paths(phases: npt.NDArray[np.bool_]) -> Array:
    """(n, k) lineal paths, averaged over the axes."""
    from matloop.surrogates.microstructure.lineal_path import lineal_path

    found = lineal_path(phases, dimensions=phases.ndim - 1, longest=max(1, min(phases.shape[1:]) // 2))
    return np.asarray(found.mean(axis=-2), dtype=np.float64)


def _figures(phases: npt.NDArray[np.bool_], correlation: Array, path: Array) -> list[Figure]:
    from matloop.surrogates.microstructure.features import smallest_feature
    from matloop.surrogates.microstructure.speckle import speckle

    def each(of: Callable[[npt.NDArray[np.bool_]], float]) -> Array:
        return np.array([of(one) for one in phases], dtype=np.float64)

    dimensions = phases.ndim - 1
    return [
        _figure("volume fraction", each(lambda one: float(one.mean()))),
        _figure("distance of two-point correlations", _distances(correlation), low=False),
        _figure("distance of lineal paths", _distances(path), low=False),
        _figure("speckle", each(lambda one: float(speckle(one, dimensions=dimensions))), low=False),
        _figure("smallest feature", each(smallest_feature), high=False, pixels=True),
        _figure("smallest gap", each(lambda one: smallest_feature(~one)), high=False, pixels=True),
    ]


def _figure(name: str, values: Array, *, low: bool = True, high: bool = True, pixels: bool = False) -> Figure:
    """Of the structure, which comes first, and the range of the others."""
    least, most = np.quantile(values[1:], [LOW, HIGH]).tolist()
    return Figure(name, float(values[0]), least if low else None, most if high else None, pixels)


def _distances(curves: Array) -> Array:
    """(n,) root mean square from the mean of the random ones, of which the first row is none, over that of the mean."""
    random, n = curves[1:], len(curves) - 1
    total = random.sum(axis=0)
    means = np.concatenate([[total / n], (total - random) / (n - 1)])
    size = np.sqrt(np.mean(np.square(total / n)))
    return np.asarray(np.sqrt(np.mean(np.square(curves - means), axis=1)) / (size or 1.0))
