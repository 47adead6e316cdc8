"""How far a phase goes on from each pixel along a line, for chords and the lineal path of hard structures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.surrogates.microstructure.arrays import axes

Lengths = npt.NDArray[np.int64]


def hard(phase: npt.NDArray[Any], dimensions: int) -> npt.NDArray[np.bool_]:
    """A phase as bool.

    Raises:
        ValueError: it holds something else than 0 and 1, or has too few axes.
    """
    values = np.asarray(phase)
    if values.ndim < dimensions or 0 in values.shape[values.ndim - dimensions :]:
        wanted = "(..., H, W)" if dimensions == 2 else "(..., D, H, W)"
        raise ValueError(f"expected a phase of shape {wanted}, got {values.shape}; set `dimensions`")
    if values.dtype != bool and not ((values == 0) | (values == 1)).all():
        raise ValueError(
            f"expected a phase of 0 and 1, got values from {values.min()} to {values.max()}; "
            "for labels give `labels == k`, for densities `density > 0.5`"
        )
    return values.astype(bool)


def ahead(phase: npt.NDArray[np.bool_], axis: int, *, periodic: bool) -> Lengths:
    """Pixels of the phase from each one on along an axis, itself included, until the phase ends: 0 outside of it.

    Args:
        phase: (..., n, ...) bool.
        axis: to go along, towards higher indices.
        periodic: whether lines go on at the other border. A line that is wholly in the phase has n everywhere.

    Returns:
        As `phase`, int64.
    """
    n = phase.shape[axis]
    along = np.moveaxis(phase, axis, -1)
    twice = np.concatenate([along, along], axis=-1) if periodic else along
    places = np.arange(twice.shape[-1])
    ends = np.where(twice, twice.shape[-1], places)
    nearest = np.minimum.accumulate(ends[..., ::-1], axis=-1)[..., ::-1]
    return np.moveaxis(np.minimum(nearest - places, n)[..., :n], -1, axis)


def counted(lengths: Lengths, weights: npt.NDArray[Any], longest: int, dimensions: int) -> npt.NDArray[np.float64]:
    """Histogram of lengths, one for each structure of a batch.

    Args:
        lengths: (..., H, W) or (..., D, H, W), from 0 to `longest`.
        weights: of the same shape: what each pixel counts.
        longest: last length of the histogram.
        dimensions: of space.

    Returns:
        (..., longest + 1) float64.
    """
    batch = lengths.shape[: lengths.ndim - dimensions]
    flat = lengths.reshape(-1, np.prod(lengths.shape[-dimensions:], dtype=int))
    bins = flat + (longest + 1) * np.arange(len(flat))[:, None]
    found = np.bincount(bins.ravel(), weights=weights.ravel(), minlength=len(flat) * (longest + 1))
    return found.astype(np.float64).reshape(*batch, longest + 1)


def sides(phase: npt.NDArray[Any], dimensions: int) -> tuple[int, ...]:
    """Pixels along each axis of space."""
    return tuple(phase.shape[axis] for axis in axes(dimensions))
