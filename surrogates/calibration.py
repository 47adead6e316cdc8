"""Makes a predicted standard deviation honest, and measures how honest it is.

A network with dropout gives a spread that grows where it is unsure but has no scale of its own. `recalibrate` gives
it one from predictions of data that the model had not seen: variance = (scale * spread)² + noise². The metrics follow
Kuleshov, Fenner & Ermon (2018) and Tran et al. (2020); the CRPS of a Gaussian is from Gneiting & Raftery (2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.optimize import minimize
from scipy.special import ndtr, ndtri

Array = npt.NDArray[np.float64]

TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a raw spread becomes a standard deviation.

    Attributes:
        scale: factor on the raw spread, > 0.
        noise: the part that the spread does not explain, in the unit of the values, >= 0.
    """

    scale: float = 1.0
    noise: float = 0.0

    def std(self, spread: Array) -> Array:
        """Standard deviation, same shape and unit as `spread`."""
        return np.hypot(self.scale * np.asarray(spread, dtype=np.float64), self.noise)


def recalibrate(mean: Array, spread: Array, y: Array, *, prior: float = 2.0) -> Calibration:
    """Fit scale and noise to held-out predictions: Gaussian maximum likelihood with a weak prior.

    The prior, worth a few observations, pulls towards an even split of the residual between the two terms: with
    twenty points a spread that happens not to rank the residuals is then shrunk rather than thrown away.

    Args:
        mean: (n,) float64, predictions of data that the model had not seen.
        spread: (n,) float64, raw standard deviations, >= 0.
        y: (n,) float64, what was measured.
        prior: weight of the prior; 0 gives plain maximum likelihood.

    Returns:
        The calibration; with no residual at all, its standard deviation is a tiny positive number.

    Raises:
        ValueError: the arrays differ in length, are empty or are not finite.
    """
    mean, spread, y = _checked(mean, spread, y, positive=False)
    residual = float(np.sqrt(np.mean((y - mean) ** 2)))
    typical = float(np.sqrt(np.mean(spread**2)))
    floor = TINY * max(1.0, float(np.abs(y).max()))
    if residual <= floor:
        return Calibration(scale=1.0, noise=floor)
    if typical <= TINY * residual:
        return Calibration(scale=1.0, noise=residual)
    z, s = (y - mean) / residual, spread / typical
    even = 0.5 * np.log(0.5)

    def objective(log: Array) -> tuple[float, Array]:
        """Negative log posterior of the logarithms of scale and noise (in units of residual), and its gradient."""
        parts = np.exp(2 * log)
        variance = parts[0] * s**2 + parts[1]
        value = 0.5 * np.sum(np.log(variance) + z**2 / variance) + 0.5 * prior * np.sum((log - even) ** 2)
        slope = 0.5 * (1 / variance - z**2 / variance**2)
        gradient = np.array([np.sum(slope * s**2) * 2 * parts[0], np.sum(slope) * 2 * parts[1]])
        return float(value), gradient + prior * (log - even)

    starts = [(even, even), (0.0, -2.0), (-2.0, 0.0)]
    fits = [minimize(objective, np.array(x), jac=True, method="L-BFGS-B", bounds=[(-6, 6)] * 2) for x in starts]
    scale, noise = np.exp(min(fits, key=lambda fit: fit.fun).x)
    return Calibration(scale=float(scale * residual / typical), noise=float(noise * residual))


def coverage(mean: Array, std: Array, y: Array, levels: Sequence[float] = (0.5, 0.8, 0.9, 0.95)) -> dict[float, float]:
    """Share of the measurements inside the central interval of each level; an honest model gives the level back."""
    mean, std, y = _checked(mean, std, y)
    z = np.abs(y - mean) / std
    return {float(level): float(np.mean(z <= ndtri(0.5 + level / 2))) for level in levels}


def miscalibration_area(mean: Array, std: Array, y: Array) -> float:
    """Area between the coverage of central intervals and the diagonal: 0 is perfect, 0.5 the worst."""
    mean, std, y = _checked(mean, std, y)
    # The smallest level whose interval holds each measurement; coverage is a staircase through these, so the integral
    # is exact: each flat piece contributes the integral of |height - level|.
    steps = np.sort(2 * ndtr(np.abs(y - mean) / std) - 1)
    edges = np.concatenate([[0.0], steps, [1.0]])
    height = np.arange(len(y) + 1) / len(y)
    below, above = height - edges[:-1], height - edges[1:]
    return float(np.sum(0.5 * (below * np.abs(below) - above * np.abs(above))))


def nll(mean: Array, std: Array, y: Array) -> float:
    """Mean negative log-likelihood, nats."""
    mean, std, y = _checked(mean, std, y)
    return float(-np.mean(stats.norm.logpdf(y, mean, std)))


def crps(mean: Array, std: Array, y: Array) -> float:
    """Mean continuous ranked probability score, in the unit of y: the absolute error, generalised to a Gaussian."""
    mean, std, y = _checked(mean, std, y)
    z = (y - mean) / std
    return float(np.mean(std * (z * (2 * ndtr(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))))


def sharpness(std: Array) -> float:
    """Root mean square of the predicted standard deviations, in their unit; smaller is better among honest models."""
    return float(np.sqrt(np.mean(np.asarray(std, dtype=np.float64) ** 2)))


def _checked(mean: Array, std: Array, y: Array, positive: bool = True) -> tuple[Array, Array, Array]:
    mean, std, y = (np.asarray(a, dtype=np.float64).reshape(-1) for a in (mean, std, y))
    if not (len(mean) == len(std) == len(y) > 0):
        raise ValueError(f"expected three arrays of one length > 0, got {len(mean)}, {len(std)} and {len(y)}")
    if not all(np.isfinite(a).all() for a in (mean, std, y)):
        raise ValueError("expected finite predictions and measurements, got NaN or infinity; drop those rows first")
    if (std < 0).any() or (positive and (std == 0).any()):
        raise ValueError(f"expected standard deviations > 0, got {std.min()}; recalibrate the model first")
    return mean, std, y
