"""How far the statistics of some microstructures are from those of others, each as one number."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.surrogates.microstructure.lineal_path import lineal_path
from matloop.surrogates.microstructure.phases import indicators
from matloop.surrogates.microstructure.two_point import material_correlation, within

Floats = npt.NDArray[np.float64]


def root_mean_square(values: npt.NDArray[Any], weights: npt.NDArray[Any] | float = 1.0) -> float:
    """Root of the mean square over all values, weighted."""
    return float(np.sqrt(np.mean(np.square(values) * weights)))


def s2_error(correlation: Floats, reference: Floats, weights: Floats | float = 1.0) -> float:
    """Root mean square over lags of the difference of two-point correlations, over that of the reference.

    Args:
        correlation: by lag, or several of them.
        reference: of the same shape.
        weights: of the lags, >= 0.
    """
    return root_mean_square(correlation - reference, weights) / root_mean_square(reference, weights)


def covariance_error(
    correlation: Floats,
    reference: Floats,
    far: Floats | float,
    far_reference: Floats | float,
    weights: Floats | float = 1.0,
) -> float:
    """The same of covariances: correlations less what they are at lags without order. The stricter figure.

    Args:
        correlation: by lag, or several of them.
        reference: of the same shape.
        far: what `correlation` is without order: the product of the two phases' volume fractions.
        far_reference: the same of the reference.
        weights: of the lags, >= 0.

    Returns:
        In [0, …); NaN for a reference of one phase, which has no covariance.
    """
    covariance, wanted = correlation - far, reference - far_reference
    size = root_mean_square(wanted, weights)
    return root_mean_square(covariance - wanted, weights) / size if size > 1e-12 else float("nan")


def lineal_path_error(path: Floats, reference: Floats) -> float:
    """Sum over lags of the absolute difference of lineal paths, over the sum of the reference."""
    return float(np.abs(path - reference).sum() / reference.sum())


def correlations(
    labels: npt.NDArray[Any], phases: int, *, dimensions: int = 2, periodic: bool = True
) -> tuple[Floats, Floats]:
    """Correlations of the material between all pairs of phases; see `material_correlation`.

    Args:
        labels: (..., H, W) or (..., D, H, W), phases: one structure or several.
        phases: their number k.
        dimensions: of space.
        periodic: whether the pictures are unit cells.

    Returns:
        (k, k, H, W) or (k, k, D, H, W), from the first phase to the second by lag, and the weights of the lags.
    """
    of = indicators(labels, phases)
    found = [[material_correlation(a, b, dimensions=dimensions, periodic=periodic) for b in of] for a in of]
    return np.stack([[correlation for correlation, _ in row] for row in found]), found[0][0][1]


def compared_correlations(
    labels: npt.NDArray[Any], reference: npt.NDArray[Any], phases: int, *, dimensions: int = 2, periodic: bool = True
) -> tuple[float, float]:
    """`s2_error` and `covariance_error` of label maps against others, over the lags that both have.

    Without a period, lags count by the share of pixels that they pair in the reference.

    Args:
        labels: (..., H, W) or (..., D, H, W), unit cells.
        reference: of as many dimensions, not necessarily of the same sides.
        phases: their number.
        dimensions: of space.
        periodic: whether the reference consists of unit cells.
    """
    shape = tuple(map(min, zip(labels.shape[-dimensions:], reference.shape[-dimensions:], strict=True)))
    found = within(correlations(labels, phases, dimensions=dimensions)[0], shape)
    wanted, weights = (
        within(a, shape) for a in correlations(reference, phases, dimensions=dimensions, periodic=periodic)
    )
    far, far_wanted = (_far(a, phases, dimensions) for a in (labels, reference))
    return s2_error(found, wanted, weights), covariance_error(found, wanted, far, far_wanted, weights)


def compared_paths(
    labels: npt.NDArray[Any], reference: npt.NDArray[Any], phases: int, *, dimensions: int = 2, periodic: bool = True
) -> tuple[float, ...]:
    """`lineal_path_error` of each phase, of the mean over structures and axes, up to half of the shortest side.

    Args:
        labels: as `compared_correlations`.
        reference: likewise.
        phases: their number.
        dimensions: of space.
        periodic: whether the reference consists of unit cells.

    Returns:
        One for each phase; NaN for a phase that the reference lacks.
    """
    longest = min(*labels.shape[-dimensions:], *reference.shape[-dimensions:]) // 2 - 1
    errors = []
    for k in range(phases):
        path, wanted = (
            lineal_path(a == k, dimensions=dimensions, periodic=p, longest=max(longest, 0))
            .reshape(-1, max(longest, 0) + 1)
            .mean(axis=0)
            for a, p in ((labels, True), (reference, periodic))
        )
        errors.append(lineal_path_error(path, wanted) if wanted.any() else float("nan"))
    return tuple(errors)


def _far(labels: npt.NDArray[Any], phases: int, dimensions: int) -> Floats:
    """Products of the mean volume fractions of pairs of phases, (k, k, 1, …)."""
    fractions = np.array([(labels == k).mean() for k in range(phases)])
    return np.outer(fractions, fractions).reshape(phases, phases, *(1,) * dimensions)
