"""Makes a predicted standard deviation honest.

A network with dropout gives a spread that grows where it is unsure but has no scale of its own. `recalibrate` gives it
one from predictions of data that the model had not seen: variance = (scale * spread)² + (noise * shape)². What is left,
that residuals are not Gaussian, `Quantiles` repairs (Kuleshov, Fenner & Ermon, ICML 2018). `recorded_scale` learns from
predictions that were recorded before they were measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.optimize import minimize
from scipy.special import log_ndtr

from matloop.surrogates.uncertainty.metrics import checked

Array = npt.NDArray[np.float64]

TINY = 1e-12

SMALLEST = 1e-12
"""Probability that is told from 0."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a raw spread becomes a standard deviation.

    Attributes:
        scale: factor on the raw spread, > 0.
        noise: the part that the spread does not explain, in the unit of the values, >= 0; a factor on its shape where
            a model predicts how it varies from point to point.
    """

    scale: float = 1.0
    noise: float = 0.0

    def std(self, spread: Array, shape: Array | float = 1.0) -> Array:
        """Standard deviation, same shape and unit as `spread`."""
        return np.hypot(self.scale * np.asarray(spread, dtype=np.float64), self.noise * np.asarray(shape))


def recalibrate(mean: Array, spread: Array, y: Array, *, shape: Array | None = None, prior: float = 2.0) -> Calibration:
    """Fit scale and noise to held-out predictions: Gaussian maximum likelihood with a weak prior.

    The prior, worth a few observations, pulls towards an even split of the residual between the two terms: with
    twenty points a spread that happens not to rank the residuals is then shrunk rather than thrown away.

    Args:
        mean: (n,) float64, predictions of data that the model had not seen.
        spread: (n,) float64, raw standard deviations, >= 0.
        y: (n,) float64, what was measured.
        shape: (n,) float64, > 0, how the noise varies from point to point; None where it is the same everywhere.
        prior: weight of the prior; 0 gives plain maximum likelihood.

    Returns:
        The calibration; with no residual at all, its standard deviation is a tiny positive number.

    Raises:
        ValueError: the arrays differ in length, are empty or are not finite.
    """
    mean, spread, y = checked(mean, spread, y, positive=False)
    residual = float(np.sqrt(np.mean((y - mean) ** 2)))
    typical = float(np.sqrt(np.mean(spread**2)))
    floor = TINY * max(1.0, float(np.abs(y).max()))
    if residual <= floor:
        return Calibration(scale=1.0, noise=floor)
    h = np.ones_like(y) if shape is None else np.asarray(shape, dtype=np.float64).reshape(-1)
    usual = float(np.sqrt(np.mean(h**2)))
    if typical <= TINY * residual:
        return Calibration(scale=1.0, noise=residual / usual)
    z, s, h = (y - mean) / residual, spread / typical, h / usual
    even = 0.5 * np.log(0.5)

    def objective(log: Array) -> tuple[float, Array]:
        """Negative log posterior of the logarithms of scale and noise (in units of residual), and its gradient."""
        parts = np.exp(2 * log)
        variance = parts[0] * s**2 + parts[1] * h**2
        value = 0.5 * np.sum(np.log(variance) + z**2 / variance) + 0.5 * prior * np.sum((log - even) ** 2)
        slope = 0.5 * (1 / variance - z**2 / variance**2)
        gradient = np.array([np.sum(slope * s**2) * 2 * parts[0], np.sum(slope * h**2) * 2 * parts[1]])
        return float(value), gradient + prior * (log - even)

    starts = [(even, even), (0.0, -2.0), (-2.0, 0.0)]
    fits = [minimize(objective, np.array(x), jac=True, method="L-BFGS-B", bounds=[(-6, 6)] * 2) for x in starts]
    scale, noise = np.exp(min(fits, key=lambda fit: fit.fun).x)
    return Calibration(scale=float(scale * residual / typical), noise=float(noise * residual / usual))


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Distribution of standardised residuals of held-out data, in place of the Gaussian.

    Attributes:
        z: (n,) float64, sorted residuals (y - mean) / std.
    """

    z: Array

    @classmethod
    def of(cls, z: Array) -> Quantiles:
        """From (n,) standardised residuals in any order, n >= 2.

        Raises:
            ValueError: fewer than two, or not finite.
        """
        z = np.sort(np.asarray(z, dtype=np.float64).reshape(-1))
        if len(z) < 2 or not np.isfinite(z).all():
            raise ValueError(f"expected at least two finite residuals, got {len(z)}")
        return cls(z)

    def level(self, mean: Array, std: Array, y: Array) -> Array:
        """Probability of a value below y, (n,) within (0, 1): linear between held-out residuals, Gaussian tails."""
        mean, std, y = checked(mean, std, y)
        z, n = (y - mean) / std, len(self.z)
        inside = np.interp(z, self.z, np.arange(1, n + 1) / (n + 1))
        edge = 1 / (n + 1)
        below = edge * np.exp(log_ndtr(np.minimum(z, self.z[0])) - log_ndtr(self.z[0]))
        above = 1 - edge * np.exp(log_ndtr(-np.maximum(z, self.z[-1])) - log_ndtr(-self.z[-1]))
        level: Array = np.where(z < self.z[0], below, np.where(z > self.z[-1], above, inside))
        return np.clip(level, SMALLEST, 1 - SMALLEST)

    def interval(self, mean: Array, std: Array, level: float = 0.9) -> Array:
        """(2, n) float64: bounds that leave out as much below as above."""
        tails = np.quantile(self.z, [(1 - level) / 2, (1 + level) / 2], method="weibull")
        bounds: Array = np.asarray(mean) + tails[:, None] * np.asarray(std)
        return bounds


def recorded_scale(mean: Array, std: Array, y: Array, *, prior: float = 10.0) -> float:
    """Factor on standard deviations that recorded predictions call for.

    Maximum a posteriori of a Gaussian's scale under a prior worth `prior` predictions that came true as stated, so that
    few of them change little.

    Args:
        mean: (n,) float64, predicted before the measurement.
        std: (n,) float64, > 0, predicted with it.
        y: (n,) float64, what was measured then.
        prior: >= 0, in predictions.
    """
    if not len(y):
        return 1.0
    mean, std, y = checked(mean, std, y)
    squares = np.sum(((y - mean) / std) ** 2)
    return float(np.sqrt((prior + squares) / (prior + len(y))))


def covering_scale(misses: Array, *, share: float = 0.9, prior: float = 20.0) -> float:
    """Least factor on standard deviations with which `share` of the recorded predictions would have held.

    Of intervals, that is what counts: residuals have heavier tails than a Gaussian, and a factor by their mean square
    makes the intervals of most predictions too wide.

    Args:
        misses: (n,) float64, each measurement less its prediction, in predicted standard deviations.
        share: of measurements that are to lie within the central interval of that probability, in (0, 1).
        prior: predictions that came true exactly as stated, which are added so that few misses change little, > 0.
    """
    if not len(misses):
        return 1.0
    width = float(stats.norm.ppf(0.5 + share / 2))
    sizes = np.sort(np.abs(misses)) / width

    def held(factor: float) -> float:
        as_stated = prior * (2 * stats.norm.cdf(width * factor) - 1)
        return float((as_stated + np.searchsorted(sizes, factor, side="right")) / (prior + len(sizes)))

    low, high = 0.0, max(10.0, 2 * float(sizes.max(initial=0.0)))
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if held(middle) >= share else (middle, high)
    return high
