"""How well microstructures agree with others: the marks that reconstructions and generators are judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.surrogates.microstructure.errors import compared_correlations, compared_paths
from matloop.surrogates.microstructure.speckle import speckle


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Statistics of label maps against those of others.

    Attributes:
        s2_error: root mean square over lags and pairs of phases of the difference of mean two-point correlations,
            over that of the reference.
        covariance_error: the same with the products of volume fractions taken off first, which is stricter.
        lineal_path_errors: of each phase: difference of the lineal paths summed over lags, over their sum.
        speckle: pixels that stand out from their neighbours, over those of the reference (1 is right).
        volume_fractions: mean of each phase.
        volume_fractions_reference: the same of the reference.
    """

    s2_error: float
    covariance_error: float
    lineal_path_errors: tuple[float, ...]
    speckle: float
    volume_fractions: tuple[float, ...]
    volume_fractions_reference: tuple[float, ...]

    @property
    def lineal_path_error(self) -> float:
        """Of the phase that agrees least."""
        return float(np.nanmax(self.lineal_path_errors))


def agreement(
    labels: npt.NDArray[Any], reference: npt.NDArray[Any], *, dimensions: int = 2, periodic: bool = True
) -> Agreement:
    """Compare label maps with others.

    Args:
        labels: (..., H, W) or (..., D, H, W) of 0, 1, …, unit cells: one structure or several.
        reference: the same, with as many dimensions; its sides and its number may be others.
        dimensions: of space.
        periodic: whether the reference consists of unit cells; else only what lies within its pictures counts.

    Raises:
        ValueError: one of the two holds something else than labels, or nothing.
    """
    for values in (labels, reference):
        if not values.size or not (np.isin(values, range(256))).all():
            raise ValueError(
                f"expected label maps of 0, 1, …, got an array of {values.shape}, {values.dtype}, that holds something "
                "else; for densities give `density > 0.5`"
            )
    phases = 1 + int(max(labels.max(), reference.max()))
    s2, covariance = compared_correlations(labels, reference, phases, dimensions=dimensions, periodic=periodic)
    little = 1 / reference.size  # the reference may have none
    return Agreement(
        s2_error=s2,
        covariance_error=covariance,
        lineal_path_errors=compared_paths(labels, reference, phases, dimensions=dimensions, periodic=periodic),
        speckle=(speckle(labels, dimensions=dimensions) + little)
        / (speckle(reference, dimensions=dimensions) + little),
        volume_fractions=tuple(float((labels == k).mean()) for k in range(phases)),
        volume_fractions_reference=tuple(float((reference == k).mean()) for k in range(phases)),
    )
