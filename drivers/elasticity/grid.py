"""The discretisation: Willot's rotated scheme, on periodic grids in two and three dimensions, odd or even.

Displacements live at the corners of pixels (voxels) and strains in their centres: along an axis the derivative is the
difference of two corners, averaged over the other axes. These are bilinear (trilinear) finite elements integrated at
their centres. At wave vector ξ the derivative along axis a is, but for a phase factor that all axes share,

    k_a = 2 sin(ξ_a / 2) Π_b≠a cos(ξ_b / 2).

On a grid that is even along two axes or more, displacements that alternate along two axes (hourglasses) have no strain;
they are kept at zero. Source: F. Willot, C. R. Mécanique 343, 232 (2015).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


def gradient(u: torch.Tensor, dimension: int) -> list[torch.Tensor]:
    """Derivatives along x, y (and z) in the centres.

    Args:
        u: (..., [D,] H, W), values at the corners; that with index i is before pixel i, along each axis.
        dimension: how many of the last axes are those of the grid.

    Returns:
        For each direction, x first, (..., [D,] H, W), per pixel.
    """
    found: list[torch.Tensor] = []
    for axis in range(-1, -dimension - 1, -1):
        after = u.roll(-1, axis)
        found = [_mean(slope, -1, axis) for slope in found] + [after - u]
        u = (u + after) / 2
    return found


def divergence(fluxes: Sequence[torch.Tensor], dimension: int) -> torch.Tensor:
    """The adjoint of the gradient: what the fluxes in the centres make at the corners.

    Args:
        fluxes: for each direction, x first, (..., [D,] H, W).
        dimension: as of `gradient`.
    """
    fluxes, total = list(fluxes), None
    for axis in range(-dimension, 0):
        flux = fluxes.pop()
        own = flux.roll(1, axis).sub_(flux)
        total = own if total is None else own.add_(_mean(total, 1, axis))
        fluxes = [_mean(f, 1, axis) for f in fluxes]
    assert total is not None
    return total


def _mean(f: torch.Tensor, shift: int, axis: int) -> torch.Tensor:
    return f.roll(shift, axis).add_(f).mul_(0.5)


def wave_vectors(shape: Sequence[int], device: torch.device | str = "cpu") -> torch.Tensor:
    """k of all waves of a real transform, (d, [D,] H, W // 2 + 1) float64, x first; see the equation above."""
    waves = []
    for at, n in enumerate(shape):
        steps = torch.arange(n // 2 + 1 if at == len(shape) - 1 else n, dtype=torch.float64, device=device)
        half = math.pi * steps / n
        cosine = torch.where(2 * steps == n, 0.0, half.cos())
        waves.append((half.sin(), cosine))
    sines, cosines = (torch.meshgrid(*of, indexing="ij") for of in zip(*waves, strict=True))
    directions = range(len(shape) - 1, -1, -1)  # x is the last axis
    return torch.stack([2 * sines[a] * _product([cosines[b] for b in directions if b != a]) for a in directions])


def _product(factors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(factors)).prod(dim=0)


class Preconditioner:
    """Solves for the displacements of a uniform isotropic body under given forces.

    Args:
        shape: ([D,] H, W) of the grid.
        first: Lamé's first parameter of the body.
        second: its shear modulus, > 0.
        device: where it is computed.
    """

    def __init__(self, shape: Sequence[int], first: float, second: float, device: torch.device | str = "cpu") -> None:
        self._shape = tuple(shape)
        self._axes = tuple(range(-len(shape), 0))
        k = wave_vectors(shape, device)
        squared = k.square().sum(dim=0)
        still = squared == 0  # the mean, and hourglasses
        squared[still] = 1.0
        self._direction = k / squared.sqrt()
        self._softness = torch.where(still, 0.0, 1 / (second * squared))
        self._longitudinal = (first + second) / (first + 2 * second)

    def __call__(self, forces: torch.Tensor) -> torch.Tensor:
        """Displacements at the corners.

        Args:
            forces: (..., d, [D,] H, W), at the corners, of sum zero.
        """
        waves = torch.fft.rfftn(forces, dim=self._axes)
        d, lengthwise = self._direction, len(self._shape) + 1
        along = (d * waves).sum(dim=-lengthwise, keepdim=True)
        waves = self._softness * (waves - self._longitudinal * d * along)
        found: torch.Tensor = torch.fft.irfftn(waves, s=self._shape, dim=self._axes)
        return found
