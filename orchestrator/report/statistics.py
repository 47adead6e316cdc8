"""The statistics that the report prints: intervals for shares, coverage, calibration, running best, Pareto front.

References:
    Wilson, J. Am. Stat. Assoc. 22 (1927) 209: interval of a binomial share.
    Newcombe, Stat. Med. 17 (1998) 873, method 10: interval of a difference of shares.
    Tran et al., Mach. Learn.: Sci. Technol. 1 (2020) 025006: miscalibration area.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
LEVELS = (0.5, 0.8, 0.9, 0.95)


def wilson(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a binomial share, which lies within it also after rounding; (0, 1) if n = 0."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, min(share, float(centre - half))), min(1.0, max(share, float(centre + half)))


def newcombe(a: tuple[int, int], b: tuple[int, int], confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the difference of two shares, each given as (hits, n), a minus b."""
    (low_a, high_a), (low_b, high_b) = wilson(*a, confidence), wilson(*b, confidence)
    p, q = a[0] / a[1], b[0] / b[1]
    return p - q - float(np.hypot(p - low_a, high_b - q)), p - q + float(np.hypot(high_a - p, q - low_b))


def levels(z: Array) -> Array:
    """Smallest central interval of a normal prediction that holds the measurement.

    Args:
        z: (n,) (measured - mean) / std.

    Returns:
        (n,) in [0, 1]; uniform if the predictions are calibrated.
    """
    return np.array([math.erf(abs(value) / math.sqrt(2.0)) for value in z.tolist()], dtype=np.float64)


def miscalibration_area(z: Array) -> float:
    """Area between observed and expected coverage, in [0, 0.5]; exact for the empirical step function."""
    p = np.sort(levels(z))
    edges = np.concatenate([[0.0], p, [1.0]])
    observed = np.arange(len(p) + 1) / len(p)
    low, high = edges[:-1] - observed, edges[1:] - observed
    # ∫|u| du over [low, high] is (high·|high| − low·|low|) / 2, whatever the signs.
    return float(np.sum(high * np.abs(high) - low * np.abs(low)) / 2)


def front(losses: Array) -> npt.NDArray[np.intp]:
    """Indices of the non-dominated rows, by the first column; of equal rows the first.

    Args:
        losses: (n, m), smaller is better; rows that are not finite are left out.
    """
    order = np.lexsort(losses.T[::-1])
    order = order[np.isfinite(losses[order]).all(axis=1)]
    found: list[int] = []
    kept = np.empty_like(losses)  # a row can only be dominated by one that comes before it
    for i in order:
        if not (kept[: len(found)] <= losses[i]).all(axis=1).any():
            kept[len(found)] = losses[i]
            found.append(int(i))
    return np.array(found, dtype=np.intp)


def thin(y: Array, limit: int) -> npt.NDArray[np.intp]:
    """Indices of at most about `limit` points that keep the shape of y: both extremes of every stretch, and the ends.

    Args:
        y: (n,), finite.
        limit: >= 4.
    """
    n = len(y)
    if n <= limit:
        return np.arange(n)
    stretches = np.array_split(np.arange(n), limit // 2)
    keep = {0, n - 1}
    for stretch in stretches:
        keep |= {int(stretch[np.argmin(y[stretch])]), int(stretch[np.argmax(y[stretch])])}
    return np.array(sorted(keep))


def even(n: int, limit: int) -> npt.NDArray[np.intp]:
    """At most `limit` indices spread evenly over n."""
    return np.unique(np.linspace(0, n - 1, min(n, limit)).round().astype(np.intp)) if n else np.arange(0)


def robust_limits(y: Array) -> tuple[float, float]:
    """Range that shows all points but gross outliers (further than five interquartile ranges from the quartiles)."""
    low, high = np.quantile(y, [0.25, 0.75])
    reach = 5 * (high - low) if high > low else np.inf
    inside = y[(y >= low - reach) & (y <= high + reach)]
    return float(inside.min()), float(inside.max())
