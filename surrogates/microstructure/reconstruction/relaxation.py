"""From noise to a soft structure with the wanted correlations: gradient descent over shares of phases in each pixel.

Descent with momentum and normalised steps (Adam) whose length falls to zero finds better structures than L-BFGS in the
same time, since it does not stop in the first valley. A pixel holds shares from 0 to 1, so all pixels move at once.
Sources: Seibert et al., Comput. Mater. Sci. 186 (2021) 110113 (differentiable descriptors); Kingma & Ba 2015.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft

from matloop.surrogates.microstructure.reconstruction.target import Target

Shares = npt.NDArray[np.float32]
Spectra = npt.NDArray[np.complex64]

LENGTH = 0.2
"""Of the first steps, in logits."""

SURE = 6.0
"""Largest difference of logits: a pixel that is surer than that would hardly change any more."""


def relaxed(target: Target, rng: np.random.Generator, *, steps: int) -> Shares:
    """A soft structure.

    Args:
        target: to be matched.
        rng: of the first structure.
        steps: of descent.

    Returns:
        (k, *shape) float32, shares of the phases in each pixel; their sum is 1.
    """
    counts = np.maximum(target.counts, 0.5)  # a rare phase may have no pixel in a small structure
    start = np.log(counts[1:] / counts[0]).reshape(-1, *(1,) * len(target.shape))
    logits = (start + 0.3 * rng.standard_normal((target.phases - 1, *target.shape))).astype(np.float32)
    mean, square = np.zeros_like(logits), np.zeros_like(logits)
    for step in range(steps):
        shares = _shares(logits)
        slope = slopes(target, *correlated(target, shares))
        slope = shares[1:] * (slope[1:] - (shares * slope).sum(axis=0))
        mean += 0.1 * (slope - mean)
        square += 0.01 * (slope * slope - square)
        logits -= LENGTH * (1 - step / steps) * mean / (np.sqrt(square) + 1e-20)
        np.clip(logits, -SURE, SURE, out=logits)
    return _shares(logits)


def correlated(target: Target, shares: Shares) -> tuple[Spectra, npt.NDArray[np.float32]]:
    """Spectra of the phases, (k, …), and the errors of the correlations by pair and lag, (pairs, *shape)."""
    over = tuple(range(-len(target.shape), 0))
    spectra = fft.rfftn(shares[1:] if target.phases == 2 else shares, axes=over)
    first = 1 if target.phases == 2 else 0
    products = np.stack([spectra[a - first].conj() * spectra[b - first] for a, b in target.pairs])
    found = fft.irfftn(products, s=target.shape, axes=over) / shares[0].size
    return spectra, found - target.correlations


def slopes(target: Target, spectra: Spectra, errors: npt.NDArray[np.float32]) -> Shares:
    """How the weighted sum of squared errors changes with the share of each phase in each pixel: (k, *shape)."""
    over = tuple(range(-len(target.shape), 0))
    first = 1 if target.phases == 2 else 0
    total = np.zeros((target.phases, *spectra.shape[1:]), dtype=spectra.dtype)
    for (a, b), error in zip(target.pairs, fft.rfftn(errors * target.lags, axes=over), strict=True):
        total[a] += error.conj() * spectra[b - first]
        total[b] += error * spectra[a - first]
    found: Shares = fft.irfftn(total, s=target.shape, axes=over) * np.float32(2 / errors[0].size)
    return found


def _shares(logits: Shares) -> Shares:
    powers = np.exp(logits)
    total = 1 + powers.sum(axis=0)
    return np.concatenate([(1 / total)[None], powers / total])
