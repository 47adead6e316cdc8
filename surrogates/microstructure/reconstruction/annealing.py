"""Reconstruction by simulated annealing: random pairs of unlike pixels exchange places (Yeong & Torquato).

Made to compare with: the energy is the squared error of the two-point correlation of phase 1 at all lags, its change
with an exchange follows from two shifted copies of the picture, and the temperature falls geometrically.
Source: Yeong & Torquato, Phys. Rev. E 57 (1998) 495.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from matloop.surrogates.microstructure.reconstruction.target import Target
from matloop.surrogates.microstructure.two_point import two_point_correlation

TRIAL = 200
"""Exchanges that tell how large changes are, before the first one that is made."""

HOT = 0.1
"""First temperature, in mean changes of the energy."""

COLD = 1e-3
"""Last temperature, likewise."""


def annealed(target: Target, rng: np.random.Generator, *, swaps: int) -> npt.NDArray[np.uint8]:
    """A structure by annealing from a random one.

    Args:
        target: of two phases in 2-D, with all lags known.
        rng: of everything random.
        swaps: exchanges that are tried.

    Returns:
        (H, W) uint8.

    Raises:
        ValueError: there are more phases or dimensions, or the micrograph is smaller than the structure.
    """
    if target.phases != 2 or len(target.shape) != 2 or not target.lags.all():
        raise ValueError(
            "expected two phases in 2-D and a micrograph at least as large as the structure for annealing; use the "
            "method 'descriptors'"
        )
    height, width = target.shape
    pixels = height * width
    labels = rng.permutation(np.repeat(np.arange(2, dtype=np.uint8), target.counts))
    places = [np.flatnonzero(labels == phase) for phase in (0, 1)]
    if not all(map(len, places)):
        return labels.reshape(target.shape)
    tiled = np.tile(labels.reshape(target.shape).astype(np.float32), (2, 2))
    found = two_point_correlation(labels.reshape(target.shape))
    error = ((found - target.correlations[0]) * pixels).astype(np.float32)
    hot, sizes = math.nan, []
    for step in range(swaps + TRIAL):
        at = [int(rng.integers(len(of))) for of in places]
        (i0, i1), (j0, j1) = (divmod(int(of[k]), width) for of, k in zip(places, at, strict=True))
        one = tiled[i0 : i0 + height, i1 : i1 + width] - tiled[j0 : j0 + height, j1 : j1 + width]
        change = one + np.roll(one[::-1, ::-1], (1, 1), (0, 1))
        change[0, 0] += 2
        change[(i0 - j0) % height, (i1 - j1) % width] -= 1
        change[(j0 - i0) % height, (j1 - i1) % width] -= 1
        flat = change.ravel()
        rise = float(2 * (error.ravel() @ flat) + flat @ flat)
        if step < TRIAL:
            sizes.append(abs(rise))
            hot = HOT * float(np.mean(sizes))
            continue
        if not hot:  # no exchange changes the energy: all structures are equally good
            break
        temperature = hot * (COLD / HOT) ** ((step - TRIAL) / swaps)
        if rise < 0 or rng.random() < math.exp(-rise / temperature):
            places[0][at[0]], places[1][at[1]] = places[1][at[1]], places[0][at[0]]
            tiled[i0::height, i1::width], tiled[j0::height, j1::width] = 1, 0
            error += change
    return tiled[:height, :width].astype(np.uint8)
