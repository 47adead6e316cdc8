"""Chord lengths: how long the pieces are into which the interfaces cut lines through a phase.

Source: Torquato & Lu, Phys. Rev. E 47 (1993) 2950.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.surrogates.microstructure.arrays import axes
from matloop.surrogates.microstructure.runs import ahead, counted, hard, sides


def chord_lengths(phase: npt.NDArray[Any], *, dimensions: int = 2, periodic: bool = True) -> npt.NDArray[np.int64]:
    """Numbers of chords along each axis, by length in pixels.

    Args:
        phase: (..., H, W) or (..., D, H, W), 0 or 1.
        dimensions: of space, 2 or 3.
        periodic: whether chords go on at the other border. A line wholly in the phase, whose chord has no end, counts
            as one chord of the side of the picture. Else chords that touch the border, of unknown length, are left
            out.

    Returns:
        (..., dimensions, n + 1) int64, where n is the longest side: chords of 0 (none), 1, …, n pixels.
    """
    inside = hard(phase, dimensions)
    longest = max(sides(inside, dimensions))
    found = []
    for axis, n in zip(axes(dimensions), sides(inside, dimensions), strict=True):
        lengths = ahead(inside, axis, periodic=periodic)
        place = np.arange(n).reshape(-1, *(1,) * (-axis - 1))
        before = np.roll(inside, 1, axis)
        if periodic:
            whole = inside.all(axis=axis, keepdims=True)
            begins = inside & (~before | (whole & (place == 0)))
        else:
            begins = inside & ~before & (place > 0) & (place + lengths < n)
        found.append(counted(lengths, begins, longest, dimensions))
    return np.stack(found, axis=-2).astype(np.int64)


def mean_chord(phase: npt.NDArray[Any], *, dimensions: int = 2, periodic: bool = True) -> npt.NDArray[np.float64]:
    """Mean length of the chords along each axis, pixels: (..., dimensions) float64; NaN where there are none."""
    counts = chord_lengths(phase, dimensions=dimensions, periodic=periodic)
    number = counts.sum(axis=-1)
    total = (counts * np.arange(counts.shape[-1])).sum(axis=-1)
    means = np.full(number.shape, np.nan)
    np.divide(total, number, out=means, where=number > 0)
    return means
