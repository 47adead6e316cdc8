"""Random two-phase microstructures: periodic Gaussian fields cut at zero.

A Gaussian field of autocorrelation rho cut at zero has the two-point correlation 1/4 + asin(rho) / (2 pi), exactly.
Sources: Dietrich & Newsam, SIAM J. Sci. Comput. 18 (1997) 1088 (synthesis by FFT); Torquato, Random Heterogeneous
Materials (2002), sections 2.2 and 8.1 (S2, cut Gaussian fields).
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float64]
Phase = npt.NDArray[np.bool_]


def autocorrelation(shape: tuple[int, ...], length: float) -> Field:
    """Autocorrelation exp(-(r / length)^2), summed over periodic images and scaled to 1 at zero lag.

    Args:
        shape: (H, W) or (D, H, W), pixels.
        length: correlation length, pixels, > 0.

    Returns:
        Of that shape, float64 by lag, lag zero first. Phases have mean chords of pi * length / sqrt(2).
    """
    if length <= 0:
        raise ValueError(f"expected a correlation length > 0 pixels, got {length}")

    def along(n: int) -> Field:
        images = int(np.ceil(6 * length / n)) + 1
        lag = np.arange(n)[:, None] + n * np.arange(-images, images + 1)[None, :]
        total: Field = np.exp(-((lag / length) ** 2)).sum(axis=1)
        total /= total[0]
        return total

    return functools.reduce(np.multiply.outer, map(along, shape))


def gaussian_fields(n: int, shape: tuple[int, int], length: float, rng: np.random.Generator) -> Field:
    """Draw periodic Gaussian fields of mean 0, variance 1 and the autocorrelation above (exact, not approximate).

    Args:
        n: number of fields.
        shape: (H, W), pixels.
        length: correlation length, pixels.
        rng: source of randomness.

    Returns:
        (n, H, W) float64.
    """
    spectrum = np.fft.rfft2(autocorrelation(shape, length)).real.clip(min=0)  # rounding may leave -1e-17
    noise = np.fft.rfft2(rng.standard_normal((n, *shape)))
    return np.fft.irfft2(noise * np.sqrt(spectrum), s=shape)


def two_phase_fields(n: int, shape: tuple[int, int], length: float, rng: np.random.Generator) -> Phase:
    """Cut Gaussian fields at zero; the volume fraction is 1/2 on average and varies from field to field.

    Returns:
        (n, H, W) bool.
    """
    return gaussian_fields(n, shape, length, rng) > 0


def cut_correlation(rho: Field) -> Field:
    """Two-point correlation of a Gaussian field of autocorrelation rho, cut at zero (the arcsine law)."""
    law: Field = 0.25 + np.arcsin(np.clip(rho, -1, 1)) / (2 * np.pi)
    return law
