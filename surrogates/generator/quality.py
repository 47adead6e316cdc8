"""How well generated microstructures match real ones: structure, variety, and the spread of the volume fraction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.surrogates.microstructure.distances import pairwise_distances
from matloop.surrogates.microstructure.speckle import speckle
from matloop.surrogates.microstructure.two_point import two_point_correlation


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Statistics of generated fields against real ones; the same statistics of a second real set show the noise.

    Attributes:
        s2_error: RMS over lags of the difference of mean two-point correlations, over the RMS of the real one.
        covariance_error: the same with the squared mean volume fraction taken off first. Far lags carry little of
            it, so this is several times larger and the stricter figure.
        diversity: mean distance (share of differing pixels) of two generated fields, over that of two real ones.
        nearest: mean distance of a field to its nearest neighbour in its own set, over that of the real set;
            near 0 when the generator repeats itself.
        speckle: pixels that stand out from their neighbours, over those of the real fields (1 is right).
        volume_fraction_mean: of the generated fields.
        volume_fraction_std: from field to field.
        volume_fraction_std_real: of the real fields.
    """

    s2_error: float
    covariance_error: float
    diversity: float
    nearest: float
    speckle: float
    volume_fraction_mean: float
    volume_fraction_std: float
    volume_fraction_std_real: float

    @property
    def score(self) -> float:
        """One figure to choose a checkpoint by, 0 is best: structure, clean edges, variety and spread weigh alike."""
        spread = self.volume_fraction_std / self.volume_fraction_std_real
        return self.covariance_error + abs(1 - self.speckle) + abs(1 - self.nearest) + abs(1 - spread)


def compare(generated: npt.NDArray[Any], real: npt.NDArray[Any]) -> Quality:
    """Compare two sets of two-phase fields.

    Args:
        generated: (n, H, W), 0 or 1.
        real: (n, H, W), of equal n, for distances to a nearest neighbour depend on it.
    """
    if generated.shape != real.shape:
        raise ValueError(f"expected sets of one shape (n, H, W), got {generated.shape} and {real.shape}")
    correlation, reference = (two_point_correlation(a).mean(axis=0) for a in (generated, real))
    fractions, fractions_real = (a.mean(axis=(1, 2)) for a in (generated, real))
    covariance, covariance_real = (
        c - float(f.mean()) ** 2 for c, f in ((correlation, fractions), (reference, fractions_real))
    )
    (mean, nearest), (mean_real, nearest_real) = (_distances(a) for a in (generated, real))
    return Quality(
        s2_error=_rms(correlation - reference) / _rms(reference),
        covariance_error=_rms(covariance - covariance_real) / _rms(covariance_real),
        diversity=mean / mean_real,
        nearest=nearest / nearest_real,
        speckle=(speckle(generated) + 1 / real.size) / (speckle(real) + 1 / real.size),  # real fields may have none
        volume_fraction_mean=float(fractions.mean()),
        volume_fraction_std=float(fractions.std()),
        volume_fraction_std_real=float(fractions_real.std()),
    )


def _rms(a: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(a**2)))


def _distances(phase: npt.NDArray[Any]) -> tuple[float, float]:
    """Mean distance of two different fields, and mean distance of a field to its nearest neighbour."""
    distances = pairwise_distances(phase)
    n = len(distances)
    mean = float(distances.sum() / (n * (n - 1)))
    np.fill_diagonal(distances, np.inf)
    return mean, float(distances.min(axis=1).mean())
