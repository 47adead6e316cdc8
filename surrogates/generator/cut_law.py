"""Two-point correlation of a cut Gaussian field from the field's autocorrelation, and the way back.

Sources: Torquato, Random Heterogeneous Materials (2002), section 8.1; Quiblier, J. Colloid Interface Sci. 98 (1984) 84.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

Lags = npt.NDArray[np.float64]


def cut_probability(rho: npt.ArrayLike, volume_fraction: float = 0.5) -> Lags:
    """Probability that two standard normal numbers of correlation rho both lie in the upper tail of the given weight.

    This is the two-point correlation of a cut Gaussian field. At 1/2 it is 1/4 + asin(rho) / (2 pi).

    Args:
        rho: any shape, in [-1, 1].
        volume_fraction: in (0, 1).

    Returns:
        float64 of the same shape.
    """
    level = norm.isf(volume_fraction)
    angle = np.arcsin(np.clip(np.asarray(rho, dtype=np.float64), -1, 1))
    nodes, weights = np.polynomial.legendre.leggauss(48)
    along = np.sin(angle[..., None] * (1 + nodes) / 2)  # t = sin(theta) takes away the pole of 1 / sqrt(1 - t^2)
    with np.errstate(divide="ignore"):  # rho = -1 at the end: exp(-inf) = 0
        slope = np.exp(-(level**2) / (1 + along)) if level else np.ones_like(along)
    law: Lags = volume_fraction**2 + angle * (slope @ weights) / (4 * np.pi)
    return law


def field_correlation(probability: npt.ArrayLike, volume_fraction: float) -> Lags:
    """Correlation that gives a probability, the inverse of `cut_probability`, to 1e-6 of the probability.

    Args:
        probability: any shape, that two points both lie in the phase; what no correlation gives becomes -1 or 1.
        volume_fraction: in (0, 1).

    Returns:
        float64 of the same shape, in [-1, 1].
    """
    rho = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 4001))
    return np.interp(np.asarray(probability, dtype=np.float64), cut_probability(rho, volume_fraction), rho)
