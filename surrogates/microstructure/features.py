"""Smallest features: what a disc of a given diameter cannot reach within a phase, so that a process may not make it.

A phase has no feature below a diameter if each of its pixels lies in a disc of that diameter which fits into the phase,
or next to such a disc. So a morphological opening may take the outermost pixels, since the steps of pixels are no
features; sharp corners, which no round tool makes, are. Opening the other phase (closing this one) finds gaps.
Source: Hammond, Oskooi, Johnson & Ralph, Opt. Express 29 (2021) 23916 (length scales by opening and closing).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.surrogates.microstructure.arrays import axes
from matloop.surrogates.microstructure.runs import hard

Mask = npt.NDArray[np.bool_]

SIZES = 4
"""Diameters from the wanted one on that are tried: a disc made of pixels need not hold every smaller one."""


def smallest_feature(phase: npt.NDArray[Any], *, periodic: bool = True, pixel: float = 1.0) -> float:
    """Largest diameter up to which a phase has no smaller feature.

    Args:
        phase: (H, W) or (D, H, W), 0 or 1; for gaps, give the other phase.
        periodic: whether the picture is a unit cell; else what lies beyond its border is taken to fit.
        pixel: side of a pixel, such as period_nm / pixels, > 0.

    Returns:
        In the unit of `pixel`: at least one pixel, and at most the shortest side of the picture, which is what a
        picture of one phase has.
    """
    if not pixel > 0:
        raise ValueError(f"expected the side of a pixel > 0, got {pixel}")
    inside = hard(phase, phase.ndim)
    shortest = int(min(inside.shape))
    if not inside.any():
        return shortest * pixel
    diameter = 1
    while diameter < shortest and not thin(inside, diameter + 1, periodic=periodic).any():
        diameter += 1
    return diameter * pixel


def thin(phase: npt.NDArray[Any], diameter: int, *, periodic: bool = True) -> Mask:
    """Pixels of a phase that belong to features below a diameter; their share says how badly a limit is broken.

    Args:
        phase: (H, W) or (D, H, W), 0 or 1.
        diameter: pixels, >= 1, at most the shortest side.
        periodic: as `smallest_feature`.

    Returns:
        As `phase`, bool.
    """
    inside = hard(phase, phase.ndim)
    if not 1 <= diameter <= min(inside.shape):
        raise ValueError(f"expected a diameter from 1 to {min(inside.shape)} pixels, got {diameter}")
    if periodic:
        return _thin(inside, diameter)
    width = diameter + 1
    kept = tuple(slice(width, -width) for _ in range(inside.ndim))
    return _thin(np.pad(inside, width, constant_values=True), diameter)[kept]


def disc(diameter: int, dimensions: int = 2) -> Mask:
    """Pixels whose centres are within a disc (in 3-D a ball) of a diameter in pixels."""
    places = np.arange(diameter) - (diameter - 1) / 2
    grid = np.meshgrid(*[places] * dimensions, indexing="ij")
    found: Mask = np.sum(np.square(grid), axis=0) <= (diameter / 2) ** 2
    return found


def opening(phase: Mask, diameter: int) -> Mask:
    """What discs of a diameter that fit into a periodic phase cover together."""
    shape = tuple(phase.shape)
    tool = disc(diameter, phase.ndim)
    over = axes(phase.ndim)
    spectrum = np.fft.rfftn(tool, s=shape, axes=over)
    fits = np.fft.irfftn(np.fft.rfftn(phase, axes=over) * spectrum.conj(), s=shape, axes=over) > tool.sum() - 0.5
    covered = np.fft.irfftn(np.fft.rfftn(fits, axes=over) * spectrum, s=shape, axes=over)
    found: Mask = covered > 0.5
    return found


def _thin(phase: Mask, diameter: int) -> Mask:
    reached = np.zeros_like(phase)
    for larger in range(diameter, min(diameter + SIZES, 1 + min(phase.shape))):
        reached |= opening(phase, larger)
    for axis in axes(phase.ndim):  # next to: in one of the eight pixels around, in 3-D twenty-six
        reached |= np.roll(reached, 1, axis) | np.roll(reached, -1, axis)
    return phase & ~reached
