"""How honest and how sharp predicted standard deviations are.

Miscalibration and sharpness follow Kuleshov, Fenner & Ermon (ICML 2018) and Tran et al. (2020), the continuous ranked
probability score Gneiting & Raftery (2007).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import ndtr, ndtri

Array = npt.NDArray[np.float64]

LEVELS = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Scores:
    """Of Gaussian predictions against what was measured.

    Attributes:
        n: number of predictions.
        mae: mean absolute error, in the unit of the values.
        rmse: root mean square error, in the unit of the values.
        miscalibration_area: between the coverage of central intervals and their level, 0 (perfect) to 0.5.
        coverage: share of measurements inside the central interval of each level.
        sharpness: root mean square of the standard deviations, in the unit of the values.
        nll: mean negative log-likelihood, nats.
        crps: mean continuous ranked probability score, in the unit of the values.
    """

    n: int
    mae: float
    rmse: float
    miscalibration_area: float
    coverage: Mapping[float, float]
    sharpness: float
    nll: float
    crps: float


def scores(mean: Array, std: Array, y: Array) -> Scores:
    """All of them for (n,) predictions and measurements.

    Raises:
        ValueError: lengths differ or are 0, a value is not finite, a standard deviation is not positive.
    """
    mean, std, y = checked(mean, std, y)
    return Scores(
        n=len(y),
        mae=float(np.mean(np.abs(y - mean))),
        rmse=float(np.sqrt(np.mean((y - mean) ** 2))),
        miscalibration_area=miscalibration_area(mean, std, y),
        coverage=coverage(mean, std, y),
        sharpness=sharpness(std),
        nll=nll(mean, std, y),
        crps=crps(mean, std, y),
    )


def coverage(mean: Array, std: Array, y: Array, levels: Sequence[float] = LEVELS) -> dict[float, float]:
    """Share of the measurements inside the central interval of each level; an honest model gives the level back."""
    mean, std, y = checked(mean, std, y)
    z = np.abs(y - mean) / std
    return {float(level): float(np.mean(z <= ndtri(0.5 + level / 2))) for level in levels}


def miscalibration_area(mean: Array, std: Array, y: Array) -> float:
    """Area between the coverage of central intervals and the diagonal: 0 is perfect, 0.5 the worst."""
    mean, std, y = checked(mean, std, y)
    # The smallest level whose interval holds each measurement; coverage is a staircase through these, so the integral
    # is exact: each flat piece contributes the integral of |height - level|.
    steps = np.sort(2 * ndtr(np.abs(y - mean) / std) - 1)
    edges = np.concatenate([[0.0], steps, [1.0]])
    height = np.arange(len(y) + 1) / len(y)
    below, above = height - edges[:-1], height - edges[1:]
    return float(np.sum(0.5 * (below * np.abs(below) - above * np.abs(above))))


def nll(mean: Array, std: Array, y: Array) -> float:
    """Mean negative log-likelihood, nats."""
    mean, std, y = checked(mean, std, y)
    return float(-np.mean(stats.norm.logpdf(y, mean, std)))


def crps(mean: Array, std: Array, y: Array) -> float:
    """Mean continuous ranked probability score, in the unit of y: the absolute error, generalised to a Gaussian."""
    mean, std, y = checked(mean, std, y)
    z = (y - mean) / std
    return float(np.mean(std * (z * (2 * ndtr(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))))


def sharpness(std: Array) -> float:
    """Root mean square of the predicted standard deviations, in their unit; smaller is better among honest models."""
    return float(np.sqrt(np.mean(np.asarray(std, dtype=np.float64) ** 2)))


def sampled_crps(samples: Array, y: Array) -> float:
    """The same of predictions that are given as equally likely samples: the fair estimate of Ferro (2014).

    Args:
        samples: (s, n) float64, s >= 2.
        y: (n,) float64.
    """
    samples, y = np.asarray(samples, dtype=np.float64), np.asarray(y, dtype=np.float64).reshape(-1)
    s = len(samples)
    if samples.ndim != 2 or samples.shape[1] != len(y) or s < 2:
        raise ValueError(f"expected samples (s >= 2, n) of n measurements, got {samples.shape} and {y.shape}")
    # The sum of |a - b| over all pairs, from the order of the samples.
    ranks = 2 * np.arange(1, s + 1) - s - 1
    pairs = ranks @ np.sort(samples, axis=0) / (s * (s - 1))
    return float(np.mean(np.abs(samples - y).mean(axis=0) - pairs))


def checked(mean: Array, std: Array, y: Array, positive: bool = True) -> tuple[Array, Array, Array]:
    """The three as (n,) float64.

    Raises:
        ValueError: lengths differ or are 0, a value is not finite, a standard deviation is negative (or zero).
    """
    mean, std, y = (np.asarray(a, dtype=np.float64).reshape(-1) for a in (mean, std, y))
    if not (len(mean) == len(std) == len(y) > 0):
        raise ValueError(f"expected three arrays of one length > 0, got {len(mean)}, {len(std)} and {len(y)}")
    if not all(np.isfinite(a).all() for a in (mean, std, y)):
        raise ValueError("expected finite predictions and measurements, got NaN or infinity; drop those rows first")
    if (std < 0).any() or (positive and (std == 0).any()):
        raise ValueError(f"expected standard deviations > 0, got {std.min()}; recalibrate the model first")
    return mean, std, y
