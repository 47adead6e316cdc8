"""Two-point correlations: how probable it is that two points a given lag apart lie in given phases (S2).

Source: Torquato, Random Heterogeneous Materials (2002), section 2.2.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from matloop.surrogates.microstructure.arrays import Array, axes, opened

Floats = npt.NDArray[np.float64]


def two_point_correlation(
    phase: Array, other: Array | None = None, *, dimensions: int = 2, periodic: bool = True
) -> Array:
    """Probability that a pixel lies in one phase and the pixel a given lag further on in another, or the same.

    Differentiable. Without periodic boundaries only pairs of pixels that both lie in the picture count, so that
    nothing wraps around.

    Args:
        phase: (..., H, W) or (..., D, H, W), 1 inside the phase and 0 outside, or shares between them.
        other: of the same shape, for the phase at the far end of the lag; the same phase if left out.
        dimensions: of space, 2 or 3.
        periodic: whether the picture is a unit cell.

    Returns:
        As `phase`, by lag: lag 0, which is the volume fraction, comes first, and along each axis of n pixels the
        lags are 0, 1, … and then …, -2, -1 (as `numpy.fft.fftfreq` orders them, up to half of n).
    """
    x, back = opened(phase, dimensions)
    y = x if other is None else opened(other, dimensions)[0]
    if x.shape[-dimensions:] != y.shape[-dimensions:]:
        raise ValueError(f"expected phases of one shape, got {tuple(x.shape)} and {tuple(y.shape)}")
    shape = x.shape[-dimensions:]
    if periodic:
        return back(_products(x, y, shape) / math.prod(shape))
    padded = tuple(n + n // 2 for n in shape)  # so that lags up to half of n do not wrap around
    found = within(_products(x, y, padded), shape)
    ones = torch.ones(shape, dtype=x.dtype, device=x.device)
    return back(found / within(_products(ones, ones, padded), shape).round())


def without_fraction(phase: Array, *, dimensions: int = 2) -> Array:
    """(S2 - phi^2) / (phi - phi^2): 1 at lag 0, and 0 where places have nothing to do with each other.

    So structures of different volume fractions phi can be compared. Differentiable; 0 for a single phase.

    Args:
        phase: (..., H, W) or (..., D, H, W), 1 inside the phase and 0 outside, or shares between them; a unit cell.
        dimensions: of space.

    Returns:
        As `phase`, by lag.
    """
    x, back = opened(phase, dimensions)
    share = x.mean(dim=axes(dimensions), keepdim=True)
    covariance = two_point_correlation(x, dimensions=dimensions) - share**2
    return back(covariance / (share * (1 - share)).clamp_min(1e-6))


def material_correlation(
    phase: Floats, other: Floats, *, dimensions: int = 2, periodic: bool = True
) -> tuple[Floats, Floats]:
    """The two-point correlation of the material of which there are pictures, and how well each lag is known.

    In a picture without a period, phases may be more frequent on one side than on the other, by chance. Then the plain
    correlation is that of no homogeneous material, least of all at long lags. So what is taken is the covariance of the
    pixels that each lag pairs, about their own means, on top of the product of volume fractions.

    Args:
        phase: (..., H, W) or (..., D, H, W), 0 or 1; one picture or several of the same material.
        other: of the same shape, for the phase at the far end.
        dimensions: of space, 2 or 3.
        periodic: whether the pictures are unit cells, whose correlation is known exactly.

    Returns:
        (H, W) or (D, H, W), float64: the correlation, by lag, and the share of pixels that a lag pairs.
    """
    shape = phase.shape[-dimensions:]
    first, second = (np.reshape(a, (-1, *shape)).astype(np.float64) for a in (phase, other))

    def mean(a: Floats, b: Floats) -> Floats:
        found: Floats = two_point_correlation(a, b, dimensions=dimensions, periodic=periodic).mean(axis=0)
        return found

    if periodic:
        return mean(first, second), np.ones(shape)
    ones = np.ones_like(first)
    covariance = mean(first, second) - mean(first, ones) * mean(ones, second)
    paired = np.ones(shape)
    for axis, n in zip(axes(dimensions), shape, strict=True):
        paired *= (1 - abs(np.fft.fftfreq(n))).reshape(-1, *(1,) * (-axis - 1))
    return covariance + first.mean() * second.mean(), paired


def within(correlation: Array, shape: tuple[int, ...]) -> Array:
    """The lags of a correlation that a smaller picture has.

    Args:
        correlation: (..., H, W) or (..., D, H, W), by lag as `two_point_correlation` orders them.
        shape: of the smaller picture.

    Returns:
        (..., *shape).
    """
    found, back = opened(correlation, len(shape))
    if any(n > m for n, m in zip(shape, found.shape[-len(shape) :], strict=True)):
        raise ValueError(f"expected a picture of at most {tuple(found.shape[-len(shape) :])}, got {shape}")
    for axis, n in zip(axes(len(shape)), shape, strict=True):
        found = found.index_select(axis, _lags(n).to(found.device) % found.shape[axis])
    return back(found)


def _lags(n: int) -> torch.Tensor:
    """0, 1, …, -2, -1, as `numpy.fft.fftfreq` orders them."""
    return torch.tensor([*range(n - n // 2), *range(-(n // 2), 0)])


def _products(x: torch.Tensor, y: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Sum over x(r) y(r + lag), by lag, of pictures filled up with zeros to `shape`."""
    over = axes(len(shape))
    spectrum = torch.fft.rfftn(x, s=shape, dim=over)
    far = spectrum if y is x else torch.fft.rfftn(y, s=shape, dim=over)
    found: torch.Tensor = torch.fft.irfftn(spectrum.conj() * far, s=shape, dim=over)
    return found
